#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip addr add 10.0.3.1/24 dev vetha
sysctl -qw net.ipv4.conf.all.proxy_arp_pvlan=1
watch
collect
