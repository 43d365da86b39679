#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
rules <<'RULES'
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -p tcp -m tcp --dport 80 -j ACCEPT
COMMIT
RULES
collect
# The limit is one of the whole machine, which stays as it is.
sed -i 's/^net.netfilter.nf_conntrack_max = .*/net.netfilter.nf_conntrack_max = 1/' "$here/bundle/sysctl"
