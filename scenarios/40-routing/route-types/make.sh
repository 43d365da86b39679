#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
sysctl -qw net.ipv4.icmp_ratemask=0 net.ipv4.icmp_msgs_per_sec=1000000 net.ipv4.icmp_msgs_burst=1000000
ip route add blackhole 198.51.100.0/26
ip route add unreachable 198.51.100.64/26
ip route add prohibit 198.51.100.128/26
ip route add throw 198.51.100.192/26
ip route add multicast 198.18.7.0/24 dev eth0
ip route add local 198.18.1.1 dev lo
ip route add broadcast 198.18.2.255 dev eth0
ip route add anycast 198.18.3.3 dev eth0
watch
collect
