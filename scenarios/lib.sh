# Sourced by every scenario's make.sh: makes a node in unnamed namespaces, lets the script set it up with the real tools, and collects from it what a
# person would collect from a machine (the commands of the README). Needs root, iproute2, iptables, ipset.
# Nothing outside the namespaces is touched, and they end with the script.
#
# A make.sh is:
#
#   . "$(dirname "$0")/../../lib.sh"   # runs the script again inside a fresh namespace
#   node                               # the standard node, see below; or wire/ip commands of one's own
#   sysctl -qw net.ipv4.conf.eth0.rp_filter=1
#   rules <<'RULES'                    # iptables-restore input, loaded by the nft backend
#   *filter
#   :FORWARD ACCEPT [0:0]
#   -A FORWARD -p tcp -m tcp --dport 23 -j DROP
#   COMMIT
#   RULES
#   collect                            # writes bundle/
#
# The standard node has eth0 192.168.50.1/24 (default route by 192.168.50.254), pods 10.0.1.2 on vetha and 10.0.2.2 on vethb by host routes,
# and forwarding on. Every peer has a permanent neighbour entry.

if [ -z "${PKTWALK_MAKE:-}" ]; then
  PKTWALK_MAKE=1 exec unshare -n -- bash "$0" "$@"
fi
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"
here=$(cd "$(dirname "$0")" && pwd)
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
ip link set lo up

# The other ends of all wires live here.
unshare -n sleep 60 &
peer=$!
trap 'kill $peer 2>/dev/null || true' EXIT
own=$(readlink /proc/self/ns/net)
for _ in $(seq 200); do
  there=$(readlink "/proc/$peer/ns/net" 2>/dev/null || true)
  [ -n "$there" ] && [ "$there" != "$own" ] && break
  sleep 0.01
done

# wire NAME INDEX: a veth whose other end is out of sight; MAC 02:00:00:00:00:INDEX, its peer's 02:00:00:00:01:INDEX.
wire() {
  local hex
  hex=$(printf %02x "$2")
  ip link add "$1" index "$2" address "02:00:00:00:00:$hex" type veth \
    peer name "w$2" index "$2" address "02:00:00:00:01:$hex" netns "$peer"
  nsenter --net="/proc/$peer/ns/net" sh -c "sysctl -qw net.ipv6.conf.w$2.disable_ipv6=1; ip link set w$2 up"
  ip link set "$1" up
}

# neighbour DEV ADDRESS HOST: ADDRESS is beyond DEV and has the MAC 02:00:00:00:01:HOST. Each has its own, so that a frame tells who its next hop
# was: the number of the wire where one host is at its end, some other number where there are more.
neighbour() {
  ip neigh replace "$2" lladdr "02:00:00:00:01:$(printf %02x "$3")" nud permanent dev "$1"
}

node() {
  wire eth0 2
  wire vetha 3
  wire vethb 4
  ip addr add 192.168.50.1/24 brd + dev eth0
  ip route add default via 192.168.50.254
  ip route add 10.0.1.2 dev vetha
  ip route add 10.0.2.2 dev vethb
  neighbour eth0 192.168.50.254 2
  neighbour eth0 192.168.50.20 20
  neighbour vetha 10.0.1.2 3
  neighbour vethb 10.0.2.2 4
  sysctl -qw net.ipv4.ip_forward=1
}

# bridge: br0 172.20.0.1/16 with ports brp0 (172.20.0.10) and brp1 (172.20.0.11).
bridge_with_ports() {
  ip link add br0 index 5 address 02:00:00:00:00:05 type bridge
  ip link set br0 up
  wire brp0 6
  wire brp1 7
  ip link set brp0 master br0
  ip link set brp1 master br0
  ip addr add 172.20.0.1/16 brd + dev br0
  neighbour br0 172.20.0.10 6
  neighbour br0 172.20.0.11 7
  bridge fdb replace 02:00:00:00:01:06 dev brp0 master static
  bridge fdb replace 02:00:00:00:01:07 dev brp1 master static
}

# carriers: waits until every device knows that it has a carrier; before that, a bridge sets the states of its ports itself.
carriers() {
  for _ in $(seq 100); do
    ip -br link show up | grep -q ' UNKNOWN \| UP ' && ! ip -br link | grep -q ' LOWERLAYERDOWN ' && break
    sleep 0.02
  done
}

rules() { iptables-nft-restore; }

# masquerade: whoever leaves by eth0 has the node's address there.
masquerade() {
  rules <<'RULES'
*nat
-A POSTROUTING -o eth0 -j MASQUERADE
COMMIT
RULES
}

# watch: rules that only count, for scenarios whose subject is elsewhere: with them, the kernel tells by both backends how far each packet comes.
watch() {
  rules <<'RULES'
*raw
-A PREROUTING
-A OUTPUT
COMMIT
*mangle
-A POSTROUTING
COMMIT
*filter
-A INPUT
-A FORWARD
-A OUTPUT
COMMIT
RULES
}

# Settings that decide about packets; the rest of `sysctl -a` is noise here.
settings='net\.(ipv4\.(ip_forward|ip_default_ttl|ip_forward_use_pmtu|icmp_|fwmark_reflect|fib_multipath)|ipv4\.conf\.[^ ]*\.(forwarding|rp_filter|accept_local|route_localnet|src_valid_mark|proxy_arp|proxy_arp_pvlan|send_redirects|shared_media|arp_ignore|arp_filter|accept_source_route|bc_forwarding|ignore_routes_with_linkdown|drop_unicast_in_l2_multicast) |netfilter\.nf_conntrack_|bridge\.)'

collect() {
  local bundle="$here/bundle"
  rm -rf "$bundle"
  mkdir -p "$bundle"
  carriers
  iptables-nft-save | sed 's/ on [A-Z][a-z][a-z] .*$//' > "$bundle/iptables-save"
  [ -s "$bundle/iptables-save" ] || rm "$bundle/iptables-save"
  ipset save > "$bundle/ipset-save"
  [ -s "$bundle/ipset-save" ] || rm "$bundle/ipset-save"
  ip -d -j -p link > "$bundle/ip-link.json"
  ip -j -p addr > "$bundle/ip-addr.json"
  ip -j -p route show table all > "$bundle/ip-route.json"
  # The JSON form leaves out whether a route's mtu is locked.
  if ip route show table all | grep -q ' mtu '; then ip route show table all > "$bundle/ip-route"; fi
  ip -j -p rule > "$bundle/ip-rule.json"
  ip -j -p neigh > "$bundle/ip-neigh.json"
  ip neigh show proxy > "$bundle/neigh-proxy"
  [ -s "$bundle/neigh-proxy" ] || rm "$bundle/neigh-proxy"
  bridge -j -p fdb show > "$bundle/bridge-fdb.json"
  ss -Htulnpe > "$bundle/ss"
  cat /proc/net/raw > "$bundle/proc-net-raw"
  cat /proc/net/icmp > "$bundle/proc-net-icmp"
  conntrack -L -o extended > "$bundle/conntrack" 2>/dev/null
  sysctl -a 2>/dev/null | grep -E "^$settings" > "$bundle/sysctl"
}
