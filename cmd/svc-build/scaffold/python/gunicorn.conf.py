import os

bind = "0.0.0.0:" + os.environ.get("SVC_PORT", "8000")
workers = 2
# On TERM gunicorn stops accepting and lets requests end: less than stop.timeout in app.yaml (30s).
graceful_timeout = 25
# Heartbeats of workers go to memory: a slow disk must not look like a hung worker.
worker_tmp_dir = "/dev/shm"
