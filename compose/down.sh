#!/usr/bin/env bash
# down.sh: ends what up.sh started, after PGO has told that it stops. What the installer put into Kubernetes stays, and so
# do the data of nsqd and event, in $PGO_COMPOSE_DIR.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC1091
source "$here/settings.sh"
for part in progress stop; do
  # shellcheck disable=SC1090
  source "$here/../deploy/install/$part.sh"
done

# How long a service may take to end in order. Longer than any of them takes.
STOP_SECONDS=20

if [[ ! -e $STARTED ]]; then
  say "nothing was started by up.sh (there is no $STARTED)"
  exit
fi
# shellcheck disable=SC1090
source "$STARTED"
export KUBECONFIG=$PGO_COMPOSE_DIR/kubeconfig
# end_work: what is not needed to tell of the stop; that it could not be ended is told by who tells of the stop.
end_work() { compose stop --timeout "$STOP_SECONDS" apiserver scheduler >"$PGO_COMPOSE_DIR/compose.log" 2>&1 || true; }

if k get --raw /readyz >/dev/null 2>&1; then
  stop_telling end_work
else
  say "Kubernetes does not answer, so PGO cannot tell that it stops"
fi
compose stop --timeout "$STOP_SECONDS" >"$PGO_COMPOSE_DIR/compose.log" 2>&1 ||
  fail "the services cannot be stopped:
$(tail -n 20 "$PGO_COMPOSE_DIR/compose.log")"
compose down >"$PGO_COMPOSE_DIR/compose.log" 2>&1 ||
  fail "the containers cannot be removed:
$(tail -n 20 "$PGO_COMPOSE_DIR/compose.log")"
rm -f "$STARTED"
say "the services have ended"
