#!/usr/bin/env bash
# install.sh: installs or updates PGO on the cluster that KUBECONFIG names. Needs kubectl and openssl. Safe to run again:
# what is there and good stays, passwords, certificates and a changed pgo.yaml among it.
# Settings are environment variables; settings.sh and docs/configuration.md list them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC1090
for part in progress settings namespaces render certificates volumes wait; do
  source "$here/$part.sh"
done

umask 077
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
STREAM=$WORK/stream.yaml

# apply FILE: everything in it, in order. Server-side: no copy of a Secret is left in an annotation.
apply() {
  k apply --server-side --force-conflicts --field-manager=pgo-installer --filename "$1" >"$WORK/applied" 2>"$WORK/refused" ||
    fail "Kubernetes refused a part of the installation:
$(<"$WORK/refused")"
}

check_storage_class() {
  local classes default
  classes=$(k get storageclasses -o 'go-template={{range .items}}{{.metadata.name}} {{with .metadata.annotations}}{{index . "storageclass.kubernetes.io/is-default-class"}}{{end}}{{"\n"}}{{end}}')
  default=$(awk '$2 == "true" {print $1; exit}' <<<"$classes")
  if [[ -z $PGO_STORAGE_CLASS ]]; then
    [[ -n $default ]] || fail "no storage class is the default here; set PGO_STORAGE_CLASS to one of: $(awk '{printf "%s ", $1}' <<<"$classes")"
  elif ! awk -v class="$PGO_STORAGE_CLASS" '$1 == class {found = 1} END {exit !found}' <<<"$classes"; then
    fail "there is no storage class $PGO_STORAGE_CLASS (PGO_STORAGE_CLASS); there are: $(awk '{printf "%s ", $1}' <<<"$classes")"
  fi
}

# read_namespaces: "name created-by|level installation" of each, into $WORK/namespaces.
read_namespaces() {
  k get namespaces -o 'go-template={{range .items}}{{.metadata.name}} {{with .metadata.labels}}{{with index . "pgo-created-by"}}{{.}}{{end}}|{{with index . "pod-security.kubernetes.io/enforce"}}{{.}}{{end}} {{with index . "pgo-installation-name"}}{{.}}{{end}}{{else}}| {{end}}{{"\n"}}{{end}}' >"$WORK/namespaces"
}

# foundation: what the rest needs to be there before it: custom resources, namespaces, Services with their addresses.
foundation() {
  local file existing name creator_and_level owner
  read_namespaces
  for file in "$here"/../crds/*.yaml; do
    printf -- '---\n'
    cat "$file"
  done
  for name in "$PGO_OPERATOR_NAMESPACE" "${TARGET_NAMESPACES[@]}"; do
    existing=$(awk -v name="$name" '$1 == name' "$WORK/namespaces")
    read -r _ creator_and_level owner <<<"$existing"
    [[ -z $owner || $owner == "$PGO_INSTALLATION_NAME" ]] ||
      fail "namespace $name belongs to the installation $owner (label pgo-installation-name), this one is $PGO_INSTALLATION_NAME; take another namespace, or remove the label"
    [[ -n $existing ]] || creator_and_level=new
    namespace "$name" "$creator_and_level"
  done
  render "$here/manifests/services.yaml"
}

# read_existing: the certificates in Secrets, the REST Service's address, the volumes there are.
read_existing() {
  k get secrets --namespace "$PGO_OPERATOR_NAMESPACE" -o 'go-template={{range .items}}{{.metadata.name}} {{with .data}}{{with index . "tls.crt"}}{{.}}{{end}}{{end}}{{"\n"}}{{end}}' >"$WORK/secrets"
  k get service postgres-operator --namespace "$PGO_OPERATOR_NAMESPACE" -o 'jsonpath={.spec.clusterIP}' >"$WORK/address"
  read_volumes
}

# choose_password: $WORK/password, 4.1's examplepassword never.
choose_password() {
  local secret=pgouser-$PGO_ADMIN_USERNAME
  if [[ -n $PGO_ADMIN_PASSWORD ]]; then
    printf %s "$PGO_ADMIN_PASSWORD" >"$WORK/password"
  elif grep -q "^$secret " "$WORK/secrets"; then
    secret_value "$secret" password >"$WORK/password"
  else
    openssl rand -base64 24 | tr -d '\n/+=' >"$WORK/password"
    say "made a password for user $PGO_ADMIN_USERNAME (Secret $secret)"
  fi
}

# choose_configuration: pgo.yaml as these settings make it, unless somebody changed the one there is. $WORK/pgo.yaml.
choose_configuration() {
  local installed
  render "$here/pgo.yaml" | tail -n +2 >"$WORK/pgo.yaml"
  installed=$(k get configmap pgo-config --namespace "$PGO_OPERATOR_NAMESPACE" --ignore-not-found \
    -o 'go-template={{with .metadata.annotations}}{{index . "pgo.crunchydata.com/installed"}}{{end}}')
  k get configmap pgo-config --namespace "$PGO_OPERATOR_NAMESPACE" --ignore-not-found \
    -o 'go-template={{index .data "pgo.yaml"}}' >"$WORK/present.yaml"
  if [[ -s $WORK/present.yaml && $(hash_of "$WORK/present.yaml") != "$installed" ]]; then
    cp "$WORK/present.yaml" "$WORK/pgo.yaml"
    say "pgo.yaml in ConfigMap pgo-config was changed by somebody and stays as it is"
    return
  fi
  configuration >>"$STREAM"
}

# services: the manifests of everything that runs. A template changes where a process must start anew: it reads what the
# hash is of only when it starts.
# shellcheck disable=SC2034
services() {
  local NSQD_IDENTITY AUTHORITY_HASH NSQD_STORAGE_CLASS EVENT_STORAGE_CLASS EVENT_VOLUME_SIZE NSQD_BESIDE manifest
  AUTHORITY_HASH=$(hash_of "$WORK/ca.crt")
  NSQD_IDENTITY=$(hash_of "$(certificate_of nsqd)")
  NSQD_STORAGE_CLASS=$(class_of nsqd)
  EVENT_STORAGE_CLASS=$(class_of event)
  EVENT_VOLUME_SIZE=$(event_volume_size)
  NSQD_BESIDE=$(beside_nsqd)
  for manifest in nsqd event apiserver reconciler scheduler; do
    render "$here/manifests/$manifest.yaml"
  done
  if $PGO_DIRECT_WATCH; then render "$here/manifests/direct.yaml"; fi
}

# beside_nsqd: the containers of nsqd's pod that there are only where they are asked for.
beside_nsqd() {
  if $PGO_NSQLOOKUPD; then render "$here/manifests/beside-nsqd/nsqlookupd.yaml" | tail -n +2; fi
  if $PGO_NSQADMIN; then render "$here/manifests/beside-nsqd/nsqadmin.yaml" | tail -n +2; fi
}

# remove_unwanted: what a former installation had and this one has not.
remove_unwanted() {
  $PGO_DIRECT_WATCH ||
    k delete deployment direct --namespace "$PGO_OPERATOR_NAMESPACE" --ignore-not-found >/dev/null
}

# client_files: what a client needs, in PGO_CLIENT_DIR.
client_files() {
  mkdir -p "$PGO_CLIENT_DIR"
  [[ -s $WORK/pgo.tls.key ]] || secret_value pgo.tls tls.key >"$WORK/pgo.tls.key"
  printf '%s:%s\n' "$PGO_ADMIN_USERNAME" "$(<"$WORK/password")" >"$WORK/pgouser"
  install -m 0600 "$WORK/pgo.tls.crt" "$PGO_CLIENT_DIR/client.crt"
  install -m 0600 "$WORK/pgo.tls.key" "$PGO_CLIENT_DIR/client.key"
  install -m 0600 "$WORK/pgo.tls.crt" "$PGO_CLIENT_DIR/ca.crt"
  install -m 0600 "$WORK/pgouser" "$PGO_CLIENT_DIR/pgouser"
}

check_programs
check_settings
check_kubernetes
check_storage_class
check_unnamed
say "installing PGO ($PGO_IMAGE_PREFIX, $PGO_IMAGE_TAG) into namespace $PGO_OPERATOR_NAMESPACE, for clusters in ${TARGET_NAMESPACES[*]}"

foundation >"$WORK/foundation.yaml"
apply "$WORK/foundation.yaml"
kubectl_waits wait --for=condition=Established --timeout=60s --filename "$here/../crds" >/dev/null

read_existing
make_authority
make_identities
make_rest_certificate "$(<"$WORK/address")"
choose_password
choose_configuration
administrator >>"$STREAM"
rights >>"$STREAM"
if $PGO_SERVICES; then
  services >>"$STREAM"
  wait_for_the_one_that_stays
  enlarge_event_volumes
fi
render "$here/manifests/installation.yaml" >>"$STREAM"
apply "$STREAM"

client_files
if $PGO_SERVICES; then
  remove_unwanted
  if $PGO_DIRECT_WATCH; then WORKLOADS+=(deployment/direct); fi
  wait_until_ready
fi
# What runs now works without these rights.
leave_unnamed
if $PGO_SERVICES; then
  say "PGO is ready; what a client needs is in $PGO_CLIENT_DIR (client.crt, client.key, ca.crt, pgouser)"
else
  say "everything is there but the services (PGO_SERVICES=false)"
fi
