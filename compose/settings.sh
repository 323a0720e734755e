# Sourced by up.sh and down.sh.
# shellcheck shell=bash disable=SC2034

PGO_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Certificates and keys, nsqd's and the event service's data.
PGO_COMPOSE_DIR=${PGO_COMPOSE_DIR:-$PGO_ROOT/.local/compose}
export PGO_COMPOSE_DIR
# What down.sh must know of what up.sh has started.
STARTED=$PGO_COMPOSE_DIR/started

# compose ARGUMENT...: podman-compose, or what COMPOSE names ("docker compose").
compose() {
  cd "$PGO_ROOT/compose" || return
  if [[ -n ${COMPOSE:-} ]]; then
    $COMPOSE --project-name pgo --file compose.yaml "$@"
  else
    podman-compose --podman-path "$PGO_ROOT/compose/podman.sh" --no-ansi --project-name pgo --file compose.yaml "$@"
  fi
}
