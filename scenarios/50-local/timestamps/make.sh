#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ipset create askers hash:ip,port
ipset add askers 203.0.113.88,icmp:timestamp-request
rules <<'RULES'
*nat
-A POSTROUTING -s 10.0.0.0/16 -o eth0 -j MASQUERADE
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -s 203.0.113.66/32 -p icmp -m icmp --icmp-type timestamp-request -j DROP
-A INPUT -m set --match-set askers src,dst -j DROP
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -i vetha -p icmp -j ACCEPT
-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A OUTPUT -d 203.0.113.77/32 -p icmp -m icmp --icmp-type timestamp-reply -j DROP
COMMIT
RULES
collect
