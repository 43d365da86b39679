#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*nat
-A PREROUTING -p tcp -m tcp --dport 23 -j ACCEPT
COMMIT
RULES
collect
