#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*nat
-A POSTROUTING -s 10.0.1.2/32 -o eth0 -j SNAT --to-source 192.0.2.10-192.0.2.20
-A POSTROUTING -s 10.0.2.2/32 -o eth0 -p udp -j SNAT --to-source 192.0.2.30:40000-40010
-A INPUT -i vetha -p udp -m udp --dport 99 -j SNAT --to-source 198.18.0.1
COMMIT
RULES
collect
