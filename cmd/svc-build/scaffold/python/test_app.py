import unittest

from app import application


def get(path):
    seen = {}

    def start_response(status, headers):
        seen["status"] = status

    body = b"".join(application({"PATH_INFO": path}, start_response))
    return seen["status"], body.decode()


class AppTest(unittest.TestCase):
    def test_front_page(self):
        self.assertEqual(get("/"), ("200 OK", "hello from {{name}}\n"))

    def test_health(self):
        self.assertEqual(get("/healthz"), ("200 OK", "ok\n"))

    def test_unknown_path(self):
        self.assertEqual(get("/nothing")[0], "404 Not Found")


if __name__ == "__main__":
    unittest.main()
