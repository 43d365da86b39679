#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -j ACCEPT
-A INPUT -j ACCEPT
COMMIT
*security
-A FORWARD -p tcp -m tcp --dport 445 -j DROP
-A INPUT -p tcp -m tcp --dport 445 -j DROP
-A OUTPUT -p udp -m udp --dport 445 -j DROP
COMMIT
RULES
collect
