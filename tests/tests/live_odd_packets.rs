//! Packets that are not as they should be, on the kernel: what is freed, why, and what its sender is told.

use pktwalk_linux::config::{Neighbour, NetNsConfig, Route, Ruleset};
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::iptables;
use pktwalk_linux::skb::SkbSocket;
use pktwalk_live::engine::KernelRun;
use pktwalk_packet::{MacAddr, Packet};
use pktwalk_scenario::case::{Case, CaseSend, Entry};
use pktwalk_skip::skip_unprivileged;
use pktwalk_tests::node::{differences, namespace, send};

/// A node that filters nothing and says of every packet what becomes of it.
fn open() -> NetNsConfig {
    let rules = b"*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT\n\
        -A FORWARD\n-A OUTPUT\nCOMMIT\n";
    let (save, _) = iptables::parse(rules, 0, Family::V4);
    let rulesets = vec![Ruleset { backend: Backend::Nft, save: save.into() }];
    let mut config = NetNsConfig { rulesets, ..namespace(Backend::Nft) };
    config.sysctls.insert("net.ipv4.conf.all.rp_filter".to_owned(), "0".to_owned());
    config
}

fn local(text: &str) -> CaseSend {
    let packet = pktwalk_packet::spec::parse(text).expect("a packet");
    let socket = SkbSocket { uid: Some(0), gid: Some(0), bound_dev: None, raw: true };
    CaseSend::new(packet, Entry::Local(socket))
}

/// Runs it on both, which agree.
fn agreed(config: NetNsConfig, sends: Vec<CaseSend>) -> KernelRun {
    let case = Case { name: "odd".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    kernel
}

fn reasons(kernel: &KernelRun) -> Vec<&str> {
    kernel.run.sends.iter().map(|send| send.packets[0].kernel_reason.as_deref().unwrap_or("-")).collect()
}

#[test]
fn what_may_not_be_cut_on_its_way_out_is_freed_without_a_reason() {
    if skip_unprivileged("what_may_not_be_cut_on_its_way_out_is_freed_without_a_reason") {
        return;
    }
    let mut config = open();
    let small =
        Route::new("203.0.113.0/24".parse().expect("a net"), Some([10, 0, 2, 2].into()), Some("right"));
    config.routes.push(Route { mtu: Some(280), ..small });
    let sends = vec![
        local("udp 10.0.2.1:5 > 203.0.113.2:7 len=272 df ipid=1"),
        send("udp 10.0.1.2:5 > 203.0.113.2:7 len=272 df ipid=2", "left"),
    ];
    let kernel = agreed(config, sends);
    assert_eq!(reasons(&kernel), ["NOT_SPECIFIED", "PKT_TOO_BIG"]);
}

#[test]
fn a_later_fragment_that_is_cut_keeps_its_options() {
    if skip_unprivileged("a_later_fragment_that_is_cut_keeps_its_options") {
        return;
    }
    let mut config = open();
    config.rulesets.clear();
    config.devices[2].mtu = 300;
    let packet = "udp 10.0.1.2 > 10.0.2.2 off=800 len=600 mf opts=07070400000000000000009404000000 ipid=1";
    let kernel = agreed(config, vec![send(packet, "left")]);
    let frames = &kernel.run.sends[0].packets[0].frames;
    assert_eq!(frames.len(), 3);
    assert!(frames.iter().all(|frame| frame.packet.l3()[20] == 7), "record route in each");
}

#[test]
fn an_error_quotes_no_more_than_udp_says_there_is() {
    if skip_unprivileged("an_error_quotes_no_more_than_udp_says_there_is") {
        return;
    }
    let kernel = agreed(open(), vec![send("udp 10.0.1.2:5 > 10.0.1.1:7 len=20 ulen=12 ipid=1", "left")]);
    assert_eq!(kernel.run.sends[0].packets[1].frames[0].packet.l3().len(), 60);
}

/// A frame of `left` that says it is of this type.
fn frame(ethertype: u16, payload: &[u8]) -> CaseSend {
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 1, 2];
    bytes.extend(ethertype.to_be_bytes());
    bytes.extend(payload);
    CaseSend::new(Packet::from_ethernet(bytes).expect("a frame"), Entry::Device("left".to_owned()))
}

#[test]
fn what_is_too_short_is_freed_for_the_kernels_reason() {
    if skip_unprivileged("what_is_too_short_is_freed_for_the_kernels_reason") {
        return;
    }
    let sends = vec![
        frame(0x0806, &[0, 1, 8, 0, 6, 4, 0, 1]),
        frame(0x8100, &[0, 0, 8, 0]),
        frame(0x88a8, &[0, 5, 8, 0, 0x45]),
    ];
    assert_eq!(reasons(&agreed(open(), sends)), ["PKT_TOO_SMALL", "NOT_SPECIFIED", "NOT_SPECIFIED"]);
}

#[test]
fn nobody_looks_at_the_sum_of_a_long_broadcast_that_nobody_takes() {
    if skip_unprivileged("nobody_looks_at_the_sum_of_a_long_broadcast_that_nobody_takes") {
        return;
    }
    let to = |len: usize| {
        send(
            &format!(
                "udp 10.0.1.2:5 > 255.255.255.255:7 len={len} sum=bad smac=02:00:00:00:01:02 dmac=ff:ff:ff:ff:ff:ff ipid=1"
            ),
            "left",
        )
    };
    assert_eq!(reasons(&agreed(open(), vec![to(68), to(69)])), ["UDP_CSUM", "NOT_SPECIFIED"]);
}

#[test]
fn a_broadcast_goes_to_the_neighbour_that_somebody_entered_for_it() {
    if skip_unprivileged("a_broadcast_goes_to_the_neighbour_that_somebody_entered_for_it") {
        return;
    }
    let mut config = open();
    let mac = MacAddr([2, 0, 0, 0, 1, 77]);
    config.neighbours.push(Neighbour {
        addr: [10, 0, 2, 255].into(),
        mac: Some(mac),
        ..config.neighbours[1].clone()
    });
    let kernel = agreed(config, vec![local("udp 10.0.2.1:5 > 10.0.2.255:7 ipid=1")]);
    let frames = kernel.run.sends[0].packets.iter().flat_map(|packet| &packet.frames);
    assert_eq!(frames.filter_map(|frame| frame.packet.mac_dst()).collect::<Vec<_>>(), [mac]);
}

#[test]
fn media_keep_a_proxy_silent() {
    if skip_unprivileged("media_keep_a_proxy_silent") {
        return;
    }
    let asks = || vec![send("arp 10.0.1.2 > 10.0.2.2 op=request smac=02:00:00:00:01:02", "left")];
    for (left, right, answers) in
        [(0, 0, true), (0, -1, true), (-1, 0, false), (3, 3, false), (3, 4, true), (3, -1, false)]
    {
        let mut config = open();
        let mut set = |key: &str, value: i32| {
            config.sysctls.insert(format!("net.ipv4.conf.{key}"), value.to_string());
        };
        set("left.proxy_arp", 1);
        set("left.medium_id", left);
        set("right.medium_id", right);
        let kernel = agreed(config, asks());
        assert_eq!(kernel.run.sends[0].packets.len() == 2, answers, "{left} {right}");
    }
}

#[test]
fn a_copy_that_is_freed_is_not_the_packet_that_was_answered() {
    if skip_unprivileged("a_copy_that_is_freed_is_not_the_packet_that_was_answered") {
        return;
    }
    let mut config = open();
    config.routes.extend(pktwalk_linux::fib::local_routes(&config));
    // The answer goes to everybody, and this host does not want it.
    let kernel = agreed(config, vec![send("icmp 10.0.1.255 > 10.0.1.1 type=8 id=3 ipid=1", "left")]);
    let packets = &kernel.run.sends[0].packets;
    assert_eq!((packets.len(), packets[0].kernel_reason.as_deref()), (2, None));
    assert_eq!(packets[1].frames.len(), 1);
}
