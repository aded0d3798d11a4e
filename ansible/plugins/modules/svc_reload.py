#!/usr/bin/python
"""Ansible module: new code and config into running services by svc-reload."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: svc_reload
short_description: Bring new code and config into a running service on this node, verified, without losing a request
description:
  - Calls C(svc-reload) on the node. Its plan is the diff; in check mode nothing but the plan is made.
options:
  command:
    description: C(rollback) makes the code from before current again.
    type: str
    choices: [reload, rollback]
    default: reload
  service:
    description: C(APP/SERVICE).
    type: str
    required: true
  source:
    description: A folder on the node with new code, for services with code on a volume.
    type: path
  force:
    description: Reload also what has nothing new to load.
    type: bool
    default: false
  floor:
    description: So many instances of the fleet must pass beside one that is taken out of DNS.
    type: int
  wait_floor:
    description: How long to wait for those others, e.g. C(5m).
    type: str
  wait_lock:
    description: How long to wait for somebody else's lock, e.g. C(2m).
    type: str
extends_documentation_fragment: svckit.svckit.program
author: The authors of svckit (@svckit)
"""

EXAMPLES = r"""
- name: Load what is new in Consul's config
  svckit.svckit.svc_reload:
    service: shop/web
"""

RETURN = r"""
result:
  description: The document that svc-reload printed.
  type: dict
  returned: success
plan:
  description: The steps, each with its reason.
  type: list
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.svckit.svckit.plugins.module_utils import cli


def main():
    spec = dict(
        command=dict(choices=["reload", "rollback"], default="reload"), service=dict(required=True), source=dict(type="path"),
        force=dict(type="bool", default=False), floor=dict(type="int"), wait_floor=dict(), wait_lock=dict(),
    )
    spec.update(cli.COMMON)
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    p = module.params
    verb = ["rollback"] if p["command"] == "rollback" else []
    words = cli.flags(p, [
        ("source", "--source"), ("force", "--force"), ("floor", "--floor"), ("wait_floor", "--wait-floor"), ("wait_lock", "--wait-lock"),
    ])
    words.append(p["service"])
    cli.call(module, "svc-reload", verb, words)


if __name__ == "__main__":
    main()
