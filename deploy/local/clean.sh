#!/usr/bin/env bash
# clean.sh: "make clean". Ends everything and removes what was made: the local Kubernetes, this clone's .local and
# target, and the builds that all clones on this machine share. The Debian packages stay.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/settings.sh"
source "$here/progress.sh"
"$here/stop.sh"
rm -rf "$PGO_ROOT/.local" "$PGO_ROOT/target"
# By name: the folder itself may be one that holds other things.
rm -rf "${PGO_CACHE:?}"/{bin,built,buildah,examples,target}
# What packages.sh told Debian's PostgreSQL; the programs themselves stay.
debian=/etc/postgresql-common/createcluster.conf
if grep -qs '^# of PGO:' "$debian"; then rm -f "$debian"; fi
[[ ! -d $PGO_CACHE ]] || rmdir --ignore-fail-on-non-empty "$PGO_CACHE"
say "removed what was built; make run builds it again"
