# Sourced by up.sh: one node, a containerd, a kubelet and a kube-proxy in a network namespace.
# shellcheck shell=bash

node_dir() { echo "$PGO_LOCAL_DIR/node$1"; }
containerd_socket() { echo "$PGO_LOCAL_DIR/node$1/containerd.sock"; }

# start_containerd N
start_containerd() {
  local node=$1 dir
  dir=$(node_dir "$node")
  mkdir -p "$dir/cni"
  # Addresses are handed out per node; the node's own network knows the routes, so nothing is masqueraded and a
  # PostgreSQL sees who its client is.
  cat >"$dir/cni/10-pods.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "pgo-local-node$node", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$dir/addresses", "ranges": [[{"subnet": "$(node_pods "$node")"}]], "routes": [{"dst": "0.0.0.0/0"}]}}
]}
JSON
  # restrict_oom_score_adj: a machine may not let even root lower a score, and runc would fail without a word.
  # netns_mounts_under_state_dir, Root: so that everything of a node lies in its folder.
  cat >"$dir/containerd.toml" <<TOML
version = 2
root = "$dir/containerd"
state = "$dir/state"
[grpc]
  address = "$(containerd_socket "$node")"
[ttrpc]
  address = "$dir/containerd.ttrpc.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$dir/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$dir/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "$dir/runc"
TOML
  start "node$node-containerd" nsenter --net="/run/netns/$(node_netns "$node")" -- containerd --config "$dir/containerd.toml"
}

# start_kubelet N: after its containerd, and once the API server is there.
start_kubelet() {
  local node=$1 dir address name=node$1
  dir=$(node_dir "$node")
  address=$(node_address "$node")
  certify "$name" "/O=system:nodes/CN=system:node:$name" "DNS:$name,IP:$address"
  kubeconfig "$name" "$PGO_LOCAL_DIR/$name.kubeconfig"
  # A pod's names are the cluster's only: nothing of the host's search list.
  : >"$dir/resolv.conf"
  # Rates: 50 clusters created at once are not to wait for the kubelet's courtesy, and a container that tests kill again
  # and again not for minutes. Disks are those of the machine,
  # so a node never evicts because some other program filled 85 % of it, and never throws away an image that it
  # could not get again.
  cat >"$dir/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/$name.crt
tlsPrivateKeyFile: $PKI/$name.key
containerRuntimeEndpoint: unix://$(containerd_socket "$node")
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP/$name
enforceNodeAllocatable: []
failSwapOn: false
clusterDNS: [$HOST_ADDRESS]
clusterDomain: $CLUSTER_DOMAIN
resolvConf: $dir/resolv.conf
podLogsDir: $dir/logs
volumePluginDir: $dir/volume-plugins
maxPods: 200
serializeImagePulls: false
registryPullQPS: 0
eventRecordQPS: 0
kubeAPIQPS: 200
kubeAPIBurst: 400
nodeStatusUpdateFrequency: 2s
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
featureGates: {KubeletCrashLoopBackOffMax: true}
crashLoopBackOff: {maxContainerRestartPeriod: 2s}
YAML
  start "$name-kubelet" nsenter --net="/run/netns/$(node_netns "$node")" -- "$PGO_BIN/kubelet" --config="$dir/kubelet.yaml" \
    --kubeconfig="$PGO_LOCAL_DIR/$name.kubeconfig" --hostname-override="$name" --node-ip="$address" --root-dir="$dir/kubelet"
}

start_node_proxy() {
  start_proxy "node$1-proxy" "node$1" nsenter --net="/run/netns/$(node_netns "$1")" --
}

# containerd_answers N
containerd_answers() { ctr --address "$(containerd_socket "$1")" --connect-timeout 1s version; }
