#!/usr/bin/env bash
# uninstall.sh: takes PGO away from the cluster that KUBECONFIG names. Databases go on running, and everything that
# install.sh needs to continue with them stays: users, pgo.yaml, certificates, the history of events, namespaces, and the
# Service of the REST interface, so that its address does.
#   --delete-clusters    first removes every cluster with its data and its users' passwords
#   --delete-namespaces  also what would stay: the operator's namespace with all in it, and those install.sh made
#   --delete-crds        also the custom resource definitions, which every installation on this cluster shares
# Settings are install.sh's. The namespaces are those that were installed, by their labels, and those in NAMESPACE, but for
# what belongs to another installation.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC1090
for part in progress settings namespaces stop; do
  source "$here/$part.sh"
done

CLUSTERS_SECONDS=300
DELETE_SECONDS=120
delete_clusters=false delete_namespaces=false delete_crds=false
for argument in "$@"; do
  case $argument in
    --delete-clusters) delete_clusters=true ;;
    --delete-namespaces) delete_namespaces=true ;;
    --delete-crds) delete_crds=true ;;
    *) fail "there is no option $argument; possible are --delete-clusters, --delete-namespaces and --delete-crds" ;;
  esac
done

in_operator() { k --namespace "$PGO_OPERATOR_NAMESPACE" "$@"; }

# check_clusters: what would take a cluster's object away without PGO to end the cluster is refused.
check_clusters() {
  local left
  $delete_clusters && ! $delete_crds && return
  if $delete_crds; then
    left=$(k get pgclusters --all-namespaces --no-headers --ignore-not-found 2>/dev/null | awk '{print $1 "/" $2}')
    for namespace in "${TARGET_NAMESPACES[@]}"; do
      $delete_clusters && left=$(grep -v "^$namespace/" <<<"$left" || true)
    done
  elif $delete_namespaces; then
    left=$(for namespace in "${TARGET_NAMESPACES[@]}"; do clusters "$namespace"; done)
  fi
  [[ -z ${left:-} ]] || fail "there are clusters: $(tr '\n' ' ' <<<"$left"); remove them first, or give --delete-clusters"
}

remove_clusters() {
  local namespace names
  for namespace in "${TARGET_NAMESPACES[@]}"; do
    names=$(clusters "$namespace")
    [[ -n $names ]] || continue
    say "removing the clusters of namespace $namespace with their data: $(tr '\n' ' ' <<<"${names//pgcluster.crunchydata.com\//}")"
    kubectl_waits delete pgclusters --all --namespace "$namespace" --timeout="${CLUSTERS_SECONDS}s" >/dev/null ||
      fail "not all clusters of namespace $namespace are gone after $CLUSTERS_SECONDS s; see: kubectl get pgclusters -n $namespace"
    kubectl_waits delete persistentvolumeclaims,secrets --selector vendor=crunchydata,pg-cluster --namespace "$namespace" \
      --timeout="${DELETE_SECONDS}s" >/dev/null
  done
}

# stop: as long as there is somebody to tell it. Services that run elsewhere are ended where they run (compose/down.sh).
stop() {
  in_operator get deployment/reconciler >/dev/null 2>&1 || return 0
  stop_telling end_work
}

# end_work: what is not needed to tell of the stop. Whether it has ended is seen by who tells.
end_work() {
  in_operator delete deployment apiserver scheduler direct --ignore-not-found --wait=false >/dev/null
}

remove_services() {
  local namespace name bound
  kubectl_waits delete deployments,statefulsets --namespace "$PGO_OPERATOR_NAMESPACE" \
    --selector vendor=crunchydata,pgo-process --cascade=foreground --timeout="${DELETE_SECONDS}s" >/dev/null
  in_operator delete service nsqd event --ignore-not-found >/dev/null
  in_operator delete lease pgo-reconciler pgo-scheduler pgo-event --ignore-not-found >/dev/null
  in_operator delete secret --ignore-not-found \
    pgo-{apiserver,reconciler,scheduler,event,direct,nsqd}-tls >/dev/null
  for name in apiserver reconciler scheduler event direct nsqd; do
    in_operator delete --ignore-not-found serviceaccount/pgo-$name role/pgo-$name-operator rolebinding/pgo-$name-operator >/dev/null
    k delete --ignore-not-found "clusterrolebinding/pgo-$name-$PGO_OPERATOR_NAMESPACE" >/dev/null
    for namespace in "${TARGET_NAMESPACES[@]}"; do
      k --namespace "$namespace" delete --ignore-not-found role/pgo-$name rolebinding/pgo-$name >/dev/null
    done
    # The rules are shared with other installations on this cluster; the last one takes them away.
    bound=$(k get clusterrolebindings -o 'go-template={{range .items}}{{.roleRef.name}}{{"\n"}}{{end}}')
    grep -qxF "pgo-$name" <<<"$bound" ||
      k delete --ignore-not-found "clusterrole/pgo-$name" >/dev/null
  done
  say "the services and their rights are removed"
}

# release_policies: the finalizer of PGO would keep policies, and with them namespaces and definitions; nobody tells of it any
# more.
release_policies() {
  local namespace name
  for namespace in "${TARGET_NAMESPACES[@]}"; do
    for name in $(k get pgpolicies --namespace "$namespace" --ignore-not-found -o name); do
      k patch "$name" --namespace "$namespace" --type merge --patch '{"metadata":{"finalizers":null}}' >/dev/null
    done
  done
}

remove_namespaces() {
  local namespace creator
  for namespace in "$PGO_OPERATOR_NAMESPACE" "${TARGET_NAMESPACES[@]}"; do
    # PGO's own has no such label.
    if [[ $namespace != "$PGO_OPERATOR_NAMESPACE" && $(installation_of "$namespace") != "$PGO_INSTALLATION_NAME" ]]; then
      [[ -z $(k get namespace "$namespace" --ignore-not-found -o name) ]] ||
        say "namespace $namespace stays, since its label pgo-installation-name does not name $PGO_INSTALLATION_NAME"
      continue
    fi
    creator=$(k get namespace "$namespace" --ignore-not-found -o 'go-template={{with .metadata.labels}}{{with index . "pgo-created-by"}}{{.}}{{end}}{{end}}')
    if [[ $creator == install-script ]]; then
      kubectl_waits delete namespace "$namespace" --ignore-not-found --timeout="${DELETE_SECONDS}s" >/dev/null
      say "namespace $namespace is removed"
    elif k get namespace "$namespace" >/dev/null 2>&1; then
      k label namespace "$namespace" vendor- pgo-installation-name- >/dev/null
      say "namespace $namespace stays, since install.sh did not make it; it is PGO's no more"
    fi
  done
}

check_settings
check_kubernetes
leave_out_others
read_unnamed
TARGET_NAMESPACES+=("${UNNAMED[@]}")
if definitions_are_there; then
  check_clusters
  if $delete_clusters; then remove_clusters; fi
  stop
fi
remove_services
if definitions_are_there && { $delete_namespaces || $delete_crds; }; then release_policies; fi
if $delete_namespaces; then remove_namespaces; fi
if $delete_crds; then
  kubectl_waits delete --ignore-not-found --filename "$here/../crds" --timeout="${DELETE_SECONDS}s" >/dev/null
  say "the custom resource definitions are removed"
fi
if $delete_namespaces; then
  say "PGO is gone"
else
  say "PGO is gone; databases go on. Users, pgo.yaml, certificates and the history of events are kept in namespace $PGO_OPERATOR_NAMESPACE: install.sh continues with them, uninstall.sh --delete-namespaces removes them"
fi
