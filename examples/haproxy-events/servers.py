#!/usr/bin/env python3
"""Keep the servers of an HAProxy backend at what `svc-run events` tells.

    svc-run events shop/web --follow --kind instance,health | servers.py /run/haproxy/events.sock shop-web

Each instance has a slot of the backend's server-template. One that passes is
ready with its weight; one in maintenance (a drain, a reload) gets no new
sessions; one that fails, or is gone, is in maintenance, and its last requests
end. At "ready" the slots that nobody has are closed, so it may be started again
at any time, as it must when HAProxy was. When Consul is away, nothing changes.
It needs nothing but Python's standard library.
"""
import json
import re
import socket
import sys

FIELD = re.compile(r"^[A-Za-z0-9_.:-]+$")  # what may become part of a command
STATE = {"passing": "ready", "warning": "ready", "maintenance": "drain", "critical": "maint"}


def call(path, command):
    """One command on the stats socket, and its answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(5)
        s.connect(path)
        s.sendall(command.encode() + b"\n")
        answer = b""
        while part := s.recv(65536):
            answer += part
    return answer.decode().strip()


def commands(server, instance):
    """What brings a slot to where its instance is. Its address changes only while it gets nothing."""
    address, port = instance["address"], instance["port"]
    if not FIELD.match(address) or not 0 < port < 65536:
        raise ValueError(f"not an address: {address!r} {port!r}")
    return [
        f"set server {server} addr {address} port {port}",
        f"set server {server} weight {min(max(int(instance['weight']), 1), 256)}",
        f"set server {server} state {STATE.get(instance['health'], 'maint')}",
    ]


class Servers:
    """The slots of one backend, and who has them."""

    def __init__(self, path, backend):
        self.path, self.backend = path, backend
        self.has = {}      # subject -> slot
        self.waiting = {}  # subject -> instance, for which there is no slot
        self.free = [f"{backend}/{line.split()[3]}" for line in call(path, f"show servers state {backend}").splitlines()
                     if len(line.split()) > 5 and line.split()[1] == backend]
        if not self.free:
            raise SystemExit(f"no server in backend {backend}")
        self.free.reverse()

    def do(self, command):
        answer = call(self.path, command)
        if answer and "no need to change" not in answer and "changed from" not in answer and "nothing changed" not in answer:
            print(f"{command}: {answer}", file=sys.stderr)

    def put(self, subject, instance):
        slot = self.has.get(subject)
        if slot is None:
            if not self.free:
                print(f"no slot for {subject}: give server-template more", file=sys.stderr)
                self.waiting[subject] = instance
                return
            slot = self.has[subject] = self.free.pop()
        for command in commands(slot, instance):
            self.do(command)

    def drop(self, subject):
        self.waiting.pop(subject, None)
        slot = self.has.pop(subject, None)
        if slot is None:
            return
        self.do(f"set server {slot} state maint")
        self.free.append(slot)
        if self.waiting:
            self.put(*self.waiting.popitem())

    def take(self, event):
        kind, what, subject = event["kind"], event["event"], event["subject"]
        if kind == "stream" and what == "ready":
            for slot in self.free:  # what an earlier run left
                self.do(f"set server {slot} state maint")
        elif kind == "instance" and what == "gone":
            self.drop(subject)
        elif kind in ("instance", "health"):
            self.put(subject, event["instance"])


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    servers = Servers(*sys.argv[1:])
    for line in sys.stdin:
        try:
            servers.take(json.loads(line))
        except (ValueError, KeyError) as e:
            print(f"skipped: {e}", file=sys.stderr)
        except OSError as e:  # HAProxy is gone, and its slots with it: begin anew with it
            raise SystemExit(f"HAProxy at {sys.argv[1]}: {e}") from e


if __name__ == "__main__":
    main()
