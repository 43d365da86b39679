#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip route del default
sysctl -qw net.ipv4.conf.eth0.drop_unicast_in_l2_multicast=1
watch
collect
