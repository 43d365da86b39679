#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*nat
:PUBLISH - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j PUBLISH
-A PUBLISH -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.1.2:80
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT
COMMIT
RULES
collect
