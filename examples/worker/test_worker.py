import logging
import tempfile
import threading
import unittest
from pathlib import Path

from worker import Worker

logging.disable()


class Jobs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.queue = Path(folder.name)
        self.seen = []
        self.worker = Worker(self.queue, self.seen.append, idle=0.01)

    def put(self, name, text):
        (self.queue / "new" / name).write_text(text)

    def names(self, folder):
        return sorted(job.name for job in (self.queue / folder).iterdir())

    def test_jobs_are_done_in_order_of_their_names(self):
        self.put("b", "second")
        self.put("a", "first")
        while self.worker.step():
            pass
        self.assertEqual(self.seen, [b"first", b"second"])
        self.assertEqual((self.names("new"), self.names("busy"), self.names("done")), ([], [], ["a", "b"]))

    def test_job_left_by_a_crash_is_done_again(self):
        (self.queue / "busy" / "a").write_text("half")
        self.worker.work = lambda job: (self.seen.append(job), self.worker.leave())
        self.worker.run()
        self.assertEqual((self.seen, self.names("done")), ([b"half"], ["a"]))

    def test_leaving_finishes_the_job_at_hand_and_begins_no_other(self):
        self.put("a", "first")
        self.put("b", "second")
        begun, leave = threading.Event(), threading.Event()

        def work(job):
            begun.set()
            leave.wait(10)

        self.worker.work = work
        thread = threading.Thread(target=self.worker.run)
        thread.start()
        begun.wait(10)
        self.worker.leave()
        leave.set()
        thread.join(10)
        self.assertEqual((self.names("new"), self.names("busy"), self.names("done")), (["b"], [], ["a"]))


if __name__ == "__main__":
    unittest.main()
