#!/usr/bin/env bash
# evidence.sh: keeps and shows what tells why something failed on the local Kubernetes, before it is removed: what there
# is, what happened, the logs of PGO. All of it, and the logs of Kubernetes' own processes, goes to .local/evidence.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/settings.sh"
source "$here/progress.sh"

[[ -e $PGO_KUBECONFIG ]] || exit 0
evidence=$PGO_ROOT/.local/evidence
rm -rf "$evidence"
mkdir -p "$evidence"
k() { timeout 20 "$PGO_BIN/kubectl" --kubeconfig "$PGO_KUBECONFIG" --request-timeout=10s "$@" 2>&1 || true; }

k get pods,pgclusters,persistentvolumeclaims --all-namespaces --output wide >"$evidence/objects.txt"
k get pgclusters,pginstallations --all-namespaces --output yaml >"$evidence/status.yaml"
k get events --all-namespaces --sort-by .lastTimestamp >"$evidence/events.txt"
for pod in $(k get pods --namespace pgo --output name); do
  k logs --namespace pgo "$pod" --all-containers --timestamps >"$evidence/${pod#pod/}.log"
  k logs --namespace pgo "$pod" --all-containers --timestamps --previous >"$evidence/${pod#pod/}.previous.log"
done
cp -r "$PGO_LOCAL_DIR/logs" "$evidence/kubernetes" 2>/dev/null || true
cat "$evidence/objects.txt"
tail -n 30 "$evidence/events.txt"
for log in "$evidence"/*.log; do
  echo "--- the end of ${log##*/}"
  tail -n 15 "$log" | cut -c 1-240
done
say "more is in $evidence"
