#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*nat
-A POSTROUTING -o eth0 -p tcp -j SNAT --to-source 192.168.50.1:2000
COMMIT
RULES
collect
