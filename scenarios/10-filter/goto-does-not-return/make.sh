#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:OUTER - [0:0]
:INNER - [0:0]
:LAST - [0:0]
-A FORWARD -i eth0 -j OUTER
-A FORWARD -j ACCEPT
-A OUTER -p tcp -g INNER
-A OUTER -j ACCEPT
-A INNER -p tcp -m tcp --dport 80 -j ACCEPT
-A INNER -p tcp -m tcp --dport 81 -j RETURN
-A INNER -p tcp -m tcp --dport 82 -g LAST
-A LAST -j DROP
COMMIT
RULES
collect
