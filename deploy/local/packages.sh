#!/usr/bin/env bash
# Installs the Debian packages that are missing. What else is needed, Rust and Go, is checked and not installed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/progress.sh"

packages=(
  # Kubernetes' store, the container runtime, the pod network.
  etcd-server containerd runc containernetworking-plugins iproute2 nftables conntrack
  # Images.
  buildah mmdebstrap
  # The scripts, the tests and the person who tries it.
  ca-certificates curl gcc jq libc6-dev make openssl postgresql-client-15 procps shellcheck util-linux
)

# One query for all; an unknown package is only missing from its answer.
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null | sed -n 's/ installed$//p' || true)
mapfile -t missing < <(printf '%s\n' "${packages[@]}" | grep -vxF "$installed")

if ((${#missing[@]} > 0)); then
  by_hand="install them as root: apt-get install --no-install-recommends ${missing[*]}"
  command -v apt-get >/dev/null || fail "these Debian packages are missing and there is no apt-get here; $by_hand"
  ((EUID == 0)) || fail "these Debian packages are missing and this user may not install them; $by_hand"
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # Where Debian starts its own etcd and containerd now, they do not meet ours: other ports, sockets and folders.
  apt-get update -q || fail "apt-get update failed (see above); $by_hand"
  apt-get install -y -q --no-install-recommends "${missing[@]}" || fail "apt-get install failed (see above); $by_hand"
fi

for tool in cargo go; do
  command -v "$tool" >/dev/null || fail "$tool is not installed or not in PATH; install the $tool toolchain first (Rust: rustup, Go: 1.24 or newer)"
done
say "Debian packages are there (${#packages[@]}), installed now: ${#missing[@]}"
