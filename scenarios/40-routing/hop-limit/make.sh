#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip route replace 10.0.1.2 dev vetha hoplimit 33
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset
-A FORWARD -p tcp -j REJECT --reject-with tcp-reset
-A FORWARD -p udp -j REJECT
-A OUTPUT
COMMIT
RULES
collect
