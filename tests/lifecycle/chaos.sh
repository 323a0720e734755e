#!/usr/bin/env bash
# chaos.sh: "make chaos": faults for CHAOS_SECONDS (600) under a cluster of three instances on a local Kubernetes of three
# nodes, which is started first; half of them in the asynchronous mode and half in a synchronous one, or all in that which
# CHAOS_MODE names. About a third of them have another one begin before they end. CHAOS_SEED brings the faults of another run in
# the same order. As root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export NODES=${NODES:-3} CHAOS_SECONDS=${CHAOS_SECONDS:-600}
[[ -n ${CHAOS_SEED:-} ]] || unset CHAOS_SEED
export CHAOS_MODE=${CHAOS_MODE:-}
local=$here/../../deploy/local
"$local/platform.sh"
# shellcheck disable=SC1091
source "$local/settings.sh"
# shellcheck disable=SC1091
source "$local/build/target.sh"
# shellcheck disable=SC1091
source "$here/../../.local/env"
use_kept_target
cd "$PGO_ROOT"
exec cargo test --locked --quiet --package pgo-lifecycle-tests -- --nocapture --test-threads=1 chaos::
