#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
bridge_with_ports
ip link set br0 promisc on
watch
collect
