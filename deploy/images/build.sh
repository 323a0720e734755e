#!/usr/bin/env bash
# build.sh [NAME...]: builds these images with buildah (all that an installation needs by default), each only when what
# it is made from changed, and keeps them as OCI archives in $PGO_CACHE.
# The programs in them are built before, by binaries.sh and deploy/local/build/build.sh.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../local/settings.sh"
source "$here/../local/progress.sh"
source "$here/../local/build/cached.sh"
source "$here/images.sh"
source "$here/buildah.sh"

# context NAME FOLDER: puts what the image's Containerfile copies into FOLDER.
context() {
  case $1 in
    pause) gcc -static -Os -s -Wall -Wextra -Werror -o "$2/pause" "$here/pause/pause.c" ;;
    pgo-postgres) "$here/pgo-postgres/tree.sh" "$2/tree.tar" ;;
    pgo-nsqd)
      cp -r "$here/rootfs" "$2/rootfs"
      cp "$PGO_BIN"/{nsqd,nsqlookupd,nsqadmin} "$2/"
      ;;
    *)
      cp -r "$here/rootfs" "$2/rootfs"
      cp "$BINARIES/$1" "$2/"
      ;;
  esac
}

# build_image NAME HASH FOLDER: FOLDER gets image.tar and digest.
build_image() {
  local name=$1 reference=localhost/pgo/$1:$2 folder=$3
  mkdir "$folder/context"
  context "$name" "$folder/context"
  # A fixed time: the same content gives the same digest, so nodes that have it need nothing.
  our_buildah bud --quiet --isolation chroot --layers=false --timestamp 0 --tag "$reference" \
    --file "$here/$name/Containerfile" "$folder/context"
  # Unpacking is what makes an import slow, and gzip what makes unpacking slow.
  our_buildah push --quiet --compression-format zstd --digestfile "$folder/digest" "$reference" "oci-archive:$folder/image.tar:$reference"
  our_buildah rmi "$reference" >/dev/null
  rm -rf "$folder/context"
}

(($# > 0)) || set -- pause "${INSTALLED_IMAGES[@]}"
choose_storage_driver
for name in "$@"; do
  hash=$(image_hash "$name")
  if [[ ! -d $(image_folder "$name" "$hash") ]]; then
    say "building image $name"
    begun=$(clock_ms)
    cached "image-$name" "$hash" build_image "$name" "$hash"
    say "built image $name in $(since "$begun")"
  fi
  used "$(image_folder "$name" "$hash")"
done
