#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip route add default via 10.0.2.2 dev vethb onlink table 100
ip rule add fwmark 0x20 lookup 100 priority 1000
rules <<'RULES'
*mangle
-A OUTPUT -p udp -m udp --dport 53 -j MARK --set-xmark 0x20/0xffffffff
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A OUTPUT -o vethb -j DROP
-A OUTPUT -o eth0 -p udp -m udp --dport 54 -j DROP
COMMIT
RULES
collect
