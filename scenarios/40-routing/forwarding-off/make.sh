#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
sysctl -qw net.ipv4.ip_forward=0
watch
collect
