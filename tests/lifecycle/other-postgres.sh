#!/usr/bin/env bash
# other-postgres.sh REFERENCE ARCHIVE [ROOT]: an image that holds PostgreSQL and little else, as an OCI archive: the programs
# of this machine's package, or of packages that are unpacked below ROOT, in another folder, the libraries they need and a
# shell, which initdb needs. No pgBackRest, no users, nothing of Debian's; of the programs that replicas need to vote
# (psql, pg_waldump) only those of packages below ROOT.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../deploy/local/progress.sh"
reference=$1 archive=$2 root=${3:-}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tree=$folder/tree
mkdir -p "$tree"/{bin,tmp,usr/share,usr/lib/locale} "$tree/opt/database"/{lib/postgresql/15/bin,share/postgresql}

# PostgreSQL finds its files by the way from its programs to them, wherever they lie.
programs=(initdb pg_basebackup pg_controldata pg_ctl pg_rewind postgres)
[[ -z $root ]] || programs+=(pg_waldump psql)
for program in "${programs[@]}"; do
  cp "$root/usr/lib/postgresql/15/bin/$program" "$tree/opt/database/lib/postgresql/15/bin/"
done
cp -r "$root/usr/share/postgresql/15" "$tree/opt/database/share/postgresql/15"
rm -rf "$tree/opt/database/share/postgresql/15/man"
mkdir "$tree/opt/database/lib/postgresql/15/lib"
find "$root/usr/lib/postgresql/15/lib" -maxdepth 1 -name '*.so' ! -name 'llvmjit*' \
  -exec cp -t "$tree/opt/database/lib/postgresql/15/lib" {} +
cp /bin/dash "$tree/bin/sh"
cp -r /usr/lib/locale/C.utf8 "$tree/usr/lib/locale/"
mkdir -p "$tree/usr/share/zoneinfo"
cp -rL /usr/share/zoneinfo/{Etc,UTC} "$tree/usr/share/zoneinfo/"
# Every library of what is there, at its own place; some modules need what is not installed, and are not used.
find "$tree" -type f \( -perm /111 -o -name '*.so' \) -exec ldd {} + 2>/dev/null |
  sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^\t\(\/[^ ]*\) (.*/\1/p' | sort -u | while read -r library; do
  mkdir -p "$tree${library%/*}"
  cp -L "$library" "$tree$library"
done

tar -C "$tree" -cf "$folder/tree.tar" .
cat >"$folder/Containerfile" <<EOT
FROM scratch
ADD tree.tar /
ENV PATH=/opt/database/lib/postgresql/15/bin:/bin LANG=C.UTF-8
EOT
our_buildah() { buildah --root "$folder/storage" --runroot "$folder/run" --storage-driver vfs "$@"; }
our_buildah bud --quiet --isolation chroot --layers=false --tag "$reference" --file "$folder/Containerfile" "$folder" >/dev/null ||
  fail "the image cannot be built"
our_buildah push --quiet "$reference" "oci-archive:$archive:$reference"
