#!/usr/bin/env bash
# consumer.sh NAME [FOLDER]: a certificate for a program that reads events: NAME.consumer.pgo, of the installation's
# authority. FOLDER (NAME unless given) gets tls.crt, tls.key and ca.crt, for this user only. Needs kubectl and openssl, and
# who calls it must be allowed to read Secret pgo-ca in PGO's namespace.
# consumer.sh --withdraw NAME: no certificate of that name is taken any more, by nsqd or over HTTP. Who calls it must be
# allowed to change ConfigMap pgo-withdrawn-consumers, which has a key for each.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC1090
for part in progress settings certificates; do
  source "$here/$part.sh"
done

withdraw=false
if [[ ${1:-} == --withdraw ]]; then
  withdraw=true
  shift
fi
name=${1:-} folder=${2:-${1:-}}
[[ $name =~ ^[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?$ ]] ||
  fail "the name \"$name\" cannot be used; give one of a-z, 0-9 and '-', as in: consumer.sh billing"

umask 077
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
check_programs
check_kubernetes

WITHDRAWN=pgo-withdrawn-consumers

# withdraw_name: a field manager for each, so that keys of others stay.
withdraw_name() {
  printf '%s\n' 'apiVersion: v1' 'kind: ConfigMap' 'metadata:' "  name: $WITHDRAWN" \
    "  namespace: $PGO_OPERATOR_NAMESPACE" '  labels: {vendor: crunchydata}' \
    'data:' "  \"$name\": \"withdrawn $(date --utc +%Y-%m-%dT%H:%M:%SZ)\"" >"$WORK/withdrawn.yaml"
  k apply --server-side --force-conflicts --field-manager="pgo-withdraw-$name" --filename "$WORK/withdrawn.yaml" >/dev/null ||
    fail "ConfigMap $WITHDRAWN in namespace $PGO_OPERATOR_NAMESPACE could not be changed; the certificates of $name are as good as before"
  # kubelet brings it with its next look at the pods, which a change of them calls for now.
  k annotate pods --namespace "$PGO_OPERATOR_NAMESPACE" --selector pgo-process=event --overwrite \
    "pgo.crunchydata.com/withdrawn=$(date --utc +%s)" >/dev/null 2>&1 || true
  say "withdrew $name.consumer.pgo: in seconds, or within two minutes where kubelet brings it late, no connection with that name is taken any more, and what reads over HTTP is ended"
  say "what is connected to nsqd goes on until that connection ends; this ends all of them, and PGO's own come again: kubectl rollout restart -n $PGO_OPERATOR_NAMESPACE statefulset/nsqd"
  say "the name stays withdrawn: give the program's next certificate another one"
}

# is_withdrawn: whether the name is.
is_withdrawn() {
  local names
  names=$(k get configmap "$WITHDRAWN" --namespace "$PGO_OPERATOR_NAMESPACE" --ignore-not-found \
    -o 'go-template={{range $name, $since := .data}}{{$name}}{{"\n"}}{{end}}')
  grep -qxF -- "$name" <<<"$names"
}

if $withdraw; then
  withdraw_name
  exit
fi
! is_withdrawn || fail "$name.consumer.pgo was withdrawn (ConfigMap $WITHDRAWN), and so would be its next certificate; give another name"

# of_authority KEY: a part of Secret pgo-ca.
of_authority() {
  k get secret pgo-ca --namespace "$PGO_OPERATOR_NAMESPACE" -o "go-template={{index .data \"$1\"}}" | base64 -d
}
of_authority tls.crt >"$WORK/ca.crt" || fail "cannot read Secret pgo-ca in namespace $PGO_OPERATOR_NAMESPACE (PGO_OPERATOR_NAMESPACE); is PGO installed there?"
of_authority tls.key >"$WORK/ca.key"

issue consumer "$name.consumer.pgo"
mkdir -p "$folder"
install -m 0600 "$WORK/consumer.crt" "$folder/tls.crt"
install -m 0600 "$WORK/consumer.key" "$folder/tls.key"
install -m 0600 "$WORK/ca.crt" "$folder/ca.crt"
say "made a certificate for $name.consumer.pgo, good for $PROCESS_DAYS days, in $folder"
cat <<EOT
    kubectl port-forward -n $PGO_OPERATOR_NAMESPACE service/event 8446 &
    curl --cacert $folder/ca.crt --cert $folder/tls.crt --key $folder/tls.key \\
      --connect-to event.pgo:8446:127.0.0.1:8446 'https://event.pgo:8446/v1/events?last=10'
EOT
