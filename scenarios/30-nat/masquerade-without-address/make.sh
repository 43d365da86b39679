#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip addr flush dev eth0
ip addr add 192.168.50.1/32 dev eth0 scope link
ip route add 192.168.50.254 dev eth0
ip route add default via 192.168.50.254
rules <<'RULES'
*nat
-A POSTROUTING -o eth0 -j MASQUERADE
COMMIT
RULES
collect
