#!/usr/bin/env bash
# stop.sh: "make stop". Ends everything that "make run" started on this machine, from this clone or another.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/settings.sh"
"$here/down.sh"
rm -f "$PGO_ROOT/.local/env"
