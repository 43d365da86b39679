#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip route add 203.0.113.0/24 nexthop via 192.168.50.20 weight 1 nexthop via 192.168.50.254 weight 2
watch
collect
