"""Options of every module that calls one of svckit's programs: module_utils/cli.py has them as COMMON."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type


class ModuleDocFragment:
    """What ansible-doc adds to each of these modules."""

    DOCUMENTATION = r"""
options:
  program:
    description: The program, if it is not on PATH.
    type: path
  token_file:
    description: File with the Consul token.
    type: path
    default: /etc/svckit/consul.token
  node_config:
    description: The node's settings, by default C(/etc/svckit/node.yaml).
    type: path
"""
