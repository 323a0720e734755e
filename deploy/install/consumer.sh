#!/usr/bin/env bash
# consumer.sh NAME [FOLDER]: a certificate for a program that reads events: NAME.consumer.pgo, of the installation's
# authority. FOLDER (NAME unless given) gets tls.crt, tls.key and ca.crt, for this user only. Needs kubectl and openssl, and
# who calls it must be allowed to read Secret pgo-ca in PGO's namespace.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC1090
for part in progress settings certificates; do
  source "$here/$part.sh"
done

name=${1:-} folder=${2:-${1:-}}
[[ $name =~ ^[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?$ ]] ||
  fail "the name \"$name\" cannot be used; give one of a-z, 0-9 and '-', as in: consumer.sh billing"

umask 077
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
check_programs
check_kubernetes

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
