#!/usr/bin/env bash
# up.sh: a Kubernetes of NODES nodes (2 by default) on this machine, started or found running. As root.
# Prints where its kubeconfig is. Whatever is left of one that ended uncleanly is removed first.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/settings.sh"
source "$here/progress.sh"
source "$here/processes.sh"
source "$here/network.sh"
source "$here/certificates.sh"
source "$here/control-plane.sh"
source "$here/node.sh"
source "$here/state.sh"

check_machine() {
  ((EUID == 0)) || fail "the local Kubernetes makes network namespaces and cgroups, which only root may; run it as root"
  check_nodes
  # A socket's path has at most 107 characters, and ours have up to 25 below this folder.
  ((${#PGO_LOCAL_DIR} <= 80)) || fail "PGO_LOCAL_DIR is too long (${#PGO_LOCAL_DIR} characters, at most 80): $PGO_LOCAL_DIR"
}

start_everything() {
  local node
  refuse_strangers
  mkdir -p "$PGO_LOCAL_DIR" "$CONTROL_PLANE"
  touch "$MARKER"
  echo "$PGO_LOCAL_DIR" >"$PGO_LOCAL_NOTE"
  note_fixed_places
  make_cgroup system
  make_identities
  make_host_network
  start_etcd
  start_apiserver
  for node in $(seq "$NODES"); do
    make_cgroup "node$node"
    make_node_network "$node" "$NODES"
    start_containerd "$node"
  done

  await apiserver 90 "the API server" admin_get /readyz
  say "the API server answers"
  start_controllers
  start_dns
  start_host_proxy
  for node in $(seq "$NODES"); do
    await "node$node-containerd" 60 "containerd of node$node" containerd_answers "$node"
    start_kubelet "$node"
    start_node_proxy "$node"
  done
  "$here/../images/import.sh" pause
  KUBECACHEDIR=$PGO_LOCAL_DIR/kubectl-cache timeout 60 "$PGO_BIN/kubectl" --kubeconfig "$PGO_KUBECONFIG" apply -f "$here/storage-class.yaml" >/dev/null
  await "node1-kubelet" 90 "all $NODES nodes to be Ready" nodes_ready
  await coredns 60 "the cluster's DNS" curl --silent --fail --max-time 2 "http://$DNS_READY/ready"
  await host-proxy 60 "Services to work on the host" curl --silent --fail --max-time 2 http://127.0.0.1:10256/healthz
}

# what_differs: why the one that runs is not the one that is wanted.
what_differs() {
  local nodes
  nodes=$(sed -n 's/^nodes: //p' "$FINGERPRINT")
  if [[ $nodes == "$NODES" ]]; then
    echo "it was started from other programs or settings"
  else
    echo "it has $nodes nodes (as NODES=$nodes makes) and not $NODES"
  fi
}

# keep_or_remove: ends this script where the one that runs is as wanted. Clusters that somebody made are not removed
# because a program or a setting has changed: that is for him to say.
keep_or_remove() {
  local why="not all of its processes run"
  if [[ -e $FINGERPRINT ]] && all_alive; then
    if [[ $(fingerprint) == "$(<"$FINGERPRINT")" ]]; then
      if poll 60 "the local Kubernetes to answer" healthy; then
        say "the local Kubernetes is running ($NODES nodes): $PGO_KUBECONFIG"
        exit
      fi
      why="it does not answer"
    else
      why=$(what_differs)
      (($(clusters) == 0)) || fail "the local Kubernetes runs, but $why, and there are PostgreSQL clusters on it; make stop removes them with it, then run this again"
    fi
  fi
  say "removing what is left of a local Kubernetes: $why"
  remove_everything
}

check_machine
lock_machine
same_folder
begun=$(clock_ms)
! something_is_there || keep_or_remove
# What it leads to is gone.
rm -f "$PGO_ROOT/.local/env"
start_everything
# Last: without it nothing counts as running.
fingerprint >"$FINGERPRINT"
say "the local Kubernetes is up after $(since "$begun") ($NODES nodes): $PGO_KUBECONFIG"
