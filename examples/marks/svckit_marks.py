"""Tells scaled how busy this worker is: one small file in /dev/shm, see docs/marks.md.

gunicorn, in gunicorn.conf.py:    from svckit_marks import post_worker_init, pre_request, post_request, worker_exit
any WSGI server, around the app:  application = svckit_marks.Marked(application)
a consumer of a queue:            with svckit_marks.working(): handle(message)
"""

import binascii
import contextlib
import os
import struct
import threading
import time

# Health checks are no load: a worker leaves out two short ones a second, so that no load hides behind their name.
CHECKS = ("Consul Health Check", "svckit-check")


class Mark:
    def __init__(self, slots=1):
        self.slots, self.lock, self.active, self.pid = slots, threading.Lock(), {}, 0

    def change(self, begin=None, end=None, agent=""):
        with self.lock, contextlib.suppress(OSError):
            if self.pid != os.getpid():  # a new process, or a fork of one
                self.active, self.checks, self.checked, self.sums = {}, {}, 0.0, [0, 0, 0.0, 0.0]
                os.makedirs("/dev/shm/svckit", exist_ok=True)
                self.file = os.open(f"/dev/shm/svckit/{os.getpid()}", os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW, 0o644)
                with open("/proc/self/stat", "rb") as stat:
                    self.start = int(stat.read().rpartition(b")")[2].split()[19])
                self.pid = os.getpid()
            now = time.monotonic()
            if begin is not None and agent in CHECKS and now - self.checked >= 0.5:
                self.checks[begin] = self.checked = now
            elif begin is not None:
                self.active[begin] = now
                self.sums[0] += 1
            elif end in self.checks and now - self.checks[end] >= 0.05:  # not short: it counts after all
                self.active[end] = self.checks.pop(end)
                self.sums[0] += 1
            self.checks.pop(end, None)
            if end in self.active:
                took = now - self.active.pop(end)
                self.sums = [self.sums[0], self.sums[1] + 1, self.sums[2] + took, self.sums[3] + took * took]
            begun, done, seconds, squares = self.sums
            times = self.active.values()
            body = struct.pack("<8sQIIQQdddd", b"SVCMARK1", self.start, len(times), self.slots, begun, done, min(times, default=0), sum(times), seconds, squares)
            os.pwrite(self.file, body + struct.pack("<I", binascii.crc32(body)), 0)


mark = Mark()


# The hooks of gunicorn. id() is a name for a request: it lives from one hook to the other.
def post_worker_init(worker):
    mark.slots = worker.cfg.threads
    mark.change()


def pre_request(worker, request):
    mark.change(begin=id(request), agent=dict(request.headers).get("USER-AGENT"))


def post_request(worker, request, environ=None, response=None):
    mark.change(end=id(request))


def worker_exit(server, worker):
    with contextlib.suppress(OSError):
        os.unlink(f"/dev/shm/svckit/{worker.pid}")


@contextlib.contextmanager
def working():
    key = object()
    mark.change(begin=id(key))
    try:
        yield
    finally:
        mark.change(end=id(key))


class Marked:
    """The same as middleware: a request lasts until the server closes the response."""

    def __init__(self, app, slots=1):
        self.app, mark.slots = app, slots

    def __call__(self, environ, start_response):
        response = Response()
        mark.change(begin=id(response), agent=environ.get("HTTP_USER_AGENT"))
        try:
            response.body = self.app(environ, start_response)
        except BaseException:
            response.end()
            raise
        return response


class Response:
    body, ended = (), False

    def __iter__(self):
        return iter(self.body)

    def close(self):
        try:
            if hasattr(self.body, "close"):
                self.body.close()
        finally:
            self.end()

    def end(self):
        if not self.ended:
            self.ended = True
            mark.change(end=id(self))
