#!/usr/bin/env bash
# other-major.sh REFERENCE ARCHIVE: an image that says of itself that it holds PostgreSQL 16, and does no more, as an OCI
# archive: enough to be asked for its version, which is all that happens to it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../deploy/local/progress.sh"
reference=$1 archive=$2

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tree=$folder/tree
mkdir -p "$tree"/{bin,tmp} "$tree/usr/lib/postgresql/16/bin"
cp /bin/dash "$tree/bin/sh"
ldd /bin/dash | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^\t\(\/[^ ]*\) (.*/\1/p' | while read -r library; do
  mkdir -p "$tree${library%/*}"
  cp -L "$library" "$tree$library"
done
for program in postgres initdb; do
  printf '#!/bin/sh\necho "%s (PostgreSQL) 16.9"\n' "$program" >"$tree/usr/lib/postgresql/16/bin/$program"
  chmod 755 "$tree/usr/lib/postgresql/16/bin/$program"
done

tar -C "$tree" -cf "$folder/tree.tar" .
printf 'FROM scratch\nADD tree.tar /\n' >"$folder/Containerfile"
our_buildah() { buildah --root "$folder/storage" --runroot "$folder/run" --storage-driver vfs "$@"; }
our_buildah bud --quiet --isolation chroot --layers=false --tag "$reference" --file "$folder/Containerfile" "$folder" >/dev/null ||
  fail "the image cannot be built"
our_buildah push --quiet "$reference" "oci-archive:$archive:$reference"
