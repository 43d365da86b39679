#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -p icmp -m icmp --icmp-type 8 -j DROP
-A FORWARD -p icmp -m icmp ! --icmp-type 3/3 -j ACCEPT
-A FORWARD -p icmp -m icmp --icmp-type any -j DROP
COMMIT
RULES
collect
