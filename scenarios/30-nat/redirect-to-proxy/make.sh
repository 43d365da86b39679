#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip addr add 10.0.1.1/32 dev vetha
rules <<'RULES'
*nat
-A PREROUTING -i vetha -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 3128
-A OUTPUT -p tcp -m tcp --dport 81 -j REDIRECT --to-ports 3128
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 3128 -j DROP
COMMIT
RULES
collect
