#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
bridge_with_ports
bridge link set dev brp1 flood off
bridge link set dev brp0 isolated on
bridge link set dev brp1 isolated on
watch
collect
