#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
bridge_with_ports
sysctl -qw net.bridge.bridge-nf-call-iptables=1
# Nothing is flooded to the other port, so that no copy confirms the connection.
bridge link set dev brp1 isolated on
bridge link set dev brp0 isolated on
rules <<'RULES'
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A INPUT -p udp -j SNAT --to-source 10.9.9.9
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate NEW --ctstatus CONFIRMED -j DROP
COMMIT
RULES
collect
