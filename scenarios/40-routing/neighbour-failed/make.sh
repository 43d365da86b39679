#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip neigh replace 192.168.50.77 dev eth0 nud failed
ip route add 203.0.113.77 via 192.168.50.77
watch
collect
