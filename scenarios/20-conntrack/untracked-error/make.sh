#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*raw
-A PREROUTING -i vetha -j CT --notrack
-A OUTPUT -p icmp -j CT --notrack
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -p udp -m udp --dport 53 -j REJECT --reject-with icmp-port-unreachable
-A OUTPUT -p icmp -m conntrack --ctstate UNTRACKED -m comment --comment "of what stays here" -j ACCEPT
-A OUTPUT -p icmp -m conntrack --ctstate RELATED -m comment --comment "about a tracked packet" -j ACCEPT
-A OUTPUT -p icmp -m conntrack --ctstate INVALID -m comment --comment "about an untracked packet" -j DROP
COMMIT
RULES
collect
