#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -j CT --zone mark
-A PREROUTING -i vetha -j MARK --set-xmark 0x7/0xffffffff
COMMIT
*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate NEW
-A FORWARD -m conntrack --ctstate ESTABLISHED
COMMIT
RULES
collect
