#!/usr/bin/env bash
# up.sh: runs the services of PGO in containers of this machine, for the Kubernetes that KUBECONFIG names. Custom
# resources, users, certificates and pgo.yaml are put there by the installer; its own services are not. As root: the
# containers run as user 2 and read only what is theirs.
# Settings are the installer's (docs/configuration.md); docs/compose.md says more. down.sh ends it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC1091
source "$here/settings.sh"
# shellcheck disable=SC1091
source "$here/../deploy/install/progress.sh"
# Built on this machine unless said otherwise.
if [[ -z ${PGO_IMAGE_TAG:-} && -z ${PGO_IMAGE_PREFIX:-} && -z ${COMPOSE:-} ]]; then
  PGO_IMAGE_TAG=$("$here/images.sh")
fi
# shellcheck disable=SC1091
source "$here/../deploy/install/settings.sh"

export PGO_OPERATOR_NAMESPACE PGO_INSTALLATION_NAME NAMESPACE LOG_LEVEL
export PGO_IMAGE_PREFIX PGO_IMAGE_TAG CCP_IMAGE_PREFIX CCP_IMAGE_TAG
((EUID == 0)) || fail "up.sh gives files to user 2, as whom the containers run; run it as root"

PGO_SERVICES=false PGO_CLIENT_DIR=$PGO_COMPOSE_DIR/client "$here/../deploy/install/install.sh"

# value SECRET KEY
value() { k get secret "$1" --namespace "$PGO_OPERATOR_NAMESPACE" -o "go-template={{index .data \"$2\"}}" | base64 -d; }

umask 077
for process in apiserver reconciler scheduler event nsqd; do
  mkdir -p "$PGO_COMPOSE_DIR/$process"
  for key in tls.crt tls.key ca.crt; do
    value "pgo-$process-tls" "$key" >"$PGO_COMPOSE_DIR/$process/$key"
  done
done
mkdir -p "$PGO_COMPOSE_DIR"/{ca,nsqd-data,event-data}
for key in tls.crt tls.key; do value pgo-ca "$key" >"$PGO_COMPOSE_DIR/ca/$key"; done
# With the certificates in it, since the files it may name are not in the containers.
k config view --raw --flatten --minify >"$PGO_COMPOSE_DIR/kubeconfig"
chown -R 2:2 "$PGO_COMPOSE_DIR"/{apiserver,reconciler,scheduler,event,nsqd,ca,nsqd-data,event-data,kubeconfig}
chmod 0711 "$PGO_COMPOSE_DIR"

compose up --detach
cat <<EOT
  · the services run; to go on:

    export PGO_APISERVER_URL=https://127.0.0.1:8443 PGO_NAMESPACE=${TARGET_NAMESPACES[0]}
    export PGO_CA_CERT=$PGO_COMPOSE_DIR/client/ca.crt PGO_CLIENT_CERT=$PGO_COMPOSE_DIR/client/client.crt
    export PGO_CLIENT_KEY=$PGO_COMPOSE_DIR/client/client.key PGOUSER=$PGO_COMPOSE_DIR/client/pgouser
    pgo version
    http://127.0.0.1:4171 is nsqadmin
    compose/down.sh ends all of it
EOT
