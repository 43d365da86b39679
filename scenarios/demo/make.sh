#!/usr/bin/env bash
# Makes the bundle that `pktwalk` walks when it is given none: a small container host, made on a real kernel in namespaces without a name.
# eth0 192.168.50.1/24 faces the network, a bridge holds two containers. The web container's port 80 is published as 8080, its admin port 9090
# as 9090; whoever wrote the filter forgot the second. Needs root, iproute2, iptables.

. "$(dirname "$0")/../lib.sh"
wire eth0 2
ip addr add 192.168.50.1/24 brd + dev eth0
ip route add default via 192.168.50.254
neighbour eth0 192.168.50.254 2
neighbour eth0 192.168.50.20 2
bridge_with_ports
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.eth0.rp_filter=1
ipset create blocked hash:net family inet
ipset add blocked 203.0.113.0/24
ipset add blocked 203.0.113.5 nomatch
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:PUBLISHED - [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i eth0 -m set --match-set blocked src -j DROP
-A FORWARD -i eth0 -o br0 -j PUBLISHED
-A FORWARD -i br0 ! -o br0 -j ACCEPT
-A FORWARD -m comment --comment "everything else" -j DROP
-A PUBLISHED -d 172.20.0.10/32 -p tcp -m tcp --dport 80 -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:PUBLISH - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j PUBLISH
-A POSTROUTING -s 172.20.0.0/16 ! -o br0 -j MASQUERADE
-A PUBLISH ! -i br0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.20.0.10:80
-A PUBLISH ! -i br0 -p tcp -m tcp --dport 9090 -j DNAT --to-destination 172.20.0.10:9090
COMMIT
RULES
collect
cat > "$here/bundle/node.yaml" <<YAML
name: demo
kernel: $(uname -r | sed 's/-.*//')
backend: nft
YAML
