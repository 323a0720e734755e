# Sourced by install.sh and uninstall.sh: the settings, from the environment, with 4.1's names and defaults where it has
# them. docs/configuration.md lists them.
# shellcheck shell=bash disable=SC2034

PGO_OPERATOR_NAMESPACE=${PGO_OPERATOR_NAMESPACE:-pgo}
PGO_INSTALLATION_NAME=${PGO_INSTALLATION_NAME:-devtest}
NAMESPACE=${NAMESPACE:-pgouser1}

PGO_IMAGE_PREFIX=${PGO_IMAGE_PREFIX:-localhost/pgo}
PGO_IMAGE_TAG=${PGO_IMAGE_TAG:-4.1.0}
CCP_IMAGE_PREFIX=${CCP_IMAGE_PREFIX:-localhost/pgo}
CCP_IMAGE_TAG=${CCP_IMAGE_TAG:-debian12-15}

# Empty: the default class of the cluster.
PGO_STORAGE_CLASS=${PGO_STORAGE_CLASS:-}

PGO_ADMIN_USERNAME=${PGO_ADMIN_USERNAME:-pgoadmin}
# Empty: the one there is, else a new one.
PGO_ADMIN_PASSWORD=${PGO_ADMIN_PASSWORD:-}
PGO_CLIENT_DIR=${PGO_CLIENT_DIR:-$HOME/.pgo}

# Whether the services themselves are installed, or only what they need: they may run elsewhere (compose/).
PGO_SERVICES=${PGO_SERVICES:-true}

# Of the event service.
EVENT_REPLICAS=${EVENT_REPLICAS:-2}
PGO_EVENT_RETENTION_DAYS=${PGO_EVENT_RETENTION_DAYS:-30}
PGO_EVENT_RETENTION_BYTES=${PGO_EVENT_RETENTION_BYTES:-1073741824}
# Empty: the size that it has, 1Gi where there is none yet.
PGO_EVENT_VOLUME_SIZE=${PGO_EVENT_VOLUME_SIZE:-}

DISABLE_EVENTING=${DISABLE_EVENTING:-false}
DISABLE_TLS=${DISABLE_TLS:-false}
NOAUTH_ROUTES=${NOAUTH_ROUTES:-}
# What an installation has beside nsqd only where it is asked for.
PGO_NSQADMIN=${PGO_NSQADMIN:-false}
PGO_NSQLOOKUPD=${PGO_NSQLOOKUPD:-false}
PGO_DIRECT_WATCH=${PGO_DIRECT_WATCH:-false}
# What follows for the manifests; empty: it is not there.
NSQLOOKUPD_PORT='' NSQLOOKUPD_TCP=''
if [[ $PGO_NSQLOOKUPD == true ]]; then
  NSQLOOKUPD_PORT=4161 NSQLOOKUPD_TCP=127.0.0.1:4160
fi
LOG_LEVEL=${LOG_LEVEL:-info}
LOG_FORMAT=${LOG_FORMAT:-json}

# Images are pulled in that time.
PGO_WAIT_SECONDS=${PGO_WAIT_SECONDS:-180}
# The last events are stored in that time.
PGO_STOP_SECONDS=${PGO_STOP_SECONDS:-60}

IFS=, read -ra TARGET_NAMESPACES <<<"$NAMESPACE"

# needs NAME PATTERN WHAT: the values go into manifests as they are, so each is checked.
needs() {
  [[ ${!1} =~ ^($2)$ ]] || fail "$1 is \"${!1}\"; it must be $3"
}

check_settings() {
  local label='[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?' image='[a-zA-Z0-9][-a-zA-Z0-9._/:]*' namespace
  needs PGO_OPERATOR_NAMESPACE "$label" "a namespace's name"
  needs PGO_INSTALLATION_NAME '[a-zA-Z0-9]([-a-zA-Z0-9._]{0,61}[a-zA-Z0-9])?' "a label's value: at most 63 letters, digits, '-', '_', '.'"
  ((${#TARGET_NAMESPACES[@]} > 0)) || fail "NAMESPACE names no namespace; give a comma list of those that will hold clusters"
  for namespace in "${TARGET_NAMESPACES[@]}"; do
    needs namespace "$label" "a namespace's name (in NAMESPACE, a comma list without blanks)"
    [[ $namespace != "$PGO_OPERATOR_NAMESPACE" ]] ||
      fail "NAMESPACE contains $namespace, the operator's own (PGO_OPERATOR_NAMESPACE); clusters live in others"
  done
  needs PGO_IMAGE_PREFIX "$image" "a registry and folder, such as localhost/pgo"
  needs CCP_IMAGE_PREFIX "$image" "a registry and folder, such as localhost/pgo"
  needs PGO_IMAGE_TAG '[a-zA-Z0-9_][-a-zA-Z0-9._]{0,127}' "an image's tag"
  needs CCP_IMAGE_TAG '[a-zA-Z0-9_][-a-zA-Z0-9._]{0,127}' "an image's tag"
  needs PGO_STORAGE_CLASS '([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?' "a storage class's name, or empty for the default class"
  needs PGO_ADMIN_USERNAME '[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?' "a user's name of a-z, 0-9, '-' and '.'"
  [[ $PGO_ADMIN_PASSWORD != *$'\n'* ]] || fail "PGO_ADMIN_PASSWORD has more than one line; one is possible"
  needs PGO_SERVICES 'true|false' "true or false"
  needs EVENT_REPLICAS '[12]' "1 or 2"
  needs PGO_EVENT_RETENTION_DAYS '[1-9][0-9]{0,3}' "a number of days, 1 to 9999"
  needs PGO_EVENT_RETENTION_BYTES '[1-9][0-9]{0,17}' "a number of bytes"
  needs PGO_EVENT_VOLUME_SIZE '([1-9][0-9]{0,5}[MGT]i)?' "a size such as 4Gi, or empty for the one it has"
  needs DISABLE_EVENTING 'true|false' "true or false"
  needs DISABLE_TLS 'true|false' "true or false"
  needs PGO_NSQADMIN 'true|false' "true or false"
  needs PGO_NSQLOOKUPD 'true|false' "true or false"
  needs PGO_DIRECT_WATCH 'true|false' "true or false"
  needs NOAUTH_ROUTES '[a-z/,]*' "a comma list of routes, such as /health"
  needs LOG_LEVEL '[-a-zA-Z0-9_=,:]+' "a filter such as info or info,pgo_core=debug"
  needs LOG_FORMAT 'json|text' "json or text"
  needs PGO_WAIT_SECONDS '[0-9]{1,5}' "a number of seconds"
  needs PGO_STOP_SECONDS '[0-9]{1,5}' "a number of seconds"
}
