# Sourced by what builds and pushes images: buildah with a store of its own.
# shellcheck shell=bash

# Nothing of the user's images is touched, and all of it goes with the cache.
our_buildah() {
  buildah --root "$PGO_CACHE/buildah/storage" --runroot "$PGO_CACHE/buildah/run" --storage-driver "$STORAGE_DRIVER" "$@"
}

# vfs copies whole trees but works on every file system; overlay does not work on an overlay.
choose_storage_driver() {
  STORAGE_DRIVER=${STORAGE_DRIVER:-overlay}
  mkdir -p "$PGO_CACHE/buildah"
  our_buildah info >/dev/null 2>&1 || STORAGE_DRIVER=vfs
}
