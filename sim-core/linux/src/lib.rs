//! A Linux network namespace: devices, netfilter, conntrack, NAT, routing and the walk of a packet through them.
