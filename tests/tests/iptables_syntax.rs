//! What we read and print, against what the real tools make of the same rules.
//!
//! Each ruleset is loaded with iptables-legacy-restore and iptables-nft-restore in a namespace of its own, saved again, and compared with what
//! this project prints of it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail them")]

use std::io::Write;
use std::process::{Command, Stdio};

use pktwalk_linux::diag::Severity;
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::iptables::{self, ast::SaveFile};
use pktwalk_live::fuzz::{rng::Rng, rules};
use pktwalk_skip::skip_unprivileged;

const BACKENDS: [&str; 2] = ["legacy", "nft"];

/// Loads `text` and saves it, in a namespace that holds the sets of `sets` (as `ipset restore` takes them). Comment lines are left out.
fn through_tool(backend: &str, family: Family, sets: &str, text: &str) -> Result<String, String> {
    let tool = if family == Family::V4 { "iptables" } else { "ip6tables" };
    let script = format!(
        "printf '%s' \"$SETS\" | ipset restore && {tool}-{backend}-restore -c && {tool}-{backend}-save -c"
    );
    let mut child = Command::new("unshare")
        .args(["-n", "sh", "-c"])
        // The rules come in on standard input, which `ipset` must not eat.
        .arg(script)
        .env("SETS", sets)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = text.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    // A tool that refuses the text closes it early.
    let _ = writer.join().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let saved = String::from_utf8(output.stdout).unwrap();
    Ok(saved.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect())
}

/// The tables of a save file in the order of their names: the tools list them in the order in which they were made.
fn by_table(text: &str) -> Vec<Vec<String>> {
    let mut tables: Vec<Vec<String>> = Vec::new();
    for line in text.lines() {
        if line.starts_with('*') {
            tables.push(Vec::new());
        }
        if let Some(table) = tables.last_mut() {
            table.push(line.to_owned());
        }
    }
    tables.sort();
    tables
}

/// Lines that differ, as `ours | theirs`; empty if the files are the same.
fn differences(ours: &str, theirs: &str) -> Vec<String> {
    let (ours, theirs) = (by_table(ours).concat(), by_table(theirs).concat());
    let most = ours.len().max(theirs.len());
    let line = |of: &[String], at: usize| of.get(at).cloned().unwrap_or_default();
    (0..most)
        .filter(|at| line(&ours, *at) != line(&theirs, *at))
        .map(|at| format!("ours   {}\ntheirs {}", line(&ours, at), line(&theirs, at)))
        .collect()
}

/// What nft saves of a line of ours: it keeps an inverted range of ports that begins at 0 as its complement.
fn as_nft(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for at in 0..words.len().saturating_sub(2) {
        // A test of options is not one that nft has, and then the whole match is kept as it is.
        if line.contains("--tcp-option")
            || words[at] != "!"
            || !matches!(words[at + 1].as_str(), "--sport" | "--dport")
        {
            continue;
        }
        let Some((lo, hi)) = words[at + 2].split_once(':') else { continue };
        let (lo, hi): (u16, u16) = (lo.parse().unwrap(), hi.parse().unwrap());
        let complement = match (lo, hi) {
            (0, u16::MAX) => continue,
            (0, hi) => (hi + 1, u16::MAX),
            _ => continue,
        };
        words[at] = String::new();
        words[at + 2] = if complement.0 == complement.1 {
            complement.0.to_string()
        } else {
            format!("{}:{}", complement.0, complement.1)
        };
    }
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

/// What the tools save of a line of ours without a test that they lose: of no flags, any must be set, which no packet has.
fn without_impossible_flags(line: &str, backend: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    let found = words.windows(3).position(|w| w[0] != "!" && w[1] == "--tcp-flags" && w[2] == "NONE");
    if let Some(at) = found {
        words.drain(at + 1..at + 4);
        // nft then keeps nothing of a match without any other test.
        let alone = words.get(at + 1).is_none_or(|next| matches!(*next, "-m" | "-j" | "-g"));
        if backend == "nft" && words[at] == "tcp" && alone {
            words.drain(at - 1..=at);
        }
    }
    words.join(" ")
}

/// What a backend is to save of text of ours.
fn expected(text: &str, backend: &str) -> String {
    let line = |line| {
        without_impossible_flags(&if backend == "nft" { as_nft(line) } else { line.to_owned() }, backend)
    };
    text.lines().map(|one| line(one) + "\n").collect()
}

fn read(text: &str, family: Family) -> SaveFile {
    let (save, diagnostics) = iptables::parse(text.as_bytes(), 0, family);
    let errors: Vec<_> = diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    save
}

/// How many lines begin with `-A`.
fn rule_lines(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("-A")).count()
}

const SETS_V4: &str = "create x hash:ip family inet\ncreate y hash:ip,port family inet\n";
const SETS_V6: &str = "create x hash:ip family inet6\ncreate y hash:ip,port family inet6\n";

const TAKEN_V4: &str = r#"*raw
:foo - [0:0]
:u - [0:0]
-A foo -j CT --notrack
-A foo -j NOTRACK
-A foo -j CT --zone 5
-A foo -j CT --zone-orig 5
-A foo -j CT --zone-reply 5
-A foo -j CT --zone-reply mark
-A foo -j CT --zone mark
-A foo -j CT --zone 0
-A foo -j CT --ctevents new,destroy --expevents new
-A foo -j CT --ctevents new,related,destroy,reply,assured,protoinfo,helper,mark,natseqinfo,secmark --zone 3
-A foo -p tcp -j CT --helper ftp
-A PREROUTING -j TRACE
-A foo -j CT --notrack --zone 5
COMMIT
*mangle
:foo - [0:0]
:u - [0:0]
-A PREROUTING -m rpfilter --validmark --loose --invert --accept-local
-A PREROUTING -m rpfilter
-A foo -j MARK --set-mark 5
-A foo -j MARK --set-mark 5/6
-A foo -j MARK --and-mark 5
-A foo -j MARK --or-mark 5
-A foo -j MARK --xor-mark 5
-A foo -j MARK --set-xmark 0/0
-A foo -j CONNMARK --set-mark 5/6
-A foo -j CONNMARK --set-xmark 5
-A foo -j CONNMARK --and-mark 5
-A foo -j CONNMARK --or-mark 5
-A foo -j CONNMARK --xor-mark 5
-A foo -j CONNMARK --save-mark
-A foo -j CONNMARK --restore-mark --mask 0xff
-A foo -j CONNMARK --save-mark --nfmask 0xf --ctmask 0xff
-A foo -j CONNMARK --save-mark --nfmask 0xf
-A foo -j CONNMARK --save-mark --nfmask 0xf --left-shift-mark 8
-A foo -j CONNMARK --right-shift-mark 0x8 --restore-mark
-A foo -j CONNMARK --set-mark 5/6 --left-shift-mark 3
-A foo -j CONNMARK --and-mark 5 --right-shift-mark 3
-A foo -j CONNMARK --restore-mark --left-shift-mark 0
-A foo -j CONNMARK --restore-mark --left-shift-mark 3 --right-shift-mark 4
-A FORWARD -p tcp --syn -j TCPMSS --set-mss 1400
-A FORWARD -p tcp --syn -j TCPMSS --clamp-mss-to-pmtu
-A FORWARD -p tcp --syn -j TCPMSS --clamp
-A FORWARD -j CHECKSUM --checksum-fill
-A foo -j TTL --ttl-set 5
-A foo -j TOS --set-tos 0x05/0xff
-A foo -j DSCP --set-dscp 0x05
-A foo -p tcp -j TPROXY --on-port 5 --on-ip 1.2.3.4 --tproxy-mark 0x1/0xffffffff
COMMIT
*nat
:foo - [0:0]
:u - [0:0]
-A PREROUTING -p tcp -j DNAT --to-destination 1.2.3.4:80
-A PREROUTING -p tcp -j DNAT --to-destination 1.2.3.4-1.2.3.7:80-90 --random --persistent
-A PREROUTING -p tcp -j DNAT --to-destination 1.2.3.4-1.2.3.4:80-80 --persistent --random
-A PREROUTING -p tcp -j DNAT --to-destination :80-90/5
-A PREROUTING -p tcp -j DNAT --to-destination 1.2.3.4:80-90/5
-A PREROUTING -j DNAT --to-destination 1.2.3.4 --random
-A PREROUTING -j DNAT --to 1.2.3.4
-A POSTROUTING -p tcp -j SNAT --to-source 1.2.3.4:80
-A POSTROUTING -p tcp -j SNAT --to-source 1.2.3.4-1.2.3.7:80-90 --random --random-fully --persistent
-A POSTROUTING -p tcp -j SNAT --to :80-90 --random-fully
-A POSTROUTING -p tcp -j MASQUERADE --to-ports 80
-A POSTROUTING -p tcp -j MASQUERADE --to-ports 80-90 --random --random-fully
-A POSTROUTING -j MASQUERADE --random-fully
-A POSTROUTING -j MASQUERADE
-A PREROUTING -p tcp -j REDIRECT --to-ports 80-90 --random
-A PREROUTING -p tcp -j REDIRECT --to 80-90
-A PREROUTING -j REDIRECT
-A PREROUTING -j NETMAP --to 10.0.0.0/8
COMMIT
*filter
:foo - [0:0]
:u - [0:0]
-A foo -p tcp -m tcp --dport 80 --sport 1: --tcp-flags ALL NONE --tcp-option 3
-A foo -p tcp --dport 0:65535 --sport 5:5
-A foo -p tcp --tcp-flags NONE NONE
-A foo -p tcp ! --tcp-flags SYN,ACK SYN ! --tcp-option 2
-A foo -p tcp --tcp-flags SYN,ACK SYN,FIN
-A foo -p udp --dport 1:2 ! --sport 3
-A foo -p udp -m udp
-A foo -p tcp -m tcp
-A foo -p tcp -m tcp ! --sport 80
-A foo -p tcp -m tcp ! --sport 80:90
-A foo -p icmp --icmp-type echo-request
-A foo -p icmp --icmp-type any
-A foo -p icmp ! --icmp-type any
-A foo -p icmp ! --icmp-type destination-unreachable
-A foo -p icmp --icmp-type 3/1 -j REJECT
-A foo -p icmp --icmp-type 255 -j REJECT
-A foo -p icmp --icmp-type 255/3 -j REJECT
-A foo -p icmp --icmp-type 255/0
-A foo -p tcp -j REJECT --reject-with tcp-reset
-A foo -m limit --limit 10/s -j LOG --log-prefix "a b\"c\\d'" --log-level info --log-uid --log-tcp-options --log-ip-options --log-tcp-sequence --log-macdecode
-A foo -m limit --limit 3/hour --limit-burst 5
-A foo -m limit --limit 90/min --limit-burst 15
-A foo -m limit --limit 100/sec
-A foo -m limit --limit 7/sec
-A foo -m limit --limit 3/sec
-A foo -m limit --limit 10000/sec
-A foo -m limit --limit 50/hour
-A foo -m limit --limit 61/min
-A foo -m limit --limit 17/min
-A foo -m limit --limit 5
-A foo -m limit
-A foo -m conntrack --ctstate NEW,ESTABLISHED,INVALID,RELATED,UNTRACKED,SNAT,DNAT ! --ctstatus NONE --ctexpire 1:2 --ctdir REPLY --ctproto tcp --ctorigsrc 1.2.3.0/24 --ctorigsrcport 1:3
-A foo -m conntrack ! --ctstate NEW --ctstatus SEEN_REPLY,ASSURED,EXPECTED,CONFIRMED
-A foo -m conntrack --ctexpire 5
-A foo -m conntrack ! --ctexpire 5: --ctdir ORIGINAL
-A foo -m state --state NEW,ESTABLISHED,INVALID,RELATED,UNTRACKED
-A foo -m state ! --state NEW
-A foo -p tcp -m multiport --dports 1,2:3,4 -m multiport ! --ports 3
-A foo -p tcp -m multiport --source-ports 1,2:9
-A foo -p tcp -m multiport --port 1,2:9
-A foo -p tcp -m multiport --destination-port 1
-A foo -m set --match-set x src
-A foo -m set ! --match-set y src,dst --return-nomatch ! --update-counters ! --update-subcounters --packets-lt 5 --bytes-gt 7
-A foo -m set --match-set x src --packets-eq 5 ! --bytes-eq 7
-A foo -i + -o +
-A foo -s 1.2.3.4/255.255.0.0 -d 0.0.0.0/0
-A foo -m mark ! --mark 0x1/0x2 -m mark --mark 3 -m connmark --mark 1
-A foo -m mark --mark 010 -m mark --mark 4/0xffffffff -m mark --mark 0/0
-A foo -m comment --comment "hi" -m comment --comment "hi there" -m comment --comment "a;b"
-A foo -m comment --comment "it's" -m comment --comment "a\\b"  -m comment --comment "a\"b" -m comment --comment ""
-A foo -m comment --comment a:b,c/d-e_f.g -m comment --comment "a$b" -m comment --comment "a	b" -m comment --comment "é" -m comment --comment "a=b" -m comment --comment "@b"
-A foo -m hashlimit --hashlimit-above 10/sec --hashlimit-mode srcip,dstport --hashlimit-name foo --hashlimit-burst 5 --hashlimit-srcmask 24
-A foo -m hashlimit --hashlimit-upto 1mb/s --hashlimit-name foo2
-A foo -m hashlimit --hashlimit 5/min --hashlimit-name foo3 --hashlimit-mode dstip,srcport,srcip,dstport --hashlimit-htable-size 100 --hashlimit-htable-max 200 --hashlimit-htable-gcinterval 500 --hashlimit-htable-expire 5000
-A foo -m hashlimit --hashlimit-upto 512kb/s --hashlimit-name foo4 --hashlimit-burst 1mb
-A foo -m hashlimit --hashlimit-above 5/sec --hashlimit-name foo5 --hashlimit-rate-match --hashlimit-rate-interval 5
-A foo -m hashlimit --hashlimit-above 5/day --hashlimit-name foo6 --hashlimit-dstmask 16 --hashlimit-mode dstip
-A foo -m hashlimit --hashlimit-above 300b/s --hashlimit-name foo7 --hashlimit-burst 600
-A foo -m recent --name x --set --rsource
-A foo -m recent --update --seconds 5 --hitcount 3 --rttl --reap
-A foo -m recent ! --rcheck --rdest --mask 255.255.255.0
-A foo -m recent ! --remove
-A foo -m mac --mac-source 00:aa:BB:cc:dd:ee
-A foo -m mac ! --mac-source 00:aa:BB:cc:dd:ee
-A foo -m physdev --physdev-in eth0 ! --physdev-out eth+ --physdev-is-in ! --physdev-is-out --physdev-is-bridged
-A foo -m physdev ! --physdev-is-bridged
-A foo -m iprange --src-range 1.2.3.4-1.2.3.5 ! --dst-range 1.1.1.1-1.1.1.1
-A foo -m iprange --src-range 1.2.3.4
-A foo -m owner --uid-owner 0 ! --gid-owner 5-7 --socket-exists
-A foo -m owner ! --socket-exists
-A foo -m owner --gid-owner 5 --suppl-groups
-A foo -m statistic --mode random --probability 0.5
-A foo -m statistic --mode random ! --probability 0.33333333349
-A foo -m statistic --mode random --probability 1
-A foo -m statistic --mode random --probability 0
-A foo -m statistic --mode nth ! --every 3 --packet 1
-A foo -m pkttype --pkt-type unicast
-A foo -m pkttype ! --pkt-type bcast
-A foo -m pkttype ! --pkt-type otherhost
-A foo -m addrtype --src-type LOCAL,UNICAST ! --dst-type BROADCAST
-A FORWARD -m addrtype ! --src-type LOCAL --limit-iface-in
-A FORWARD -m addrtype ! --dst-type LOCAL --limit-iface-out
-A foo -f
-A foo ! -f
-A foo ! -p tcp
-A foo -p 0
-A foo -p all
-A foo -p 47
-A foo -j u
-A foo -g u
-A foo -j RETURN
-A foo -j REJECT --reject-with icmp-net-prohibited
-A foo -j REJECT --reject-with net-prohib
-A foo -j REJECT --reject-with admin-prohib
-A foo -j REJECT --reject-with port-unreach
-A foo -j REJECT --reject-with icmp-host
-A foo -p tcp -j REJECT --reject-with tcp-rst
-A foo -j LOG --log-level 4
-A foo -j LOG --log-level debug --log-prefix abc
-A foo -j LOG --log-level panic
-A foo -j NFLOG --nflog-size 5 --nflog-group 0 --nflog-threshold 1
-A foo -j NFLOG
-A foo -j NFLOG --nflog-range 0
-A foo -j NFLOG --nflog-size 0
-A foo -m mark --mark 1 -m comment --comment x -p tcp -m tcp --dport 3 -m mark --mark 5 -m limit --limit 1/s -m comment --comment y
-A foo -m conntrack --ctstate NEW -m udp -p udp --dport 53 -m set --match-set x src -j ACCEPT
-A foo -m conntrack --ctorigsrc 0.0.0.0/0
-A foo -m conntrack --ctstatus NONE,ASSURED
-A foo -p tcp --dport http
-A foo -p icmpv6
-A foo -p ipv6-icmp
-A foo -p sctp -m sctp --dport 5
-A foo -j NFQUEUE --queue-num 5
-A foo -s 1.2.3.4,5.6.7.8 -d 1.1.1.1,2.2.2.2
-A foo -s 1.2.3.4 -j CLASSIFY --set-class 0001:0002
-A foo -m string --string "a b" --algo bm
-A foo -m u32 --u32 "0x6&0xff=0x0:0x5"
-A foo -m connlabel --label 5
-A foo -m connlabel ! --label 5 --set
-A foo -p tcp -m tcp --dport 1:1 -m hashlimit --hashlimit-upto 60/min --hashlimit-name abc --hashlimit-burst 7
-A foo -m hashlimit --hashlimit-upto 3/hour --hashlimit-name abd --hashlimit-htable-expire 3600000
-A foo -m hashlimit --hashlimit-upto 3/hour --hashlimit-name abd --hashlimit-htable-expire 10000
-A foo -m hashlimit --hashlimit-upto 1000kb/s --hashlimit-name abe --hashlimit-htable-expire 10000
-A foo -m hashlimit --hashlimit-upto 1000kb/s --hashlimit-name abf --hashlimit-htable-expire 15000
-A foo -m hashlimit --hashlimit-upto 3/hour --hashlimit-name abd --hashlimit-srcmask 32 --hashlimit-mode srcip --hashlimit-dstmask 8
-A foo -m hashlimit --hashlimit-upto 3/hour --hashlimit-name abd --hashlimit-srcmask 0 --hashlimit-mode srcip
-A foo -m hashlimit --hashlimit-upto 100000/sec --hashlimit-name abg
-A foo -m hashlimit --hashlimit-upto 1000000/sec --hashlimit-name abh
-A foo -m hashlimit ! --hashlimit-upto 7/sec --hashlimit-name abi
-A foo -m hashlimit ! --hashlimit 7/sec --hashlimit-name abj
-A foo -m limit --limit 1/s -m comment --comment "a'b" -j LOG --log-prefix "it's"
-A foo -m physdev --physdev-in + 
-A foo -m owner --uid-owner 5-5
-A foo -m conntrack --ctorigsrcport 5:5 --ctexpire 5:5
-A foo -m conntrack --ctorigsrcport 0:65535
-A foo -m conntrack --ctproto 0
-A foo -m conntrack --ctproto all
-A foo -m hashlimit --hashlimit-upto 3/hour --hashlimit-name abe2 --hashlimit-htable-gcinterval 1000 --hashlimit-htable-size 0
-A foo -m hashlimit --hashlimit-upto 32b/s --hashlimit-name abe4
-A foo -m hashlimit --hashlimit-upto 1024b/s --hashlimit-name abe5 --hashlimit-burst 2kb
-A foo -m hashlimit --hashlimit-upto 100mb/s --hashlimit-name abe6 --hashlimit-burst 200mb
-A foo -m hashlimit --hashlimit-upto 100mb/s --hashlimit-name abe7 --hashlimit-burst 150mb
-A foo -m hashlimit --hashlimit-upto 1000b/s --hashlimit-name abe8
-A foo -m hashlimit --hashlimit-above 1000kb/s --hashlimit-name abe9
-A foo -m hashlimit --hashlimit-upto 5/sec --hashlimit-name abf0 --hashlimit-rate-match
-A foo -m comment --comment "" -j ACCEPT
-A foo -m comment --comment abc\d
-A foo -m comment --comment "a\nb"
-A foo -m comment --comment !
-A foo -m comment --comment "!"
-A foo -m comment --comment -x
-A foo -m comment --comment=x
-A foo -m comment --comm x
-A foo --match comment --comment x --jump u
-A foo --source 1.2.3.4 --destination 1.2.3.5 --protocol tcp --in-interface eth0 --out-interface eth1 --goto u
-A foo --src 1.2.3.4 --dst 1.2.3.5 --proto tcp
-A foo --fragments
-A foo --fragment
-A foo -p tcp --syn
-A foo -p tcp --destination-port 5 --source-port 6
-A foo -p TCP
-A foo -p ICMP -m icmp --icmp-type 0
-A foo -p tcp --tcp-flags SYN,ACK,FIN syn
-A foo -p tcp --dport 0x50
-A foo -m conntrack --ctstate new,established
-A foo -m state --state new
-A foo -m addrtype --src-type local
-A foo -m addrtype --src-type NAT,THROW,BLACKHOLE,UNSPEC,ANYCAST,MULTICAST,UNREACHABLE,PROHIBIT,XRESOLVE
-A foo -s 10 -d 1.2
-A foo -s 1.2.3.4/0
-A foo -s any/0
-A foo -p icmp --icmp-type 8/0
-A foo -p icmp --icmp-type echo-reply -j u
-A foo -p icmp --icmp-type ping
-A foo -p icmp --icmp-type pong
-A foo -p icmp --icmp-type ttl-exceeded
-A foo -p icmp --icmp-type ttl-zero-during-transit
-A foo -p icmp --icmp-type fragmentation-needed
-A foo -p icmp --icmp-type fragm
-A foo -p icmp --icmp-type TOS-host-redirect
-A foo -m mark --mark 0xffffffff/0xffffffff
-A foo -m pkttype --pkt-type host
-A foo -m pkttype --pkt-type UNICAST
-A foo -m mac --mac-source 0:1:2:3:4:5
-A foo -m statistic --probability 0.25 --mode random
-A foo -m statistic --mode nth --every 1 --packet 0
-A foo -m statistic --mode nth --every 2 --packet 0
-A foo -m statistic --mode random --probability 0.00000000001
-A foo -m statistic --mode random --probability 0.0000000005
-A foo -m statistic --mode random --probability 1e-3
-A foo -m statistic --mode random --probability .5
-A foo -m set --set x src
-A foo -m set --match-set x src,dst,src
-A foo -m set --match-set x src -m set ! --match-set y dst,dst
-A foo -m connmark --mark 0/0
-A foo -m limit --limit 5/h
-A foo -m limit --limit 1/m
-A foo -j LOG --log-level warning
-A foo -j LOG --log-level error
-A foo -j LOG --log-prefix "123456789012345678901234567890"
-A foo -p 6 -m multiport --dports http,ssh
-A foo -p udplite -m multiport --dports 5
-A foo -m iprange --src-range 1.2.3.9-1.2.3.5
-A foo -m hashlimit --hashlimit-upto 1500kb/s --hashlimit-name abe9
-A foo -m hashlimit --hashlimit-upto 1500b/s --hashlimit-name abe8
-A foo -m hashlimit --hashlimit-upto 5/sec --hashlimit-name abf0 --hashlimit-rate-match --hashlimit-rate-interval 1
-A foo -m hashlimit --hashlimit-upto 5/sec --hashlimit-name abf9 --hashlimit-rate-match --hashlimit-rate-interval 5 --hashlimit-htable-size 5 --hashlimit-htable-expire 5 --hashlimit-mode srcip --hashlimit-srcmask 5
-A foo -m string --string "abc" --algo kmp --from 5 --to 10 --icase
-A foo -m string --string "AB" --algo kmp
-A foo -m bpf --bytecode "4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0"
-A foo -m helper --helper ftp
-A foo -m helper --helper "ftp-5:x"
-A foo -m connlimit --connlimit-above 5 --connlimit-mask 32 --connlimit-saddr
-A foo -m time --timestart 08:00:00 --timestop 23:59:59 --weekdays Mon --datestop 2038-01-19T03:14:07
-A foo -m policy --dir in --pol ipsec
-A foo -m quota --quota 5
-A foo -m length --length 5
-A foo -m dscp --dscp 0x05
-A foo -m ttl --ttl-eq 5
-A foo -m tos --tos 0x05/0xff
-A foo -m socket --transparent
-A foo -m cpu --cpu 1
-A foo -m devgroup --src-group 0x5
-A foo -m cgroup --cgroup 5
-A foo -p esp -m esp --espspi 5
-A foo -p sctp --dport 5
-A foo -p sctp -m sctp --dport 5 --chunk-types any INIT
-A foo -j SET --add-set x src
-A foo -j TEE --gateway 1.2.3.4
-A foo -j AUDIT --type accept
-A foo -j NFQUEUE --queue-balance 1:3 --queue-bypass
-A foo -p tcp -m conntrack --ctstate NEW -m tcp --dport 80
-A foo -p ah
-A foo -m limit --limit 7/min --limit-burst 9
-A foo -p tcp -m connbytes --connbytes 5:10 --connbytes-mode bytes --connbytes-dir both
-A foo -m mark ! --mark 5 -j u
COMMIT
"#;
const TAKEN_V6: &str = r#"*mangle
:foo - [0:0]
:u - [0:0]
-A PREROUTING -m rpfilter --validmark --loose --invert --accept-local
COMMIT
*nat
:foo - [0:0]
:u - [0:0]
-A PREROUTING -p tcp -j DNAT --to-destination [fd00::1]:80
-A PREROUTING -p tcp -j DNAT --to-destination [fd00::1-fd00::3]:80-90
-A PREROUTING -p tcp -j DNAT --to-destination fd00::1-fd00::3
-A PREROUTING -p tcp -j DNAT --to-destination fd00::1
-A PREROUTING -p tcp -j DNAT --to-destination :80
-A POSTROUTING -p tcp -j SNAT --to-source [fd00::1]:80
-A POSTROUTING -p tcp -j SNAT --to-source fd00::1-fd00::3
COMMIT
*filter
:foo - [0:0]
:u - [0:0]
-A foo -s fd00::/8 -d ::1
-A foo -s fd00::1/ffff:: ! -d ffff::
-A foo -s ::/0
-A foo -p ipv6-icmp --icmpv6-type echo-request
-A foo -p icmpv6 -m icmp6 --icmpv6-type 1/3 -j REJECT
-A foo -p 58 -m icmp6 ! --icmpv6-type router-advertisement
-A foo -p 58 -m icmp6 --icmpv6-type 255
-A foo -p icmp
-A foo -j REJECT --reject-with icmp6-adm-prohibited
-A foo -j REJECT --reject-with adm-prohibited
-A foo -j REJECT --reject-with no-route
-A foo -j REJECT --reject-with addr-unreach
-A foo -j REJECT --reject-with port-unreach
-A foo -j REJECT --reject-with policy-fail
-A foo -j REJECT --reject-with icmp6-policy-fail
-A foo -j REJECT --reject-with icmp6-reject-route
-A foo -j REJECT --reject-with reject-route
-A foo -p tcp -j REJECT --reject-with tcp-reset
-A foo -m iprange --src-range fd00::1-fd00::3
-A foo -m recent --set
-A foo -m recent --set --mask ffff::
-A foo -m conntrack --ctorigsrc fd00::/8 --ctorigdst fd00::1
-A foo -m hashlimit --hashlimit-upto 7/sec --hashlimit-name abi6 --hashlimit-mode srcip --hashlimit-srcmask 64
-A foo -m hashlimit --hashlimit-upto 7/sec --hashlimit-name abi7 --hashlimit-mode srcip --hashlimit-srcmask 128
-A foo -m set --match-set x src
-A foo -m hl --hl-eq 255
-A foo -m rt --rt-type 0 --rt-segsleft 0
-A foo -p tcp --syn
-A foo -s ::ffff:1.2.3.4
-A foo -s ::1.2.3.4
-A foo -s 64:ff9b::1.2.3.4
COMMIT
"#;

fn same_as_tools(family: Family, sets: &str, text: &str) {
    let save = read(text, family);
    let printed = iptables::print(&save, true);
    let rules: usize =
        save.tables.iter().flat_map(|table| &table.chains).map(|chain| chain.rules.len()).sum();
    assert!(rules >= rule_lines(text), "a rule is lost");
    for backend in BACKENDS {
        let saved = through_tool(backend, family, sets, text).unwrap();
        let found = differences(&expected(&printed, backend), &saved);
        assert!(found.is_empty(), "{backend}, {} lines:\n{}", found.len(), found.join("\n"));
        // What is printed loads, and is canonical.
        let again = through_tool(backend, family, sets, &printed).unwrap();
        let found = differences(&expected(&printed, backend), &again);
        assert!(found.is_empty(), "{backend}, printed text:\n{}", found.join("\n"));
    }
    let again = read(&printed, family);
    assert_eq!(iptables::print(&again, true), printed, "printing is not idempotent");
}

#[test]
fn every_option_prints_as_the_tools_print_it_ipv4() {
    if skip_unprivileged("every_option_prints_as_the_tools_print_it_ipv4") {
        return;
    }
    same_as_tools(Family::V4, SETS_V4, TAKEN_V4);
}

#[test]
fn every_option_prints_as_the_tools_print_it_ipv6() {
    if skip_unprivileged("every_option_prints_as_the_tools_print_it_ipv6") {
        return;
    }
    same_as_tools(Family::V6, SETS_V6, TAKEN_V6);
}

/// Nothing is sorted here: nft saves tables in an order of its own, and legacy the latest first.
#[test]
fn tables_stand_in_the_order_of_the_tools() {
    if skip_unprivileged("tables_stand_in_the_order_of_the_tools") {
        return;
    }
    let table = |name: &str| format!("*{name}\n:one - [0:0]\n[0:0] -A one -p udp -j ACCEPT\nCOMMIT\n");
    let saved_alike = |text: &str| {
        let save = read(text, Family::V4);
        let saved = through_tool("nft", Family::V4, "", text).unwrap();
        assert_eq!(iptables::print_saved(&save, Backend::Nft, true), saved);
        let mut latest_first = save.clone();
        latest_first.tables.reverse();
        let saved = through_tool("legacy", Family::V4, "", text).unwrap();
        assert_eq!(iptables::print_saved(&latest_first, Backend::Legacy, true), saved);
    };
    saved_alike(&["nat", "security", "filter", "raw", "mangle"].map(table).concat());
    // A table of which nothing is said is one for legacy only.
    saved_alike(&format!("*mangle\nCOMMIT\n{}", table("nat")));
}

/// Generated rules load as they are printed, come back so, and are read back as what was generated.
#[test]
fn generated_rules_come_back_from_the_tools() {
    if skip_unprivileged("generated_rules_come_back_from_the_tools") {
        return;
    }
    let mut rng = Rng::new(20_240_602);
    for number in 0..200 {
        let made = rules::ruleset(&mut rng.fork(number));
        let sets: String = made
            .sets
            .iter()
            .map(|set| format!("create {} {} family inet\n", set.name, set.set_type.name()))
            .collect();
        let printed = iptables::print(&made.save, true);
        let again = iptables::print(&read(&printed, Family::V4), true);
        assert_eq!(printed, again, "ruleset {number}");
        for backend in BACKENDS {
            let saved = through_tool(backend, Family::V4, &sets, &printed)
                .unwrap_or_else(|why| panic!("ruleset {number}, {backend}: {why}\n{printed}"));
            let found = differences(&expected(&printed, backend), &saved);
            assert!(found.is_empty(), "ruleset {number}, {backend}:\n{}", found.join("\n"));
        }
    }
}

/// Reading ends whatever stands in the file, and what was read can be printed.
#[test]
fn broken_files_are_read_without_harm() {
    for (text, family) in [(TAKEN_V4, Family::V4), (TAKEN_V6, Family::V6)] {
        let bytes = text.as_bytes();
        // A piece of the file at a time, so that each byte is an end once.
        for piece in bytes.chunks(1500) {
            for end in 0..=piece.len() {
                let cut = [b"*filter\n:foo - [0:0]\n", &piece[..end]].concat();
                let (save, _) = iptables::parse(&cut, 0, family);
                let _ = iptables::print(&save, true);
            }
        }
        let mut rng = Rng::new(7);
        for _ in 0..200 {
            let mut garbled = bytes.to_vec();
            for _ in 0..rng.between(1, 200) {
                let at = rng.below(garbled.len());
                match rng.below(4) {
                    0 => garbled[at] = rng.below(256) as u8,
                    1 => garbled[at] = *rng.pick(b" \n\"!-:,/[]*#\\\xff\xc3"),
                    2 => drop(garbled.remove(at)),
                    _ => garbled.insert(at, rng.below(256) as u8),
                }
            }
            let (save, _) = iptables::parse(&garbled, 0, family);
            let printed = iptables::print(&save, true);
            let (again, _) = iptables::parse(printed.as_bytes(), 0, family);
            let _ = iptables::print(&again, true);
        }
    }
    let (save, diagnostics) = iptables::parse(b"", 0, Family::V4);
    assert!(save.tables.is_empty() && diagnostics.is_empty());
}

/// What stands in real files but in no form that the tools take today, and what is made of it.
#[test]
fn old_and_broken_forms_are_read() {
    let text = "# Generated by iptables-save v1.4.7 on Mon Jan  1 00:00:00 2018\r\n*filter\r\n:INPUT DROP [1:2]\r\n:a - [0:0]\r\n\
        [5:6] -A INPUT -s ! 10.0.0.0/255.0.0.0 -p ! tcp -j a\r\n\
        -A INPUT -p tcp --dport ! 80 -m state --state NEW -j ACCEPT\n\
        -A INPUT -m comment --comment not quoted at all -j a\n\
        -A INPUT -s some.host -j ACCEPT\n\
        -A INPUT -m ttl --ttl-eq 5 -p tcp --dport 80 -j NFQUEUE --queue-num 3\n\
        -A INPUT -s XX:XX -m mac --mac-source XX:7:8 -j DROP\n\
        -A INPUT -m conntrack --ctstate DN\n\
        -A nowhere -j gone\n\
        -A a -j b\n\
        :b - [0:0]\n\
        -A b -g a\n\
        COMMIT*nat\n\
        -A PREROUTING -j DNAT --to-destination --random --to-destination 1.2.3.4\n\
        what is this";
    let (save, diagnostics) = iptables::parse(text.as_bytes(), 3, Family::V4);
    let printed = iptables::print(&save, true);
    let wanted = "*filter\n:INPUT DROP [1:2]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        :a - [0:0]\n:b - [0:0]\n:nowhere - [0:0]\n\
        [5:6] -A INPUT ! -s 10.0.0.0/8 ! -p tcp -j a\n\
        [0:0] -A INPUT -p tcp -m tcp ! --dport 80 -m state --state NEW -j ACCEPT\n\
        [0:0] -A INPUT -m comment --comment \"not quoted at all\" -j a\n\
        [0:0] -A INPUT -s some.host -j ACCEPT\n\
        [0:0] -A INPUT -p tcp -m ttl --ttl-eq 5 -m tcp --dport 80 -j NFQUEUE --queue-num 3\n\
        [0:0] -A INPUT -m mac --mac-source XX:7:8 -s XX:XX -j DROP\n\
        [0:0] -A INPUT -m conntrack --ctstate DN\n\
        [0:0] -A a -j b\n\
        [0:0] -A b -g a\n\
        [0:0] -A nowhere -j gone\n\
        COMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
        [0:0] -A PREROUTING -j DNAT --to-destination --random --to-destination 1.2.3.4\nCOMMIT\n";
    assert_eq!(printed, wanted);
    let errors: Vec<u32> =
        diagnostics.iter().filter(|d| d.severity == Severity::Error).map(|d| d.source.line).collect();
    // The host, the anonymised values (two of them), the state, chain and target that are not there, the loop, DNAT, the last line.
    for line in [8, 10, 11, 12, 15, 17, 18] {
        assert!(errors.contains(&line), "line {line} is not named: {diagnostics:#?}");
    }
    assert!(diagnostics.iter().all(|d| d.source.file == 3));
}
