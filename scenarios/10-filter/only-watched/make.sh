#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -p tcp -m comment --comment "seen, not touched" -j LOG --log-prefix "fw: " --log-level 6
-A FORWARD -p tcp -j NFLOG --nflog-prefix fw --nflog-group 5
-A FORWARD -p tcp
-A FORWARD -p tcp -m tcp --dport 81 -j DROP
COMMIT
RULES
collect
