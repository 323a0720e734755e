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
  # The scripts and the person who tries it.
  ca-certificates curl gcc git jq libc6-dev make openssl postgresql-client-15 procps psmisc util-linux
  # The tests: they start PostgreSQL and pgBackRest, make file systems, check scripts and completions, run consumers in
  # Python, and the services in containers (compose).
  e2fsprogs pgbackrest postgresql-15 python3-venv shellcheck zsh fish podman podman-compose
)
# And in JavaScript. Where somebody else's Node.js is, Debian's npm cannot be installed beside it.
command -v node >/dev/null && command -v npm >/dev/null || packages+=(nodejs npm)

# Programs that Debian starts when they are installed and at each boot; ours have other ports, sockets and folders.
units=(etcd.service containerd.service postgresql.service podman.service podman.socket podman-restart.service
  podman-auto-update.service podman-auto-update.timer)

# install_quietly PACKAGE...: without starting what was not there before, now or at the next boot.
install_quietly() {
  local policy=/usr/sbin/policy-rc.d clusters=/etc/postgresql-common/createcluster.conf unit there=()
  for unit in "${units[@]}"; do
    if systemctl cat "$unit" >/dev/null 2>&1; then there+=("$unit"); fi
  done
  # Debian's own switch for it (policy-rc.d(8)); one that is there already stays.
  if [[ ! -e $policy ]]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  # Otherwise a database of nobody's comes with the programs.
  if [[ ! -e $clusters ]]; then
    mkdir -p "${clusters%/*}"
    printf '# of PGO: make clean removes this file\ncreate_main_cluster = false\n' >"$clusters"
  fi
  apt-get install -y -q --no-install-recommends "$@" || fail "apt-get install failed (see above); $by_hand"
  for unit in "${units[@]}"; do
    [[ " ${there[*]} " == *" $unit "* ]] || systemctl disable "$unit" >/dev/null 2>&1 || true
  done
}

# One query for all; an unknown package is only missing from its answer.
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null | sed -n 's/ installed$//p' || true)
mapfile -t missing < <(printf '%s\n' "${packages[@]}" | grep -vxF "$installed")

if ((${#missing[@]} > 0)); then
  by_hand="install them as root: apt-get install --no-install-recommends ${missing[*]}"
  command -v apt-get >/dev/null || fail "these Debian packages are missing and there is no apt-get here; $by_hand"
  ((EUID == 0)) || fail "these Debian packages are missing and this user may not install them; $by_hand"
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q || fail "apt-get update failed (see above); $by_hand"
  install_quietly "${missing[@]}"
fi

# What the sources ask for themselves.
rust=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$here/../../Cargo.toml")
go=$(sed -n 's/^go //p' "$here"/build/*/go.mod | sort -V | tail -n 1)

# toolchain NAME WANTED COMMAND...: the version that COMMAND prints, as the first number with a dot, is no older.
toolchain() {
  local name=$1 wanted=$2 said version
  shift 2
  said=$("$@" 2>/dev/null) || fail "\"$*\" does not work: install $name $wanted or newer first (Rust: rustup with clippy and rustfmt) and put it into PATH"
  version=$(sed -nE '/[0-9]\.[0-9]/ {s/^[^0-9]*([0-9]+(\.[0-9]+)+).*/\1/p; q}' <<<"$said")
  sort --version-sort --check=quiet <<<"$wanted"$'\n'"$version" ||
    fail "$name is too old: \"$*\" says $version, and $wanted or newer is needed"
}

toolchain Rust "$rust" cargo --version
# Where a module is, Go may get the version that it asks for by itself.
toolchain Go "$go" go -C "$here/build/kubernetes" version
for tool in "cargo clippy --version" "cargo fmt --version"; do
  $tool >/dev/null 2>&1 || fail "\"$tool\" does not work: add it to the toolchain (rustup component add clippy rustfmt)"
done
say "Debian packages are there (${#packages[@]}), installed now: ${#missing[@]}"
