#!/usr/bin/env bash
# status.sh: what of the local Kubernetes runs. Exits 0 if all of it does, 1 if a part does not, 3 if none is there.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/settings.sh"
source "$here/progress.sh"
source "$here/processes.sh"
source "$here/certificates.sh"
source "$here/control-plane.sh"
source "$here/state.sh"

if ! something_is_there; then
  say "no local Kubernetes is there"
  exit 3
fi
for record in "$PROCESSES"/*; do
  [[ -e $record ]] || break
  name=${record##*/}
  if alive "$name"; then say "$name runs, process $(cut -d' ' -f1 "$record")"; else say "$name has ended; its log: $LOGS/$name.log"; fi
done
if healthy; then
  say "healthy; kubeconfig: $PGO_KUBECONFIG"
else
  say "not healthy; up.sh starts it anew"
  exit 1
fi
