#!/usr/bin/env bash
# hippo.sh: creates cluster hippo with the client while its events pass by, and asks it one thing through its Service.
# With .local/env sourced.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/settings.sh"
source "$here/progress.sh"

# watch_events FILE: shows them, and keeps them in FILE.
watch_events() {
  # From a moment ago on: what happens before the stream is there is shown, too.
  pgo watch alltopic --since 2s > >(tee "$1" | sed --unbuffered "s/^/${MARK}event: /") 2>&1 &
  watcher=$!
  # By number: whatever ends this script ends it too.
  trap 'kill $watcher 2>/dev/null || true' EXIT
}

if kubectl get pgcluster hippo >/dev/null 2>&1; then
  say "cluster hippo is there already"
  kubectl wait --for=condition=Ready pgcluster/hippo --timeout=120s || {
    pgo show cluster hippo
    fail "cluster hippo is not ready after 120 s; see above why"
  }
else
  events=$PGO_ROOT/.local/logs/hippo-events.log
  watch_events "$events"
  say "pgo create cluster hippo --wait"
  timeout 180 pgo create cluster hippo --wait | sed --unbuffered "s/^/$MARK/"
  poll 10 "the event of its completion" grep --quiet --extended-regexp "/hippo +CreateCluster +completed" "$events" ||
    fail "cluster hippo is there, but pgo watch did not show the event of its completion within 10 s"
fi

# As the user that the configuration names, with the password from its Secret and never on a command line.
secret() { kubectl get secret hippo-testuser-secret --output jsonpath="{.data.$1}" | base64 --decode; }
address=$(kubectl get service hippo --output jsonpath='{.spec.clusterIP}')
PGUSER=$(secret username)
PGPASSWORD=$(secret password)
export PGUSER PGPASSWORD PGSSLMODE=require PGCONNECT_TIMEOUT=10
say "psql through Service hippo ($address), as $PGUSER:"
timeout 60 psql --host "$address" --dbname userdb --no-psqlrc --tuples-only --no-align --command 'select version()' | sed "s/^/$MARK  /"
