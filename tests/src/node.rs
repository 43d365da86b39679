//! A small node for tests that ask the kernel: two devices, a neighbour behind each, rules.

use std::net::IpAddr;

use pktwalk_linux::config::{Address, Device, DeviceKind, Neighbour, NetNsConfig, NudState, Route, Ruleset};
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::ids::SourceLine;
use pktwalk_linux::iptables;
use pktwalk_live::engine::{KernelEngine, KernelRun};
use pktwalk_live::replay::Replay;
use pktwalk_packet::MacAddr;
use pktwalk_scenario::case::{Case, CaseSend, Entry};
use pktwalk_scenario::compare::{Difference, compare};
use pktwalk_scenario::engine::Engine;
use pktwalk_scenario::model::ModelEngine;

/// Marks, translates, and lets little through.
const RULES: &[u8] = b"*mangle\n\
:PREROUTING ACCEPT [0:0]\n\
:INPUT ACCEPT [0:0]\n\
:FORWARD ACCEPT [0:0]\n\
:OUTPUT ACCEPT [0:0]\n\
:POSTROUTING ACCEPT [0:0]\n\
-A PREROUTING -j MARK --set-xmark 0x10/0x10\n\
COMMIT\n\
*nat\n\
:PREROUTING ACCEPT [0:0]\n\
:INPUT ACCEPT [0:0]\n\
:OUTPUT ACCEPT [0:0]\n\
:POSTROUTING ACCEPT [0:0]\n\
:svc - [0:0]\n\
-A PREROUTING -d 10.96.0.1/32 -j svc\n\
-A POSTROUTING -o right -j MASQUERADE\n\
-A svc -p udp -m udp --dport 53 -j DNAT --to-destination 10.0.2.2:5353\n\
COMMIT\n\
*filter\n\
:INPUT ACCEPT [0:0]\n\
:FORWARD DROP [0:0]\n\
:OUTPUT ACCEPT [0:0]\n\
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

/// A node with `left` (10.0.1.1/24), `right` (10.0.2.1/24) and rules of this backend.
pub fn namespace(backend: Backend) -> NetNsConfig {
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
pub fn send(text: &str, dev: &str) -> CaseSend {
    let packet = pktwalk_packet::spec::parse(text).expect("a packet");
    CaseSend::new(packet, Entry::Device(dev.to_owned()))
}

/// Where model and kernel differ, the model making the kernel's choices; and what the kernel saw.
pub fn differences(case: &Case) -> (Vec<Difference>, KernelRun) {
    let kernel = KernelEngine::new(None).run_for_replay(case).expect("the kernel ran it");
    assert_eq!(kernel.run.gaps, [""; 0]);
    let choices = Box::new(Replay::new(kernel.clone()));
    let model = ModelEngine::with_choices(choices).run(case).expect("the model ran it");
    (compare(&model, &kernel.run), kernel)
}
