#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
bridge_with_ports
sysctl -qw net.bridge.bridge-nf-call-iptables=0
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -i br0 -o br0 -j DROP
COMMIT
RULES
collect
