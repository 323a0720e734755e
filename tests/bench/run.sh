#!/usr/bin/env bash
# run.sh: "make bench": measures and prints the figures; ROW=create (or latency, memory, client, many, nsq, log) measures one
# of them. The local Kubernetes is started first where it is needed: not for nsq and log. ROW=failover, which takes some hours
# on three nodes, is measured only when it is named, or one of postmaster, deleted, partition, apiserver, switchover. Each is
# measured with Patroni too, PATRONI_RUNS times with each of two settings.
set -euo pipefail
case ${ROW:-} in
  failover | postmaster | deleted | partition | apiserver | switchover)
    failover=yes
    export NODES=${NODES:-3}
    ;;
  *) failover=no ;;
esac
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
local=$here/../../deploy/local
# shellcheck disable=SC1091
source "$local/settings.sh"
# shellcheck disable=SC1091
source "$local/build/target.sh"
case ${ROW:-} in
  nsq) "$local/build/build.sh" nsq ;;
  log) ;;
  *)
    "$local/platform.sh"
    # shellcheck disable=SC1091
    source "$here/../../.local/env"
    ;;
esac
export PGO_BIN
use_kept_target
cd "$here"
if [[ $failover == yes ]]; then
  exec cargo bench --locked --quiet --package pgo-lifecycle-tests --bench failover
fi
# The event log needs no Kubernetes; its rows go below those of the table.
if [[ ${ROW:-log} != log ]]; then
  exec cargo run --locked --quiet --release --package pgo-bench -- "$ROW"
fi
[[ -n ${ROW:-} ]] || cargo run --locked --quiet --release --package pgo-bench
exec cargo bench --locked --quiet --package pgo-event --bench log
