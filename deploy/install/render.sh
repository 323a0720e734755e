# Sourced by install.sh: writes Kubernetes objects to standard output, as YAML documents.
# shellcheck shell=bash disable=SC2153,SC2154

# render FILE: with @NAME@ replaced by the variable NAME. A line whose variable is empty and which asks for it
# ("# unless empty") goes.
render() {
  local text name
  text=$(<"$1")
  while [[ $text =~ @([A-Z][A-Z_]*)@ ]]; do
    name=${BASH_REMATCH[1]}
    [[ -v $name ]] || fail "$1 wants a setting $name, which there is not"
    [[ -n ${!name} ]] || text=$(sed "/@$name@.*# unless empty/d" <<<"$text")
    text=${text//"@$name@"/"${!name}"}
  done
  printf -- '---\n%s\n' "$text"
}

# namespace NAME EXISTING: EXISTING is "pgo-created-by|enforced level" of the one there is, "new" where there is none.
# A level that somebody chose for a namespace of theirs stays.
namespace() {
  local name=$1 creator=${2%%|*} level=${2##*|} installation=
  [[ $2 == new ]] && creator=install-script level=
  [[ $name == "$PGO_OPERATOR_NAMESPACE" ]] || installation=$PGO_INSTALLATION_NAME
  printf '%s\n' --- 'apiVersion: v1' 'kind: Namespace' 'metadata:' "  name: $name" '  labels:' '    vendor: crunchydata' \
    "    pod-security.kubernetes.io/enforce: ${level:-restricted}"
  [[ -z $installation ]] || printf '    pgo-installation-name: "%s"\n' "$installation"
  [[ -z $creator ]] || printf '    pgo-created-by: "%s"\n' "$creator"
}

# secret NAME TYPE LABELS KEY=FILE...: LABELS in YAML's flow style. What a file holds is in no argument.
secret() {
  local pair name=$1 type=$2 labels=$3
  shift 3
  printf '%s\n' --- 'apiVersion: v1' 'kind: Secret' "type: $type" 'metadata:' "  name: $name" \
    "  namespace: $PGO_OPERATOR_NAMESPACE" "  labels: {vendor: crunchydata$labels}" 'data:'
  for pair in "$@"; do
    printf '  %s: %s\n' "${pair%%=*}" "$(base64 -w 0 "${pair#*=}")"
  done
}

# tls_secret NAME CERTIFICATE KEY [AUTHORITY]: into the stream.
tls_secret() {
  secret "$1" kubernetes.io/tls "" "tls.crt=$2" "tls.key=$3" ${4:+"ca.crt=$4"} >>"$STREAM"
}

# secret_value SECRET KEY: what a Secret of the operator's namespace holds.
secret_value() {
  k get secret "$1" --namespace "$PGO_OPERATOR_NAMESPACE" -o "go-template={{index .data \"$2\"}}" | base64 -d
}

# administrator: the user and role that the installation begins with, 4.1's Secrets; $WORK/password is the user's.
administrator() {
  local created=', pgo-created-by: bootstrap'
  tr '\n' , <"$here/permissions" | sed 's/,$//' >"$WORK/permissions"
  printf %s "$PGO_ADMIN_USERNAME" >"$WORK/username"
  printf %s pgoadmin >"$WORK/rolename"
  secret pgorole-pgoadmin Opaque ", pgo-pgorole: \"true\", rolename: pgoadmin$created" \
    "rolename=$WORK/rolename" "permissions=$WORK/permissions"
  secret "pgouser-$PGO_ADMIN_USERNAME" Opaque ", pgo-pgouser: \"true\", username: \"$PGO_ADMIN_USERNAME\"$created" \
    "username=$WORK/username" "password=$WORK/password" "roles=$WORK/rolename"
}

# configuration: ConfigMap pgo-config with $WORK/pgo.yaml. The annotation tells later whether somebody changed it.
configuration() {
  printf '%s\n' --- 'apiVersion: v1' 'kind: ConfigMap' 'metadata:' '  name: pgo-config' \
    "  namespace: $PGO_OPERATOR_NAMESPACE" '  labels: {vendor: crunchydata}' \
    "  annotations: {pgo.crunchydata.com/installed: \"$(hash_of "$WORK/pgo.yaml")\"}" 'data:' '  pgo.yaml: |'
  sed 's/^/    /' "$WORK/pgo.yaml"
}

# hash_of FILE: 16 characters that stand for its content.
hash_of() { sha256sum <"$1" | cut -c 1-16; }

# rights: rules, bindings and accounts of every process.
rights() {
  local process
  for process in "${PROCESSES[@]}"; do
    printf '%s\n' --- 'apiVersion: v1' 'kind: ServiceAccount' 'metadata:' "  name: pgo-$process" \
      "  namespace: $PGO_OPERATOR_NAMESPACE" '  labels: {vendor: crunchydata}' 'automountServiceAccountToken: false'
  done
  awk -v opns="$PGO_OPERATOR_NAMESPACE" -v targets="${TARGET_NAMESPACES[*]}" -f "$here/rbac.awk" "$here"/../rbac/*.yaml
}
