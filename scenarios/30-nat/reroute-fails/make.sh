#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip route del default
rules <<'RULES'
*nat
-A OUTPUT -d 192.168.50.20/32 -p udp -m udp --dport 53 -j DNAT --to-destination 203.0.113.5
COMMIT
RULES
collect
