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
# On a screen.
LOG_FORMAT=${LOG_FORMAT:-text}
for part in settings wait; do
  # shellcheck disable=SC1090
  source "$here/../deploy/install/$part.sh"
done

# What the installer, the compose file and down.sh take from the environment.
handed_on=(PGO_OPERATOR_NAMESPACE PGO_INSTALLATION_NAME NAMESPACE PGO_IMAGE_PREFIX PGO_IMAGE_TAG CCP_IMAGE_PREFIX
  CCP_IMAGE_TAG DISABLE_EVENTING DISABLE_TLS NOAUTH_ROUTES LOG_LEVEL LOG_FORMAT PGO_STOP_SECONDS)
for name in "${handed_on[@]}"; do export "${name?}"; done
((EUID == 0)) || fail "up.sh gives files to user 2, as whom the containers run; run it as root"
[[ ! -e $STARTED ]] || fail "the services run already, or were not ended in order; end them first: compose/down.sh"

PGO_SERVICES=false PGO_CLIENT_DIR=$PGO_COMPOSE_DIR/client "$here/../deploy/install/install.sh"

# value SECRET KEY
value() { k get secret "$1" --namespace "$PGO_OPERATOR_NAMESPACE" -o "go-template={{index .data \"$2\"}}" | base64 -d; }

# files: what the containers read and write.
files() {
  local process key
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
  "$here/withdrawn.sh"
}

# environment: how pgo reaches it.
environment() {
  local scheme=https
  # By 4.1's rule: exactly this word.
  [[ $DISABLE_TLS != true ]] || scheme=http
  cat >"$PGO_COMPOSE_DIR/env" <<EOT
# To be sourced: pgo for the services in containers.
export PGO_APISERVER_URL='$scheme://127.0.0.1:8443'
export PGO_CA_CERT='$PGO_COMPOSE_DIR/client/ca.crt'
export PGO_CLIENT_CERT='$PGO_COMPOSE_DIR/client/client.crt'
export PGO_CLIENT_KEY='$PGO_COMPOSE_DIR/client/client.key'
export PGOUSER='$PGO_COMPOSE_DIR/client/pgouser'
export PGO_NAMESPACE='${TARGET_NAMESPACES[0]}'
export PGO_OPERATOR_NAMESPACE='$PGO_OPERATOR_NAMESPACE'
export DISABLE_TLS='$DISABLE_TLS'
EOT
}

# is_up: the reconciler and the apiserver answer, and the reconciler says that all of PGO is ready.
is_up() {
  local port
  for port in 9092 9093; do
    curl --silent --fail --output /dev/null --max-time 5 "http://127.0.0.1:$port/readyz" || return 1
  done
  installation_is_ready
}

wait_until_up() {
  local deadline=$((SECONDS + PGO_WAIT_SECONDS)) service
  until is_up; do
    if ((SECONDS >= deadline)); then
      for service in nsqd event apiserver reconciler scheduler; do
        say "the end of what $service says:"
        { compose logs --tail 10 "$service" 2>&1 || true; } | sed 's/^/    | /'
      done
      fail "the services are not ready within $PGO_WAIT_SECONDS s (PGO_WAIT_SECONDS); compose/down.sh ends them"
    fi
    sleep 0.3
  done
}

files
environment
for name in "${handed_on[@]}"; do printf 'export %s=%q\n' "$name" "${!name}"; done >"$STARTED"
compose up --detach >"$PGO_COMPOSE_DIR/compose.log" 2>&1 ||
  fail "the services cannot be started:
$(tail -n 20 "$PGO_COMPOSE_DIR/compose.log")"
wait_until_up
cat <<EOT
  · the services run; to go on:

    . $PGO_COMPOSE_DIR/env
    pgo version
    http://127.0.0.1:4171 is nsqadmin
    compose/down.sh ends all of it
EOT
