#!/usr/bin/env bash
# Prints the table that the README shows. `make bench` runs it in a lab.
set -euo pipefail
cd "$(dirname "$0")/.."
go build -o bin/bench ./bench
# The docker of Debian's package: one from elsewhere may lack the plugin that it needs to build.
export PATH="$PWD/bin:/usr/bin:$PATH"
exec ${SVCKIT_LAB_EXEC:?run it by \`make bench\`} bin/bench "$@"
