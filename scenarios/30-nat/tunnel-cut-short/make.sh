#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*nat
-A POSTROUTING -o eth0 -j MASQUERADE
COMMIT
RULES
collect
