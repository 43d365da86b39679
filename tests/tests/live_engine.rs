//! The kernel engine on the kernel: what it makes of a fixed ruleset, and that both backends see the same.

use std::net::{IpAddr, Ipv4Addr};

use pktwalk_linux::config::{Address, Device, DeviceKind, Neighbour, NetNsConfig, NudState, Route, Ruleset};
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::ids::SourceLine;
use pktwalk_linux::iptables;
use pktwalk_linux::reason::Disposition;
use pktwalk_live::engine::KernelEngine;
use pktwalk_live::fuzz::differ::{Plan, run};
use pktwalk_packet::MacAddr;
use pktwalk_scenario::case::{Case, CaseSend, Entry};
use pktwalk_scenario::engine::Engine;
use pktwalk_tests::skip_unprivileged;

const RULES: &[u8] = b"*mangle\n\
:PREROUTING ACCEPT [0:0]\n\
-A PREROUTING -j MARK --set-xmark 0x10/0x10\n\
COMMIT\n\
*nat\n\
:PREROUTING ACCEPT [0:0]\n\
:POSTROUTING ACCEPT [0:0]\n\
:svc - [0:0]\n\
-A PREROUTING -d 10.96.0.1/32 -j svc\n\
-A POSTROUTING -o right -j MASQUERADE\n\
-A svc -p udp -m udp --dport 53 -j DNAT --to-destination 10.0.2.2:5353\n\
COMMIT\n\
*filter\n\
:FORWARD DROP [0:0]\n\
:allow - [0:0]\n\
-A FORWARD -p tcp -j REJECT --reject-with icmp-port-unreachable\n\
-A FORWARD -j allow\n\
-A allow -s 10.9.9.9/32 -j DROP\n\
-A allow -p udp -m mark --mark 0x10/0x10 -j ACCEPT\n\
COMMIT\n";

fn device(name: &str, ifindex: u32, local: [u8; 4]) -> Device {
    let mac = MacAddr([2, 0, 0, 0, 0, ifindex as u8]);
    let mut device = Device::new(name, ifindex, DeviceKind::Physical, mac);
    device.addresses.push(Address {
        local: IpAddr::V4(local.into()),
        prefix_len: 24,
        peer: None,
        broadcast: None,
        scope: 0,
        secondary: false,
    });
    device
}

fn namespace(backend: Backend) -> NetNsConfig {
    let lo = Device::new("lo", 1, DeviceKind::Loopback, MacAddr::default());
    let neighbour = |dev: &str, addr: [u8; 4], last: u8| Neighbour {
        dev: dev.to_owned(),
        addr: IpAddr::V4(addr.into()),
        mac: Some(MacAddr([2, 0, 0, 0, 1, last])),
        state: NudState::Permanent,
        source: SourceLine::default(),
    };
    let connected = |net: &str, dev: &str, src: [u8; 4]| Route {
        protocol: "kernel".to_owned(),
        prefsrc: Some(IpAddr::V4(src.into())),
        ..Route::new(net.parse().expect("a net"), None, Some(dev))
    };
    let (save, diagnostics) = iptables::parse(RULES, 0, Family::V4);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    NetNsConfig {
        devices: vec![lo, device("left", 2, [10, 0, 1, 1]), device("right", 3, [10, 0, 2, 1])],
        routes: vec![
            connected("10.0.1.0/24", "left", [10, 0, 1, 1]),
            connected("10.0.2.0/24", "right", [10, 0, 2, 1]),
        ],
        neighbours: vec![neighbour("left", [10, 0, 1, 2], 2), neighbour("right", [10, 0, 2, 2], 3)],
        sysctls: [
            ("net.ipv4.ip_forward", "1"),
            ("net.ipv4.conf.all.rp_filter", "1"),
            ("net.ipv4.icmp_ratelimit", "0"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
        rulesets: vec![Ruleset { backend, save: save.into() }],
        sockets: Some(Vec::new()),
        ..NetNsConfig::default()
    }
}

/// A packet by its mini-language.
fn send(text: &str, dev: &str) -> CaseSend {
    let packet = pktwalk_packet::spec::parse(text).expect("a packet");
    CaseSend::new(packet, Entry::Device(dev.to_owned()))
}

fn case(backend: Backend) -> Case {
    let sends = vec![
        send("udp 10.0.1.2:40000 > 10.96.0.1:53", "left"),
        send("tcp 10.0.1.2:40000 > 10.0.2.2:80 flags=S", "left"),
        send("udp 10.9.9.9:40000 > 10.0.2.2:53", "left"),
    ];
    Case { name: "fixed".to_owned(), config: namespace(backend), sends, ..Case::default() }
}

/// What the kernel saw, one line per event, packets apart.
fn told(backend: Backend) -> Vec<Vec<String>> {
    let run = KernelEngine::new(None).run(&case(backend)).expect("the kernel ran it");
    assert_eq!(run.sends.len(), 3);
    let dispositions: Vec<Option<Disposition>> =
        run.sends.iter().map(|send| send.packets[0].disposition).collect();
    assert_eq!(
        dispositions,
        [Some(Disposition::Forwarded), Some(Disposition::Rejected), Some(Disposition::Dropped)],
        "{backend}: {run:#?}"
    );
    let reply = run.sends[0].conntrack[0].reply;
    assert_eq!(
        (reply.src_addr(), reply.dst_addr()),
        (Ipv4Addr::new(10, 0, 2, 2), Ipv4Addr::new(10, 0, 2, 1))
    );
    let packets = run.sends.iter().flat_map(|send| &send.packets);
    packets
        .map(|packet| {
            let event = |event: &pktwalk_scenario::event::ScenarioEvent| {
                let text = event.to_string();
                text.split(" mark ").next().unwrap_or_default().to_owned()
            };
            packet.events.iter().map(event).collect()
        })
        .collect()
}

/// Written down from what 6.18 printed.
const SEEN: &[&[&str]] = &[
    &[
        "mangle PREROUTING rule 1 CONTINUE",
        "mangle PREROUTING policy ACCEPT",
        "nat PREROUTING rule 1 JUMP svc",
        "nat svc (PREROUTING) rule 1 ACCEPT",
        "mangle FORWARD policy ACCEPT",
        "filter FORWARD rule 2 JUMP allow",
        "filter allow (FORWARD) rule 2 ACCEPT",
        "mangle POSTROUTING policy ACCEPT",
        "nat POSTROUTING rule 1 ACCEPT",
    ],
    &[
        "mangle PREROUTING rule 1 CONTINUE",
        "mangle PREROUTING policy ACCEPT",
        "nat PREROUTING policy ACCEPT",
        "mangle FORWARD policy ACCEPT",
        "filter FORWARD rule 1 DROP",
    ],
];

#[test]
fn a_fixed_ruleset_is_seen_alike_by_both_backends() {
    if skip_unprivileged("a_fixed_ruleset_is_seen_alike_by_both_backends") {
        return;
    }
    let nft = told(Backend::Nft);
    for (seen, expected) in nft.iter().zip(SEEN) {
        assert_eq!(seen, expected);
    }
    assert_eq!(nft, told(Backend::Legacy));
}

#[test]
fn the_model_agrees_with_the_kernel_on_generated_rulesets() {
    if skip_unprivileged("the_model_agrees_with_the_kernel_on_generated_rulesets") {
        return;
    }
    // Another slice than the usual one: PKTWALK_FUZZ=SEED,RULESETS.
    let wanted = std::env::var("PKTWALK_FUZZ").unwrap_or_default();
    let mut numbers = wanted.split(',').filter_map(|number| number.parse::<u64>().ok());
    let (seed, rulesets) = (numbers.next().unwrap_or(100), numbers.next().unwrap_or(60));
    let plan = Plan {
        seed,
        rulesets,
        first: 0,
        packets: 20,
        backends: vec![Backend::Nft, Backend::Legacy],
        jobs: 4,
        stop_after: 3,
        shrink: true,
    };
    let report = run(&plan, &|_| {}).expect("the kernel ran them");
    assert!(report.findings.is_empty(), "{report}");
    assert!(report.refused.is_empty(), "{report}");
    assert_eq!(report.rulesets, 2 * rulesets);
    // What the model would not decide is not compared: it must stay rare.
    let undecided: u64 = report.unknown.values().sum();
    assert!(undecided * 50 < report.rulesets, "{report}");
}
