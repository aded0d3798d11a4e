"""A page that takes a tenth of a second of somebody else's time."""

import time


def application(environ, start_response):
    if environ["PATH_INFO"] != "/healthz":
        time.sleep(0.1)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"ok\n"]
