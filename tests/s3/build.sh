#!/usr/bin/env bash
# build.sh: builds the S3 server of the tests from its Go module, only when its sources changed, and links it into
# $PGO_CACHE/bin.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
local=$here/../../deploy/local
source "$local/settings.sh"
source "$local/progress.sh"
source "$local/build/cached.sh"

export CGO_ENABLED=0 GOFLAGS='-mod=readonly -trimpath -buildvcs=false'

build_s3() { go build -v -ldflags '-s -w' -o "$1/pgo-test-s3" .; }

mkdir -p "$PGO_BIN"
hash=$(cd "$here" && hash_of server build.sh)
(cd "$here/server" && cached s3 "$hash" build_s3)
used "$PGO_CACHE/built/s3-$hash"
ln -sfn "../built/s3-$hash/pgo-test-s3" "$PGO_BIN/pgo-test-s3"
