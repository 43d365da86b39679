#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
sysctl -qw net.ipv4.icmp_ratemask=0
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -p udp -m udp --dport 81 -j REJECT --reject-with icmp-net-unreachable
-A FORWARD -p udp -m udp --dport 82 -j REJECT --reject-with icmp-host-unreachable
-A FORWARD -p udp -m udp --dport 83 -j REJECT --reject-with icmp-proto-unreachable
-A FORWARD -p udp -m udp --dport 84 -j REJECT --reject-with icmp-port-unreachable
-A FORWARD -p udp -m udp --dport 85 -j REJECT --reject-with icmp-net-prohibited
-A FORWARD -p udp -m udp --dport 86 -j REJECT --reject-with icmp-host-prohibited
-A FORWARD -p udp -m udp --dport 87 -j REJECT --reject-with icmp-admin-prohibited
-A FORWARD -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset
COMMIT
RULES
collect
