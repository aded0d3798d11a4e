#!/usr/bin/env bash
# Prints what 200 services on one host cost. `make bench-host` runs it in a lab.
set -euo pipefail
cd "$(dirname "$0")/../.."
go build -o bin/bench-host ./bench/host
export PATH="$PWD/bin:$PATH"
exec ${SVCKIT_LAB_EXEC:?run it by \`make bench-host\`} bin/bench-host "$@"
