#!/usr/bin/env bash
# test.sh: "make test": everything, in the order in which a mistake is found soonest. The lifecycle tests run on the
# local Kubernetes with PGO installed on it, which ends with them. "test.sh fast" leaves out what needs Kubernetes.
# The output of each stage is shown as it is; its last line says how long it took. Whoever sees only the end of a failed
# run sees what failed: its last lines are shown once more, after all that is known of why.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/settings.sh"
source "$here/progress.sh"
source "$here/build/target.sh"
kind=${1:-all}
[[ $kind == all || $kind == fast ]] || fail "test.sh takes nothing or \"fast\", not \"$kind\""
[[ $kind == fast ]] || ((EUID == 0)) || fail "the lifecycle tests start a Kubernetes on this machine, which only root may; run this as root, or make test-fast"

use_kept_target
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
# What makes the next build faster is not worth its time and space where there is none.
[[ -z ${CI:-} ]] || export CARGO_INCREMENTAL=0
# Tests that need a real nsqd or an S3 server start these.
export NSQD_BIN=$PGO_BIN/nsqd S3_BIN=$PGO_BIN/pgo-test-s3
cd "$PGO_ROOT"

# stage TITLE COMMAND...
stage() {
  local title=$1 begun status output shown_by
  shift
  begun=$(clock_ms)
  echo "=== $title"
  exec {output}> >(tee "$stage_output")
  shown_by=$!
  # Not with "||" behind it: bash would then go on after a failure inside COMMAND.
  set +e
  (
    set -e
    "$@" </dev/null
  ) >&"$output" 2>&1
  status=$?
  set -e
  exec {output}>&-
  # Not for ever: something that COMMAND has left running may hold its output.
  timeout 10 tail --pid="$shown_by" -f /dev/null || true
  if ((status != 0)); then
    echo "=== $title: failed after $(since "$begun")" | tee -a "$stage_output"
    exit "$status"
  fi
  echo "=== $title: ok after $(since "$begun")"
}

# Most of a run that has to build everything; of a fast one that has to build nothing.
declare -A limits=([all]=45 [fast]=2)
MINUTES=${MINUTES:-${limits[$kind]}}

# The lifecycle tests are a package of their own because they need what the others do not.
lifecycle=pgo-lifecycle-tests

# However this ends, the local Kubernetes ends, where there is one; if that is too early, with what is known of why.
stop_afterwards() {
  local status=$?
  trap - EXIT
  if [[ $kubernetes == started ]]; then
    ((status == 0)) || "$here/evidence.sh" || true
    echo "=== the end of the local Kubernetes"
    "$here/stop.sh" || status=1
  fi
  if ((status != 0)); then
    echo "=== what failed, once more"
    tail -n 80 "$stage_output" | cut -c 1-200
  fi
  rm -f "$stage_output"
  exit "$status"
}

lifecycle_tests() {
  source "$PGO_ROOT/.local/env"
  # They wait more than they work.
  RUST_TEST_THREADS=3 cargo test --locked --package "$lifecycle" -- --skip chaos::
}

# On another Kubernetes, which takes the place of this one only where there is no cluster.
faults() {
  (
    source "$PGO_ROOT/.local/env"
    kubectl delete pgclusters --all --all-namespaces --timeout=120s
  )
  CHAOS_SECONDS=0 tests/lifecycle/chaos.sh
}

begun=$(clock_ms)
stage_output=$(mktemp)
kubernetes=none
trap stop_afterwards EXIT
stage "Debian packages" "$here/packages.sh"
stage "nsqd" "$here/build/build.sh" nsq
stage "S3 server" "$PGO_ROOT/tests/s3/build.sh"
stage "format" "$here/lint.sh" format
stage "lint" "$here/lint.sh" lint
# Many wait for what PostgreSQL, pgBackRest and S3 take their time for: more of them at once than there are processors.
stage "unit, property, architecture and conformance tests" \
  env RUST_TEST_THREADS=4 cargo test --locked --workspace --exclude "$lifecycle"
if [[ $kind == all ]]; then
  stage "commands" tests/lifecycle/commands.sh alone
  kubernetes=started
  stage "make run" tests/lifecycle/commands.sh run
  stage "images into a registry" tests/lifecycle/commands.sh push
  stage "services in containers" tests/lifecycle/commands.sh compose
  stage "lifecycle tests" lifecycle_tests
  stage "each fault once, on three nodes" faults
  stage "make stop" tests/lifecycle/commands.sh stop
  kubernetes=none
fi
# A slow or busy machine fails nothing: docs/decisions/2026-11-26-slow-runs-are-told.md.
echo "=== all passed after $(since "$begun")"
(($(clock_ms) - begun <= MINUTES * 60000)) || echo "=== warning: that is more than the $MINUTES minutes that all of it may take"
