# The hooks tell scaled which workers are busy: svckit_marks.py is examples/marks/svckit_marks.py.
from svckit_marks import post_request, post_worker_init, pre_request, worker_exit  # noqa: F401

bind = "0.0.0.0:8000"
workers = 2  # to begin with: scaled changes their number
worker_tmp_dir = "/dev/shm"
backlog = 512
