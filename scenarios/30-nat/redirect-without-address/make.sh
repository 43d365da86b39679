#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*nat
-A PREROUTING -i vetha -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 3128
COMMIT
RULES
collect
