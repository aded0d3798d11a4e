#!/usr/bin/python
"""Ansible module: releases of an app by svc-run."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: svc_release
short_description: Read the releases of an app, or make one of them the current one
description:
  - Calls C(svc-run releases) or C(svc-run promote). It touches no container, so one node of a datacenter is enough (C(run_once)).
options:
  app:
    description: The app.
    type: str
    required: true
  release:
    description: The release that is to be current. Without it the releases are read.
    type: str
  service:
    description: Move only this service of the app.
    type: str
  force:
    description: Promote a release that is marked failed.
    type: bool
    default: false
extends_documentation_fragment: svckit.svckit.program
author: The authors of svckit (@svckit)
"""

EXAMPLES = r"""
- name: From now on this is what `svc-run up` means
  svckit.svckit.svc_release:
    app: shop
    release: 20260301-1200-ab12cd3
  run_once: true
"""

RETURN = r"""
result:
  description: The document that svc-run printed; without O(release) its C(releases).
  type: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.svckit.svckit.plugins.module_utils import cli


def main():
    spec = dict(app=dict(required=True), release=dict(), service=dict(), force=dict(type="bool", default=False))
    spec.update(cli.COMMON)
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    p = module.params
    if not p["release"]:
        cli.call(module, "svc-run", ["releases"], [p["app"]], mutates=False)
    words = cli.flags(p, [("service", "--service"), ("force", "--force")])
    cli.call(module, "svc-run", ["promote"], words + [p["app"], p["release"]])


if __name__ == "__main__":
    main()
