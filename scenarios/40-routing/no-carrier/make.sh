#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
wire eth1 8
ip addr add 198.18.0.1/24 brd + dev eth1
neighbour eth1 198.18.0.254 8
carriers
nsenter --net="/proc/$peer/ns/net" ip link set w8 down
# The kernel may take a second to notice.
for _ in $(seq 200); do
  ip -br link show dev eth1 | grep -q NO-CARRIER && break
  sleep 0.02
done
watch
collect
