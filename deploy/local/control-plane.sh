# Sourced by up.sh: the processes of the control plane, and what the host itself needs of a cluster. All run on the host.
# shellcheck shell=bash

CONTROL_PLANE=$PGO_LOCAL_DIR/control-plane

# admin_get PATH: the answer of the API server, asked as administrator. Fails after 2 s, on each status but 2xx too.
admin_get() {
  curl --silent --fail --max-time 2 --cacert "$PKI/ca.crt" --cert "$PKI/admin.crt" --key "$PKI/admin.key" "$API_URL$1"
}

make_identities() {
  make_authority
  certify apiserver /CN=kube-apiserver "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.$CLUSTER_DOMAIN,IP:127.0.0.1,IP:$SERVICE_API_ADDRESS,IP:$HOST_ADDRESS"
  certify apiserver-to-kubelet /O=system:masters/CN=kube-apiserver DNS:kube-apiserver
  member admin /O=system:masters/CN=admin
  member controller-manager /CN=system:kube-controller-manager
  member scheduler /CN=system:kube-scheduler
  member proxy /CN=system:kube-proxy
}

start_etcd() {
  # No fsync: the data ends with the cluster anyway, and the API server answers in a third of the time.
  start etcd etcd --data-dir "$CONTROL_PLANE/etcd" --unsafe-no-fsync --logger zap --log-level warn \
    --listen-client-urls "$ETCD_URL" --advertise-client-urls "$ETCD_URL" \
    --listen-peer-urls "$ETCD_PEER_URL" --initial-advertise-peer-urls "$ETCD_PEER_URL" --initial-cluster "default=$ETCD_PEER_URL"
}

start_apiserver() {
  start apiserver "$PGO_BIN/kube-apiserver" --etcd-servers="$ETCD_URL" \
    --bind-address="$HOST_ADDRESS" --advertise-address="$HOST_ADDRESS" --service-cluster-ip-range="$SERVICE_NETWORK" \
    --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
    --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --kubelet-client-certificate="$PKI/apiserver-to-kubelet.crt" --kubelet-client-key="$PKI/apiserver-to-kubelet.key" \
    --service-account-issuer="https://kubernetes.default.svc.$CLUSTER_DOMAIN" \
    --service-account-key-file="$PKI/service-accounts.key" --service-account-signing-key-file="$PKI/service-accounts.key" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true
}

# What speaks to the API server through its own kubeconfig. No leader election: there is one of each, and with it they
# would exit when the API server is stopped for a while, as tests do.
start_controllers() {
  start controller-manager "$PGO_BIN/kube-controller-manager" --kubeconfig="$PGO_LOCAL_DIR/controller-manager.kubeconfig" \
    --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials --kube-api-qps=200 --kube-api-burst=400 \
    --root-ca-file="$PKI/ca.crt" --service-account-private-key-file="$PKI/service-accounts.key" \
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key"
  start scheduler "$PGO_BIN/kube-scheduler" --kubeconfig="$PGO_LOCAL_DIR/scheduler.kubeconfig" \
    --bind-address=127.0.0.1 --leader-elect=false --kube-api-qps=200 --kube-api-burst=400
  mkdir -p "$PGO_LOCAL_DIR/volumes"
  start provisioner "$PGO_BIN/pgo-local-provisioner" --kubeconfig="$PGO_KUBECONFIG" --root="$PGO_LOCAL_DIR/volumes"
}

DNS_READY=127.0.0.1:18181

# Names of the cluster only: whatever else is asked does not exist, at once, also where the machine has no way out.
start_dns() {
  cat >"$CONTROL_PLANE/Corefile" <<EOT
$CLUSTER_DOMAIN in-addr.arpa ip6.arpa {
  bind $HOST_ADDRESS
  ready $DNS_READY
  errors
  kubernetes $CLUSTER_DOMAIN in-addr.arpa ip6.arpa {
    kubeconfig $PGO_KUBECONFIG pgo-local
  }
}
. {
  bind $HOST_ADDRESS
  template ANY ANY {
    rcode NXDOMAIN
  }
}
EOT
  start coredns "$PGO_BIN/coredns" -conf "$CONTROL_PLANE/Corefile"
}

# start_proxy NAME NODE ENTER...: a kube-proxy; ENTER is a command that runs it in a node's network, or nothing.
start_proxy() {
  local name=$1 node=$2 config=$PGO_LOCAL_DIR/$1.yaml
  shift 2
  # minSyncPeriod: how long changes of Services and EndpointSlices are gathered before they take effect. By default 1 s,
  # which would be most of the time a failover takes; 100 ms is what the figures of failovers are to be read with. The limits of conntrack belong to the machine: not touched.
  cat >"$config" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: $node
clientConnection: {kubeconfig: $PGO_LOCAL_DIR/proxy.kubeconfig}
clusterCIDR: $POD_NETWORK
nftables: {minSyncPeriod: 100ms}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
bindAddress: 0.0.0.0
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
YAML
  start "$name" "$@" "$PGO_BIN/kube-proxy" --config="$config"
}

# With it ClusterIPs work on the host, for curl, psql, pgo, and for the API server where it calls a webhook.
start_host_proxy() { start_proxy host-proxy node1; }
