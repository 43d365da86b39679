#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*raw
-A PREROUTING -m rpfilter --invert -j DROP
COMMIT
RULES
collect
