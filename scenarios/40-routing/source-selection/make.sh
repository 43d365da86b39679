#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip addr add 192.168.50.3/24 dev eth0
ip addr add 198.18.0.1/32 dev lo
ip route add 198.51.100.0/24 via 192.168.50.254 src 198.18.0.1
watch
collect
