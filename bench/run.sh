#!/usr/bin/env bash
# Prints the table that the README shows. `make bench` runs it in a lab.
set -euo pipefail
cd "$(dirname "$0")/.."
go build -o bin/bench ./bench
export PATH="$PWD/bin:$PATH"
exec ${SVCKIT_LAB_EXEC:?run it by \`make bench\`} bin/bench "$@"
