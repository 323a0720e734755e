#!/usr/bin/env bash
# import.sh [NAME...]: gives these images (all that an installation needs by default) to every node of the local
# Kubernetes that does not have exactly this content yet. Builds what is not built.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../local/settings.sh"
source "$here/../local/progress.sh"
source "$here/images.sh"

node_ctr() {
  local socket=$1
  shift
  ctr --address "$socket" --namespace k8s.io "$@"
}

# import_into NODE SOCKET NAME HASH REFERENCE DIGEST
import_into() {
  local node=$1 socket=$2 name=$3 hash=$4 reference=$5 digest=$6 begun there
  begun=$(clock_ms)
  there=$(held "$socket")
  if ! grep -qxF "localhost/pgo/$name:$hash $digest" <<<"$there"; then
    timeout 300 ctr --address "$socket" --namespace k8s.io images import "$(image_folder "$name" "$hash")/image.tar" >/dev/null
  fi
  node_ctr "$socket" images tag --force "localhost/pgo/$name:$hash" "$reference" >/dev/null
  say "$node has $reference now, after $(since "$begun")"
}

# held SOCKET: "REFERENCE DIGEST" of each image the node has.
held() { node_ctr "$1" images list | awk 'NR > 1 {print $1, $3}'; }

(($# > 0)) || set -- "${INSTALLED_IMAGES[@]}"
"$here/build.sh" "$@"
declare -A hashes references digests
tag=
for name in "$@"; do
  case $name in
    pause | pgo-postgres) ;;
    *) tag=${tag:-$(pgo_image_tag)} ;;
  esac
  hashes[$name]=$(image_hash "$name")
  references[$name]=$(image_reference "$name" "$tag")
  digests[$name]=$(<"$(image_folder "$name" "${hashes[$name]}")/digest")
done

workers=()
for dir in "$PGO_LOCAL_DIR"/node*/; do
  socket=${dir}containerd.sock
  [[ -S $socket ]] || fail "the local Kubernetes is not running; start it: deploy/local/up.sh"
  (
    has=$(held "$socket")
    for name in "$@"; do
      grep -qxF "${references[$name]} ${digests[$name]}" <<<"$has" ||
        import_into "$(basename "$dir")" "$socket" "$name" "${hashes[$name]}" "${references[$name]}" "${digests[$name]}"
    done
  ) &
  workers+=($!)
done
for worker in "${workers[@]}"; do
  wait "$worker" || fail "an image could not be imported into a node; see above"
done
