#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip route del default
sysctl -qw net.ipv4.conf.all.rp_filter=2
watch
collect
