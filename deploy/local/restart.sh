#!/usr/bin/env bash
# restart.sh apiserver|etcd: ends this process of the local Kubernetes the hard way and starts it again, as after a crash.
# As root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/settings.sh"
source "$here/progress.sh"
source "$here/processes.sh"
source "$here/certificates.sh"
source "$here/control-plane.sh"

name=${1:-}
[[ $name == apiserver || $name == etcd ]] || fail "restart.sh takes \"apiserver\" or \"etcd\""
alive "$name" || fail "no $name of a local Kubernetes runs; start one with: make run"

ended() { ! alive "$name"; }

kill -KILL "$(cut -d' ' -f1 "$PROCESSES/$name")"
poll 10 "the end of $name" ended
"start_$name"
await "$name" 60 "the API server" admin_get /readyz
