#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
sysctl -qw net.ipv4.conf.vetha.proxy_arp=1
ip neigh add proxy 198.18.9.9 dev vethb
watch
collect
