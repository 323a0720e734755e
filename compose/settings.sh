# Sourced by up.sh and down.sh.
# shellcheck shell=bash disable=SC2034

PGO_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Certificates and keys, nsqd's and the event service's data.
PGO_COMPOSE_DIR=${PGO_COMPOSE_DIR:-$PGO_ROOT/.local/compose}
export PGO_COMPOSE_DIR

# compose ARGUMENT...: podman-compose, or what COMPOSE names ("docker compose").
# Debian's podman needs runc and cgroupfs where the machine mixes both versions of cgroups.
compose() {
  cd "$PGO_ROOT/compose" || return
  if [[ -n ${COMPOSE:-} ]]; then
    $COMPOSE --project-name pgo --file compose.yaml "$@"
  else
    podman-compose --podman-args "${PODMAN_ARGS:---runtime runc --cgroup-manager cgroupfs}" --no-ansi \
      --project-name pgo --file compose.yaml "$@"
  fi
}
