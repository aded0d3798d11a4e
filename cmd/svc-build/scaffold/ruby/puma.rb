# frozen_string_literal: true

port ENV.fetch("SVC_PORT", "8000"), "0.0.0.0"
threads 1, 5
# On TERM puma stops accepting and lets requests end: less than stop.timeout in app.yaml (30s).
force_shutdown_after 25
