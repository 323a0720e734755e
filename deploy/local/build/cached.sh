# Sourced by what builds something that is kept: one folder per thing and hash of its inputs.
# shellcheck shell=bash

# What Go keeps on the way to a result, all of Kubernetes among it, lies beside the results: make clean removes it.
export GOCACHE=$PGO_CACHE/gobuild GOMODCACHE=$PGO_CACHE/gomod

# hash_of PATH...: of the contents and names of these files, and of all files under these folders.
hash_of() {
  find "$@" -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c 1-16
}

# cached NAME HASH COMMAND...: afterwards $PGO_CACHE/built/NAME-HASH is complete. Where it is not, COMMAND is called with
# an empty folder to fill, which gets its name when COMMAND succeeded: never half a result. Who comes meanwhile waits.
# Its siblings that nobody used for 30 days go.
cached() {
  local name=$1 folder=$PGO_CACHE/built/$1-$2 unfinished=$PGO_CACHE/built/.unfinished-$1-$2
  shift 2
  mkdir -p "$PGO_CACHE/built"
  (
    flock 9
    if [[ ! -d $folder ]]; then
      # What was interrupted, of this or of other inputs: nobody else is at it while the lock is held.
      rm -rf "$PGO_CACHE/built/.unfinished-$name"-????????????????
      mkdir -p "$unfinished"
      "$@" "$unfinished"
      mv "$unfinished" "$folder"
      find "$PGO_CACHE/built" -mindepth 1 -maxdepth 1 -name "$name-????????????????" -mtime +30 -exec rm -rf {} +
    fi
  ) 9>"$PGO_CACHE/built/.lock-$name"
}

# used FOLDER: it is in use and not to go with those that are not.
used() { touch "$1"; }
