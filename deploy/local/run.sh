#!/usr/bin/env bash
# run.sh: "make run". From a bare Debian 12 to a running PostgreSQL on a real Kubernetes, its events on the screen.
# Safe to run again: what is there stays.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/settings.sh"
source "$here/progress.sh"
STEP_LOGS=$PGO_ROOT/.local/logs

begun=$(clock_ms)
"$here/platform.sh"
source "$PGO_ROOT/.local/env"
run_step "6/7 PostgreSQL cluster hippo, its events, one query" "$here/hippo.sh"
cat <<EOT
7/7 everything runs, after $(since "$begun"). To go on:

    . .local/env
    pgo show cluster hippo
    pgo test hippo
    pgo watch alltopic                      # in a second terminal; then, in the first:
    pgo create cluster rhino --wait
    kubectl get pgclusters,pods,services
    make stop                               # ends all of it
EOT
