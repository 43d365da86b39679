#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m iprange --src-range 203.0.113.1-203.0.113.99 -j ACCEPT
-A FORWARD -m iprange ! --src-range 203.0.113.1-203.0.113.100 --dst-range 10.0.1.0-10.0.1.9 -j ACCEPT
COMMIT
RULES
collect
