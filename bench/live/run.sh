#!/usr/bin/env bash
# Prints how fast the autoscaler is, and what it costs. `make bench-live` runs it in a lab.
set -euo pipefail
cd "$(dirname "$0")/../.."
go build -o bin/bench-live ./bench/live
# docker-compose and the docker of Debian's packages are what is compared with.
export PATH="$PWD/bin:/usr/bin:$PATH"
exec ${SVCKIT_LAB_EXEC:?run it by \`make bench-live\`} bin/bench-live "$@"
