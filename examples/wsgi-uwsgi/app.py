"""A small WSGI application: what a team would write with its framework.

GET /           a greeting
GET /healthz    200 while it is well
GET /release    the release, and which worker answers since when
GET /slow?s=2   the same after so many seconds (at most 30)
"""

import json
import os
import time
from urllib.parse import parse_qs

STARTED = time.time()
LONGEST = 30.0


def application(environ, start_response):
    handler = ROUTES.get(environ["PATH_INFO"])
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        status, body = "405 Method Not Allowed", {"error": "only GET"}
    elif handler is None:
        status, body = "404 Not Found", {"error": "no such page"}
    else:
        status, body = handler(environ)
    content = json.dumps(body).encode() + b"\n"
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else content]


def front(environ):
    return "200 OK", {"greeting": os.environ.get("GREETING", "hello"), "release": release()}


def healthz(environ):
    return "200 OK", {"status": "ok"}


def about(environ):
    return "200 OK", {"release": release(), "pid": os.getpid(), "started": STARTED}


def slow(environ):
    try:
        seconds = float(parse_qs(environ.get("QUERY_STRING", "")).get("s", ["1"])[0])
    except ValueError:
        return "400 Bad Request", {"error": "s is a number of seconds"}
    if not 0 <= seconds <= LONGEST:
        return "400 Bad Request", {"error": f"s is between 0 and {LONGEST:g}"}
    time.sleep(seconds)
    return about(environ)


def release():
    return os.environ.get("SVC_RELEASE", "development")


ROUTES = {"/": front, "/healthz": healthz, "/release": about, "/slow": slow}
