#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
sysctl -qw net.ipv4.conf.eth0.route_localnet=1
rules <<'RULES'
*nat
-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 127.0.0.1:80
COMMIT
RULES
collect
