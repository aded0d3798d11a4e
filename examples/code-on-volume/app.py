"""A WSGI application whose code is not in its image.

GET /healthz      200 while it is well; like every answer it names its version for svc-reload's proof
GET /generation   which version of the code answers, and where from
"""

import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
VERSION = os.path.basename(os.path.realpath(HERE))  # the folder on the node that the code was loaded from
with open(os.path.join(HERE, "GENERATION"), encoding="utf-8") as file:
    GENERATION = file.read().strip()


def application(environ, start_response):
    body = {"/healthz": {"status": "ok"}, "/generation": about()}.get(environ["PATH_INFO"])
    status = "200 OK" if body else "404 Not Found"
    content = json.dumps(body or {"error": "no such page"}).encode() + b"\n"
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content))), ("Svc-Generation", VERSION)]
    start_response(status, headers)
    return [content]


def about():
    return {
        "generation": GENERATION,
        "config": os.environ.get("CONFIG_GENERATION", ""),
        "cwd": os.getcwd(),
        "file": os.path.realpath(__file__),
        "pid": os.getpid(),
    }
