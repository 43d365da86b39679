#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip link set vetha mtu 1000
watch
collect
