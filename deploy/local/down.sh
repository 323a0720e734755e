#!/usr/bin/env bash
# down.sh: ends the local Kubernetes and removes all that up.sh made, and only that. As root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/settings.sh"
source "$here/progress.sh"
source "$here/processes.sh"
source "$here/network.sh"
source "$here/state.sh"

if ! something_is_there; then
  say "no local Kubernetes is there"
  exit
fi
((EUID == 0)) || fail "the local Kubernetes was started by root; end it as root"
lock_machine
same_folder
begun=$(clock_ms)
remove_everything
say "everything has ended; freeing its disk space"
wait "$REMOVAL"
say "the local Kubernetes is gone after $(since "$begun")"
