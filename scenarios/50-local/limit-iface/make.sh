#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m addrtype --dst-type LOCAL --limit-iface-in -j DROP
-A INPUT -m addrtype ! --dst-type UNICAST --src-type BROADCAST,MULTICAST -j DROP
COMMIT
RULES
collect
