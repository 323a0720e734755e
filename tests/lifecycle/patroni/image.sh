#!/usr/bin/env bash
# image.sh: builds the image that failover is compared with, where it is not built yet, as deploy/images/build.sh builds
# PGO's, and keeps it in $PGO_CACHE. Prints its name and its OCI archive.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../../deploy/local/settings.sh"
source "$here/../../../deploy/local/progress.sh"
source "$here/../../../deploy/local/build/cached.sh"
source "$here/../../../deploy/images/buildah.sh"
tree=deploy/images/pgo-postgres

build_image() {
  local reference=$1 folder=$2
  mkdir "$folder/context"
  "$PGO_ROOT/$tree/tree.sh" "$folder/context/tree.tar" patroni etcd-server curl
  our_buildah bud --quiet --isolation chroot --layers=false --timestamp 0 --tag "$reference" \
    --file "$here/Containerfile" "$folder/context"
  our_buildah push --quiet --compression-format zstd "$reference" "oci-archive:$folder/image.tar:$reference"
  our_buildah rmi "$reference"
  rm -rf "$folder/context"
}

cd "$PGO_ROOT"
choose_storage_driver
hash=$(hash_of "$tree" tests/lifecycle/patroni/{Containerfile,image.sh})
reference=localhost/pgo/patroni:$hash
folder=$PGO_CACHE/built/image-patroni-$hash
# Two things are told on standard output, and nothing else.
cached image-patroni "$hash" build_image "$reference" >&2
used "$folder"
echo "$reference $folder/image.tar"
