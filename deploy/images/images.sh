# Sourced by build.sh, import.sh and what needs an image's name: which images there are, what each is made from, what it
# is called.
# shellcheck shell=bash

IMAGES=$PGO_ROOT/deploy/images
SERVICES=(pgo-apiserver pgo-reconciler pgo-scheduler pgo-event pgo-direct pgo-agent)
# What an installation of PGO runs, and what it puts into the pods of clusters.
INSTALLED_IMAGES=("${SERVICES[@]}" pgo-nsqd pgo-postgres)

PGO_IMAGE_PREFIX=${PGO_IMAGE_PREFIX:-localhost/pgo}
CCP_IMAGE_PREFIX=${CCP_IMAGE_PREFIX:-localhost/pgo}
CCP_IMAGE_TAG=${CCP_IMAGE_TAG:-debian12-15}

RUST_TARGET=x86_64-unknown-linux-gnu
# Release binaries are kept with everything else that is built once; a fresh clone finds its dependencies compiled.
BINARIES=$PGO_CACHE/target/$RUST_TARGET/release

# image_inputs NAME: the files and folders that decide what is in it.
image_inputs() {
  case $1 in
    pause) echo "$IMAGES/pause" ;;
    pgo-postgres) echo "$IMAGES/pgo-postgres" ;;
    pgo-nsqd) printf '%s\n' "$IMAGES/pgo-nsqd" "$IMAGES/rootfs" "$(readlink -f "$PGO_BIN/nsqd")" ;;
    pgo-*) printf '%s\n' "$IMAGES/$1" "$IMAGES/rootfs" "$BINARIES/$1" ;;
    *) fail "no image is called $1; there are: pause ${INSTALLED_IMAGES[*]}" ;;
  esac
}

# image_hash NAME: two images of one hash have the same content, wherever the clone lies.
image_hash() {
  local inputs input
  inputs=$(image_inputs "$1")
  while read -r input; do
    [[ -e $input ]] || fail "image $1 needs $input, which is not built yet; make binaries builds it"
  done <<<"$inputs"
  {
    echo "$1"
    cat "$IMAGES/build.sh"
    while read -r input; do
      # In the order of the list: the names outside of a folder are the clone's.
      (cd "$(dirname "$input")" && find "$(basename "$input")" -type f -print0 | sort -z | xargs -0 sha256sum)
    done <<<"$inputs"
  } | sha256sum | cut -c 1-16
}

# image_folder NAME HASH: holds image.tar, an OCI archive, and digest, that of its manifest.
image_folder() { echo "$PGO_CACHE/built/image-$1-$2"; }

# pgo_image_tag: PGO_IMAGE_TAG, or a tag that follows from the content of all images of PGO: a changed service then gets
# new pods by the installation's own means, an unchanged one none.
pgo_image_tag() {
  local name
  if [[ -n ${PGO_IMAGE_TAG:-} ]]; then
    echo "$PGO_IMAGE_TAG"
    return
  fi
  for name in "${SERVICES[@]}" pgo-nsqd; do image_hash "$name"; done | sha256sum | cut -c 1-12
}

# image_reference NAME TAG: TAG is that of PGO's images.
image_reference() {
  case $1 in
    pause) echo "$PAUSE_IMAGE" ;;
    # 4.1's name of it, which clusters ask for unless told otherwise.
    pgo-postgres) echo "$CCP_IMAGE_PREFIX/crunchy-postgres:$CCP_IMAGE_TAG" ;;
    *) echo "$PGO_IMAGE_PREFIX/$1:$2" ;;
  esac
}
