# Sourced by every script: where things lie and what they are called. All of it can be overridden by the environment
# but the names and addresses, of which a machine has one set: two clones on it take turns.
# shellcheck shell=bash disable=SC2034

PGO_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# What is built once and kept: outside the clone, so that a fresh clone finds it.
PGO_CACHE=${PGO_CACHE:-${HOME:-/root}/.cache/pgo}
PGO_BIN=$PGO_CACHE/bin

# Everything the running Kubernetes has on disk. Gone after down.sh. The note says where the one that runs has it; it goes
# when the machine stops, as the processes do.
PGO_LOCAL_NOTE=/run/pgo-local
PGO_LOCAL_DIR=${PGO_LOCAL_DIR:-$(cat "$PGO_LOCAL_NOTE" 2>/dev/null || echo /var/lib/pgo-local)}
PGO_KUBECONFIG=$PGO_LOCAL_DIR/admin.kubeconfig

NODES=${NODES:-2}
check_nodes() { [[ $NODES =~ ^[1-9]$ ]] || fail "NODES is \"$NODES\"; 1 to 9 are possible"; }

# Names in the kernel. A link's name has at most 15 characters.
BRIDGE=pgo-local
CGROUP=pgo-local
node_netns() { echo "pgo-node$1"; }
node_link() { echo "pgo-node$1"; }

# Addresses: the host is .1 on the bridge, node N is .10+N; pods of node N are 10.244.N.0/24.
HOST_ADDRESS=172.30.0.1
BRIDGE_NETWORK=172.30.0.0/24
SERVICE_NETWORK=10.96.0.0/16
SERVICE_API_ADDRESS=10.96.0.1
node_address() { echo "172.30.0.$((10 + $1))"; }
POD_NETWORK=10.244.0.0/16
node_pods() { echo "10.244.$1.0/24"; }

API_URL=https://$HOST_ADDRESS:6443
ETCD_URL=http://127.0.0.1:23790
ETCD_PEER_URL=http://127.0.0.1:23800
CLUSTER_DOMAIN=cluster.local
PAUSE_IMAGE=localhost/pgo/pause:1
