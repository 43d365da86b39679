#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip link set lo down
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A OUTPUT -o lo -j ACCEPT
COMMIT
RULES
collect
