#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ip link set vethb mtu 1400
rules <<'RULES'
*mangle
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
-A POSTROUTING -p tcp -m tcp --tcp-flags SYN,RST SYN --dport 8080 -j TCPMSS --set-mss 1000
-A POSTROUTING -p udp -j CHECKSUM --checksum-fill
COMMIT
RULES
collect
