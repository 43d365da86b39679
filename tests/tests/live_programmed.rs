//! What a dump tells, and the kernel under test has to be given just so.

use std::collections::BTreeSet;

use pktwalk_linux::config::{
    Address, DeviceKind, NetNsConfig, Nexthop, Route, RoutingAction, RoutingRule, Ruleset,
};
use pktwalk_linux::fib;
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::iptables;
use pktwalk_linux::skb::SkbSocket;
use pktwalk_scenario::case::{Case, CaseSend, Entry};
use pktwalk_skip::skip_unprivileged;
use pktwalk_tests::node::{differences, namespace, send};

/// Rules that only show how far a packet comes.
const WATCH: &[u8] = b"*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT\n\
    -A FORWARD\n-A OUTPUT\nCOMMIT\n";

/// A node that filters nothing and says of every packet what becomes of it.
fn open() -> NetNsConfig {
    let (save, _) = iptables::parse(WATCH, 0, Family::V4);
    let rulesets = vec![Ruleset { backend: Backend::Nft, save: save.into() }];
    let mut config = NetNsConfig { rulesets, ..namespace(Backend::Nft) };
    config.sysctls.insert("net.ipv4.conf.all.rp_filter".to_owned(), "0".to_owned());
    config
}

/// The frames that leave, the device and the IP destination of each, where both engines agree.
fn frames(config: NetNsConfig, sends: Vec<CaseSend>) -> Vec<(String, [u8; 4])> {
    let case = Case { name: "programmed".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    let packets = kernel.run.sends.iter().flat_map(|send| &send.packets);
    let frames = packets.flat_map(|packet| &packet.frames);
    frames
        .map(|frame| (frame.dev.clone(), frame.packet.l3()[16..20].try_into().expect("an address")))
        .collect()
}

/// Another address of `right`.
fn second(config: &mut NetNsConfig, local: [u8; 4], prefix_len: u8) {
    let broadcast = (prefix_len < 31).then(|| [local[0], local[1], local[2], 255].into());
    let address = Address { local: local.into(), broadcast, ..config.devices[2].addresses[0].clone() };
    config.devices[2].addresses.push(Address { prefix_len, ..address });
}

#[test]
fn two_devices_are_in_one_subnet() {
    if skip_unprivileged("two_devices_are_in_one_subnet") {
        return;
    }
    let mut config = open();
    second(&mut config, [10, 0, 1, 4], 24);
    let local = fib::local_routes(&config);
    // Of equal ones the first is looked at.
    for first in [0, 1] {
        let mut config = config.clone();
        let (mut all, mut rest) = (local.clone(), Vec::new());
        if first == 1 {
            (all, rest) =
                local.iter().cloned().partition(|route| route.nexthops[0].dev.as_deref() == Some("right"));
        }
        config.routes.extend(all.into_iter().chain(rest));
        config.routes.push(Route {
            protocol: "kernel".to_owned(),
            prefsrc: Some([10, 0, 1, 4].into()),
            ..Route::new("10.0.1.0/24".parse().expect("a net"), None, Some("right"))
        });
        let bound = SkbSocket { raw: true, ..SkbSocket::default() };
        let packet = pktwalk_packet::spec::parse("udp 10.0.1.1:5 > 10.0.1.255:7 ipid=1").expect("a packet");
        let sends = vec![
            send("udp 10.0.2.2:5 > 10.0.1.2:7 ipid=2", "right"),
            CaseSend::new(packet, Entry::Local(bound)),
        ];
        let left = frames(config, sends);
        assert_eq!(left[0], ("left".to_owned(), [10, 0, 1, 2]));
        assert_eq!(left[1], (["left", "right"][first].to_owned(), [10, 0, 1, 255]));
    }
}

/// `config` with a route to 203.0.113.0/24 that goes by `left` and by a gateway behind `right`.
fn with_two_ways(mut config: NetNsConfig) -> NetNsConfig {
    let mut route =
        Route::new("203.0.113.0/24".parse().expect("a net"), Some([10, 0, 1, 2].into()), Some("left"));
    let by_right = Nexthop {
        via: Some([10, 0, 2, 2].into()),
        dev: Some("right".to_owned()),
        ..route.nexthops[0].clone()
    };
    route.nexthops.push(by_right);
    config.routes.push(route);
    config
}

fn to_many() -> Vec<CaseSend> {
    (1..=12).map(|last| send(&format!("udp 10.0.1.2:5 > 203.0.113.{last}:7 ipid={last}"), "left")).collect()
}

#[test]
fn a_leg_of_a_route_is_dead() {
    if skip_unprivileged("a_leg_of_a_route_is_dead") {
        return;
    }
    let mut config = with_two_ways(open());
    config.devices[2].up = false;
    config
        .routes
        .retain(|route| route.nexthops.len() > 1 || route.nexthops[0].dev.as_deref() != Some("right"));
    let last = config.routes.last_mut().expect("a route");
    (last.nexthops[1].dead, last.nexthops[1].linkdown) = (true, true);
    let left = frames(config, to_many());
    assert_eq!(left.iter().filter(|(dev, _)| dev == "left").count(), left.len());
    assert!(left.len() >= 12);
}

#[test]
fn legs_without_a_carrier_have_no_share_where_carriers_are_heeded() {
    if skip_unprivileged("legs_without_a_carrier_have_no_share_where_carriers_are_heeded") {
        return;
    }
    let mut config = with_two_ways(open());
    config.devices[2].carrier = false;
    let hops = config.routes.iter_mut().flat_map(|route| &mut route.nexthops);
    hops.filter(|hop| hop.dev.as_deref() == Some("right")).for_each(|hop| hop.linkdown = true);
    for dev in ["all", "right"] {
        config.sysctls.insert(format!("net.ipv4.conf.{dev}.ignore_routes_with_linkdown"), "1".to_owned());
    }
    let left = frames(config, to_many());
    assert_eq!(left.iter().filter(|(dev, to)| dev == "left" && to[0] == 203).count(), 12);
}

#[test]
fn the_first_routing_rule_may_be_another() {
    if skip_unprivileged("the_first_routing_rule_may_be_another") {
        return;
    }
    let mut config = open();
    let by_port = RoutingRule {
        to: "10.0.1.1/32".parse().ok(),
        ip_protocol: Some(17),
        dport: Some((80, 80)),
        ..RoutingRule::new(50, RoutingAction::Lookup(77))
    };
    let lookup = |priority, table| RoutingRule::new(priority, RoutingAction::Lookup(table));
    config.routing_rules = vec![by_port, lookup(100, 255), lookup(32766, 254), lookup(32767, 253)];
    config
        .routes
        .push(Route { table: 77, ..Route::new("0.0.0.0/0".parse().expect("a net"), None, Some("right")) });
    let to = |port: u16| send(&format!("udp 10.0.1.2:5 > 10.0.1.1:{port} ipid={port}"), "left");
    let left = frames(config, vec![to(80), to(81)]);
    assert_eq!(left[0], ("right".to_owned(), [10, 0, 1, 1]));
    assert_eq!(left[1].1, [10, 0, 1, 2], "the answer that nothing listens there");
}

#[test]
fn local_routes_stay_away_that_somebody_took_away() {
    if skip_unprivileged("local_routes_stay_away_that_somebody_took_away") {
        return;
    }
    let mut config = open();
    second(&mut config, [10, 66, 0, 1], 32);
    let gone = ["10.66.0.1/32", "10.0.1.255/32"];
    let local = fib::local_routes(&config)
        .into_iter()
        .filter(|route| !gone.contains(&route.dst.to_string().as_str()));
    config.routes.extend(local);
    config.routes.push(Route::new("0.0.0.0/0".parse().expect("a net"), None, Some("right")));
    let sends = vec![
        send("udp 10.0.1.2:5 > 10.66.0.1:7 ipid=1", "left"),
        send("udp 10.0.2.2:5 > 10.0.1.255:7 ipid=2", "right"),
    ];
    let left: BTreeSet<_> = frames(config, sends).into_iter().collect();
    assert!(left.contains(&("right".to_owned(), [10, 66, 0, 1])), "{left:?}");
    assert!(left.contains(&("left".to_owned(), [10, 0, 1, 255])), "{left:?}");
}

#[test]
fn lo_has_the_mtu_of_the_dump() {
    if skip_unprivileged("lo_has_the_mtu_of_the_dump") {
        return;
    }
    let mut config = open();
    assert_eq!(config.devices[0].kind, DeviceKind::Loopback);
    config.devices[0].mtu = 1000;
    let packet =
        pktwalk_packet::spec::parse("udp 10.0.1.1:5 > 10.0.1.1:7 len=1200 ipid=1").expect("a packet");
    let raw = SkbSocket { raw: true, ..SkbSocket::default() };
    let case = Case { config, sends: vec![CaseSend::new(packet, Entry::Local(raw))], ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    assert_eq!(
        kernel.run.sends[0].packets.iter().map(|packet| packet.events.len()).sum::<usize>(),
        0,
        "it is too long to be sent"
    );
}

#[test]
fn a_realm_has_every_source_looked_up() {
    if skip_unprivileged("a_realm_has_every_source_looked_up") {
        return;
    }
    // From a broadcast address, which no quick look at the own addresses finds.
    let sends = || vec![send("udp 10.0.1.255:5 > 10.0.2.2:7 ipid=1", "left")];
    let with_local = || {
        let mut config = open();
        let local = fib::local_routes(&config);
        config.routes.extend(local);
        config
    };
    assert_eq!(frames(with_local(), sends()).len(), 1);
    for by_rule in [false, true] {
        let mut config = with_local();
        if by_rule {
            let lookup = |priority, table| RoutingRule::new(priority, RoutingAction::Lookup(table));
            let with =
                RoutingRule { from: "192.0.2.1/32".parse().ok(), realms: 3 << 16 | 5, ..lookup(100, 254) };
            config.routing_rules = vec![lookup(0, 255), with, lookup(32766, 254), lookup(32767, 253)];
        } else {
            let mut other = Route::new("203.0.113.0/24".parse().expect("a net"), None, Some("right"));
            other.nexthops[0].realms = 5;
            config.routes.push(other);
        }
        assert_eq!(frames(config, sends()).len(), 0);
    }
}

#[test]
fn groups_of_nexthop_objects_do_not_go_by_sources() {
    if skip_unprivileged("groups_of_nexthop_objects_do_not_go_by_sources") {
        return;
    }
    // Not of a raw socket, whose route is looked for without a source: the second lookup, after the mark, has one.
    let rules = b"*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j MARK --set-xmark 0x1/0xffffffff\nCOMMIT\n";
    for by_object in [false, true] {
        let (save, _) = iptables::parse(rules, 0, Family::V4);
        let mut config = with_two_ways(open());
        config.rulesets = vec![Ruleset { backend: Backend::Nft, save: save.into() }];
        config.routes.last_mut().expect("a route").by_object = by_object;
        let to = |last: u8| {
            let text = format!("udp 10.0.2.1:5 > 203.0.113.{last}:7 ipid={last}");
            let packet = pktwalk_packet::spec::parse(&text).expect("a packet");
            CaseSend::new(
                packet,
                Entry::Local(SkbSocket { raw: true, uid: Some(0), gid: Some(0), ..SkbSocket::default() }),
            )
        };
        let devices: BTreeSet<String> =
            frames(config, (1..=16).map(to).collect()).into_iter().map(|(dev, _)| dev).collect();
        assert_eq!(devices.len(), if by_object { 2 } else { 1 }, "{by_object}: {devices:?}");
    }
}
