#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -j CT --zone 3
-A PREROUTING -m conntrack --ctstatus CONFIRMED
-A PREROUTING -m conntrack --ctstatus NONE
-A PREROUTING -m connmark --mark 0x0
-A PREROUTING -i vetha -j CONNMARK --set-xmark 0x9/0xffffffff
-A PREROUTING -i vethb -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
-A PREROUTING -m connmark --mark 0x9
-A PREROUTING -i vethb -j CONNMARK --set-xmark 0x10/0x10
COMMIT
*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -m connmark --mark 0x0
-A FORWARD -m mark --mark 0x9 -j DROP
COMMIT
RULES
collect
