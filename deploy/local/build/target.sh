# Sourced by whatever builds with cargo: where its results are kept.
# shellcheck shell=bash

# use_kept_target: lets cargo keep its results in $PGO_CACHE/target, which all clones on this machine share.
# cargo tells by the times of files whether something has changed, so it would take what another clone built last, from
# other sources, for ours: after a change of clones all sources of this one count as changed.
use_kept_target() {
  local last=$PGO_CACHE/target/last-clone
  export CARGO_TARGET_DIR=$PGO_CACHE/target
  [[ -e $last && $(<"$last") == "$PGO_ROOT" ]] && return
  if [[ -d $CARGO_TARGET_DIR ]]; then
    find "$PGO_ROOT"/{pgo,proto,services,shared,tests} -type f -exec touch {} +
  fi
  mkdir -p "$CARGO_TARGET_DIR"
  echo "$PGO_ROOT" >"$last"
}
