#!/usr/bin/env bash
# down.sh: ends what up.sh started. What the installer put into Kubernetes stays, and so do the data of nsqd and event,
# in $PGO_COMPOSE_DIR.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC1091
source "$here/settings.sh"
export PGO_OPERATOR_NAMESPACE=- PGO_INSTALLATION_NAME=- NAMESPACE=- LOG_LEVEL=-
export PGO_IMAGE_PREFIX=- PGO_IMAGE_TAG=- CCP_IMAGE_PREFIX=- CCP_IMAGE_TAG=-
compose down
