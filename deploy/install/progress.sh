# Sourced by install.sh and uninstall.sh: how they speak, fail, and ask Kubernetes.
# shellcheck shell=bash

say() { printf '  · %s\n' "$*"; }

fail() {
  printf '  · error: %s\n' "$*" >&2
  exit 1
}

# k ARGUMENT...: kubectl, which gives up on an API server that does not answer.
k() { "${KUBECTL:-kubectl}" --request-timeout=30s "$@"; }

# kubectl_waits ARGUMENT...: kubectl, where it has a time limit of its own.
kubectl_waits() { "${KUBECTL:-kubectl}" "$@"; }

# seconds_left DEADLINE: DEADLINE in the seconds of SECONDS.
seconds_left() { echo $(($1 - SECONDS)); }

check_programs() {
  local program
  for program in "${KUBECTL:-kubectl}" openssl awk sed base64 sha256sum; do
    command -v "$program" >/dev/null || fail "$program is not in PATH; install it"
  done
}

check_kubernetes() {
  local answer
  answer=$(k get --raw /readyz 2>&1) ||
    fail "Kubernetes does not answer (KUBECONFIG=${KUBECONFIG:-not set, so ~/.kube/config}): $answer"
}
