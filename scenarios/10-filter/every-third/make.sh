#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -p udp -m statistic --mode nth --every 3 --packet 2 -j DROP
-A FORWARD -p tcp -m statistic --mode random --probability 1.00000000000 -j DROP
COMMIT
RULES
collect
