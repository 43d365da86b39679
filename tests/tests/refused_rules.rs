//! Rules that the tools or the kernel refuse cannot have come out of iptables-save: such a rule is named with its line, and a walk that meets it
//! ends `Unknown`. What is refused was asked of iptables 1.8.9 and Linux 6.18, and is asked again where the tests may.

use std::io::Write as _;
use std::process::{Command, Stdio};

use pktwalk_linux::choice::Seeded;
use pktwalk_linux::config::{NetNsConfig, Ruleset};
use pktwalk_linux::diag::Severity;
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::iptables;
use pktwalk_linux::netns::{NetNs, NetNsState};
use pktwalk_linux::reason::{Because, End};
use pktwalk_linux::trace::NullSink;
use pktwalk_linux::walk::{Inject, walk};
use pktwalk_skip::skip_unprivileged;

/// What the legacy and the nft backend say, and the rule: table, chain (`foo<INPUT,OUTPUT` is called by these), words.
const RULES: &str = "\
no no filter|foo|-j REJECT --reject-with tcp-reset
no no filter|INPUT|-j REJECT --reject-with tcp-reset
no no filter|INPUT|-p udp -j REJECT --reject-with tcp-reset
no no filter|INPUT|! -p tcp -j REJECT --reject-with tcp-reset
no no filter|INPUT|! -p udp -j REJECT --reject-with tcp-reset
ok ok filter|INPUT|-p tcp -j REJECT --reject-with tcp-reset
ok ok filter|foo|-j DROP -p tcp
no ok mangle|FORWARD|-p tcp -j TCPMSS --set-mss 1400
ok ok mangle|FORWARD|-p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1400
ok ok mangle|FORWARD|-p tcp --tcp-flags SYN SYN -j TCPMSS --set-mss 1400
ok ok mangle|FORWARD|-p tcp --tcp-flags SYN,ACK SYN,ACK -j TCPMSS --set-mss 1400
no ok mangle|FORWARD|-p tcp --tcp-flags RST RST -j TCPMSS --set-mss 1400
no ok mangle|FORWARD|-p tcp ! --tcp-flags SYN SYN -j TCPMSS --set-mss 1400
no ok mangle|FORWARD|-p tcp ! --syn -j TCPMSS --set-mss 1400
ok ok mangle|FORWARD|-p tcp ! --syn -m tcp --syn -j TCPMSS --set-mss 1400
no ok mangle|FORWARD|-p tcp --tcp-flags SYN,RST NONE -j TCPMSS --set-mss 1400
no ok mangle|FORWARD|-p tcp --dport 80 -j TCPMSS --set-mss 1400
no no mangle|FORWARD|-p udp -j TCPMSS --set-mss 1400
no no mangle|FORWARD|-j TCPMSS --set-mss 1400
no no mangle|FORWARD|! -p udp -j TCPMSS --clamp-mss-to-pmtu
no no mangle|INPUT|-p tcp --syn -j TCPMSS --clamp-mss-to-pmtu
no no mangle|PREROUTING|-p tcp --syn -j TCPMSS --clamp-mss-to-pmtu
ok ok mangle|OUTPUT|-p tcp --syn -j TCPMSS --clamp-mss-to-pmtu
ok ok mangle|POSTROUTING|-p tcp --syn -j TCPMSS --clamp-mss-to-pmtu
ok ok mangle|PREROUTING|-p tcp --syn -j TCPMSS --set-mss 1400
ok ok mangle|INPUT|-p tcp --syn -j TCPMSS --set-mss 1400
ok ok filter|INPUT|-p tcp --syn -j TCPMSS --set-mss 1400
ok ok raw|PREROUTING|-p tcp --syn -j TCPMSS --set-mss 1400
ok ok nat|PREROUTING|-p tcp --syn -j TCPMSS --set-mss 1400
no ok mangle|foo<PREROUTING|-p tcp --syn -j TCPMSS --clamp-mss-to-pmtu
ok ok mangle|foo<FORWARD|-p tcp --syn -j TCPMSS --clamp-mss-to-pmtu
ok ok mangle|foo|-p tcp --syn -j TCPMSS --clamp-mss-to-pmtu
no no nat|PREROUTING|-j DNAT --to-destination 1.2.3.4:80
no no nat|PREROUTING|-j DNAT --to-destination :80
ok ok nat|PREROUTING|-p icmp -j DNAT --to-destination 1.2.3.4:80
no no nat|PREROUTING|-p gre -j DNAT --to-destination 1.2.3.4:80
ok ok nat|PREROUTING|-p udp -j DNAT --to-destination 1.2.3.4:80
ok ok nat|PREROUTING|-p sctp -j DNAT --to-destination 1.2.3.4:80
ok ok nat|PREROUTING|-p dccp -j DNAT --to-destination 1.2.3.4:80
no no nat|PREROUTING|-p udplite -j DNAT --to-destination 1.2.3.4:80
ok ok nat|PREROUTING|! -p tcp -j DNAT --to-destination 1.2.3.4:80
ok ok nat|PREROUTING|-p tcp -j DNAT --to-destination 1.2.3.4:0
no no nat|PREROUTING|-p tcp -j DNAT --to-destination 1.2.3.4:90-80
no no nat|POSTROUTING|-j SNAT --to-source 1.2.3.4:80
ok ok nat|POSTROUTING|-p icmp -j SNAT --to-source 1.2.3.4:80
ok ok nat|POSTROUTING|-p udp -j SNAT --to-source 1.2.3.4:80
ok ok nat|POSTROUTING|! -p tcp -j SNAT --to-source 1.2.3.4:80
no no nat|POSTROUTING|-j MASQUERADE --to-ports 80
ok ok nat|POSTROUTING|-p icmp -j MASQUERADE --to-ports 80
no no nat|POSTROUTING|-p udplite -j MASQUERADE --to-ports 80
ok ok nat|POSTROUTING|! -p tcp -j MASQUERADE --to-ports 80
no no nat|PREROUTING|-j REDIRECT --to-ports 80
ok ok nat|PREROUTING|-p icmp -j REDIRECT --to-ports 80
ok ok nat|PREROUTING|! -p udp -j REDIRECT --to-ports 80
ok ok nat|PREROUTING|-p sctp -j REDIRECT --to-ports 80
no no nat|INPUT|-j DNAT --to-destination 1.2.3.4
no no nat|POSTROUTING|-j DNAT --to-destination 1.2.3.4
ok ok nat|OUTPUT|-j DNAT --to-destination 1.2.3.4
no no nat|PREROUTING|-j SNAT --to-source 1.2.3.4
ok ok nat|INPUT|-j SNAT --to-source 1.2.3.4
no no nat|OUTPUT|-j SNAT --to-source 1.2.3.4
no no nat|PREROUTING|-j MASQUERADE
no no nat|INPUT|-j MASQUERADE
no no nat|OUTPUT|-j MASQUERADE
no no nat|POSTROUTING|-j REDIRECT
no no nat|INPUT|-j REDIRECT
ok ok nat|OUTPUT|-j REDIRECT
ok ok nat|foo|-j MASQUERADE
no no nat|foo<PREROUTING|-j MASQUERADE
ok ok nat|foo<POSTROUTING|-j MASQUERADE
no no nat|foo<POSTROUTING,PREROUTING|-j MASQUERADE
ok ok nat|foo<OUTPUT|-j DNAT --to-destination 1.2.3.4
no no nat|foo<POSTROUTING|-j DNAT --to-destination 1.2.3.4
ok ok nat|foo<INPUT|-j NETMAP --to 10.0.0.0/8
ok ok nat|PREROUTING|-j NETMAP --to 10.0.0.0/8
ok ok nat|POSTROUTING|-j NETMAP --to 10.0.0.0/8
no no filter|FORWARD|-j NETMAP --to 10.0.0.0/8
no no filter|FORWARD|-j DNAT --to-destination 1.2.3.4
no no filter|foo|-j DNAT --to-destination 1.2.3.4
no no mangle|PREROUTING|-j DNAT --to-destination 1.2.3.4
no no mangle|POSTROUTING|-j SNAT --to-source 1.2.3.4
no no filter|FORWARD|-j MASQUERADE
no no filter|foo|-j REDIRECT
no no nat|PREROUTING|-j REJECT
no no nat|PREROUTING|-j DROP
no no mangle|FORWARD|-j REJECT
no no mangle|INPUT|-j REJECT
no no mangle|PREROUTING|-j REJECT
no no mangle|POSTROUTING|-j REJECT
no no mangle|foo|-j REJECT
no no raw|PREROUTING|-j REJECT
no no security|FORWARD|-j REJECT
no no filter|INPUT|-j CT --notrack
no no filter|INPUT|-j NOTRACK
no no filter|foo|-j NOTRACK
no no mangle|PREROUTING|-j CT --notrack
no no mangle|PREROUTING|-j NOTRACK
no no mangle|PREROUTING|-j CT --zone 1
ok ok raw|PREROUTING|-j NOTRACK
no no nat|PREROUTING|-j NOTRACK
ok ok filter|INPUT|-j MARK --set-mark 1
ok ok raw|PREROUTING|-j MARK --set-mark 1
ok ok nat|PREROUTING|-j MARK --set-mark 1
ok ok filter|INPUT|-j CONNMARK --save-mark
ok ok raw|PREROUTING|-j CONNMARK --save-mark
no no filter|FORWARD|-j CHECKSUM --checksum-fill
no no raw|PREROUTING|-j CHECKSUM --checksum-fill
no no filter|INPUT|-j TTL --ttl-set 5
no no filter|INPUT|-j TOS --set-tos 5
no no filter|INPUT|-j DSCP --set-dscp 5
no no filter|INPUT|-j CLASSIFY --set-class 1:1
no no mangle|INPUT|-j CLASSIFY --set-class 1:1
no no mangle|PREROUTING|-j CLASSIFY --set-class 1:1
ok ok mangle|POSTROUTING|-j CLASSIFY --set-class 1:1
no no filter|INPUT|-p tcp -j TPROXY --on-port 5
no no mangle|INPUT|-p tcp -j TPROXY --on-port 5
ok ok mangle|PREROUTING|-p tcp -j TPROXY --on-port 5
no no mangle|PREROUTING|-j TPROXY --on-port 5
no no mangle|PREROUTING|-p icmp -j TPROXY --on-port 5
ok ok mangle|foo|-p tcp -j TPROXY --on-port 5
no no mangle|foo<OUTPUT|-p tcp -j TPROXY --on-port 5
no ok filter|INPUT|-j TRACE
no ok mangle|PREROUTING|-j TRACE
ok ok raw|PREROUTING|-j TRACE
no no filter|FORWARD|-m rpfilter
no no filter|foo|-m rpfilter
no no mangle|FORWARD|-m rpfilter
no no mangle|INPUT|-m rpfilter
no no raw|OUTPUT|-m rpfilter
ok ok raw|PREROUTING|-m rpfilter
no no nat|PREROUTING|-m rpfilter
ok ok mangle|PREROUTING|-m rpfilter
no no mangle|foo<OUTPUT|-m rpfilter
ok ok mangle|foo<PREROUTING|-m rpfilter
no no filter|INPUT|-m owner --uid-owner 5
no no filter|FORWARD|-m owner --uid-owner 5
ok ok filter|OUTPUT|-m owner --uid-owner 5
ok ok mangle|POSTROUTING|-m owner --uid-owner 5
no no mangle|PREROUTING|-m owner --uid-owner 5
no no nat|INPUT|-m owner --uid-owner 5
no no filter|foo<INPUT|-m owner --uid-owner 5
ok ok filter|foo<OUTPUT|-m owner --uid-owner 5
no no filter|foo<OUTPUT,INPUT|-m owner --uid-owner 5
ok ok filter|foo|-m owner --uid-owner 5
no no filter|OUTPUT|-i eth0
no no filter|INPUT|-o eth0
ok ok filter|FORWARD|-i eth0 -o eth0
ok ok filter|foo|-i eth0 -o eth1
ok ok filter|foo<OUTPUT|-i eth0
ok ok filter|foo<INPUT|-o eth0
no no nat|POSTROUTING|-i eth0
no no nat|PREROUTING|-o eth0
no no nat|INPUT|-o eth0
no no nat|OUTPUT|-i eth0
no no mangle|POSTROUTING|-i eth0
no no mangle|PREROUTING|-o eth0
no no mangle|OUTPUT|! -i +
no no raw|PREROUTING|! -o eth0
no no filter|OUTPUT|-m mac --mac-source 00:11:22:33:44:55
ok ok filter|INPUT|-m mac --mac-source 00:11:22:33:44:55
no no mangle|POSTROUTING|-m mac --mac-source 00:11:22:33:44:55
ok ok mangle|PREROUTING|-m mac --mac-source 00:11:22:33:44:55
no no filter|foo<OUTPUT|-m mac --mac-source 00:11:22:33:44:55
ok ok filter|FORWARD|-m mac --mac-source 00:11:22:33:44:55
no no filter|OUTPUT|-m physdev --physdev-out eth0
ok ok filter|FORWARD|-m physdev --physdev-out eth0
ok ok filter|FORWARD|-m physdev --physdev-is-bridged --physdev-out eth0
ok ok filter|INPUT|-m physdev --physdev-out eth0
ok ok nat|POSTROUTING|-m physdev --physdev-out eth0
ok ok nat|POSTROUTING|-m physdev --physdev-is-bridged --physdev-out eth0
ok ok filter|OUTPUT|-m physdev --physdev-in eth0
no no filter|OUTPUT|-m physdev --physdev-is-out
no no filter|OUTPUT|-m physdev ! --physdev-is-bridged --physdev-out eth0
no ok filter|foo<OUTPUT|-m physdev --physdev-out eth0
ok ok filter|INPUT|-m physdev --physdev-is-out
ok ok mangle|PREROUTING|-m physdev --physdev-is-out
no no filter|INPUT|-m addrtype --dst-type LOCAL --limit-iface-out
ok ok filter|INPUT|-m addrtype --dst-type LOCAL --limit-iface-in
no no filter|OUTPUT|-m addrtype --dst-type LOCAL --limit-iface-in
ok ok filter|OUTPUT|-m addrtype --dst-type LOCAL --limit-iface-out
ok ok filter|FORWARD|-m addrtype --dst-type LOCAL --limit-iface-in
ok ok filter|FORWARD|-m addrtype --dst-type LOCAL --limit-iface-out
no no nat|PREROUTING|-m addrtype --dst-type LOCAL --limit-iface-out
no no nat|POSTROUTING|-m addrtype --dst-type LOCAL --limit-iface-in
no no filter|INPUT|-m addrtype --dst-type LOCAL --limit-iface-in --limit-iface-out
no ok filter|foo<INPUT|-m addrtype --dst-type LOCAL --limit-iface-out
ok ok filter|foo|-m addrtype --dst-type LOCAL --limit-iface-in
no no filter|INPUT|-m statistic --mode nth --every 3 --packet 3
ok ok filter|INPUT|-m statistic --mode nth --every 3 --packet 2
no no filter|INPUT|-m statistic --mode nth --every 0
no no filter|INPUT|-m statistic --mode nth --every 1 --packet 1
no no filter|INPUT|-m statistic --mode nth --packet 1
no no filter|INPUT|-m statistic --mode random --probability 1.5
ok ok filter|INPUT|-m statistic --mode random --probability 0
no no filter|INPUT|-m statistic --mode random
no no filter|INPUT|-m statistic --mode random --every 3
no no filter|INPUT|-p tcp --tcp-option 0
no no filter|INPUT|-p tcp ! --tcp-option 0
no no filter|INPUT|-p tcp --tcp-option 256
no ok filter|INPUT|-m limit --limit 5/s --limit-burst 0
no no filter|INPUT|-m limit --limit 5/s --limit-burst 10001
no no filter|INPUT|-m limit --limit 5/s --limit-burst 4294967295
no ok filter|INPUT|-m limit --limit 1/day --limit-burst 10000
no no filter|INPUT|-m limit --limit 0/s
no no filter|INPUT|-m limit --limit 10001/s
no no filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-burst 0 --hashlimit-name a
no no filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-burst 1000001 --hashlimit-name a
ok ok filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
no no filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name a/b
no no filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name ..
no no filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name a --hashlimit-htable-expire 0
no no filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name a --hashlimit-htable-gcinterval 0
no no filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name a --hashlimit-srcmask 33 --hashlimit-mode srcip
ok ok filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name a --hashlimit-srcmask 24
ok ok filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name a --hashlimit-mode srcport
no no filter|INPUT|-m hashlimit --hashlimit-upto 1/day --hashlimit-burst 1000000 --hashlimit-name a
no no filter|INPUT|-m hashlimit --hashlimit-upto 512kb/s --hashlimit-burst 100kb --hashlimit-name a
ok ok filter|INPUT|-m hashlimit --hashlimit-upto 512kb/s --hashlimit-burst 10mb --hashlimit-name a
ok ok filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name a --hashlimit-rate-match
ok ok filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name a --hashlimit-rate-interval 5
no no filter|INPUT|-p udplite --dport 5
no no filter|INPUT|-p udplite -m udp --dport 5
no no filter|INPUT|-p udplite -m udplite --dport 5
no no filter|INPUT|-p icmp --dport 5
no no filter|INPUT|-p tcp -m udp --dport 5
no no filter|INPUT|-m udp --dport 5
no no filter|INPUT|-m tcp --dport 5
no ok filter|INPUT|! -p tcp -m tcp --dport 5
no ok filter|INPUT|! -p udp -m udp --dport 5
no no filter|INPUT|-m icmp --icmp-type 8
no no filter|INPUT|-p tcp -m icmp --icmp-type 8
no no filter|INPUT|! -p icmp -m icmp --icmp-type 8
ok ok filter|INPUT|-p sctp --dport 5
ok ok filter|INPUT|-p dccp --dport 5
no no filter|INPUT|-m sctp --dport 5
no no filter|INPUT|-m multiport --dports 5
no no filter|INPUT|! -p tcp -m multiport --dports 5
no no filter|INPUT|-p icmp -m multiport --dports 5
ok ok filter|INPUT|-p udplite -m multiport --dports 5
ok ok filter|INPUT|-p sctp -m multiport --dports 5
ok ok filter|INPUT|-p dccp -m multiport --dports 5
no no filter|INPUT|-p gre -m multiport --dports 5
ok ok filter|INPUT|-p udp -m udp -m udp --dport 5
ok ok filter|INPUT|-p tcp -m conntrack --ctorigdstport 5
ok ok filter|INPUT|-m conntrack --ctorigdstport 5
no no filter|INPUT|-m recent --rcheck --seconds 0
ok ok filter|INPUT|-m recent --rcheck --hitcount 0
no no filter|INPUT|-m recent --set --hitcount 5
no no filter|INPUT|-m recent --set --seconds 5
no no filter|INPUT|-m recent --remove --seconds 5
no no filter|INPUT|-m recent --set --rttl
no no filter|INPUT|-m recent --remove --rttl
no no filter|INPUT|-m recent --rcheck --reap
ok ok filter|INPUT|-m recent --rcheck --seconds 5 --reap
no no filter|INPUT|-m recent --set --reap
ok ok filter|INPUT|-m recent --rcheck --hitcount 65535
no no filter|INPUT|-m recent --rcheck --hitcount 65536
no no filter|INPUT|-m recent --set --name a/b
no no filter|INPUT|-m recent --set --name ..
ok ok filter|INPUT|-m mark --mark 0x1/0x0
ok ok filter|INPUT|-f -p tcp --dport 80
no no filter|INPUT|-m state --state NONE
ok ok filter|INPUT|-m pkttype --pkt-type otherhost
no no filter|INPUT|-m comment
no no filter|INPUT|-j LOG --log-level 8
no no filter|INPUT|-j NFLOG --nflog-group 65536
ok ok filter|INPUT|-j NFQUEUE --queue-num 5
ok ok filter|INPUT|-m length --length 5:3
ok ok filter|INPUT|-m iprange --src-range 1.2.3.9-1.2.3.4
no no filter|INPUT|-p tcp --dport 9:5
no no filter|INPUT|-p tcp --dport 65536
no no filter|INPUT|-m multiport -p tcp --dports 9:5
ok ok filter|INPUT|-m socket
ok ok mangle|PREROUTING|-m socket
no no mangle|OUTPUT|-m socket
no no filter|INPUT|-m devgroup --dst-group 1
no no filter|OUTPUT|-m devgroup --src-group 1
no no filter|INPUT|-m policy --dir out --pol none
no no filter|OUTPUT|-m policy --dir in --pol none
ok ok raw|PREROUTING|-m conntrack --ctstate NEW
ok ok raw|PREROUTING|-m state --state NEW
ok ok raw|PREROUTING|-m connmark --mark 1
ok ok nat|PREROUTING|-j LOG
ok ok raw|PREROUTING|-j LOG
ok ok nat|PREROUTING|-p tcp -j DNAT --to-destination 1.2.3.4-1.2.3.2
ok ok nat|PREROUTING|-p tcp -j DNAT --to-destination 1.2.3.4:5-9/7
no no nat|PREROUTING|-j DNAT --to-destination 1.2.3.4 --random-fully
ok ok nat|POSTROUTING|-j SNAT --to-source 1.2.3.4 --persistent
ok ok nat|PREROUTING|-j DNAT --to-destination 1.2.3.4 -p tcp
ok ok nat|POSTROUTING|-j SNAT --to-source 0.0.0.0
no no nat|foo<PREROUTING|-j DROP
no no nat|foo|-j DROP
ok ok filter|FORWARD|-j TEE --gateway 1.2.3.4
ok ok mangle|FORWARD|-j TOS --set-tos 5
ok ok mangle|INPUT|-j TTL --ttl-set 5
no no nat|PREROUTING|-j TTL --ttl-set 5
no no filter|FORWARD|-j ECN --ecn-tcp-remove -p tcp
ok ok mangle|FORWARD|-p tcp -j ECN --ecn-tcp-remove
no no mangle|FORWARD|-j ECN --ecn-tcp-remove
ok ok mangle|foo<FORWARD|-j CLASSIFY --set-class 1:1
no no mangle|foo<INPUT|-j CLASSIFY --set-class 1:1
ok ok filter|FORWARD|-j CLASSIFY --set-class 1:1
ok ok filter|OUTPUT|-j CLASSIFY --set-class 1:1
ok ok raw|OUTPUT|-j CLASSIFY --set-class 1:1
no no mangle|foo<OUTPUT|-m mac --mac-source 00:11:22:33:44:55
ok ok filter|foo<FORWARD|-j REJECT
ok ok filter|foo|-m physdev --physdev-out eth0
no ok filter|foo<OUTPUT|-m physdev --physdev-is-out
ok ok filter|foo<OUTPUT|-m physdev --physdev-is-bridged --physdev-out eth0
ok ok filter|OUTPUT|-m physdev --physdev-is-bridged --physdev-out eth0
ok ok filter|OUTPUT|-m physdev --physdev-is-in
no no filter|OUTPUT|-m physdev ! --physdev-is-out
no no filter|OUTPUT|-m physdev ! --physdev-out eth0
ok ok filter|OUTPUT|-m physdev --physdev-is-bridged
ok ok mangle|PREROUTING|-m physdev --physdev-out eth0
ok ok mangle|PREROUTING|-m physdev ! --physdev-is-bridged --physdev-out eth0
ok ok mangle|POSTROUTING|-m physdev ! --physdev-is-bridged --physdev-out eth0
ok ok mangle|FORWARD|-m physdev ! --physdev-is-bridged --physdev-out eth0
ok ok mangle|POSTROUTING|-m physdev --physdev-is-out
no no nat|OUTPUT|-m physdev --physdev-out eth0
no no mangle|OUTPUT|-m physdev --physdev-out eth0
ok ok filter|foo<INPUT|-m addrtype --src-type LOCAL --limit-iface-in
no ok filter|foo<OUTPUT|-m addrtype --src-type LOCAL --limit-iface-in
ok ok filter|foo<FORWARD|-m addrtype --src-type LOCAL --limit-iface-in
no ok filter|foo<OUTPUT,FORWARD|-m addrtype --src-type LOCAL --limit-iface-in
ok ok mangle|PREROUTING|-m addrtype --src-type LOCAL --limit-iface-in
ok ok mangle|POSTROUTING|-m addrtype --src-type LOCAL --limit-iface-out
ok ok mangle|OUTPUT|-m addrtype --src-type LOCAL --limit-iface-out
ok ok filter|INPUT|-m addrtype --src-type UNICAST,BLACKHOLE
ok ok filter|INPUT|-m addrtype --src-type NAT
ok ok filter|INPUT|-m addrtype --src-type XRESOLVE
no no filter|INPUT|-m addrtype --limit-iface-in
ok ok filter|INPUT|-m statistic --mode nth --every 4294967295 --packet 7
no no filter|INPUT|-m statistic --mode nth --every 4294967296
no no filter|INPUT|-m statistic --mode random --probability -0.5
no no filter|INPUT|-m statistic --mode nth --every 3 --probability 0.5
no no filter|INPUT|-m statistic --mode random --probability 0.5 --packet 3
ok ok filter|INPUT|-p tcp --tcp-option 255
no no filter|INPUT|-p tcp --tcp-flags SYN BOGUS
no ok filter|INPUT|-m limit --limit 1/day --limit-burst 5
ok ok filter|INPUT|-m limit --limit 1/hour --limit-burst 10000
ok ok filter|INPUT|-m limit --limit 1/min --limit-burst 10000
no ok filter|INPUT|-m limit --limit 1/day --limit-burst 50
no ok filter|INPUT|-m limit --limit 1/day --limit-burst 100
ok ok filter|INPUT|-m limit --limit 3/hour --limit-burst 1000
ok ok filter|INPUT|-m limit --limit 10000/s --limit-burst 10000
ok ok filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name a --hashlimit-htable-max 0
ok ok filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name a --hashlimit-htable-size 0
ok ok filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name a --hashlimit-htable-max 5 --hashlimit-htable-size 9
no no filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name a --hashlimit-rate-interval 0
ok ok filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name a --hashlimit-rate-match --hashlimit-rate-interval 5
no no filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name .
ok ok filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name a --hashlimit-burst 5b
no no filter|INPUT|-m hashlimit --hashlimit-upto 5kb/s --hashlimit-name a --hashlimit-burst 5
no no filter|INPUT|-m hashlimit --hashlimit-upto 0/s --hashlimit-name a
no no filter|INPUT|-m hashlimit --hashlimit-upto 0b/s --hashlimit-name a
no no filter|INPUT|-m hashlimit --hashlimit-upto 1000001/s --hashlimit-name a
ok ok filter|INPUT|-m hashlimit --hashlimit-upto 1/day --hashlimit-burst 1000 --hashlimit-name a
no no filter|INPUT|-m hashlimit --hashlimit-upto 1/day --hashlimit-burst 10000 --hashlimit-name a
no no filter|INPUT|-m hashlimit --hashlimit-upto 1/day --hashlimit-burst 100000 --hashlimit-name a
ok ok filter|INPUT|-m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 1000000 --hashlimit-name a
ok ok filter|INPUT|-m hashlimit --hashlimit-upto 5000mb/s --hashlimit-name a
ok ok filter|INPUT|-p sctp -m multiport --ports 5
no no filter|INPUT|-p tcp -m multiport --ports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16
ok ok filter|INPUT|-p tcp -m multiport --ports 1:2,3,4,5,6,7,8,9,10,11,12,13,14,15
no no filter|INPUT|-p tcp -m multiport --ports 80:
no no filter|INPUT|-p tcp -m multiport --ports :80
no no filter|INPUT|-p 256 -j DROP
no no filter|INPUT|! -p all -j DROP
no no filter|INPUT|-p icmp --icmp-type 256
no no filter|INPUT|-p icmp --icmp-type 8/256
no no filter|INPUT|-p icmp --icmp-type nosuch
ok ok filter|INPUT|-p icmp
no no filter|INPUT|-p icmp -m icmp
no no filter|INPUT|-p ipv6-icmp -m icmp --icmp-type 8
ok ok filter|INPUT|-m recent --update --seconds 5 --hitcount 3 --rttl
ok ok filter|INPUT|-m recent --update --seconds 4294967295
ok ok filter|INPUT|-m recent --update --rttl
no no filter|INPUT|-m recent --remove --hitcount 3
ok ok filter|INPUT|-m recent --update --reap --seconds 3
no no filter|INPUT|-m recent --remove --reap --seconds 3
no no filter|INPUT|-m recent --set --name .
no no filter|INPUT|-m recent --set --rcheck
no no filter|INPUT|-m conntrack --ctstate NEW --ctproto 256
no no filter|INPUT|-m conntrack --ctstate BOGUS
no no filter|INPUT|-m connmark --mark 0x1ffffffff
no no filter|INPUT|-m mark --mark -1
no no filter|OUTPUT|-m owner --uid-owner 5-3
ok ok filter|OUTPUT|-m owner --socket-exists
no no filter|INPUT|-m owner --socket-exists
no no filter|OUTPUT|-m owner --suppl-groups
no no filter|OUTPUT|-m owner --uid-owner 4294967295
no no filter|INPUT|-m mac --mac-source 00:11:22:33:44
no no filter|INPUT|-m pkttype --pkt-type bogus
ok ok filter|INPUT|-m iprange --src-range 1.2.3.4
ok ok filter|INPUT|-s 1.2.3.4/255.0.255.0
no no filter|INPUT|-s ::1
no no filter|INPUT|-i aaaaaaaaaaaaaaaa
ok ok filter|INPUT|-i aaaaaaaaaaaaaaa
ok ok filter|INPUT|-i a/b
no no raw|PREROUTING|-j CT --zone 65536
ok ok raw|PREROUTING|-j CT --zone 65535
ok ok raw|PREROUTING|-j CT --zone 1 --notrack
ok ok raw|PREROUTING|-j CT
ok ok raw|foo|-j CT --zone 1
ok ok raw|OUTPUT|-j CT --zone 1
no no raw|PREROUTING|-j CT --ctevents bogus
ok ok raw|PREROUTING|-j CT --zone-orig 1 --zone-reply 2
no no filter|INPUT|-j REJECT --reject-with bogus
ok ok filter|INPUT|-j REJECT --reject-with icmp-port-unreachable
no no filter|INPUT|-j REJECT --reject-with echo-reply
no no filter|INPUT|-j CONNMARK --set-mark 1 --save-mark
ok ok filter|INPUT|-j CONNMARK --set-mark 1 --left-shift-mark 31
ok ok filter|INPUT|-j CONNMARK --restore-mark --left-shift-mark 3 --right-shift-mark 4
no no filter|INPUT|-j CONNMARK --left-shift-mark 4
no no filter|INPUT|-j CONNMARK --save-mark --left-shift-mark 32
no no filter|INPUT|-j CONNMARK --save-mark --right-shift-mark 33
no no filter|INPUT|-j CONNMARK --save-mark --left-shift-mark 1 --left-shift-mark 1
no no filter|INPUT|-j CONNMARK --save-mark --mask 5 --nfmask 5
no no mangle|FORWARD|-p tcp --syn -j TCPMSS --set-mss 70000
ok ok mangle|FORWARD|-p tcp --syn -j TCPMSS --set-mss 0
no no mangle|FORWARD|-p tcp --syn -j TCPMSS
no no mangle|FORWARD|! -p tcp -j TCPMSS --set-mss 5
ok ok mangle|FORWARD|-p tcp -m tcp --dport 5 -m tcp --syn -j TCPMSS --set-mss 5
no ok mangle|foo|-p tcp -j TCPMSS --set-mss 1400
ok ok mangle|PREROUTING|-j CHECKSUM --checksum-fill
ok ok mangle|PREROUTING|-p tcp -j TPROXY --on-port 0
no no mangle|PREROUTING|! -p tcp -j TPROXY --on-port 5
ok ok mangle|PREROUTING|-p udp -j TPROXY --on-port 5
no no nat|PREROUTING|-p tcp -j TPROXY --on-port 5
ok ok mangle|INPUT|-m socket
no no mangle|FORWARD|-m socket
no no mangle|foo<FORWARD|-m socket
ok ok filter|FORWARD|-m devgroup --dst-group 1
no no nat|PREROUTING|-m devgroup --dst-group 1
no no mangle|POSTROUTING|-m devgroup --src-group 1
no ok filter|foo<INPUT|-m devgroup --dst-group 1
no ok filter|foo<INPUT|-m policy --dir out --pol none
no no mangle|POSTROUTING|-m policy --dir in --pol none
no no mangle|PREROUTING|-m policy --dir out --pol none
ok ok filter|FORWARD|-m policy --dir out --pol none
no no filter|INPUT|! -p tcp -m tcp
no no filter|INPUT|! -p tcp -m tcp --tcp-option 5
no no filter|INPUT|! -p udp -m udp
no no filter|INPUT|-p udp -m tcp
no no filter|INPUT|-m tcp
no no filter|INPUT|! -p udp -m tcp --dport 5
no no filter|INPUT|! -p tcp -m tcp --dport 0:65535
no ok filter|INPUT|! -p tcp -m tcp --tcp-flags SYN SYN
no no filter|INPUT|! -p sctp -m sctp --dport 5
no no filter|INPUT|-p sctp -m dccp --dport 5
no no filter|INPUT|! -p esp -m esp --espspi 5
no no filter|INPUT|-m esp --espspi 5
no no filter|INPUT|-m ah --ahspi 5
no no filter|INPUT|! -p icmp -m icmp --icmp-type any
no no filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name \"\"
no no filter|INPUT|-m recent --set --name \"\"
ok ok filter|INPUT|-m recent --update --hitcount 0 --seconds 5
ok ok filter|INPUT|-m recent --set --hitcount 0
ok ok filter|OUTPUT|-m owner --gid-owner 5 --suppl-groups
ok ok filter|OUTPUT|-m owner --uid-owner 4294967294
no no filter|OUTPUT|-m owner --gid-owner 4294967295
no no filter|INPUT|-j CONNMARK --save-mark --mask 5 --ctmask 5
ok ok filter|INPUT|-j CONNMARK --restore-mark --nfmask 5 --ctmask 5
ok ok filter|INPUT|-j CONNMARK --set-mark 5 --nfmask 5
ok ok filter|INPUT|-j CONNMARK --set-mark 5 --mask 5
ok ok filter|INPUT|-m hashlimit --hashlimit-upto 5/s --hashlimit-name a --hashlimit-htable-gcinterval 1 --hashlimit-htable-expire 1
ok ok filter|INPUT|-m hashlimit --hashlimit-upto 512kb/s --hashlimit-burst 512kb --hashlimit-name a
no no filter|INPUT|-m hashlimit --hashlimit-upto 512kb/s --hashlimit-burst 511kb --hashlimit-name a
ok ok filter|INPUT|-m hashlimit --hashlimit-above 1/day --hashlimit-burst 4000 --hashlimit-name a
no no filter|INPUT|-m hashlimit --hashlimit-above 1/day --hashlimit-burst 2000 --hashlimit-name a
ok ok filter|INPUT|-m hashlimit --hashlimit-above 1/day --hashlimit-burst 8000 --hashlimit-name a
ok ok filter|INPUT|-m hashlimit --hashlimit-above 2/day --hashlimit-burst 8000 --hashlimit-name a
ok ok filter|INPUT|-m hashlimit --hashlimit-above 1/day --hashlimit-burst 5000 --hashlimit-name a
no no filter|INPUT|-m hashlimit --hashlimit-above 1/day --hashlimit-burst 4970 --hashlimit-name a
ok ok filter|INPUT|-m limit --limit 1/day --limit-burst 1
ok ok filter|INPUT|-m limit --limit 2/day --limit-burst 2
no ok filter|INPUT|-m limit --limit 1/day --limit-burst 4
no ok filter|INPUT|-m limit --limit 1/day --limit-burst 2
ok ok filter|INPUT|-m limit --limit 1/day --limit-burst 3
ok ok filter|INPUT|-m limit --limit 2/day --limit-burst 10000
ok ok filter|INPUT|-m limit --limit 10/day --limit-burst 10000
ok ok filter|INPUT|-m limit --limit 1/hour --limit-burst 200
no ok filter|INPUT|-m limit --limit 1/hour --limit-burst 120
ok ok filter|INPUT|-m limit --limit 1/hour --limit-burst 118
ok ok filter|INPUT|-m limit --limit 1/hour --limit-burst 130
ok ok nat|foo<POSTROUTING|-i eth0
ok ok nat|foo<OUTPUT|-j REDIRECT
no no mangle|FORWARD|-p udp -j ECN --ecn-tcp-remove
no no mangle|FORWARD|! -p tcp -j ECN --ecn-tcp-remove
ok ok mangle|FORWARD|-j ECN --ecn-ip-ect 0
ok ok nat|PREROUTING|-p tcp -j NETMAP --to 1.2.3.0/24
ok ok filter|INPUT|-m connlimit --connlimit-above 5
ok ok raw|PREROUTING|-m connlimit --connlimit-above 5
ok ok filter|INPUT|-m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 1
ok ok filter|FORWARD|-p tcp -j SYNPROXY
no no filter|FORWARD|-j SYNPROXY
ok ok filter|INPUT|-p tcp -j SYNPROXY
ok ok mangle|FORWARD|-p tcp -j SYNPROXY
no no raw|PREROUTING|-p tcp -j SYNPROXY
ok ok filter|INPUT|-j IDLETIMER --timeout 5 --label a
";

struct Case {
    /// Whether it is taken, by backend.
    taken: [bool; 2],
    text: String,
    /// Lines of which any may be the one that is refused.
    lines: std::ops::RangeInclusive<u32>,
    shown: &'static str,
}

fn cases() -> Vec<Case> {
    let case = |line: &'static str| {
        let (legacy, rest) = line.split_once(' ').expect("a verdict");
        let (nft, shown) = rest.split_once(' ').expect("a verdict");
        let mut parts = shown.splitn(3, '|');
        let mut part = || parts.next().expect("table, chain, words");
        let (table, chain, words) = (part(), part(), part());
        let (chain, callers) = chain.split_once('<').unwrap_or((chain, ""));
        let mut text = format!("*{table}\n");
        if chain == "foo" {
            text.push_str(":foo - [0:0]\n");
        }
        let first = 1 + text.lines().count() as u32;
        text.push_str(&format!("-A {chain} {words}\n"));
        for caller in callers.split(',').filter(|caller| !caller.is_empty()) {
            text.push_str(&format!("-A {caller} -j foo\n"));
        }
        let last = text.lines().count() as u32;
        text.push_str("COMMIT\n");
        Case { taken: [legacy == "ok", nft == "ok"], text, lines: first..=last, shown }
    };
    RULES.lines().map(case).collect()
}

/// Whether something of the rules is named as an error.
fn named(case: &Case, backend: Backend) -> bool {
    let (save, mut diagnostics) = iptables::parse(case.text.as_bytes(), 0, Family::V4);
    let config =
        NetNsConfig { rulesets: vec![Ruleset { backend, save: save.into() }], ..NetNsConfig::default() };
    diagnostics.extend(NetNs::compile(config).1);
    diagnostics.iter().any(|d| d.severity == Severity::Error && case.lines.contains(&d.source.line))
}

#[test]
fn what_is_refused_is_named_and_nothing_else() {
    let mut wrong = Vec::new();
    for case in cases() {
        let named = [Backend::Legacy, Backend::Nft].map(|backend| named(&case, backend));
        if named != case.taken.map(|taken| !taken) {
            wrong.push(format!("{}: taken {:?}, named {named:?}", case.shown, case.taken));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_tools_refuse_what_is_refused_and_nothing_else() {
    if skip_unprivileged("the_tools_refuse_what_is_refused_and_nothing_else") {
        return;
    }
    let mut wrong = Vec::new();
    for case in cases() {
        let taken = ["legacy", "nft"].map(|backend| taken(backend, &case.text));
        if taken != case.taken {
            wrong.push(format!("{}: expected {:?}, taken {taken:?}", case.shown, case.taken));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a tool takes the rules, in a namespace of their own.
fn taken(backend: &str, text: &str) -> bool {
    let mut child = Command::new("unshare")
        .args(["-n", &format!("iptables-{backend}-restore")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("unshare is there");
    let mut input = child.stdin.take().expect("it is piped");
    // A tool that refuses the text may close it early.
    let _ = input.write_all(text.as_bytes());
    drop(input);
    child.wait().expect("it ends").success()
}

/// nf_tables loads no chain that is called deeper than this, by jumps or gotos; of chains that nobody calls it asks nothing.
#[test]
fn chains_that_are_called_too_deep_are_refused_by_nft() {
    let text = |jump: &str, deep: u32, called: bool| {
        let mut text = "*filter\n:FORWARD ACCEPT [0:0]\n".to_owned();
        (1..=deep).for_each(|chain| text.push_str(&format!(":c{chain} - [0:0]\n")));
        if called {
            text.push_str(&format!("-A FORWARD {jump} c1\n"));
        }
        (2..=deep).for_each(|chain| text.push_str(&format!("-A c{} {jump} c{chain}\n", chain - 1)));
        text.push_str(&format!("-A c{deep} -p tcp -j DROP\nCOMMIT\n"));
        text
    };
    let may_ask = !skip_unprivileged("chains_that_are_called_too_deep_are_refused_by_nft");
    for (jump, deep, called, nft) in [
        ("-j", 15, true, true),
        ("-j", 16, true, false),
        ("-g", 15, true, true),
        ("-g", 16, true, false),
        ("-g", 16, false, true),
        ("-g", 30, true, false),
    ] {
        let text = text(jump, deep, called);
        for (backend, name, loads) in [(Backend::Legacy, "legacy", true), (Backend::Nft, "nft", nft)] {
            let case = Case { taken: [true, nft], text: text.clone(), lines: 0..=999, shown: "deep" };
            assert_eq!(named(&case, backend), !loads, "{jump} {deep} {name}");
            if may_ask {
                assert_eq!(taken(name, &text), loads, "{jump} {deep} {name}");
            }
        }
    }
}

/// A packet that meets such a rule has an end that nobody knows; one that does not goes its way.
#[test]
fn walks_that_meet_a_refused_rule_are_not_known() {
    let walk = |rules: &str, text: &str| {
        let (save, _) = iptables::parse(rules.as_bytes(), 0, Family::V4);
        let mut config = demo();
        config.rulesets = vec![Ruleset { backend: Backend::Nft, save: save.into() }];
        let (ns, _) = NetNs::compile(config);
        let packet = pktwalk_packet::spec::parse(text).expect("a packet");
        let inject = Inject::Rx { dev: ns.dev("eth0").expect("it is there"), packet };
        walk(&ns, &mut NetNsState::start(&ns), inject, &mut Seeded::new(1), &mut NullSink)
    };
    let (here, through) = ("tcp 203.0.113.5:1 > 192.168.50.1:2", "tcp 203.0.113.5:1 > 10.0.1.2:8080");
    let target = |end: End| matches!(end.because, Some(Because::Target { .. }));
    let test = |end: End| matches!(end.because, Some(Because::Match { .. }));
    let reject = "*filter\n-A INPUT -j REJECT --reject-with tcp-reset\nCOMMIT\n";
    assert!(target(walk(reject, here)));
    assert!(!target(walk(reject, through)));
    assert!(target(walk("*nat\n-A PREROUTING -j DNAT --to-destination 10.0.1.2:80\nCOMMIT\n", here)));
    assert!(target(walk("*filter\n-A FORWARD -j DNAT --to-destination 10.0.1.2\nCOMMIT\n", through)));
    assert!(test(walk("*filter\n-A FORWARD -m owner --uid-owner 5 -j DROP\nCOMMIT\n", through)));
    let through_chain = "*filter\n:a - [0:0]\n-A FORWARD -j a\n-A a -m owner --uid-owner 5 -j DROP\nCOMMIT\n";
    assert!(test(walk(through_chain, through)));
    let mut deep = "*filter\n-A FORWARD -g c1\n".to_owned();
    (1..20).for_each(|chain| deep.push_str(&format!("-A c{chain} -g c{}\n", chain + 1)));
    (1..=20).for_each(|chain| deep.insert_str(8, &format!(":c{chain} - [0:0]\n")));
    deep.push_str("COMMIT\n");
    assert!(target(walk(&deep, through)));
    assert!(test(walk("*mangle\n-A PREROUTING -o eth0 -j DROP\nCOMMIT\n", through)));
    // An address that is not the packet's decides before.
    assert!(!test(walk("*mangle\n-A PREROUTING -s 9.9.9.9 -o eth0 -j DROP\nCOMMIT\n", through)));
}

fn demo() -> NetNsConfig {
    pktwalk_ingest::demo_bundle().host.config
}
