#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
sysctl -qw net.ipv4.icmp_ratemask=0 net.ipv4.icmp_msgs_per_sec=1000000 net.ipv4.icmp_msgs_burst=1000000
ip rule add from 10.0.1.2 to 203.0.113.1 blackhole priority 100
ip rule add from 10.0.1.2 to 203.0.113.2 unreachable priority 101
ip rule add from 10.0.1.2 to 203.0.113.3 prohibit priority 102
ip rule add to 203.0.113.4 goto 32767 priority 103
ip rule add to 203.0.113.0/24 ipproto udp dport 99 blackhole priority 104
ip rule add iif vethb to 198.51.100.0/24 prohibit priority 105
ip rule add to 203.0.113.6 lookup main suppress_prefixlength 0 priority 106
ip rule add to 203.0.113.6 unreachable priority 107
watch
collect
