#!/usr/bin/env bash
# Prints how svc-dns compares with other DNS servers. `make bench` runs it in a lab.
set -euo pipefail
cd "$(dirname "$0")/../.."
go build -o bin/bench-dns ./bench/dns
eval "$(bin/lab peers)"
export COREDNS UNBOUND PATH="$PWD/bin:$PATH"
exec ${SVCKIT_LAB_EXEC:?run it by \`make bench\`} bin/bench-dns "$@"
