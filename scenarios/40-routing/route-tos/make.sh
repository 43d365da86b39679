#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip addr add 10.9.9.9/32 dev lo
# In the trie that tables local and main share, the table comes before the TOS.
ip route add 10.9.9.9/32 via 192.168.50.20 tos 0x10
# Of a packet's TOS three bits are compared, of a route's all six.
ip route add 203.0.113.0/24 via 192.168.50.20 tos 0x20
ip route add 203.0.113.0/24 via 192.168.50.20 tos 0x10
watch
collect
