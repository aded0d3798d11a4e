"""Works off a Redis list, one message at a time, and loses none.

A message moves to jobs:busy while it is worked on, so that scaled sees it and so
that it can be found when this process is killed. Told to end, it finishes first.
"""

import os
import signal
import socket
import time

import svckit_marks


class Redis:
    """As much of Redis' protocol as this needs; an application uses its client library."""

    def __init__(self, url):
        host, _, port = url.removeprefix("redis://").partition("/")[0].partition(":")
        self.server = socket.create_connection((host, int(port or 6379)))
        self.answers = self.server.makefile("rb")

    def __call__(self, *words):
        words = [str(word).encode() for word in words]
        self.server.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return self.answer()

    def answer(self):
        line = self.answers.readline().rstrip()
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            return None if int(rest) < 0 else self.answers.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return None if int(rest) < 0 else [self.answer() for _ in range(int(rest))]
        if kind in (b"+", b":"):
            return rest.decode()
        raise ConnectionError(rest.decode() or "the server has gone")


def main():
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    redis = Redis(os.environ["QUEUE_URL"])
    while not told:
        job = redis("BLMOVE", "jobs", "jobs:busy", "RIGHT", "LEFT", 1)
        if job is None:
            continue
        with svckit_marks.working():
            time.sleep(0.2)  # the work
            redis("LREM", "jobs:busy", 1, job)
            redis("INCR", "jobs:done")
            redis("RPUSH", "jobs:log", job)


if __name__ == "__main__":
    main()
