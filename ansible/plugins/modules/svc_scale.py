#!/usr/bin/python
"""Ansible module: orders to the autoscaler by scaled."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: svc_scale
short_description: Tell the autoscaler sizes, loads to come, freezes, and which nodes to empty
description:
  - Calls C(scaled). Orders are kept in Consul, so one node of a datacenter is enough (C(run_once)).
options:
  command:
    description: What is said, or C(status) and C(pools) to read.
    type: str
    choices: [set, announce, freeze, thaw, drain, undrain, status, pools]
    default: set
  service:
    description: C(APP/SERVICE); for C(freeze) and C(thaw) also C(all).
    type: str
  node:
    description: The node to empty, or to let take part again.
    type: str
  size:
    description: Exactly so many.
    type: int
  min:
    description: At least so many.
    type: int
  max:
    description: At most so many.
    type: int
  clear:
    description: Take back what was set by hand.
    type: bool
    default: false
  rps:
    description: With C(announce), so many requests per second will come.
    type: float
  factor:
    description: With C(announce), so many times the load of now will come.
    type: float
  in_time:
    description: With C(announce), when the load comes, e.g. C(20m).
    type: str
  hold:
    description: How long it lasts, e.g. C(1h).
    type: str
  mode:
    description: With C(freeze), what is forbidden.
    type: str
    choices: [no-down, no-change, observe]
  pool:
    description: With C(freeze) and C(thaw), a pool.
    type: str
  wait:
    description: With C(drain), wait that long until nothing of the autoscaler's is left on the node, e.g. C(10m).
    type: str
  why:
    description: The reason, for those who read it later.
    type: str
extends_documentation_fragment: svckit.svckit.program
author: The authors of svckit (@svckit)
"""

EXAMPLES = r"""
- name: Eight workers, whatever the load says
  svckit.svckit.svc_scale:
    service: shop/web
    size: 8
    why: the campaign of Friday
  run_once: true
"""

RETURN = r"""
result:
  description: The document that scaled printed.
  type: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.svckit.svckit.plugins.module_utils import cli


def words_of(module):
    """The command, and its flags and arguments."""
    p = module.params
    command = p["command"]
    named = [p["service"]] if p["service"] else []
    if command == "set":
        return ["set"], cli.flags(p, [
            ("size", "--size"), ("min", "--min"), ("max", "--max"), ("clear", "--clear"), ("hold", "--for"), ("why", "--why"),
        ]) + named
    if command == "announce":
        return ["announce"], cli.flags(p, [("rps", "--rps"), ("factor", "--factor"), ("in_time", "--in"), ("hold", "--hold")]) + named
    if command == "freeze":
        return ["freeze"], cli.flags(p, [("pool", "--pool"), ("mode", "--mode"), ("hold", "--for"), ("why", "--why")]) + named
    if command == "thaw":
        return ["thaw"], cli.flags(p, [("pool", "--pool")]) + named
    if command in ("drain", "undrain"):
        if not p["node"]:
            module.fail_json(msg="%s needs a node" % command)
        undo = ["--undo"] if command == "undrain" else []
        return ["pool", "drain"], undo + cli.flags(p, [("why", "--why"), ("wait", "--wait")]) + [p["node"]]
    if command == "pools":
        return ["pool", "list"], []
    return ["status"], named


def main():
    spec = dict(
        command=dict(choices=["set", "announce", "freeze", "thaw", "drain", "undrain", "status", "pools"], default="set"),
        service=dict(), node=dict(), size=dict(type="int"), min=dict(type="int"), max=dict(type="int"), clear=dict(type="bool", default=False),
        rps=dict(type="float"), factor=dict(type="float"), in_time=dict(), hold=dict(), mode=dict(choices=["no-down", "no-change", "observe"]),
        pool=dict(), wait=dict(), why=dict(),
    )
    spec.update(cli.COMMON)
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if module.params["command"] in ("set", "announce") and not module.params["service"]:
        module.fail_json(msg="%s needs a service: APP/SERVICE" % module.params["command"])
    verb, rest = words_of(module)
    cli.call(module, "scaled", verb, rest, mutates=module.params["command"] not in ("status", "pools"))


if __name__ == "__main__":
    main()
