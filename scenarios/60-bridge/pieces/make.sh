#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
bridge_with_ports
ip link set br0 mtu 1000
watch
collect
