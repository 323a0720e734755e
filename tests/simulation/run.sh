#!/usr/bin/env bash
# run.sh: "make simulate": schedules of faults over the real decisions. SEEDS=1000000 are so many, SEEDS=5-9 those from the
# first to the last, SEED=123 is one of them again; without any, as many as every test run has. CAMPAIGN=7 is one long run
# of a thousand operations. WORLD=events has only those of events and operations, WORLD=failover only those of instances that
# elect a primary; without it both. MODEL=wide explores the model of failover within wider bounds instead.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC1091
source "$here/../../deploy/local/settings.sh"
# shellcheck disable=SC1091
source "$here/../../deploy/local/build/target.sh"
use_kept_target
cd "$here"
export SEED=${SEED:-} SEEDS=${SEEDS:-} CAMPAIGN=${CAMPAIGN:-}
export MODEL=${MODEL:-}
if [[ -n $MODEL ]]; then
  exec cargo test --locked --quiet --package pgo-model-tests --test it -- --nocapture --test-threads 1 protocol::
fi
events=schedules::no_schedule_of_faults_breaks_a_promise
failover=failover::no_schedule_of_faults_makes_two_primaries_or_loses_what_was_promised
case ${WORLD:-both} in
  events) tests=("$events") ;;
  failover) tests=("$failover") ;;
  both) tests=("$events" "$failover") ;;
  *) echo "WORLD is events or failover, not $WORLD" >&2 && exit 2 ;;
esac
[[ -z $CAMPAIGN ]] || tests=(schedules::a_thousand_operations_survive_kills_of_everything)
exec cargo test --locked --quiet --package pgo-simulation --test it -- --nocapture --test-threads 1 --exact "${tests[@]}"
