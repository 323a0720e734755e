#!/usr/bin/env bash
# podman.sh: podman, as podman-compose calls it here: with PODMAN_ARGS, and without the network that podman-compose 1.0.3,
# which is Debian's, makes and gives to each container, also to one on the machine's own network, where podman refuses it.
set -euo pipefail

# All containers here are on the machine's network: none is to be made.
if [[ ${1:-} == network ]]; then exit 0; fi
arguments=()
while (($# > 0)); do
  case $1 in
    --net | --network-alias) shift 2 ;;
    *)
      arguments+=("$1")
      shift
      ;;
  esac
done
# shellcheck disable=SC2086 # several words
exec podman ${PODMAN_ARGS---runtime runc --cgroup-manager cgroupfs} "${arguments[@]}"
