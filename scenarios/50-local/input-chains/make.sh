#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*raw
-A PREROUTING -p tcp -m tcp --dport 24 -j DROP
-A OUTPUT -p udp -m udp --dport 27 -j DROP
COMMIT
*mangle
-A PREROUTING -p tcp -m tcp --dport 25 -j DROP
-A INPUT -p tcp -m tcp --dport 23 -j DROP
-A OUTPUT -p udp -m udp --dport 28 -j DROP
-A POSTROUTING -p udp -m udp --dport 30 -j DROP
-A FORWARD -p tcp -m tcp --dport 31 -j DROP
COMMIT
*nat
-A INPUT -p tcp -m tcp --dport 26 -j SNAT --to-source 198.18.0.9
-A OUTPUT -p udp -m udp --dport 29 -j ACCEPT
-A POSTROUTING -o nosuch0 -j MASQUERADE
COMMIT
RULES
collect
