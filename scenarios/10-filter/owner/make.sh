#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A OUTPUT -p udp -m udp --dport 514 -m owner ! --uid-owner 1000 -j DROP
-A OUTPUT -p udp -m udp --dport 515 -m owner --gid-owner 2000-3000 -j DROP
-A OUTPUT -p icmp -m owner ! --socket-exists -j DROP
COMMIT
RULES
collect
