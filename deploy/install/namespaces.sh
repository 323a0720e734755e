# Sourced by install.sh and uninstall.sh: the namespaces of an installation that NAMESPACE does not name, by the labels that
# install.sh gives to those for clusters.
# shellcheck shell=bash disable=SC2153

# clusters NAMESPACE: the names of its Pgclusters.
clusters() { k get pgclusters --namespace "$1" --ignore-not-found -o name; }

definitions_are_there() { [[ -n $(k get crd pgclusters.crunchydata.com --ignore-not-found -o name) ]]; }

# labelled_namespaces: those with this installation's labels. Two installations can have one name: those where another
# operator's namespace has the rights are not of this one.
labelled_namespaces() {
  {
    k get rolebindings --all-namespaces --field-selector metadata.name=pgo-reconciler \
      -o 'go-template={{range .items}}binding {{.metadata.namespace}} {{range .subjects}}{{.namespace}}{{end}}{{"\n"}}{{end}}' &&
      k get namespaces --selector "vendor=crunchydata,pgo-installation-name=$PGO_INSTALLATION_NAME" \
        -o 'go-template={{range .items}}namespace {{.metadata.name}}{{"\n"}}{{end}}'
  } | awk -v own="$PGO_OPERATOR_NAMESPACE" '
    $1 == "binding" && $3 != own {of_another[$2] = 1}
    $1 == "namespace" && !($2 in of_another) {print $2}'
}

# installation_of NAMESPACE: which one's it is, by its label; nothing where it has none, or is not there.
installation_of() {
  k get namespace "$1" --ignore-not-found -o 'go-template={{with .metadata.labels}}{{with index . "pgo-installation-name"}}{{.}}{{end}}{{end}}'
}

# leave_out_others: takes out of TARGET_NAMESPACES those that another installation has, by their label or, where its name is
# the same, by its rights in them. Nothing of this installation is there.
leave_out_others() {
  local namespace owner holder own=()
  for namespace in "${TARGET_NAMESPACES[@]}"; do
    owner=$(installation_of "$namespace")
    holder=$(k get rolebinding pgo-reconciler --namespace "$namespace" --ignore-not-found -o 'go-template={{range .subjects}}{{.namespace}}{{end}}')
    if [[ -n $owner && $owner != "$PGO_INSTALLATION_NAME" ]]; then
      say "namespace $namespace belongs to the installation $owner and is left alone"
    elif [[ -n $holder && $holder != "$PGO_OPERATOR_NAMESPACE" ]]; then
      say "namespace $namespace belongs to the installation in namespace $holder and is left alone"
    else
      own+=("$namespace")
    fi
  done
  TARGET_NAMESPACES=("${own[@]}")
}

# read_unnamed: UNNAMED, the namespaces of this installation that NAMESPACE does not name.
read_unnamed() {
  local labelled namespace
  labelled=$(labelled_namespaces)
  UNNAMED=()
  for namespace in $labelled; do
    [[ " ${TARGET_NAMESPACES[*]} " == *" $namespace "* ]] || UNNAMED+=("$namespace")
  done
}

# check_unnamed: nobody would look after clusters in namespaces that are left out; that is refused.
check_unnamed() {
  local namespace names held=()
  read_unnamed
  definitions_are_there || return 0
  for namespace in "${UNNAMED[@]}"; do
    names=$(clusters "$namespace")
    [[ -z $names ]] || held+=("$namespace (${names//$'\n'/, })")
  done
  ((${#held[@]} == 0)) ||
    fail "NAMESPACE leaves out namespaces of this installation that hold clusters: ${held[*]//pgcluster.crunchydata.com\//}; name them, too, or remove the clusters first"
}

# leave_unnamed: takes away what a former installation gave to them. Nothing of PGO works there any more.
leave_unnamed() {
  local namespace
  for namespace in "${UNNAMED[@]}"; do
    k --namespace "$namespace" delete --ignore-not-found "${PROCESSES[@]/#/role/pgo-}" "${PROCESSES[@]/#/rolebinding/pgo-}" >/dev/null
    k label namespace "$namespace" vendor- pgo-installation-name- pgo-created-by- >/dev/null
    say "namespace $namespace, which NAMESPACE does not name any more, stays; it is PGO's no more"
  done
}
