#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*mangle
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1000
COMMIT
RULES
collect
