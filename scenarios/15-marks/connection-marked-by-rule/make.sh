#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*mangle
-A FORWARD -p tcp -j CONNMARK --set-xmark 0x7/0xff
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m connmark --mark 0x7/0xff -j DROP
COMMIT
RULES
collect
