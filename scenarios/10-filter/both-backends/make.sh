#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
# What a container engine put there, before the machine's own tools came to mean nf_tables.
iptables-legacy-restore <<'RULES'
*mangle
-A PREROUTING -i eth0 -j MARK --set-xmark 0x1/0x1
COMMIT
*filter
:FORWARD DROP [0:0]
-A FORWARD -d 10.0.1.2/32 -p tcp -m tcp --dport 80 -j ACCEPT
-A FORWARD -d 10.0.1.2/32 -p tcp -m tcp --dport 443 -j ACCEPT
COMMIT
RULES
rules <<'RULES'
*filter
-A FORWARD -p tcp -m tcp --dport 80 -j ACCEPT
-A FORWARD -p tcp -m tcp --dport 22 -j ACCEPT
-A FORWARD -m mark --mark 0x1/0x1 -j DROP
COMMIT
RULES
collect
iptables-legacy-save | sed 's/ on [A-Z][a-z][a-z] .*$//' > "$here/bundle/iptables-legacy-save"
