"""gunicorn's settings. This file lies on the volume and is read again on HUP, when it
is named by its absolute path: a relative one is that of the version gunicorn is in."""

import os

# On HUP gunicorn goes to this folder again, through the link, and so into the new
# version. Without it, it stays in the version that it was started in.
chdir = "/srv/app"
# With preload_app HUP would not load new code.
preload_app = False

bind = f"0.0.0.0:{os.environ.get('SVC_PORT', '8000')}"
workers = 2
graceful_timeout = 20
timeout = 40
worker_tmp_dir = "/dev/shm"
errorlog = "-"

# Only to show in /generation which version of this file is in force.
with open("/srv/app/GENERATION", encoding="utf-8") as file:
    raw_env = ["CONFIG_GENERATION=" + file.read().strip()]
