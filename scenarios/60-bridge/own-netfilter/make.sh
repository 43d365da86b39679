#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
bridge_with_ports
sysctl -qw net.bridge.bridge-nf-call-iptables=0
ip link set br0 type bridge nf_call_iptables 1
rules <<'RULES'
*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -p udp -j DROP
COMMIT
RULES
collect
