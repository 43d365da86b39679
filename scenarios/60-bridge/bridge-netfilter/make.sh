#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
bridge_with_ports
sysctl -qw net.bridge.bridge-nf-call-iptables=1
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m physdev --physdev-in brp0 --physdev-is-bridged -j DROP
-A FORWARD -m physdev --physdev-is-in --physdev-out brp+ -j DROP
COMMIT
RULES
collect
