#!/usr/bin/env bash
# clean.sh: "make clean". Ends everything and removes what was made: the local Kubernetes, this clone's .local and
# target, the builds that all clones on this machine share, and the images that compose gave to podman. The Debian packages
# stay, and what cargo and go keep for everybody in the home directory.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/settings.sh"
source "$here/progress.sh"
"$here/stop.sh"
rm -rf "$PGO_ROOT/.local" "$PGO_ROOT/target"
# By name: the folder itself may be one that holds other things.
# Go's modules are read-only.
[[ ! -d $PGO_CACHE/gomod ]] || GOMODCACHE=$PGO_CACHE/gomod go clean -modcache
rm -rf "${PGO_CACHE:?}"/{bin,built,buildah,examples,gobuild,gomod,target}
if command -v podman >/dev/null; then
  podman images --format '{{.Repository}}:{{.Tag}}' | sed -n '/^localhost\/pgo\//p' | xargs -r podman image rm >/dev/null ||
    fail "podman cannot remove the images of PGO (see above); where compose/up.sh runs the services, end them: compose/down.sh"
fi
# What packages.sh told Debian's PostgreSQL; the programs themselves stay.
debian=/etc/postgresql-common/createcluster.conf
if grep -qs '^# of PGO:' "$debian"; then rm -f "$debian"; fi
[[ ! -d $PGO_CACHE ]] || rmdir --ignore-fail-on-non-empty "$PGO_CACHE"
say "removed what was built; make run builds it again. Debian's packages stay, and what cargo and go keep for everybody"
