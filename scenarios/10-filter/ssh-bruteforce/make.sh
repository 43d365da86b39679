#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -p tcp -m tcp --dport 22 -m recent --update --seconds 3600 --hitcount 2 --name ssh --mask 255.255.255.255 --rsource -j DROP
-A FORWARD -p tcp -m tcp --dport 22 -m recent --set --name ssh --mask 255.255.255.255 --rsource
-A FORWARD -p tcp -m tcp --dport 23 -m recent --rcheck --name ssh --mask 255.255.255.255 --rsource -j DROP
-A FORWARD -p tcp -m tcp --dport 24 -m recent --remove --name ssh --mask 255.255.255.255 --rsource
COMMIT
RULES
collect
