#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
wire eth1 8
ip addr add 198.18.0.1/24 brd + dev eth1
neighbour eth1 198.18.0.254 8
ip route add default via 198.18.0.254 dev eth1 table 100
ip rule add fwmark 0x1 lookup 100 priority 1000
rules <<'RULES'
*mangle
-A PREROUTING -i vetha -p udp -m udp --dport 53 -m pkttype --pkt-type unicast -m statistic --mode nth --every 2 --packet 1 -j MARK --set-xmark 0x1/0x1
COMMIT
*nat
-A POSTROUTING -j MASQUERADE
COMMIT
RULES
collect
