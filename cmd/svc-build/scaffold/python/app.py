"""The web application: a WSGI callable that any server can run."""


def hello(_environ):
    return "200 OK", "hello from {{name}}\n"


def healthz(_environ):
    """Says whether this worker can do its work; ask what it depends on here."""
    return "200 OK", "ok\n"


ROUTES = {"/": hello, "/healthz": healthz}


def application(environ, start_response):
    handler = ROUTES.get(environ.get("PATH_INFO", "/"))
    status, text = handler(environ) if handler else ("404 Not Found", "not found\n")
    body = text.encode()
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
