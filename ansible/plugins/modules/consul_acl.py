#!/usr/bin/python
"""Ansible module: policies and tokens of Consul."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: consul_acl
short_description: Keep policies and tokens of Consul as they are said to be
description:
  - Writes what differs, by the HTTP API of the agent on this host. Policies and tokens that are not named are left alone.
  - Secrets of tokens are given, not made, so that a second run finds the same tokens.
options:
  address:
    description: The agent.
    type: str
    default: http://127.0.0.1:8500
  management_token:
    description: A token that may write ACLs.
    type: str
    required: true
  policies:
    description: Name and rules of each policy.
    type: list
    elements: dict
    default: []
  tokens:
    description: For each token C(secret), C(description), and C(policies), a list of names, or C(node), the name of a node whose agent it is for,
      with its C(datacenter).
    type: list
    elements: dict
    default: []
  wait:
    description: So many seconds it is tried again while Consul has no leader.
    type: int
    default: 60
author: The authors of svckit (@svckit)
"""

EXAMPLES = r"""
- name: A token that may read the catalog
  svckit.svckit.consul_acl:
    management_token: "{{ consul_management_token }}"
    policies:
      - {name: catalog, rules: 'service_prefix "" { policy = "read" }'}
    tokens:
      - {secret: "{{ dns_token }}", description: for the DNS, policies: [catalog]}
"""

RETURN = r"""
plan:
  description: What was written, in words.
  type: list
  returned: success
"""

import json
import time
import uuid

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url
from ansible.module_utils.six.moves.urllib.error import HTTPError, URLError


class Consul(object):
    """The ACLs of one Consul."""

    def __init__(self, module):
        self.module, self.end = module, time.time() + module.params["wait"]

    def ask(self, method, path, body=None):
        """Return the document, None for one that is not there."""
        url = self.module.params["address"] + "/v1/acl/" + path
        data = None if body is None else json.dumps(body)
        while True:
            try:
                headers = {"X-Consul-Token": self.module.params["management_token"]}
                return json.loads(open_url(url, method=method, data=data, headers=headers, timeout=20).read())
            except HTTPError as err:
                said = err.read().decode("utf-8", "replace").strip()
                if err.code == 404:
                    return None
                cause = "%d %s" % (err.code, said)
                # A server that has just found its leader knows neither the token nor the answer yet.
                again = err.code >= 500 or "ACL not found" in said
            except (URLError, OSError) as err:
                cause, again = str(err), True
            if not again or time.time() > self.end:
                self.module.fail_json(msg="%s %s: %s" % (method, path, cause))
            time.sleep(0.5)


def policy_change(consul, want):
    """The call that makes a policy as it is wanted; None when it is."""
    have = consul.ask("GET", "policy/name/" + want["name"])
    if have is None:
        return "PUT", "policy", {"Name": want["name"], "Rules": want["rules"]}, "make policy " + want["name"]
    if have["Rules"].strip() == want["rules"].strip():
        return None
    return "PUT", "policy/" + have["ID"], {"Name": want["name"], "Rules": want["rules"]}, "change the rules of policy " + want["name"]


def token_change(want, have):
    """The call that makes a token as it is wanted; None when it is."""
    # Nobody learns the secret from the accessor, and it is the same in every run.
    accessor = str(uuid.uuid5(uuid.UUID(want["secret"]), "accessor"))
    body = {"AccessorID": accessor, "SecretID": want["secret"], "Description": want["description"]}
    if want.get("node"):
        body["NodeIdentities"] = [{"NodeName": want["node"], "Datacenter": want["datacenter"]}]
    else:
        body["Policies"] = [{"Name": name} for name in want["policies"]]
    if accessor not in have:
        return "PUT", "token", body, "make token: " + want["description"]
    now = have[accessor]
    same = now["Description"] == body["Description"]
    same = same and sorted(p["Name"] for p in now.get("Policies") or []) == sorted(want.get("policies") or [])
    same = same and (now.get("NodeIdentities") or []) == body.get("NodeIdentities", [])
    return None if same else ("PUT", "token/" + accessor, body, "change token: " + want["description"])


def main():
    module = AnsibleModule(supports_check_mode=True, argument_spec=dict(
        address=dict(default="http://127.0.0.1:8500"), management_token=dict(required=True, no_log=True),
        policies=dict(type="list", elements="dict", default=[]), tokens=dict(type="list", elements="dict", default=[], no_log=False),
        wait=dict(type="int", default=60),
    ))
    for token in module.params["tokens"]:
        module.no_log_values.add(token["secret"])
    consul, plan = Consul(module), []

    def carry_out(change):
        if change:
            plan.append(change[3])
            if not module.check_mode:
                consul.ask(*change[:3])

    for want in module.params["policies"]:
        carry_out(policy_change(consul, want))
    have = dict((t["AccessorID"], t) for t in consul.ask("GET", "tokens") or [])
    for want in module.params["tokens"]:
        carry_out(token_change(want, have))
    out = dict(changed=bool(plan), plan=plan)
    if module._diff and plan:
        out["diff"] = {"prepared": "".join(line + "\n" for line in plan)}
    module.exit_json(**out)


if __name__ == "__main__":
    main()
