#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
bridge_with_ports
watch
collect
