#!/usr/bin/env bash
# run.sh: "make bench": measures and prints the figures; ROW=create (or latency, memory, client, many, nsq) measures one of
# them. The local Kubernetes is started first where it is needed: not for nsq.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
local=$here/../../deploy/local
# shellcheck disable=SC1091
source "$local/settings.sh"
# shellcheck disable=SC1091
source "$local/build/target.sh"
if [[ ${ROW:-} == nsq ]]; then
  "$local/build/build.sh" nsq
else
  "$local/platform.sh"
  # shellcheck disable=SC1091
  source "$here/../../.local/env"
fi
export PGO_BIN
use_kept_target
cd "$here"
exec cargo run --locked --quiet --release --package pgo-bench -- ${ROW:+"$ROW"}
