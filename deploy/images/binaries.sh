#!/usr/bin/env bash
# binaries.sh: builds the services, the agent and the client for images, and puts the client into .local/bin.
# Linked with the C library they need nothing in their image but themselves. Dependencies and results are kept in
# $PGO_CACHE/target; cargo decides what is to be done.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../local/settings.sh"
source "$here/../local/progress.sh"
source "$here/../local/build/target.sh"
source "$here/images.sh"

packages=()
for name in "${SERVICES[@]}" pgo; do
  packages+=(--package "$name")
done
say "cargo builds ${SERVICES[*]} pgo (minutes when nothing is kept yet)"
cd "$PGO_ROOT"
use_kept_target
# Packed relocations: what a program reads of itself when it starts stays in memory, 1 MiB of each otherwise.
RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs" \
  cargo build --locked --release --target "$RUST_TARGET" "${packages[@]}"

# A clone's own copy: what another clone builds must not change what this one's .local/env names.
mkdir -p "$PGO_ROOT/.local/bin"
cmp -s "$BINARIES/pgo" "$PGO_ROOT/.local/bin/pgo" || install "$BINARIES/pgo" "$PGO_ROOT/.local/bin/pgo"
