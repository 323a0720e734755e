#!/usr/bin/env bash
# minors.sh FOLDER: two minor versions of PostgreSQL 15 from Debian's archives, unpacked below FOLDER/older and FOLDER/newer,
# and what they are in FOLDER/versions, a line each.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../deploy/local/progress.sh"
folder=$1

# A stable release and its security archive have different ones most of the time.
known() { apt-cache madison postgresql-15 | awk -F'|' '{gsub(/ /, "", $2); print $2}' | sort --version-sort --unique; }
minors() { known | awk -F- '!seen[$1]++'; }
mapfile -t versions < <(minors)
if ((${#versions[@]} < 2)); then
  apt-get update --quiet >/dev/null
  mapfile -t versions < <(minors)
fi
((${#versions[@]} >= 2)) || fail "apt knows ${versions[*]:-no version} of postgresql-15; two are needed to upgrade from one to the other"

unpack() {
  local name=$1 version=$2 package
  mkdir -p "$folder/$name"
  for package in postgresql-15 postgresql-client-15; do
    (cd "$folder" && apt-get download --quiet "$package=$version" >/dev/null)
  done
  for package in "$folder"/*.deb; do
    dpkg-deb --extract "$package" "$folder/$name"
    rm "$package"
  done
  echo "${version%%-*}" >>"$folder/versions"
}
unpack older "${versions[0]}"
unpack newer "${versions[-1]}"
