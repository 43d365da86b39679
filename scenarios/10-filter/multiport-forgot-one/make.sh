#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -d 10.0.1.2/32 -p tcp -m multiport --dports 443,8000:8100 -j ACCEPT
-A FORWARD -p udp -m multiport --sports 53,67 -j ACCEPT
-A FORWARD -p tcp -m multiport ! --ports 22,80 -j ACCEPT
COMMIT
RULES
collect
