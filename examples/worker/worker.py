"""A daemon: takes one job after the other from a folder and does it.

A job is a file in $QUEUE/new. The worker moves it to $QUEUE/busy, does it, and
moves it to $QUEUE/done: a job that a crash left in busy is done again at the
next start. On TERM the job at hand is finished and the next one is not begun.
"""

import logging
import os
import signal
import sys
import threading
from pathlib import Path

log = logging.getLogger("worker")


class Worker:
    def __init__(self, queue, work, idle=1.0):
        """work is called with a job's bytes; idle is the pause in seconds when there is no job."""
        self.new, self.busy, self.done = (queue / name for name in ("new", "busy", "done"))
        self.work = work
        self.idle = idle
        self.leaving = threading.Event()
        for folder in (self.new, self.busy, self.done):
            folder.mkdir(parents=True, exist_ok=True)

    def run(self):
        """Works until leave is called."""
        for job in sorted(self.busy.iterdir()):
            log.warning("job %s was not finished, it is done again", job.name)
            job.rename(self.new / job.name)
        while not self.leaving.is_set():
            if not self.step():
                self.leaving.wait(self.idle)
        log.info("leaving, no job at hand")

    def step(self):
        """Does the oldest job by name; False when there is none."""
        for job in sorted(self.new.iterdir()):
            taken = job.rename(self.busy / job.name)
            self.work(taken.read_bytes())
            taken.rename(self.done / job.name)
            log.info("job %s is done", job.name)
            return True
        return False

    def leave(self, *_):
        self.leaving.set()


def count_words(job):
    log.info("%d words", len(job.split()))


def main():
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(message)s")
    worker = Worker(Path(os.environ.get("QUEUE", "/var/lib/worker")), count_words)
    signal.signal(signal.SIGTERM, worker.leave)
    signal.signal(signal.SIGINT, worker.leave)
    log.info("release %s works on %s", os.environ.get("SVC_RELEASE", "development"), worker.new)
    worker.run()


if __name__ == "__main__":
    main()
