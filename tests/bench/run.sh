#!/usr/bin/env bash
# run.sh: "make bench" with .local/env sourced: measures and prints the figures; ROW=create (or latency, memory, client,
# many, log) measures one of them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC1091
source "$here/../../deploy/local/settings.sh"
# shellcheck disable=SC1091
source "$here/../../deploy/local/build/target.sh"
use_kept_target
cd "$here"
# The event log needs no Kubernetes; its rows go below those of the table.
if [[ ${ROW:-log} != log ]]; then
  exec cargo run --locked --quiet --release --package pgo-bench -- "$ROW"
fi
[[ -n ${ROW:-} ]] || cargo run --locked --quiet --release --package pgo-bench
exec cargo bench --locked --quiet --package pgo-event --bench log
