#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip route add 203.0.113.0/24 via 192.168.50.20 metric 100
ip route add 203.0.113.0/24 via 192.168.50.254 metric 50
ip route add 203.0.113.0/25 via 192.168.50.20 tos 0x10
ip route add default via 192.168.50.20 dev eth0 table 200
ip rule add from 10.0.2.2 lookup 200 priority 500
watch
collect
