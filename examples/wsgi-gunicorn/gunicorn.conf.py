"""gunicorn's settings: https://docs.gunicorn.org/en/stable/settings.html"""

import os

bind = f"0.0.0.0:{os.environ.get('SVC_PORT', '8000')}"
worker_class = "sync"
workers = int(os.environ.get("WORKERS", "2"))

# Each worker loads the app itself: on HUP a new worker runs the new code.
preload_app = False

# On TERM and on HUP a worker ends its request first. Shorter than stop.timeout in app.yaml.
graceful_timeout = 20
timeout = 40

# Heartbeat files on memory: on a busy disk a worker would look dead.
worker_tmp_dir = "/dev/shm"

errorlog = "-"
accesslog = None


def when_ready(server):
    server.log.info("release %s is ready", os.environ.get("SVC_RELEASE", "development"))


def worker_exit(server, worker):
    server.log.info("worker %s has ended", worker.pid)
