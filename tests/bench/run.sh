#!/usr/bin/env bash
# run.sh: "make bench" with .local/env sourced: measures and prints the figures; ROW=create (or latency, memory, client,
# many) measures one of them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC1091
source "$here/../../deploy/local/settings.sh"
# shellcheck disable=SC1091
source "$here/../../deploy/local/build/target.sh"
use_kept_target
cd "$here"
exec cargo run --locked --quiet --release --package pgo-bench -- ${ROW:+"$ROW"}
