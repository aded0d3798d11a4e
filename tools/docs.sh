#!/bin/bash
# Writes what the programs say about themselves into docs/man/.
# With --check it writes nothing and fails when docs/man is not up to date.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=docs/man
if [ "${1:-}" = --check ]; then
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
fi
mkdir -p "$dir"
for program in $(ls cmd); do
	CGO_ENABLED=0 go build -o bin/ "./cmd/$program"
	"bin/$program" man >"$dir/$program.1"
done
if [ "${1:-}" = --check ] && ! diff -ru docs/man "$dir" >&2; then
	echo "docs/man is out of date: run make docs and commit" >&2
	exit 1
fi
