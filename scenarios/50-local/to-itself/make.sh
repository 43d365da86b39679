#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip addr add 198.18.0.1/32 dev lo
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -p udp -m udp --dport 54 -j DROP
-A OUTPUT -o lo -j ACCEPT
COMMIT
RULES
collect
