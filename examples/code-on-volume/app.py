"""A WSGI application whose code is not in its image.

GET /healthz      200 while it is well
GET /generation   which version of the code answers, and where from
"""

import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "GENERATION"), encoding="utf-8") as file:
    GENERATION = file.read().strip()


def application(environ, start_response):
    body = {"/healthz": {"status": "ok"}, "/generation": about()}.get(environ["PATH_INFO"])
    status = "200 OK" if body else "404 Not Found"
    content = json.dumps(body or {"error": "no such page"}).encode() + b"\n"
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
    return [content]


def about():
    return {
        "generation": GENERATION,
        "config": os.environ.get("CONFIG_GENERATION", ""),
        "cwd": os.getcwd(),
        "file": os.path.realpath(__file__),
        "pid": os.getpid(),
    }
