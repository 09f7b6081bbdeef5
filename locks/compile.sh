#!/bin/sh
# Makes one hash lock per role. A lock names packages, versions and hashes; where they come from is the machine's business.
# Nothing younger than 14 days enters (supply-chain cool-down); FRESH=1 lifts that for an urgent fix, and the commit says why.
set -eu
cd "$(dirname "$0")/.."
uv=.venv/bin/uv
[ "${FRESH:-}" = 1 ] && newest="" || newest="--exclude-newer $(date -u -d '14 days ago' +%Y-%m-%dT00:00:00Z)"
compile() { # compile OUTPUT ARGS...
  out=$1; shift
  # shellcheck disable=SC2086
  "$uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
    --no-header --no-annotate $newest "$@" -o "locks/$out.txt"
}
for role in gateway console edge runner local dev; do compile "$role" pyproject.toml --extra "$role"; done
compile build locks/build.in
compile tiny locks/tiny.in --no-deps
compile tls locks/tls.in
