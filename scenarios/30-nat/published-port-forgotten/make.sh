#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*nat
-A PREROUTING -d 192.168.50.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.1.2:80
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -d 10.0.1.2/32 -p tcp -m tcp --dport 8080 -j ACCEPT
COMMIT
RULES
collect
