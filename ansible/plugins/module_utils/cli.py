"""What the modules share: a call of one of svckit's programs, and what its answer means to Ansible."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os

# Exit codes, as every program of svckit has them.
CODES = {
    1: "failed", 3: "partly applied", 10: "wrong usage", 11: "spec or config invalid", 12: "not found",
    13: "Consul, Docker or registry unreachable", 14: "lock held, or changed by someone else", 15: "timed out",
    16: "new version unhealthy, old one still serving", 17: "refused as unsafe, nothing touched",
    130: "interrupted", 143: "terminated",
}

# Arguments that every module takes.
COMMON = dict(
    program=dict(type="path"),
    token_file=dict(type="path", default="/etc/svckit/consul.token"),
    node_config=dict(type="path"),
)


def call(module, program, verb, rest, mutates=True):
    """Run `program verb --json rest` and end the module with what it said.

    In check mode a call that would change something is made with --dry-run: the
    program's own plan, which touches nothing. A failure is the module's failure,
    with the program's own message and hint.
    """
    changed, result, code, said = attempt(module, program, verb, rest, mutates)
    if code != 0:
        fail(module, program, verb + rest, code, said)
    finish(module, changed, result, said)


def attempt(module, program, verb, rest, mutates=True):
    """Run it and return changed, the document, the exit code, and stderr."""
    argv = [module.params["program"] or program] + verb + ["--json"]
    if mutates and module.check_mode:
        argv += ["--dry-run"]
    if module.params["node_config"]:
        argv += ["--config", module.params["node_config"]]
    argv += rest
    env = {}
    token = module.params["token_file"]
    if token and "CONSUL_HTTP_TOKEN_FILE" not in os.environ and os.path.exists(token):
        env["CONSUL_HTTP_TOKEN_FILE"] = token
    code, out, said = module.run_command(argv, environ_update=env)
    result = {}
    if out.strip():
        try:
            result = json.loads(out)
        except ValueError:
            module.fail_json(msg="%s printed no JSON document" % program, rc=code, stdout=out, stderr=said)
    result.pop("schema", None)
    changed = bool(result.get("changed")) if mutates else False
    if mutates and module.check_mode:
        changed = changed or bool(result.get("steps"))
    return changed, result, code, said


def error_of(said):
    """The error that a program printed as the last JSON line on stderr."""
    for line in reversed(said.strip().splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and isinstance(found.get("error"), dict):
            return found["error"]
    return {}


def talk(said):
    """What a program said on stderr beside its error."""
    return [line for line in said.strip().splitlines() if not line.startswith('{"schema"')]


def fail(module, program, words, code, said):
    """End the module as failed, in the program's own words."""
    error = error_of(said)
    msg = error.get("message") or said.strip() or "no message"
    for line in error.get("detail") or []:
        msg += "\n  " + line
    if error.get("hint"):
        msg += "\nhint: " + error["hint"]
    module.fail_json(
        msg="%s: %s" % (program, msg), rc=code, kind=error.get("kind", CODES.get(code, "unknown")),
        meaning=CODES.get(code, "unknown"), hint=error.get("hint", ""), changed=code == 3,
        cmd=" ".join([program] + words), talk=talk(said),
    )


def plan_of(result):
    """The steps of a plan as lines, each with its reason."""
    lines = []
    for service in result.get("services") or []:  # of those that do something about all services of a node
        if isinstance(service, dict) and service.get("steps"):
            lines += ["%s/%s: %s" % (service.get("app"), service.get("service"), line) for line in plan_of(service)]
    for step in result.get("steps") or []:
        line = " ".join(str(step[k]) for k in ("action", "do", "target") if step.get(k))
        why = step.get("reason") or step.get("why")
        if why:
            line += ": " + why
        if step.get("fields"):
            line += " (" + ", ".join(step["fields"]) + ")"
        lines.append(line)
    if not lines and result.get("words") and (result.get("changed") or result.get("dry_run")):
        lines.append(result["words"])
    return lines


def finish(module, changed, result, said):
    """End the module as done."""
    out = dict(changed=changed, result=result, talk=talk(said), plan=plan_of(result))
    if module._diff and changed:
        out["diff"] = {"prepared": "".join(line + "\n" for line in out["plan"])}
    module.exit_json(**out)


def flags(params, names):
    """Flags for those parameters that are set: {"release": "--release"} and the like."""
    words = []
    for name, flag in names:
        value = params.get(name)
        if value is None or value is False:
            continue
        words += [flag] if value is True else [flag, str(value)]
    return words
