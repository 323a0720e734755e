#!/usr/bin/env bash
# platform.sh: the first five steps of "make run", which its tests need too: from a bare machine to PGO installed on the
# local Kubernetes, and .local/env, with which pgo and kubectl speak to it. Each step does only what is not done yet.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/settings.sh"
source "$here/progress.sh"
source "$here/../images/images.sh"
STEP_LOGS=$PGO_ROOT/.local/logs

((EUID == 0)) || fail "this starts a Kubernetes on this machine: network namespaces, cgroups and containers, which only root may; run it as root"

build_programs() {
  "$here/build/build.sh"
  "$here/../images/binaries.sh"
}

start_kubernetes() {
  "$here/up.sh"
  "$here/../images/import.sh"
}

install_pgo() {
  PGO_IMAGE_TAG=$(pgo_image_tag)
  export PGO_IMAGE_PREFIX PGO_IMAGE_TAG CCP_IMAGE_PREFIX CCP_IMAGE_TAG
  # What the client would take for its own setting, too.
  unset DISABLE_TLS
  export PGO_OPERATOR_NAMESPACE=pgo NAMESPACE=pgouser1 PGO_STORAGE_CLASS=local PGO_CLIENT_DIR=$PGO_ROOT/.local/client
  ln -sfn "$PGO_BIN/kubectl" "$PGO_ROOT/.local/bin/kubectl"
  mkdir -p "$PGO_CLIENT_DIR"
  # A copy with the namespace that one works in here.
  (umask 077 && sed "s/context: {/&namespace: $NAMESPACE, /" "$PGO_KUBECONFIG" >"$PGO_ROOT/.local/kubeconfig")
  export KUBECONFIG=$PGO_ROOT/.local/kubeconfig PATH=$PGO_ROOT/.local/bin:$PATH
  "$here/../install/install.sh"
  write_env
}

# Written last: who can source it has an installed PGO.
write_env() {
  local address
  address=$(kubectl --namespace "$PGO_OPERATOR_NAMESPACE" get service postgres-operator --output jsonpath='{.spec.clusterIP}')
  cat >"$PGO_ROOT/.local/env" <<EOT
# To be sourced: pgo and kubectl for the local Kubernetes.
unset DISABLE_TLS PGOUSERNAME PGOUSERPASS
export PATH='$PGO_ROOT/.local/bin':"\$PATH"
export KUBECONFIG='$KUBECONFIG'
export PGO_APISERVER_URL='https://$address:8443'
export PGO_CA_CERT='$PGO_CLIENT_DIR/ca.crt'
export PGO_CLIENT_CERT='$PGO_CLIENT_DIR/client.crt'
export PGO_CLIENT_KEY='$PGO_CLIENT_DIR/client.key'
export PGOUSER='$PGO_CLIENT_DIR/pgouser'
export PGO_NAMESPACE='$NAMESPACE'
export PGO_OPERATOR_NAMESPACE='$PGO_OPERATOR_NAMESPACE'
export PGO_LOCAL_DIR='$PGO_LOCAL_DIR'
EOT
}

check_nodes
run_step "1/7 Debian packages" "$here/packages.sh"
run_step "2/7 programs: services, agent, client, nsqd, Kubernetes" build_programs
run_step "3/7 images" "$here/../images/build.sh"
run_step "4/7 local Kubernetes" start_kubernetes
run_step "5/7 PGO" install_pgo
