#!/usr/bin/env bash
# commands.sh run|stop: holds "make run" and "make stop" to what the README says of them. "run" ends with PGO installed and
# no cluster there; "stop" with nothing of it left on the machine.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../deploy/local/settings.sh"
source "$here/../../deploy/local/progress.sh"
passed=0

# holds WHAT COMMAND...
holds() {
  local what=$1
  shift
  "$@" || fail "does not hold: $what"
  echo "ok: $what"
  passed=$((passed + 1))
}

# Every variable that .local/env promises, in a shell that has none of them before.
env_is_complete() {
  local variables=(KUBECONFIG PGO_APISERVER_URL PGO_CA_CERT PGO_CLIENT_CERT PGO_CLIENT_KEY PGOUSER PGO_NAMESPACE)
  # shellcheck disable=SC2016 # for the other shell
  env -i HOME="${HOME:-/root}" PATH="$PATH" bash -euc '
    . "$1"
    shift
    for name in "$@"; do [[ -n ${!name:-} ]] || { echo "$name is not set"; exit 1; }; done
    pgo version && kubectl get pgcluster hippo
  ' bash "$PGO_ROOT/.local/env" "${variables[@]}"
}

within_a_minute() { (($(clock_ms) - $1 < 60000)); }

run() {
  local output=$PGO_ROOT/.local/run.log begun
  holds "make run runs" make --no-print-directory -C "$PGO_ROOT" run
  begun=$(clock_ms)
  make --no-print-directory -C "$PGO_ROOT" run | tee "$output"
  holds "where nothing changed, make run takes under 60 s ($(since "$begun"))" within_a_minute "$begun"
  holds "it asks PostgreSQL one thing through the Service" grep -q "PostgreSQL 15" "$output"
  holds "it says what to try next" grep -q "pgo show cluster hippo" "$output"
  holds ".local/env has all that pgo and kubectl need" env_is_complete
  source "$PGO_ROOT/.local/env"
  holds "the first run showed the events of hippo" grep -Eq "/hippo +CreateCluster +completed" "$PGO_ROOT/.local/logs/hippo-events.log"
  holds "hippo can be deleted" pgo delete cluster hippo --delete-data --no-prompt --wait
}

nothing_of_it_is_left() {
  local status=0
  "$here/../../deploy/local/status.sh" || status=$?
  ((status == 3)) || { echo "status.sh exits $status"; return 1; }
  ! ip -o link show | grep -E "$BRIDGE|pgo-node" || return 1
  ! compgen -G '/run/netns/pgo-node*' || return 1
  ! grep -F "$PGO_LOCAL_DIR/" /proc/self/mountinfo || return 1
  ! find /sys/fs/cgroup -maxdepth 2 -name "$CGROUP" | grep . || return 1
  ! nft list tables | grep kube-proxy || return 1
  [[ ! -e $PGO_LOCAL_DIR && ! -e $PGO_LOCAL_NOTE && ! -e $PGO_ROOT/.local/env ]]
}

stop() {
  # A process of somebody else, which has a name like ours.
  (exec -a kubelet sleep 300) &
  local stranger=$!
  # shellcheck disable=SC2064 # this process, now
  trap "kill $stranger 2>/dev/null || true" EXIT
  holds "make stop stops" make --no-print-directory -C "$PGO_ROOT" stop
  holds "nothing that it started is left" nothing_of_it_is_left
  holds "what it did not start goes on" kill -0 "$stranger"
  holds "make stop can be said again" make --no-print-directory -C "$PGO_ROOT" stop
}

case ${1:-} in
  run | stop) "$1" ;;
  *) fail "commands.sh takes \"run\" or \"stop\"" ;;
esac
echo "$passed passed, 0 failed"
