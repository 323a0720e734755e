# Sourced by up.sh, down.sh and status.sh: what of the local Kubernetes is there, and how all of it is removed.
# shellcheck shell=bash disable=SC2034,SC2154 # what the sourcing script uses and sets

# This file says that the folder is ours: only a folder with it is ever removed.
MARKER=$PGO_LOCAL_DIR/this-folder-is-removed-by-pgo
# What it was started from: other programs or settings mean that it must be started anew.
FINGERPRINT=$PGO_LOCAL_DIR/fingerprint

# One at a time on this machine. The lock is the kernel's: it ends with whoever holds it.
lock_machine() {
  mkdir -p /run/lock
  exec {LOCK}>/run/lock/pgo-local
  flock --nonblock "$LOCK" || { say "another up.sh or down.sh is at work; waiting for it" && flock --timeout 600 "$LOCK"; } ||
    fail "another up.sh or down.sh has been at work for 10 minutes; find it with: fuser -v /run/lock/pgo-local"
}

fingerprint() {
  local program
  for program in kubernetes coredns pgo-local-provisioner; do
    readlink -f "$PGO_BIN/$program"
  done
  echo "nodes: $NODES"
  # What is done, not what is said about it.
  sed '/^ *#/d' "$here"/{settings,network,certificates,control-plane,node}.sh "$here/storage-class.yaml"
}

# same_folder: the one that runs has its files where this one would have them.
same_folder() {
  local noted
  noted=$(cat "$PGO_LOCAL_NOTE" 2>/dev/null) || return 0
  [[ $noted == "$PGO_LOCAL_DIR" ]] ||
    fail "a local Kubernetes has its files in $noted, not in $PGO_LOCAL_DIR; end it first: env -u PGO_LOCAL_DIR make stop"
}

# clusters: how many Pgclusters there are; nothing where the API server does not say.
clusters() {
  KUBECACHEDIR=$PGO_LOCAL_DIR/kubectl-cache timeout 10 "$PGO_BIN/kubectl" --kubeconfig "$PGO_KUBECONFIG" \
    get pgclusters --all-namespaces --output name 2>/dev/null | wc -l
}

something_is_there() {
  [[ -e $MARKER ]] || ip link show "$BRIDGE" >/dev/null 2>&1 || compgen -G '/run/netns/pgo-node*' >/dev/null ||
    compgen -G "/sys/fs/cgroup/*/$CGROUP" >/dev/null || [[ -d /sys/fs/cgroup/$CGROUP ]] ||
    compgen -G "$PGO_LOCAL_DIR.removing.*" >/dev/null
}

healthy() {
  all_alive && admin_get /readyz >/dev/null && nodes_ready && curl --silent --fail --max-time 2 "http://$DNS_READY/ready" >/dev/null
}

nodes_ready() {
  local ready
  ready=$(admin_get /api/v1/nodes | jq '[.items[] | select(any(.status.conditions[]; .type == "Ready" and .status == "True"))] | length') &&
    ((ready == $(find "$PGO_LOCAL_DIR" -mindepth 1 -maxdepth 1 -type d -name 'node*' | wc -l)))
}

# remove_everything: ends and removes all that up.sh made, whatever state it is in. The folder is out of the way then; to
# free its blocks can take a disk half a minute and goes on as process $REMOVAL.
remove_everything() {
  if [[ -d $PGO_LOCAL_DIR && ! -e $MARKER ]] && [[ -n $(ls -A "$PGO_LOCAL_DIR") ]]; then
    fail "$PGO_LOCAL_DIR was not made by up.sh; name another folder with PGO_LOCAL_DIR"
  fi
  thaw_volumes
  end_processes
  unmount_everything
  remove_network
  remove_cgroups
  remove_traces
  [[ ! -d $PGO_LOCAL_DIR ]] || mv "$PGO_LOCAL_DIR" "$PGO_LOCAL_DIR.removing.$BASHPID"
  rm -f "$PGO_LOCAL_NOTE"
  # All of them: one may be left of a removal that was interrupted. Without the lock: it must not wait for this.
  setsid rm -rf --one-file-system "$PGO_LOCAL_DIR".removing.* {LOCK}>&- </dev/null >/dev/null 2>&1 &
  REMOVAL=$!
}

# Tests freeze volumes that are file systems of their own; nothing ends a process that waits for one.
thaw_volumes() {
  local place
  awk -v below="$PGO_LOCAL_DIR/" 'index($2, below) == 1 && $1 ~ "^/dev/loop" {print $2}' /proc/mounts | while read -r place; do
    fsfreeze --unfreeze "$place" 2>/dev/null || true
  done
}

# What the containers and volumes have mounted, the innermost first.
unmount_everything() {
  local mounts
  mounts=$(awk -v below="$PGO_LOCAL_DIR/" 'index($5, below) == 1 {print length($5), $5}' /proc/self/mountinfo | sort -rn | cut -d' ' -f2-)
  [[ -n $mounts ]] || return 0
  # Lazily: a mount that somebody looks into goes when he has done.
  xargs -d '\n' umount --lazy <<<"$mounts" || fail "cannot unmount what the local Kubernetes has mounted: $(tr '\n' ' ' <<<"$mounts")"
}

# Where these programs keep something, whatever their settings say.
FIXED_PLACES=(/var/lib/kubelet/device-plugins /var/lib/kubelet /var/log/containers /var/lib/cni/results /var/lib/cni /run/containerd/s /run/containerd)

# note_fixed_places: which of them are not there before us; those go again.
note_fixed_places() {
  local place
  for place in "${FIXED_PLACES[@]}"; do
    [[ -e $place ]] || echo "$place"
  done >"$PGO_LOCAL_DIR/fixed-places"
}

# remove_traces: ours in these places: sockets of the shims, links to logs, results of the pod network. Those of others
# stay.
remove_traces() {
  local address link place
  for address in "$PGO_LOCAL_DIR"/node*/state/io.containerd.runtime.v2.task/k8s.io/*/address; do
    [[ -e $address ]] || break
    address=$(<"$address")
    rm -f "${address#unix://}"
  done
  for link in /var/log/containers/*; do
    if [[ -L $link && $(readlink "$link") == "$PGO_LOCAL_DIR"/* ]]; then rm -f "$link"; fi
  done
  { grep -lsF "$PGO_LOCAL_DIR/" /var/lib/cni/results/* || true; } | xargs -r rm -f
  [[ -e $PGO_LOCAL_DIR/fixed-places ]] || return 0
  while read -r place; do
    [[ $place != */device-plugins ]] || rm -f "$place/kubelet.sock" "$place/kubelet_internal_checkpoint"
    [[ ! -d $place ]] || rmdir --ignore-fail-on-non-empty "$place"
  done <"$PGO_LOCAL_DIR/fixed-places"
}
