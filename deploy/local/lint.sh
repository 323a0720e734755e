#!/usr/bin/env bash
# lint.sh [format|lint]: checks without changing anything: the format of all sources, or what clippy and
# the checker of shell scripts have to say, warnings denied; both by default.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/settings.sh"
source "$here/progress.sh"
source "$here/build/target.sh"
cd "$PGO_ROOT"

format() {
  cargo fmt --all --check
  local unformatted
  unformatted=$(gofmt -l deploy tests)
  [[ -z $unformatted ]] || fail "gofmt would change these files: $unformatted"
}

lint() {
  local scripts
  use_kept_target
  cargo clippy --locked --workspace --all-targets -- --deny warnings
  # All that git knows or would take, so that a script just written is checked too.
  mapfile -t scripts < <(git ls-files --cached --others --exclude-standard -- '*.sh' .ci/run)
  # Notes below a warning are matters of taste.
  shellcheck --severity=warning "${scripts[@]}"
}

case ${1:-both} in
  format | lint) "$1" ;;
  both) format && lint ;;
  *) fail "lint.sh takes \"format\" or \"lint\", not \"$1\"" ;;
esac
