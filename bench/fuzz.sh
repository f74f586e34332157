#!/usr/bin/env bash
# Runs every fuzz target of the module for FUZZTIME (default 10s) and prints one line.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
time=${FUZZTIME:-10s}
ran=0 failed=0
for pkg in $($go list ./...); do
	dir=$($go list -f '{{.Dir}}' "$pkg")
	for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go 2>/dev/null | sed 's/^func //'); do
		ran=$((ran + 1))
		echo "fuzzing $pkg $target for $time"
		$go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$pkg" || failed=$((failed + 1))
	done
done
echo "fuzz: $ran targets, $time each, $failed failures"
[ "$failed" = 0 ]
