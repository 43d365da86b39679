#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip link set vethb mtu 1000
ip route add 198.51.100.0/24 via 192.168.50.254 mtu lock 1200
watch
collect
