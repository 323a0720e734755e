# Sourced by install.sh: the installation's authority, the certificates of its processes, and that of the REST interface.
# Keys are written to $WORK, which only this user can read and which goes with the script; arguments hold file names only.
# shellcheck shell=bash disable=SC2153

# Who has an identity: its name is <process>.pgo, its Secret pgo-<process>-tls.
PROCESSES=(apiserver reconciler scheduler event direct nsqd)

AUTHORITY_DAYS=3650
PROCESS_DAYS=365
# 4.1's.
REST_DAYS=365
# A certificate is made anew when a third of its life is left: weeks for whoever has to mend what goes wrong then.
PROCESS_RENEWAL=$((PROCESS_DAYS * 86400 / 3))
REST_WARNING=$((30 * 86400))

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

# self_signed NAME CN DAYS EXTENSION...: $WORK/NAME.key and .crt.
self_signed() {
  local name=$1 cn=$2 days=$3
  shift 3
  new_key "$WORK/$name.key"
  printf '%s\n' '[req]' 'prompt = no' 'distinguished_name = dn' 'x509_extensions = ext' '[dn]' "CN = $cn" \
    '[ext]' 'subjectKeyIdentifier = hash' "$@" >"$WORK/$name.cnf"
  openssl req -x509 -new -sha256 -days "$days" -key "$WORK/$name.key" -config "$WORK/$name.cnf" -out "$WORK/$name.crt"
}

# names_of PROCESS: what its certificate names, the identity first. nsqd asks the event service whom it may trust, and it
# compares the name with the address, as everybody does but ourselves.
names_of() {
  if [[ $1 == event ]]; then
    echo "event.pgo event.$PGO_OPERATOR_NAMESPACE.svc"
  else
    echo "$1.pgo"
  fi
}

# issue NAME DNS_NAME...: $WORK/NAME.key and .crt, signed by $WORK/ca; the first DNS name is the identity.
issue() {
  local name=$1 identity=$2 names
  shift
  printf -v names 'DNS:%s, ' "$@"
  new_key "$WORK/$name.key"
  printf '%s\n' '[req]' 'prompt = no' 'distinguished_name = dn' '[dn]' "CN = $identity" \
    '[ext]' 'basicConstraints = critical, CA:FALSE' 'keyUsage = critical, digitalSignature' \
    'extendedKeyUsage = serverAuth, clientAuth' "subjectAltName = ${names%, }" \
    'subjectKeyIdentifier = hash' 'authorityKeyIdentifier = keyid' >"$WORK/$name.cnf"
  openssl req -new -sha256 -key "$WORK/$name.key" -config "$WORK/$name.cnf" -out "$WORK/$name.csr"
  openssl x509 -req -sha256 -days "$PROCESS_DAYS" -set_serial "0x$(openssl rand -hex 16)" -in "$WORK/$name.csr" \
    -CA "$WORK/ca.crt" -CAkey "$WORK/ca.key" -extfile "$WORK/$name.cnf" -extensions ext -out "$WORK/$name.crt" 2>"$WORK/$name.log" ||
    fail "openssl cannot sign the certificate of $name: $(<"$WORK/$name.log")"
}

# existing SECRET: its certificate into $WORK/SECRET.crt; false where there is none.
existing() {
  local certificate
  certificate=$(awk -v name="$1" '$1 == name {print $2}' "$WORK/secrets")
  [[ -n $certificate ]] && base64 -d <<<"$certificate" >"$WORK/$1.crt"
}

# is_good PROCESS: its certificate is of our authority, carries its names, and lasts.
is_good() {
  local file=$WORK/pgo-$1-tls.crt name matches
  existing "pgo-$1-tls" &&
    openssl x509 -noout -in "$file" -checkend "$PROCESS_RENEWAL" >/dev/null &&
    openssl verify -CAfile "$WORK/ca.crt" "$file" >/dev/null 2>&1 || return 1
  for name in $(names_of "$1"); do
    matches=$(openssl x509 -noout -in "$file" -checkhost "$name") && [[ $matches == *"does match"* ]] || return 1
  done
}

# make_authority: $WORK/ca.crt; a new authority's Secret goes into the stream.
make_authority() {
  if existing pgo-ca; then
    mv "$WORK/pgo-ca.crt" "$WORK/ca.crt"
    openssl x509 -noout -in "$WORK/ca.crt" -checkend $((PROCESS_DAYS * 86400)) >/dev/null ||
      say "warning: the authority in Secret pgo-ca ends in less than $PROCESS_DAYS days; delete that Secret and run the installer again to get a new one"
    return
  fi
  self_signed ca "PGO $PGO_INSTALLATION_NAME" "$AUTHORITY_DAYS" \
    'basicConstraints = critical, CA:TRUE, pathlen:0' 'keyUsage = critical, keyCertSign, cRLSign'
  tls_secret pgo-ca "$WORK/ca.crt" "$WORK/ca.key"
  say "made the authority of this installation (Secret pgo-ca)"
}

# make_identities: the Secrets of those processes whose certificate is missing, ending or of another authority.
make_identities() {
  local process renewed=()
  for process in "${PROCESSES[@]}"; do
    is_good "$process" && continue
    [[ -s $WORK/ca.key ]] || secret_value pgo-ca tls.key >"$WORK/ca.key"
    # shellcheck disable=SC2046
    issue "$process" $(names_of "$process")
    tls_secret "pgo-$process-tls" "$WORK/$process.crt" "$WORK/$process.key" "$WORK/ca.crt"
    renewed+=("$process")
  done
  ((${#renewed[@]} == 0)) || say "made certificates for ${renewed[*]}"
}

# certificate_of PROCESS: the file with its certificate, the new one where it got one.
certificate_of() {
  if [[ -s $WORK/$1.crt ]]; then echo "$WORK/$1.crt"; else echo "$WORK/pgo-$1-tls.crt"; fi
}

# make_rest_certificate ADDRESS: Secret pgo.tls, by 4.1's convention the server's certificate, its own authority and the
# client's certificate in one. $WORK/pgo.tls.crt is there afterwards.
make_rest_certificate() {
  local address=$1 service=postgres-operator
  if existing pgo.tls; then
    openssl x509 -noout -in "$WORK/pgo.tls.crt" -checkend "$REST_WARNING" >/dev/null ||
      say "warning: the certificate of the REST interface (Secret pgo.tls) ends $(openssl x509 -noout -enddate -in "$WORK/pgo.tls.crt"); delete that Secret and run the installer again, clients then need the new files"
    return
  fi
  self_signed pgo.tls pgo-apiserver "$REST_DAYS" \
    'basicConstraints = critical, CA:TRUE' 'keyUsage = critical, digitalSignature, keyCertSign' \
    'extendedKeyUsage = serverAuth, clientAuth' \
    "subjectAltName = DNS:pgo-apiserver, DNS:$service, DNS:$service.$PGO_OPERATOR_NAMESPACE, DNS:$service.$PGO_OPERATOR_NAMESPACE.svc, DNS:localhost, IP:127.0.0.1, IP:$address"
  tls_secret pgo.tls "$WORK/pgo.tls.crt" "$WORK/pgo.tls.key"
  say "made the certificate of the REST interface (Secret pgo.tls)"
}
