#!/bin/bash
# Every check, also when an earlier one has failed. Run it with `make check`.
set -uo pipefail
cd "$(dirname "$0")/.."
tools=$(bin/lab tools) || exit 1
export PATH="$tools:$PATH"
failed=()

check() { # name, command…
	local name=$1
	shift
	if "$@"; then
		echo "ok    $name"
	else
		echo "FAIL  $name"
		failed+=("$name")
	fi
}

format() {
	local files
	files=$(git ls-files --cached --others --exclude-standard '*.go' | xargs -r gofumpt -l) || return
	[ -z "$files" ] || { printf 'not formatted (gofumpt -w FILE):\n%s\n' "$files"; return 1; }
}

# What is built, packed or recorded does not belong here: no source is binary or larger than 256 KiB.
sources() {
	local bad
	bad=$(git ls-files -z --cached --others --exclude-standard | xargs -0 -r sh -c 'for f; do
		[ ! -f "$f" ] || { [ "$(stat -c %s "$f")" -le 262144 ] && { [ ! -s "$f" ] || grep -qI "" "$f"; }; } || echo "$f"; done' sh) || return
	[ -z "$bad" ] || { printf 'no source (delete it, or see .gitignore):\n%s\n' "$bad"; return 1; }
}

check "sources alone" sources
check "format" format
check "vet" go vet ./...
check "vet, tests with real parts" go vet -tags real ./...
check "lint" golangci-lint run --allow-parallel-runners ./...
check "import arrows and file sizes" go test -count=1 ./tools/arrows
check "docs are made from the programs" tools/docs.sh --check

if [ ${#failed[@]} -gt 0 ]; then
	echo "${#failed[@]} of the checks failed: $(IFS=,; echo "${failed[*]}")"
	exit 1
fi
echo "all checks passed"
