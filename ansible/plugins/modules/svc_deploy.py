#!/usr/bin/python
"""Ansible module: deploys over the fleet by svc-run deploy."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: svc_deploy
short_description: Take part in a deploy of an app over the fleet
description:
  - Calls C(svc-run deploy) on the node. What is done when is decided there; the deploy itself is one document in Consul.
  - The role C(svckit.svckit.deploy) puts these calls together.
options:
  command:
    description: C(step) is for every node, the others for one node of a datacenter.
    type: str
    choices: [begin, step, advance, finish, abort, status]
    required: true
  app:
    description: The app; for C(begin) also C(APP/SERVICE).
    type: str
    required: true
  run:
    description: The run that C(begin) has named.
    type: str
  release:
    description: With C(begin), the release.
    type: str
  rollback:
    description: With C(begin), the release that was stable before the current one.
    type: bool
    default: false
  nodes:
    description: With C(begin), the nodes, also those where none of it runs yet; by default those where it runs.
    type: list
    elements: str
  batch:
    description: With C(begin), so many nodes at once, C(2) or C(25%).
    type: str
  canary:
    description: With C(begin), so many nodes first.
    type: int
  source:
    description: With C(begin), the datacenter in which the release must be stable; its record is taken from there.
    type: str
  override:
    description: With C(begin), the reason for a deploy outside its window.
    type: str
  force:
    description: With C(begin), deploy a release that is marked failed.
    type: bool
    default: false
  holder:
    description: With C(begin), who is told to others as the holder.
    type: str
  patience:
    description: With C(begin), how long another run is watched until it counts as dead, e.g. C(45s).
    type: str
  take_over:
    description: With C(begin), another run is dead for certain.
    type: bool
    default: false
  over:
    description: With C(advance), every node has been called.
    type: bool
    default: false
  why:
    description: With C(abort), the reason.
    type: str
extends_documentation_fragment: svckit.svckit.program
author: The authors of svckit (@svckit)
"""

EXAMPLES = r"""
- name: What a deploy would do
  svckit.svckit.svc_deploy:
    command: begin
    app: shop
    release: 20260301-1200-ab12cd3
  check_mode: true
  run_once: true
"""

RETURN = r"""
result:
  description: The document that svc-run printed.
  type: dict
  returned: success
rc:
  description: The exit code.
  type: int
  returned: failure
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.svckit.svckit.plugins.module_utils import cli

COMMANDS = ["begin", "step", "advance", "finish", "abort", "status"]


def main():
    spec = dict(
        command=dict(choices=COMMANDS, required=True), app=dict(required=True), run=dict(), release=dict(),
        rollback=dict(type="bool", default=False), nodes=dict(type="list", elements="str"), batch=dict(), canary=dict(type="int"), source=dict(),
        override=dict(), force=dict(type="bool", default=False), holder=dict(), patience=dict(), take_over=dict(type="bool", default=False),
        over=dict(type="bool", default=False), why=dict(),
    )
    spec.update(cli.COMMON)
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    p = dict(module.params)
    if p["nodes"] is not None:
        p["nodes"] = ",".join(p["nodes"])
    words = cli.flags(p, [
        ("run", "--run"), ("release", "--release"), ("rollback", "--rollback"), ("nodes", "--nodes"), ("batch", "--batch"), ("canary", "--canary"),
        ("source", "--from"), ("override", "--override"), ("force", "--force"), ("holder", "--holder"), ("patience", "--patience"),
        ("take_over", "--take-over"), ("over", "--over"), ("why", "--why"),
    ])
    cli.call(module, "svc-run", ["deploy", p["command"]], words + [p["app"]], mutates=p["command"] != "status")


if __name__ == "__main__":
    main()
