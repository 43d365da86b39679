#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*nat
-A OUTPUT -d 10.96.0.10/32 -p udp -m udp --dport 53 -j DNAT --to-destination 10.0.1.2:5353
-A POSTROUTING -d 10.0.1.2/32 -j ACCEPT
COMMIT
RULES
collect
