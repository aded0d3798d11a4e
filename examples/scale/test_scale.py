import socket
import threading
import unittest

import app
from consumer import Redis


class Web(unittest.TestCase):
    def test_it_answers(self):
        said = []
        body = app.application({"PATH_INFO": "/healthz"}, lambda status, headers: said.append(status))
        self.assertEqual((b"".join(body), said), (b"ok\n", ["200 OK"]))


class Protocol(unittest.TestCase):
    def test_answers_of_every_kind_are_read(self):
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        asked = []

        def serve():
            client, _ = server.accept()
            with client:
                for reply in (b"$5\r\njob-1\r\n", b"$-1\r\n", b":1\r\n", b"*2\r\n$1\r\na\r\n+b\r\n", b"-ERR no\r\n"):
                    asked.append(client.recv(1000))
                    client.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        redis = Redis(f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        self.addCleanup(redis.server.close)
        self.addCleanup(redis.answers.close)
        got = [redis("BLMOVE", "jobs", 1), redis("X"), redis("LREM"), redis("LRANGE")]
        with self.assertRaises(ConnectionError):
            redis("BAD")
        thread.join(10)
        self.assertEqual(got, ["job-1", None, "1", ["a", "b"]])
        self.assertEqual(asked[0], b"*3\r\n$6\r\nBLMOVE\r\n$4\r\njobs\r\n$1\r\n1\r\n")


if __name__ == "__main__":
    unittest.main()
