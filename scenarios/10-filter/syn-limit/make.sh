#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m limit --limit 1/hour --limit-burst 2 -j ACCEPT
COMMIT
RULES
collect
