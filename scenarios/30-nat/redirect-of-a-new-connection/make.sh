#!/usr/bin/env bash
. "$(dirname "$0")/../../lib.sh"
node
sysctl -qw net.ipv4.conf.all.send_redirects=1 net.ipv4.conf.eth0.send_redirects=1
rules <<'R'
*raw
-A OUTPUT
COMMIT
*filter
-A FORWARD
-A OUTPUT
COMMIT
*nat
-A POSTROUTING -o vetha -j MASQUERADE
COMMIT
R
collect
