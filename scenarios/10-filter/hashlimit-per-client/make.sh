#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -p tcp -m tcp --dport 80 -m hashlimit --hashlimit-above 1/hour --hashlimit-burst 1 --hashlimit-mode srcip --hashlimit-name web --hashlimit-htable-expire 3600000 -j DROP
COMMIT
RULES
collect
