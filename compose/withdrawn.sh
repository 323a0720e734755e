#!/usr/bin/env bash
# withdrawn.sh: brings the names of consumers whose certificates were withdrawn (deploy/install/consumer.sh --withdraw) to the
# event service, which has them from a volume where it runs on Kubernetes. up.sh calls it; call it again after a withdrawal,
# with the same settings. It holds with the next question.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC1091
source "$here/settings.sh"
for part in progress settings; do
  # shellcheck disable=SC1090
  source "$here/../deploy/install/$part.sh"
done

folder=$PGO_COMPOSE_DIR/withdrawn
names=$(k get configmap pgo-withdrawn-consumers --namespace "$PGO_OPERATOR_NAMESPACE" --ignore-not-found \
  -o 'go-template={{range $name, $since := .data}}{{$name}}{{"\n"}}{{end}}') ||
  fail "cannot read ConfigMap pgo-withdrawn-consumers in namespace $PGO_OPERATOR_NAMESPACE; what was withdrawn before stays so"
mkdir -p "$folder"
# The names before those that are let in again go: at no moment is one let in that is not.
while read -r name; do
  [[ -z $name ]] || : >"$folder/$name"
done <<<"$names"
for file in "$folder"/*; do
  if [[ -e $file ]] && ! grep -qxF -- "${file##*/}" <<<"$names"; then
    rm -f "$file"
  fi
done
# Names are no secrets, and user 2 reads them.
chmod -R a+rX "$folder"
