#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
bridge_with_ports
sysctl -qw net.bridge.bridge-nf-call-iptables=0
ip link set brp1 mtu 1000
watch
collect
