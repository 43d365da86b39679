#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
bridge_with_ports
ip route del default
ip route add prohibit 198.51.100.0/24
ip route add 203.0.113.0/24 via 192.168.50.254
ip rule add dport 55 lookup 55 priority 55
ip route add blackhole default table 55
sysctl -qw net.bridge.bridge-nf-call-iptables=1
rules <<'R'
*raw
-A PREROUTING
COMMIT
*filter
-A FORWARD
COMMIT
*nat
-A PREROUTING -p udp --dport 53 -j DNAT --to-destination 8.8.8.8
-A PREROUTING -p udp --dport 54 -j DNAT --to-destination 198.51.100.5
-A PREROUTING -p udp --dport 55:56 -j DNAT --to-destination 203.0.113.5
COMMIT
R
collect
