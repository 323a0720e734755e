#!/usr/bin/env bash
# push.sh [NAME...]: pushes the images of an installation (all by default), as "make images" built them, to the registry
# that PGO_IMAGE_PREFIX and CCP_IMAGE_PREFIX name: under the names and tags that install.sh asks for where it gets the same
# variables. Who may push there is known to buildah (buildah login); PUSH_ARGS are further arguments of buildah push.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../local/settings.sh"
source "$here/../local/progress.sh"
# Before images.sh, whose defaults are those of this machine.
source "$here/../install/settings.sh"
source "$here/images.sh"
source "$here/buildah.sh"
check_settings
read -ra arguments <<<"${PUSH_ARGS:-}"

for prefix in PGO_IMAGE_PREFIX CCP_IMAGE_PREFIX; do
  [[ ${!prefix} != localhost/* ]] ||
    fail "$prefix is \"${!prefix}\", which no registry has; give one and a folder in it, such as registry.example.org/pgo"
done

# Pulled from its archive, pushed, and forgotten.
push_image() {
  local name=$1 archive reference begun image pushed=true
  archive=$(image_folder "$name" "$(image_hash "$name")")/image.tar
  [[ -e $archive ]] || fail "image $name is not built; build it with: make images"
  reference=$(image_reference "$name" "$PGO_IMAGE_TAG")
  begun=$(clock_ms)
  image=$(our_buildah pull --quiet "oci-archive:$archive")
  our_buildah push --quiet "${arguments[@]}" "$image" "docker://$reference" || pushed=false
  our_buildah rmi "$image" >/dev/null
  $pushed ||
    fail "$reference could not be pushed (see above); may this user push there (buildah login), and is PUSH_ARGS right?"
  say "pushed $reference in $(since "$begun")"
}

(($# > 0)) || set -- "${INSTALLED_IMAGES[@]}"
choose_storage_driver
for name in "$@"; do push_image "$name"; done
