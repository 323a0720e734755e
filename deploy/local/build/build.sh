#!/usr/bin/env bash
# build.sh [nsq|kubernetes|coredns|provisioner]...: builds these programs (all by default) from their Go modules, each
# only when its sources changed, and links them into $PGO_CACHE/bin.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../settings.sh"
source "$here/../progress.sh"
source "$here/cached.sh"

# Without cgo the programs are static and need no C library in their image. -trimpath makes the result, and Go's own
# cache of it, independent of where the clone lies. go.mod and go.sum say what is built: nothing may change them.
export CGO_ENABLED=0 GOFLAGS='-mod=readonly -trimpath -buildvcs=false'

kubernetes_version() { sed -n 's/^\tk8s.io\/kubernetes v//p' "$here/kubernetes/go.mod"; }

# Each builds into the folder given, and says which package it is at: Kubernetes takes minutes.
build_nsq() {
  go build -v -ldflags '-s -w' -o "$1/" github.com/nsqio/nsq/apps/{nsqd,nsqlookupd,nsqadmin}
}

build_kubernetes() {
  local version minor package=k8s.io/component-base/version program
  version=$(kubernetes_version)
  minor=${version#*.}
  # Without these the API server says it is v0.0.0 and clients refuse it.
  go build -v -o "$1/kubernetes" \
    -ldflags "-s -w -X $package.gitVersion=v$version -X $package.gitMajor=${version%%.*} -X $package.gitMinor=${minor%.*}" .
  for program in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do
    ln -s kubernetes "$1/$program"
  done
}

build_coredns() { go build -v -ldflags '-s -w' -o "$1/coredns" .; }

build_provisioner() { go build -v -ldflags '-s -w' -o "$1/pgo-local-provisioner" .; }

build() {
  local name=$1 begun hash program
  hash=$(cd "$here" && hash_of "$name" build.sh)
  if [[ ! -d $PGO_CACHE/built/$name-$hash ]]; then
    say "building $name (kept afterwards)"
    begun=$(clock_ms)
    (cd "$here/$name" && cached "$name" "$hash" "build_$name")
    say "built $name in $(since "$begun")"
  fi
  used "$PGO_CACHE/built/$name-$hash"
  for program in "$PGO_CACHE/built/$name-$hash"/*; do
    ln -sfn "../built/$name-$hash/${program##*/}" "$PGO_BIN/${program##*/}"
  done
}

mkdir -p "$PGO_BIN"
(($# > 0)) || set -- nsq kubernetes coredns provisioner
for name in "$@"; do
  [[ -f $here/$name/go.mod ]] || fail "nothing to build is called $name; there are: nsq kubernetes coredns provisioner"
  build "$name"
done
