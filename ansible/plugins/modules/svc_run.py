#!/usr/bin/python
"""Ansible module: services on this node by svc-run."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: svc_run
short_description: Bring a service on this node to its release and config, or take it away
description:
  - Calls C(svc-run) on the node. Its plan is the diff; in check mode nothing but the plan is made.
  - A failure is the program's own, with its exit code in C(rc) and in words in C(meaning).
options:
  command:
    description: What is to be done.
    type: str
    choices: [up, down, rollback, restore, drain, return, ps, config]
    default: up
  service:
    description: C(APP/SERVICE); for C(ps) also C(APP), or nothing. C(restore), C(drain) and C(return) take none.
    type: str
  release:
    description: The release; by default the app's current one.
    type: str
  instances:
    description: How many instances run on this node; by default what the autoscaler wants here, else 1.
    type: int
  promote:
    description: Make the release the app's current one afterwards.
    type: bool
    default: false
  fleet:
    description: With C(ps), show all nodes.
    type: bool
    default: false
  hold:
    description: With C(drain), how long it lasts at most, e.g. C(30m).
    type: str
  floor:
    description: With C(drain), so many instances of each service must pass on other nodes.
    type: int
  why:
    description: With C(drain), the reason.
    type: str
  wait_floor:
    description: With C(drain), how long to wait for other instances, e.g. C(5m).
    type: str
  wait_lock:
    description: How long to wait for somebody else's lock, e.g. C(2m).
    type: str
extends_documentation_fragment: svckit.svckit.program
author: The authors of svckit (@svckit)
"""

EXAMPLES = r"""
- name: Two instances of the current release
  svckit.svckit.svc_run:
    service: shop/web
    instances: 2
- name: Take it away
  svckit.svckit.svc_run:
    command: down
    service: shop/web
"""

RETURN = r"""
result:
  description: The document that svc-run printed.
  type: dict
  returned: success
plan:
  description: The steps, each with its reason.
  type: list
  returned: success
rc:
  description: The exit code.
  type: int
  returned: failure
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.svckit.svckit.plugins.module_utils import cli

READS = ("ps", "config")
ALONE = ("restore", "drain", "return", "ps")


def main():
    spec = dict(
        command=dict(choices=["up", "down", "rollback", "restore", "drain", "return", "ps", "config"], default="up"),
        service=dict(), release=dict(), instances=dict(type="int"), promote=dict(type="bool", default=False),
        fleet=dict(type="bool", default=False), hold=dict(), floor=dict(type="int"), why=dict(), wait_floor=dict(), wait_lock=dict(),
    )
    spec.update(cli.COMMON)
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    p = module.params
    command = p["command"]
    if not p["service"] and command not in ALONE:
        module.fail_json(msg="%s needs a service: APP/SERVICE" % command)
    words = cli.flags(p, [
        ("release", "--release"), ("instances", "--instances"), ("promote", "--promote"), ("fleet", "--fleet"), ("hold", "--for"),
        ("floor", "--floor"), ("why", "--why"), ("wait_floor", "--wait-floor"), ("wait_lock", "--wait-lock"),
    ])
    if p["service"]:
        words.append(p["service"])
    cli.call(module, "svc-run", [command], words, mutates=command not in READS)


if __name__ == "__main__":
    main()
