#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip route add 203.0.113.0/24 via 192.168.50.20 dev eth0 table 100
ip rule add fwmark 0x10/0x10 lookup 100 priority 1000
rules <<'RULES'
*mangle
-A PREROUTING -i vetha -j MARK --set-xmark 0x10/0xff
-A FORWARD -m mark --mark 0x10/0x10 -j MARK --set-xmark 0x0/0x10
-A POSTROUTING -m mark ! --mark 0x0 -j DROP
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m mark --mark 0x0 -j ACCEPT
COMMIT
RULES
collect
