//! Keys that are misspelt, or that nobody knows: they are said, and what they would have meant is not taken for what is not there.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::in_namespace;
use pktwalk_ingest::{Bundle, read_bundle, read_files};
use pktwalk_linux::config::{MissingState, UnmodelledPoint};
use pktwalk_linux::diag::Severity;
use pktwalk_skip::skip_unprivileged;

fn bundle(file: &str, text: &str) -> Bundle {
    read_files("t", [(file, text.as_bytes())]).unwrap()
}

fn remarks(bundle: &Bundle) -> Vec<(Severity, String)> {
    bundle.remarks().collect()
}

/// Whether every walk ends `Unknown`.
fn is_unknown(bundle: &Bundle) -> bool {
    bundle.host.config.unmodelled.iter().any(|u| u.point == UnmodelledPoint::Everywhere)
}

/// Files as the tools print them, and which keys decide.
const FILES: &[(&str, &str, &[&str])] = &[
    (
        "ip-link.json",
        r#"[{"ifindex":2,"ifname":"br0","flags":["UP"],"mtu":1500,"master":"vrf","group":"default","link_type":"ether","address":"02:00:00:00:00:01","linkinfo":{"info_kind":"bridge","info_data":{"vlan_filtering":0,"nf_call_iptables":0},"info_slave_kind":"bridge","info_slave_data":{"state":"forwarding","hairpin":false,"isolated":false}}}]"#,
        &[
            "ifindex",
            "ifname",
            "flags",
            "mtu",
            "master",
            "group",
            "link_type",
            "address",
            "linkinfo",
            "info_kind",
            "info_data",
            "vlan_filtering",
            "nf_call_iptables",
            "info_slave_kind",
            "info_slave_data",
            "state",
            "hairpin",
            "isolated",
        ],
    ),
    (
        "ip-addr.json",
        r#"[{"ifindex":2,"ifname":"eth0","flags":["UP"],"mtu":1500,"link_type":"ether","address":"02:00:00:00:00:01","linkinfo":{},"addr_info":[{"family":"inet","local":"10.0.0.1","prefixlen":24,"broadcast":"10.0.0.255","scope":"global","secondary":true,"label":"eth0"}]}]"#,
        &["addr_info", "local", "prefixlen", "broadcast", "scope", "secondary"],
    ),
    (
        "ip-route.json",
        r#"[{"type":"unicast","dst":"10.0.0.0/8","gateway":"192.0.2.1","dev":"eth0","table":"main","protocol":"static","scope":"link","prefsrc":"192.0.2.7","metric":5,"flags":[],"metrics":[{"mtu":1400,"mtu_lock":false}]},{"dst":"10.0.0.0/9","flags":[],"nexthops":[{"via":{"family":"inet6","host":"fe80::1"},"dev":"eth0","weight":1,"flags":[]}]}]"#,
        &[
            "type", "dst", "gateway", "dev", "table", "scope", "prefsrc", "metric", "metrics", "mtu_lock",
            "nexthops", "via", "weight",
        ],
    ),
    (
        "ip-nexthop.json",
        r#"[{"id":1,"gateway":"192.0.2.1","dev":"eth0","flags":[]},{"id":2,"group":[{"id":1,"weight":3}],"flags":[]}]"#,
        &["gateway", "group", "weight"],
    ),
    (
        "ip-rule.json",
        r#"[{"priority":5,"not":null,"src":"10.0.0.0","srclen":8,"dst":"10.0.0.0","dstlen":8,"iif":"eth0","oif":"eth1","fwmark":"0x1","fwmask":"0x3","tos":"0x10","ipproto":"tcp","sport":5,"dport_start":5,"dport_end":9,"uid_start":1,"uid_end":2,"table":"main","suppress_prefixlen":0}]"#,
        &[
            "priority",
            "src",
            "srclen",
            "dst",
            "dstlen",
            "iif",
            "oif",
            "fwmark",
            "fwmask",
            "ipproto",
            "sport",
            "uid_start",
            "table",
            "suppress_prefixlen",
        ],
    ),
    (
        "ip-neigh.json",
        r#"[{"dst":"10.0.0.2","dev":"eth0","lladdr":"02:00:00:00:00:01","state":["REACHABLE"]}]"#,
        &["dst", "dev", "lladdr", "state"],
    ),
    (
        "bridge-fdb.json",
        r#"[{"mac":"02:00:00:00:00:01","ifname":"v0","vlan":5,"flags":[],"master":"br0","state":"permanent"}]"#,
        &["mac", "ifname", "vlan", "master", "state"],
    ),
    (
        "tc.json",
        r#"[{"kind":"clsact","handle":"ffff:","dev":"eth0","parent":"ffff:fff1","options":{}}]"#,
        &["kind", "dev"],
    ),
    ("tc-filter.json", r#"[{"dev":"eth0","hook":"ingress","filters":[]}]"#, &["dev", "hook", "filters"]),
    (
        "nft.json",
        r#"{"nftables":[{"metainfo":{"version":"1.0.6"}},{"table":{"family":"inet","name":"x","handle":1}},{"chain":{"family":"inet","table":"x","name":"c","handle":1,"type":"filter","hook":"input","prio":0,"policy":"drop"}},{"rule":{"family":"inet","table":"x","chain":"c","handle":2,"expr":[]}}]}"#,
        &["table", "chain", "rule", "family", "hook", "policy"],
    ),
];

#[test]
fn a_key_that_is_misspelt_is_not_a_key_that_is_missing() {
    for (file, text, keys) in FILES {
        let whole = remarks(&bundle(file, text));
        let odd = |remark: &&(Severity, String)| remark.1.contains("not understood");
        assert_eq!(whole.iter().find(odd), None, "{file}");
        for key in *keys {
            let quoted = format!("\"{key}\":");
            assert!(text.contains(&quoted), "{file} {key}");
            let (first, rest) = key.split_at(key.len() / 2);
            for wrong in [format!("{first}x{rest}"), key.to_uppercase(), format!("{first}{}", &rest[1..])] {
                // Some are other keys then.
                if wrong.len() < 3 || text.contains(&format!("\"{wrong}\":")) || wrong == "metric" {
                    continue;
                }
                let bundle = bundle(file, &text.replace(&quoted, &format!("\"{wrong}\":")));
                let remarks = remarks(&bundle);
                let said = |(severity, message): &(Severity, String)| {
                    *severity == Severity::Error && message.starts_with(&format!("t/{file}:1: key '{wrong}'"))
                };
                assert!(remarks.iter().any(said), "{file} {wrong}: {remarks:?}");
                assert!(is_unknown(&bundle), "{file} {wrong}");
            }
        }
    }
}

#[test]
fn a_key_that_nobody_knows_is_said_once() {
    let text = r#"[
{"dst":"10.0.0.2","dev":"eth0","lladdr":"02:00:00:00:00:01","something_new":1,"state":["REACHABLE"]},
{"dst":"10.0.0.3","dev":"eth0","lladdr":"02:00:00:00:00:01","something_new":1,"state":["REACHABLE"],"proxi":null}
]"#;
    let bundle = bundle("ip-neigh.json", text);
    let expected = [
        "t/ip-neigh.json:2: key 'something_new' is not understood: `ip -j neigh` prints none of this name",
        "t/ip-neigh.json:3: key 'proxi' is not understood: `ip -j neigh` prints none of this name; did you mean 'proxy'?",
    ];
    assert_eq!(remarks(&bundle), expected.map(|line| (Severity::Warning, line.to_owned())));
    assert!(!is_unknown(&bundle));
    assert_eq!(bundle.host.config.neighbours.len(), 2);
}

#[test]
fn what_always_stands_there_is_not_guessed() {
    for (file, text, said) in [
        (
            "ip-link.json",
            r#"[{"ifindex":2,"ifname":"eth0","flags":["UP"],"mtu":1500,"link_type":"ether"}]"#,
            "has no address",
        ),
        ("ip-link.json", r#"[{"ifindex":2,"ifname":"eth0","flags":["UP"],"mtu":1500}]"#, "has no link_type"),
        (
            "ip-addr.json",
            r#"[{"ifindex":1,"ifname":"lo","flags":["UP"],"mtu":1500,"link_type":"loopback"}]"#,
            "has no addr_info",
        ),
        (
            "ip-addr.json",
            r#"[{"ifindex":1,"ifname":"lo","flags":["UP"],"mtu":1500,"link_type":"loopback","addr_info":[{"local":"127.0.0.1","prefixlen":8}]}]"#,
            "127.0.0.1 has no scope",
        ),
        ("ip-rule.json", r#"[{"priority":0,"table":"main"}]"#, "a rule without src"),
        ("ip-route.json", r#"[{"gateway":"10.0.0.1","dev":"eth0","flags":[]}]"#, "a route without dst"),
        (
            "ip-route.json",
            r#"[{"dst":"default","dev":"eth0","scope":"link","metrics":{"mtu":1400},"flags":[]}]"#,
            "'metrics' is not a list",
        ),
        ("ip-nexthop.json", r#"[{"id":2,"group":[{"weight":3}]}]"#, "a member of nexthop group 2 without id"),
        ("bridge-fdb.json", r#"[{"mac":"02:00:00:00:00:01","ifname":"v0","master":"br0"}]"#, "without state"),
        (
            "nft.json",
            r#"{"nftables":[{"chain":{"family":"inet","table":"x","name":"c","hook":"input","prio":0}}]}"#,
            "base chain c of table x without policy",
        ),
        (
            "nft.json",
            r#"{"nftables":[{"chain":{"name":"c","hook":"input","prio":0}}]}"#,
            "a chain without its family or table",
        ),
    ] {
        let bundle = bundle(file, text);
        let remarks = remarks(&bundle);
        let named = |(severity, message): &(Severity, String)| {
            *severity == Severity::Error
                && message.starts_with(&format!("t/{file}:1: "))
                && message.contains(said)
        };
        assert!(remarks.iter().any(named), "{file} {text}: {remarks:?}");
        assert!(is_unknown(&bundle), "{file} {text}");
    }
}

#[test]
fn settings_that_no_kernel_has_are_said() {
    let read = |text: &str| {
        let bundle = bundle("sysctl", &format!("net.ipv4.ip_forward = 1\n{text}\n"));
        let lost = bundle.host.config.missing.contains(&MissingState::Sysctls);
        (remarks(&bundle).pop(), lost)
    };
    assert_eq!(read("net.ipv4.conf.all.log_martians = 1"), (None, false));
    assert_eq!(read("net.ipv4.conf.eth0/5.rp_filter = 1"), (None, false));
    let no = "is no setting of Linux 5.0 to 6.18: not understood";
    let warned = |message: String| (Some((Severity::Warning, message)), false);
    let lost = |message: String| (Some((Severity::Error, message)), true);
    assert_eq!(
        read("net.ipv4.conf.all.rp_fliter = 1"),
        lost(format!(
            "t/sysctl:2: net.ipv4.conf.all.rp_fliter {no}; did you mean net.ipv4.conf.all.rp_filter?"
        ))
    );
    assert_eq!(
        read("net.netfilter.nf_conntrack_tcp_be_libreal = 1"),
        lost(format!(
            "t/sysctl:2: net.netfilter.nf_conntrack_tcp_be_libreal {no}; did you mean net.netfilter.nf_conntrack_tcp_be_liberal?"
        ))
    );
    assert_eq!(
        read("net.bridge.bridge-nf-call-iptabels = 1").0.unwrap().1,
        format!(
            "t/sysctl:2: net.bridge.bridge-nf-call-iptabels {no}; did you mean net.bridge.bridge-nf-call-iptables?"
        )
    );
    assert_eq!(
        read("net.ipv4.neigh.all.something = 1"),
        warned(format!("t/sysctl:2: net.ipv4.neigh.all.something {no}"))
    );
    assert_eq!(
        read("net.ipv4.tcp_saks = 1"),
        warned(format!("t/sysctl:2: net.ipv4.tcp_saks {no}; did you mean net.ipv4.tcp_sack?"))
    );
    // Where the right one stands there as well, it counts.
    assert_eq!(
        read("net.ipv4.ip_forwards = 0"),
        warned(format!("t/sysctl:2: net.ipv4.ip_forwards {no}; did you mean net.ipv4.ip_forward?"))
    );
}

#[test]
fn settings_of_devices_that_are_not_there_are_said() {
    let link = r#"[{"ifindex":2,"ifname":"eth0.7","flags":["UP"],"mtu":1500,"link_type":"ether","address":"02:00:00:00:00:01","promiscuity":0}]"#;
    let read = |text: &str| {
        let text = format!("net.ipv4.ip_forward = 1\n{text}\n");
        let files = [("ip-link.json", link.as_bytes()), ("sysctl", text.as_bytes())];
        let bundle = read_files("t", files).unwrap();
        let lost = bundle.host.config.missing.contains(&MissingState::Sysctls);
        (remarks(&bundle).pop(), lost)
    };
    assert_eq!(
        read("net.ipv4.conf.eth0/7.rp_filter = 1\nnet.ipv4.conf.default.rp_filter = 1"),
        (None, false)
    );
    let message = "t/sysctl:2: net.ipv4.conf.other.rp_filter: there is no device other".to_owned();
    assert_eq!(read("net.ipv4.conf.other.rp_filter = 1"), (Some((Severity::Warning, message)), false));
    let message = "t/sysctl:2: net.ipv4.conf.eht0/7.rp_filter: there is no device eht0.7; did you mean net.ipv4.conf.eth0/7.rp_filter?";
    assert_eq!(
        read("net.ipv4.conf.eht0/7.rp_filter = 1"),
        (Some((Severity::Error, message.to_owned())), true)
    );
}

#[test]
fn what_is_ours_has_no_key_that_is_misspelt() {
    let read = |text: &str| remarks(&bundle("node.yaml", text)).pop();
    assert_eq!(read("name: a\nbackend: legacy\n"), None);
    let message = "t/node.yaml:2: key 'bakcend' is not known here; did you mean 'backend'?".to_owned();
    assert_eq!(read("name: a\nbakcend: legacy\n"), Some((Severity::Error, message)));
    let message = "t/node.yaml:2: key 'owner' is not known here".to_owned();
    assert_eq!(read("name: a\nowner: b\n"), Some((Severity::Warning, message)));
    let files = [("node.yaml", "name: a\n".as_bytes()), ("ip-rout.json", b"[]".as_slice())];
    let message = "t/ip-rout.json: not a file of a bundle: not read; did you mean ip-route.json?".to_owned();
    assert_eq!(remarks(&read_files("t", files).unwrap()), [(Severity::Warning, message)]);
}

#[test]
fn words_of_connections_are_known() {
    let head = "ipv4     2 udp      17 29 src=10.0.0.1 dst=10.0.0.2 sport=5 dport=6 ";
    let tail = "src=10.0.0.2 dst=10.0.0.1 sport=6 dport=5 mark=0 use=1";
    let read = |line: String| {
        let bundle = bundle("conntrack", &format!("{line}\n"));
        (bundle.host.config.connections.len(), remarks(&bundle).pop().map(|(_, message)| message))
    };
    assert_eq!(read(format!("{head}{tail}")), (1, None));
    let odd = |word: &str| (0, Some(format!("t/conntrack:1: {word}")));
    assert_eq!(read(format!("{head}{tail}").replace("mark=", "mrak=")), odd("mrak= is not understood"));
    assert_eq!(
        read(format!("{head}{tail}").replace("sport=6 ", "")),
        odd("the reply direction has no sport or dport")
    );
    assert_eq!(
        read("icmp 1 29 src=10.0.0.1 dst=10.0.0.2 src=10.0.0.2 dst=10.0.0.1 mark=0 use=1".to_owned()),
        odd("the original direction has no type, code or id")
    );
}

/// Every kind of device that this kernel can make, with all that the tools tell of it.
const WORLD: &str = r#"
ip link set lo up
ip link add v0 type veth peer name v1
ip link set v0 up; ip link set v1 up
ip addr add 10.0.0.1/24 brd + dev v1; ip addr add 10.0.0.2/24 dev v1; ip addr add 10.1.0.1 peer 10.1.0.2/32 dev v1
for kind in dummy bridge ifb bond vcan nlmon team wireguard; do ip link add x$kind type $kind; done
ip link add l0 link v1 type vlan id 5; ip link add l1 link v1 type macvlan mode bridge; ip link add l2 link v1 type ipvlan
ip link add l3 link v1 type macsec; ip link add l4 type vxlan id 5 dstport 4789 dev v1; ip link add l5 type vrf table 10
ip link add l6 type gre remote 10.0.0.9 local 10.0.0.1; ip link add l7 type geneve id 4 remote 10.0.0.8
ip link add l8 type ipip remote 10.0.0.9; ip link add l9 type gretap remote 10.0.0.9 local 10.0.0.1
ip tuntap add t0 mode tun; ip tuntap add t1 mode tap
ip link set v0 master xbridge; ip link set t1 master xbond; ip link set xbridge up
ip addr add fd00::1/64 dev v1
ip route add 10.5.0.0/16 via 10.0.0.7 mtu lock 1400 advmss 1000 window 5 rtt 5 hoplimit 7 initcwnd 5 src 10.0.0.1 metric 5
ip route add 10.6.0.0/16 nexthop via 10.0.0.7 weight 2 nexthop via 10.0.0.8; ip route add blackhole 10.7.0.0/16
ip nexthop add id 5 via 10.0.0.7 dev v1; ip nexthop add id 6 via 10.0.0.8 dev v1; ip nexthop add id 7 group 5/6,2
ip nexthop add id 8 blackhole; ip route add 10.8.0.0/16 nhid 7
ip route add 10.9.0.0/16 encap ip id 5 dst 1.2.3.4 dev v1
ip route add 10.10.0.0/16 via inet6 fe80::1 dev v1
ip rule add from 10.0.0.0/8 fwmark 1/3 ipproto tcp sport 4 dport 5-9 iif v0 uidrange 5-6 suppress_prefixlength 0 table 100 prio 7
ip rule add to 10.0.0.0/8 oif nodev lookup 5 tos 0x10; ip rule add l3mdev prio 9; ip rule add goto 32766 prio 99
ip rule add realms 5 prio 98; ip rule add not fwmark 5 blackhole prio 97
ip neigh add 10.0.0.9 lladdr 00:11:22:33:44:55 dev v1; ip neigh add 10.0.0.10 dev v1 nud noarp
ip neigh add proxy 10.0.0.77 dev v1; ip neigh add 10.0.0.11 lladdr 00:11:22:33:44:56 dev v1 extern_learn router
bridge fdb add 00:11:22:33:44:66 dev v0 master; bridge fdb append 00:00:00:00:00:00 dev l4 dst 10.0.0.9
tc qdisc add dev v1 clsact; tc qdisc add dev v0 root fq_codel; tc qdisc add dev xbridge root tbf rate 1mbit burst 10k latency 5ms
nft 'table inet x { set s { type ipv4_addr; } map m { type ipv4_addr : verdict; } counter k {} limit l { rate 1/second; } chain c { type filter hook input priority 0; policy drop; ip saddr @s counter; } chain d { } }'
for flags in "" -d "-s -d"; do
    dir="out${flags// /}"; mkdir $dir
    ip $flags -d -j -p link > $dir/ip-link.json; ip $flags -j -p addr > $dir/ip-addr.json
    ip $flags -4 -j -p route show table all > $dir/ip-route.json; ip $flags -6 -j -p route show table all > $dir/ip-6-route.json
    ip $flags -4 -j -p rule > $dir/ip-rule.json; ip $flags -j -p nexthop > $dir/ip-nexthop.json
    ip $flags -j -p neigh show nud all > $dir/ip-neigh.json; ip -j neigh show proxy > $dir/neigh-proxy
    bridge $flags -j -p fdb show > $dir/bridge-fdb.json; tc $flags -j -p qdisc > $dir/tc.json; nft -j list ruleset > $dir/nft.json
    sysctl -a > $dir/sysctl
done 
true
"#;

#[test]
fn what_the_tools_print_is_understood() {
    if skip_unprivileged("what_the_tools_print_is_understood") {
        return;
    }
    let (dir, _) = in_namespace(&[], WORLD);
    for out in ["out", "out-d", "out-s-d"] {
        let bundle = read_bundle(&dir.path().join(out)).unwrap();
        assert!(bundle.host.config.devices.len() > 3 && bundle.host.config.routes.len() > 5, "{out}");
        let odd = |message: &String| {
            ["not understood", " without ", " has no ", "there is no device"]
                .iter()
                .any(|word| message.contains(word))
        };
        let odd: Vec<String> = bundle.remarks().map(|(_, message)| message).filter(odd).collect();
        assert_eq!(odd, Vec::<String>::new(), "{out}");
    }
}
