#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'R'
*raw
-A PREROUTING -m rpfilter
-A PREROUTING -m pkttype --pkt-type unicast
-A PREROUTING -m pkttype --pkt-type broadcast
-A PREROUTING -m pkttype --pkt-type multicast
COMMIT
*mangle
-A POSTROUTING
COMMIT
*filter
-A INPUT -m pkttype --pkt-type unicast -j DROP
-A INPUT -d 224.0.0.0/4 -j ACCEPT
COMMIT
R
collect
