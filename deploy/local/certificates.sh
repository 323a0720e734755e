# Sourced by up.sh: who is who in the local Kubernetes. One authority; each component has a certificate whose subject is
# the name that Kubernetes' own roles are bound to, and a kubeconfig with it.
# shellcheck shell=bash

PKI=$PGO_LOCAL_DIR/pki

make_authority() {
  mkdir -p "$PKI"
  chmod 0700 "$PKI"
  make_key ca
  openssl req -x509 -new -key "$PKI/ca.key" -subj /CN=pgo-local -days 3650 -out "$PKI/ca.crt" 2>/dev/null
  # Signs the tokens of service accounts.
  make_key service-accounts
}

make_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/$1.key"; }

# certify NAME SUBJECT ALTERNATIVE_NAMES
certify() {
  make_key "$1"
  openssl req -new -key "$PKI/$1.key" -subj "$2" -out "$PKI/$1.csr"
  openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -CAcreateserial -days 3650 \
    -out "$PKI/$1.crt" -extfile <(printf 'subjectAltName=%s' "$3") 2>/dev/null
}

# kubeconfig NAME FILE: complete in itself, so that it can be copied.
kubeconfig() {
  (
    umask 077
    cat >"$2" <<YAML
apiVersion: v1
kind: Config
current-context: pgo-local
clusters:
- name: pgo-local
  cluster: {server: "$API_URL", certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")}
users:
- name: $1
  user: {client-certificate-data: $(base64 -w0 "$PKI/$1.crt"), client-key-data: $(base64 -w0 "$PKI/$1.key")}
contexts:
- name: pgo-local
  context: {cluster: pgo-local, user: $1}
YAML
  )
}

# member NAME SUBJECT: a component that only calls the API server.
member() {
  certify "$1" "$2" "DNS:$1"
  kubeconfig "$1" "$PGO_LOCAL_DIR/$1.kubeconfig"
}
