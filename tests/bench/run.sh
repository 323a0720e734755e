#!/usr/bin/env bash
# run.sh: "make bench": measures and prints the figures; ROW=create (or latency, memory, client, many, nsq, log) measures one
# of them, ROW="create many" several of the first five; BENCH_COUNT=2 measures so many of what is counted in create,
# latency and many, to try a row. The local Kubernetes is started first where it is needed: not for nsq, log, thousand and
# schedules. Measured only when they are named: failover, which takes some hours on three nodes, or one of postmaster,
# deleted, partition, apiserver, switchover, each with Patroni too, PATRONI_RUNS times with each of two settings; upgrade
# and replica, which take an hour or two; thousand, which takes half an hour; schedules, which takes three minutes;
# backup, throughput and lost, which take half an hour each.
set -euo pipefail
case ${ROW:-} in
  upgrade | replica)
    failover=no
    export NODES=${NODES:-3}
    ;;
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
  thousand)
    "$local/build/build.sh" kubernetes
    "$local/../images/binaries.sh"
    # shellcheck disable=SC1091
    source "$local/../images/images.sh"
    export RECONCILER=$BINARIES/pgo-reconciler
    ;;
  schedules) "$local/build/build.sh" kubernetes ;;
  *)
    "$local/platform.sh"
    # shellcheck disable=SC1091
    source "$here/../../.local/env"
    ;;
esac
export PGO_BIN
# What measures is no part of what is measured, but in the rows of the nsq library and the log; "dev" is built sooner.
PROFILE=${PROFILE:-release}
use_kept_target
cd "$here"
if [[ $failover == yes ]]; then
  exec cargo bench --locked --quiet --package pgo-lifecycle-tests --bench failover
fi
case ${ROW:-} in
  upgrade | replica) exec cargo bench --locked --quiet --package pgo-lifecycle-tests --bench changes ;;
  backup | throughput | lost) exec cargo bench --locked --quiet --package pgo-lifecycle-tests --bench backups ;;
  schedules) exec cargo bench --locked --quiet --package pgo-scheduler --bench schedules ;;
  thousand)
    cargo bench --locked --quiet --package pgo-reconciler --bench thousand --no-run
    # A network of its own, in which every address for benchmarks is this machine's.
    exec unshare --net -- bash -c "ip link set lo up && ip route add local 198.18.0.0/15 dev lo &&
      exec cargo bench --locked --offline --quiet --package pgo-reconciler --bench thousand"
    ;;
esac
# The event log needs no Kubernetes; its rows go below those of the table.
if [[ ${ROW:-log} != log ]]; then
  read -ra rows <<<"$ROW"
  exec cargo run --locked --quiet --profile "$PROFILE" --package pgo-bench -- "${rows[@]}"
fi
[[ -n ${ROW:-} ]] || cargo run --locked --quiet --profile "$PROFILE" --package pgo-bench
exec cargo bench --locked --quiet --package pgo-event --bench log
