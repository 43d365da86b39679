#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
sysctl -qw net.ipv4.conf.vetha.rp_filter=1
watch
collect
