#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
bridge_with_ports
carriers
bridge link set dev brp0 state 0
watch
collect
