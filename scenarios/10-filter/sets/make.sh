#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
ipset create hosts hash:ip
ipset add hosts 203.0.113.5
ipset create nets hash:net
ipset add nets 203.0.0.0/16
ipset add nets 203.0.113.128/25 nomatch
ipset create services hash:ip,port
ipset add services 10.0.1.2,tcp:80
ipset add services 10.0.1.2,icmp:echo-request
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m set --match-set hosts src -m set ! --match-set services dst,dst -j DROP
-A FORWARD -m set --match-set nets src -m set --match-set services dst,dst -j ACCEPT
COMMIT
RULES
collect
