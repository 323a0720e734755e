#!/usr/bin/env bash
# images.sh: gives podman the images of PGO that "make images" built on this machine, under the names that compose.yaml
# asks for, and prints their tag; the agent's and PostgreSQL's go to the local Kubernetes where it runs. Images that a
# registry holds (PGO_IMAGE_PREFIX, PGO_IMAGE_TAG) are pulled instead.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../deploy/local/settings.sh"
source "$here/../deploy/local/progress.sh"
source "$here/../deploy/images/images.sh"

tag=$(pgo_image_tag)
for name in "${SERVICES[@]}" pgo-nsqd; do
  reference=$(image_reference "$name" "$tag")
  # They run in pods only.
  if [[ $name == pgo-agent || $name == pgo-direct ]] || podman image exists "$reference"; then continue; fi
  hash=$(image_hash "$name")
  archive=$(image_folder "$name" "$hash")/image.tar
  [[ -e $archive ]] || fail "image $name is not built; build it with: make images"
  podman load --quiet --input "$archive" >/dev/null
  podman tag "localhost/pgo/$name:$hash" "$reference"
done
if [[ -S $PGO_LOCAL_DIR/node1/containerd.sock ]]; then
  "$here/../deploy/images/import.sh" pgo-agent pgo-postgres >&2
fi
echo "$tag"
