#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*nat
-A PREROUTING -d 192.168.50.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.2.2:80
-A POSTROUTING -s 10.0.1.2/32 -d 10.0.2.2/32 -j SNAT --to-source 192.168.50.1
COMMIT
RULES
collect
