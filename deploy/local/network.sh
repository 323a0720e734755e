# Sourced by up.sh and down.sh: one bridge on the host; each node is a network namespace with a link to it. Pods of a node
# are behind a bridge inside its namespace, and every node and the host have a route to them.
# shellcheck shell=bash

# in_node N COMMAND...: in the network of node N. Not by "ip netns exec": that mounts /sys anew and hides the cgroups.
in_node() {
  local node=$1
  shift
  nsenter --net="/run/netns/$(node_netns "$node")" -- "$@"
}

make_host_network() {
  # Packets pass from node to node through the host's routing only for pods; put back by remove_network.
  cat /proc/sys/net/ipv4/ip_forward >"$PGO_LOCAL_DIR/ip_forward.before"
  echo 1 >/proc/sys/net/ipv4/ip_forward
  ip link add "$BRIDGE" type bridge
  ip addr add "$HOST_ADDRESS/${BRIDGE_NETWORK#*/}" dev "$BRIDGE"
  ip link set "$BRIDGE" up
  # So that a connection of the host to a Service has an address that nodes know, default route or not.
  ip route add "$SERVICE_NETWORK" dev "$BRIDGE"
}

# Nothing of another's may be taken over, and removed later as if it were ours.
refuse_strangers() {
  local stranger network
  for network in "$BRIDGE_NETWORK" "$POD_NETWORK" "$SERVICE_NETWORK"; do
    stranger=$({
      ip -o route show to match "${network%/*}"
      ip -o route show to root "$network"
    } | grep -v '^default' || true)
    [[ -z $stranger ]] || fail "the network $network is in use on this machine: $stranger"
  done
  ! nft list table ip kube-proxy >/dev/null 2>&1 ||
    fail "another kube-proxy runs or ran on this machine; if it is a leftover: nft delete table ip kube-proxy"
}

# make_node_network N OF
make_node_network() {
  local node=$1 of=$2 netns link other
  netns=$(node_netns "$node")
  link=$(node_link "$node")
  ip netns add "$netns"
  ip link add "$link" type veth peer name eth0 netns "$netns"
  ip link set "$link" master "$BRIDGE" up
  ip -n "$netns" link set lo up
  ip -n "$netns" addr add "$(node_address "$node")/${BRIDGE_NETWORK#*/}" dev eth0
  ip -n "$netns" link set eth0 up
  ip -n "$netns" route add default via "$HOST_ADDRESS"
  for other in $(seq "$of"); do
    ((other == node)) || ip -n "$netns" route add "$(node_pods "$other")" via "$(node_address "$other")"
  done
  ip route add "$(node_pods "$node")" via "$(node_address "$node")"
  in_node "$node" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
}

# Routes go with their links.
remove_network() {
  local netns family
  for netns in /run/netns/pgo-node*; do
    [[ ! -e $netns ]] || ip netns delete "${netns##*/}"
  done
  ip -o link show type veth 2>/dev/null | sed -n 's/^[0-9]*: \(pgo-node[0-9]*\)@.*/\1/p' | while read -r link; do
    ip link delete "$link" 2>/dev/null || true
  done
  if ip link show "$BRIDGE" >/dev/null 2>&1; then ip link delete "$BRIDGE"; fi
  # Written after nobody else's kube-proxy was found: without it the rules are not ours.
  [[ -s $PGO_LOCAL_DIR/ip_forward.before ]] || return 0
  for family in ip ip6; do
    if nft list table "$family" kube-proxy >/dev/null 2>&1; then nft delete table "$family" kube-proxy; fi
  done
  cat "$PGO_LOCAL_DIR/ip_forward.before" >/proc/sys/net/ipv4/ip_forward
}
