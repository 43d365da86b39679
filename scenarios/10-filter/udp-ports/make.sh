#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -p udp -m udp --dport 33434:33523 -j DROP
-A FORWARD -p udp -m udp --sport 53 -j ACCEPT
COMMIT
RULES
collect
