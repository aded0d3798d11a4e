import json
import os
import unittest
from unittest import mock
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import app


def get(path, query="", method="GET"):
    environ = {"SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": method}
    setup_testing_defaults(environ)
    answer = {}

    def start_response(status, headers, exc_info=None):
        answer["status"] = status

    body = validator(app.application)(environ, start_response)
    try:
        content = b"".join(body)
    finally:
        body.close()
    return answer["status"], json.loads(content) if content else None


class Pages(unittest.TestCase):
    def test_front_page_greets_and_names_the_release(self):
        with mock.patch.dict(os.environ, {"GREETING": "good morning", "SVC_RELEASE": "r42"}):
            self.assertEqual(get("/"), ("200 OK", {"greeting": "good morning", "release": "r42"}))

    def test_health_is_ok(self):
        self.assertEqual(get("/healthz"), ("200 OK", {"status": "ok"}))

    def test_release_names_the_worker(self):
        status, body = get("/release")
        self.assertEqual((status, body["pid"]), ("200 OK", os.getpid()))

    def test_slow_page_waits_as_long_as_asked(self):
        with mock.patch("time.sleep") as sleep:
            status, _ = get("/slow", "s=2.5")
        self.assertEqual(status, "200 OK")
        sleep.assert_called_once_with(2.5)

    def test_slow_page_has_a_limit(self):
        for query in ("s=31", "s=-1", "s=nan", "s=x"):
            with self.subTest(query):
                self.assertEqual(get("/slow", query)[0], "400 Bad Request")

    def test_unknown_page_is_not_found(self):
        self.assertEqual(get("/nothing-here")[0], "404 Not Found")

    def test_only_get_is_allowed(self):
        self.assertEqual(get("/", method="DELETE")[0], "405 Method Not Allowed")


if __name__ == "__main__":
    unittest.main()
