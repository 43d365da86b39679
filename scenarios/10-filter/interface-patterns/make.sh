#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -i veth+ -o veth+ -j DROP
-A FORWARD ! -i eth0 -o eth0 -j ACCEPT
-A FORWARD -i eth0 -j ACCEPT
COMMIT
RULES
collect
