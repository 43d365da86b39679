//! What bundles of real nodes hold that the kernel engine has to bring about or to leave out: nothing of it stops a confirmation or makes a
//! difference of its own, and what a packet meets of the rest is named.

use std::net::IpAddr;

use pktwalk_linux::config::{
    Connection, Device, DeviceKind, Neighbour, NetNsConfig, NudState, Route, Ruleset, Socket,
};
use pktwalk_linux::conntrack::tuple::{CtL4, CtTuple};
use pktwalk_linux::hook::{Backend, Family, Hook};
use pktwalk_linux::ids::SourceLine;
use pktwalk_linux::iptables;
use pktwalk_linux::reason::Disposition;
use pktwalk_linux::skb::SkbSocket;
use pktwalk_live::engine::KernelEngine;
use pktwalk_live::replay::Replay;
use pktwalk_packet::MacAddr;
use pktwalk_scenario::case::{Case, CaseSend, Entry};
use pktwalk_scenario::confirm::{Agreement, Backends, Confirmation, confirm};
use pktwalk_scenario::event::At;
use pktwalk_scenario::model::Choices;
use pktwalk_skip::skip_unprivileged;
use pktwalk_tests::node::{namespace, send};

/// A node without rules.
fn open() -> NetNsConfig {
    NetNsConfig { rulesets: Vec::new(), ..namespace(Backend::Nft) }
}

fn confirmed(config: NetNsConfig, sends: Vec<CaseSend>) -> Confirmation {
    let case = Case { name: "bundle".to_owned(), config, sends, ..Case::default() };
    let mut kernel = KernelEngine::new(None);
    let mut judge = |case: &Case| {
        let run = kernel.run_for_replay(case)?;
        Ok((run.run.clone(), Box::new(Replay::new(run)) as Box<dyn Choices>))
    };
    let mut all = confirm(&case, Backends::AsGiven, &mut judge).expect("both ran it");
    all.pop().expect("a confirmation")
}

/// Of the model: without rules the kernel does not tell what is delivered.
fn ends(confirmation: &Confirmation) -> Vec<Option<Disposition>> {
    confirmation.model.run.sends.iter().map(|send| send.packets[0].disposition).collect()
}

fn socket(local: &str, port: u16, remote: Option<(&str, u16)>) -> Socket {
    let addr = |text: &str| text.parse::<IpAddr>().expect("an address");
    Socket {
        protocol: 6,
        local: addr(local),
        port,
        remote: remote.map(|(text, port)| (addr(text), port)),
        dev: None,
        v6_only: false,
        listening: remote.is_none(),
        owner: None,
        uid: None,
    }
}

#[test]
fn connected_sockets_are_left_out_and_named_where_a_packet_meets_one() {
    if skip_unprivileged("connected_sockets_are_left_out_and_named_where_a_packet_meets_one") {
        return;
    }
    let mut config = open();
    config.sockets =
        Some(vec![socket("10.0.1.1", 22, Some(("10.0.1.2", 40000))), socket("0.0.0.0", 22, None)]);
    let other = send("tcp 10.0.1.2:40001 > 10.0.1.1:22 flags=S ipid=1", "left");
    let of_it = send("tcp 10.0.1.2:40000 > 10.0.1.1:22 flags=A ipid=2", "left");
    let confirmation = confirmed(config.clone(), vec![other.clone()]);
    assert_eq!(confirmation.agreement(), Agreement::Agree, "{:?}", confirmation.differences);
    assert_eq!(ends(&confirmation), [Some(Disposition::Delivered)]);
    let confirmation = confirmed(config, vec![other, of_it]);
    assert_eq!(confirmation.agreement(), Agreement::Unconfirmed, "{:?}", confirmation.differences);
    assert_eq!(confirmation.unlike, Some(1));
    assert_eq!(
        confirmation.other.gaps,
        ["packet 2 is for the tcp socket 10.0.1.1:22 connected to 10.0.1.2:40000, which is not opened here"]
    );
}

#[test]
fn sockets_that_the_model_assumes_are_opened_and_take_whatever_comes() {
    if skip_unprivileged("sockets_that_the_model_assumes_are_opened_and_take_whatever_comes") {
        return;
    }
    let mut config = open();
    config.sockets = None;
    let sends = vec![
        send("tcp 10.0.1.2:40000 > 10.0.1.1:22 flags=S ipid=1", "left"),
        // Of a connection that began before, and the end of one.
        send("tcp 10.0.1.2:40001 > 10.0.1.1:22 flags=A ipid=2", "left"),
        send("tcp 10.0.1.2:40001 > 10.0.1.1:22 flags=FA ipid=3", "left"),
        send("tcp 10.0.1.2:40001 > 10.0.1.1:22 flags=R ipid=4", "left"),
        send("udp 10.0.1.2:40000 > 10.0.1.1:53 ipid=5", "left"),
        send("icmp 10.0.1.2 > 10.0.1.1 type=echo-reply id=7 ipid=6", "left"),
    ];
    let confirmation = confirmed(config.clone(), sends);
    assert_eq!(confirmation.agreement(), Agreement::Agree, "{:?}", confirmation.differences);
    assert_eq!(ends(&confirmation), [Some(Disposition::Delivered); 6]);
    assert_eq!(confirmation.assumed.into_iter().collect::<Vec<_>>(), [(1, 7), (6, 22), (17, 53)]);
    // What the user says to be closed is not assumed, and not opened.
    config.closed.push((6, 22));
    let closed = send("tcp 10.0.1.2:40000 > 10.0.1.1:22 flags=S ipid=1", "left");
    let confirmation = confirmed(config.clone(), vec![closed]);
    assert_eq!(confirmation.agreement(), Agreement::Agree, "{:?}", confirmation.differences);
    assert_eq!(ends(&confirmation), [Some(Disposition::Rejected)]);
    // Nobody can listen at port 0.
    let zero = send("udp 10.0.1.2:40000 > 10.0.1.1:0 ipid=1", "left");
    let confirmation = confirmed(config, vec![zero]);
    assert_eq!(confirmation.agreement(), Agreement::Unconfirmed, "{:?}", confirmation.differences);
    assert_eq!(
        confirmation.other.gaps,
        ["packet 1 is for an assumed socket of udp port 0, which is not opened here"]
    );
}

#[test]
fn a_listener_on_a_mapped_address_is_one_of_ipv4() {
    if skip_unprivileged("a_listener_on_a_mapped_address_is_one_of_ipv4") {
        return;
    }
    let mut config = open();
    config.sockets = Some(vec![socket("::ffff:10.0.1.1", 1004, None)]);
    let sends = vec![
        send("tcp 10.0.1.2:40001 > 10.0.1.1:1004 flags=S ipid=1", "left"),
        send("tcp 10.0.1.2:40001 > 10.0.2.1:1004 flags=S ipid=2", "left"),
    ];
    let confirmation = confirmed(config, sends);
    assert_eq!(confirmation.agreement(), Agreement::Agree, "{:?}", confirmation.differences);
    assert_eq!(ends(&confirmation), [Some(Disposition::Delivered), Some(Disposition::Rejected)]);
}

/// A connection of the node with somebody.
fn connection(protocol: u8, l4: CtL4, unmodelled: Option<&'static str>) -> Connection {
    let original = CtTuple { src: 0x0a00_0109, dst: 0x0a00_0209, protocol, l4 };
    Connection {
        original,
        reply: original.invert().expect("one that begins"),
        zone_original: 0,
        zone_reply: 0,
        unreplied: false,
        assured: true,
        mark: 0,
        timeout: 100,
        tcp: None,
        unmodelled,
        source: SourceLine::default(),
    }
}

#[test]
fn connections_of_every_protocol_are_made_or_left_out_of_both() {
    if skip_unprivileged("connections_of_every_protocol_are_made_or_left_out_of_both") {
        return;
    }
    let ports = CtL4::Ports { src: 4000, dst: 5000 };
    let sends = || vec![send("udp 10.0.1.2:40000 > 10.0.2.2:53 ipid=1", "left")];
    for (protocol, l4) in [
        (1, CtL4::Icmp { id: 7, icmp_type: 8, code: 0 }),
        (33, CtL4::None),
        (47, CtL4::None),
        (47, ports),
        (136, ports),
    ] {
        let config =
            NetNsConfig { connections: vec![connection(protocol, l4, None)], ..namespace(Backend::Nft) };
        let confirmation = confirmed(config, sends());
        assert_eq!(confirmation.agreement(), Agreement::Agree, "{protocol}: {:?}", confirmation.differences);
        assert_eq!(confirmation.other.sends[0].conntrack.len(), 2, "{protocol} {l4:?}");
        assert_eq!(confirmation.not_made, [""; 0]);
    }
    let unknown = connection(132, ports, Some("an SCTP connection"));
    let config = NetNsConfig { connections: vec![unknown], ..namespace(Backend::Nft) };
    let confirmation = confirmed(config, sends());
    assert_eq!(confirmation.agreement(), Agreement::Agree, "{:?}", confirmation.differences);
    assert_eq!(confirmation.other.sends[0].conntrack.len(), 1);
    assert_eq!(confirmation.not_made, ["an SCTP connection: sctp 10.0.1.9:4000 > 10.0.2.9:5000"]);
}

/// Drops what is of no connection, and tells new connections from others.
fn of_states(dump: &str) -> NetNsConfig {
    let rules = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m conntrack --ctstate INVALID -j DROP\n\
        -A FORWARD -m conntrack --ctstate NEW -j ACCEPT\n-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n";
    let (save, _) = iptables::parse(rules.as_bytes(), 0, Family::V4);
    let bundle = pktwalk_ingest::read_files("dump", [("conntrack", dump.as_bytes())]).expect("a bundle");
    let rulesets = vec![Ruleset { backend: Backend::Nft, save: save.into() }];
    NetNsConfig { rulesets, connections: bundle.host.config.connections, ..namespace(Backend::Nft) }
}

#[test]
fn segments_of_connections_are_taken_to_be_in_their_windows() {
    if skip_unprivileged("segments_of_connections_are_taken_to_be_in_their_windows") {
        return;
    }
    let dump = "\
        ipv4     2 tcp      6 100 SYN_SENT src=10.0.1.2 dst=10.0.2.2 sport=4000 dport=80 [UNREPLIED] src=10.0.2.2 dst=10.0.1.2 sport=80 dport=4000 mark=0 use=1\n\
        ipv4     2 tcp      6 100 ESTABLISHED src=10.0.1.2 dst=10.0.2.2 sport=4001 dport=80 src=10.0.2.2 dst=10.0.1.2 sport=80 dport=4001 [ASSURED] mark=0 use=1\n\
        ipv4     2 tcp      6 100 TIME_WAIT src=10.0.1.2 dst=10.0.2.2 sport=4002 dport=80 src=10.0.2.2 dst=10.0.1.2 sport=80 dport=4002 [ASSURED] mark=0 use=1\n";
    let sends = vec![
        send("tcp 10.0.2.2:80 > 10.0.1.2:4000 flags=SA seq=5 ack=99", "right"),
        send("tcp 10.0.1.2:4001 > 10.0.2.2:80 flags=A seq=1000 ack=1 win=1", "left"),
        send("tcp 10.0.1.2:4001 > 10.0.2.2:80 flags=A seq=2000000000 ack=9 win=1", "left"),
        // After a FIN a SYN opens a connection again: it is NEW.
        send("tcp 10.0.1.2:4002 > 10.0.2.2:80 flags=S seq=7", "left"),
    ];
    let confirmation = confirmed(of_states(dump), sends);
    assert_eq!(confirmation.agreement(), Agreement::Agree, "{:?}", confirmation.differences);
    let rules: Vec<At> = confirmation.other.sends.iter().map(|send| send.packets[0].events[0].at).collect();
    assert_eq!(rules, [3, 3, 3, 2].map(At::Rule));
}

#[test]
fn what_netlinks_entries_do_otherwise_is_not_confirmed() {
    if skip_unprivileged("what_netlinks_entries_do_otherwise_is_not_confirmed") {
        return;
    }
    let gre = "ipv4     2 gre      47 100 srckey=0x0 dstkey=0x0 src=10.0.1.2 dst=10.0.2.2 [UNREPLIED] src=10.0.2.2 dst=10.0.1.2 srckey=0x0 dstkey=0x0 mark=0 use=1\n";
    let packet = "ip 10.0.1.2 > 10.0.2.2 proto=gre data=00000800 ipid=1";
    let confirmation = confirmed(of_states(gre), vec![send(packet, "left"), send(packet, "left")]);
    assert_eq!(confirmation.agreement(), Agreement::Unconfirmed, "{:?}", confirmation.differences);
    assert_eq!(confirmation.unlike, Some(0));
    let syn_sent = "ipv4     2 tcp      6 100 SYN_SENT src=10.0.1.2 dst=10.0.2.2 sport=4000 dport=80 [UNREPLIED] src=10.0.2.2 dst=10.0.1.2 sport=80 dport=4000 mark=0 use=1\n";
    let sends = vec![
        send("tcp 10.0.1.2:4000 > 10.0.2.2:80 flags=S seq=100", "left"),
        send("tcp 10.0.1.2:4000 > 10.0.2.2:80 flags=A seq=100", "left"),
    ];
    let confirmation = confirmed(of_states(syn_sent), sends);
    assert_eq!(confirmation.agreement(), Agreement::Unconfirmed, "{:?}", confirmation.differences);
    // A client that sends no SYN again has none: the model is that of a real node.
    assert_eq!(ends(&confirmation), [Some(Disposition::Forwarded), Some(Disposition::Dropped)]);
    assert_eq!(confirmation.unlike, Some(1));
}

#[test]
fn a_cut_packet_is_not_confirmed() {
    if skip_unprivileged("a_cut_packet_is_not_confirmed") {
        return;
    }
    let sends = vec![
        send("udp 10.0.1.2:40000 > 10.0.2.2:53 ipid=1 len=20", "left"),
        send("udp 10.0.1.2:40000 > 10.0.2.2:53 ipid=2 len=20 cut=3", "left"),
    ];
    let confirmation = confirmed(open(), sends);
    assert_eq!(confirmation.agreement(), Agreement::Unconfirmed, "{:?}", confirmation.differences);
    assert_eq!(confirmation.unlike, Some(1));
    assert_eq!(confirmation.other.gaps, ["packet 2 is cut: its last 3 bytes are not known"]);
}

#[test]
fn a_table_has_the_built_in_chains_that_its_backend_makes() {
    if skip_unprivileged("a_table_has_the_built_in_chains_that_its_backend_makes") {
        return;
    }
    let rules = b"*mangle\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j MARK --set-xmark 0x1/0xffffffff\nCOMMIT\n";
    for (backend, expected) in
        [(Backend::Nft, &["FORWARD"][..]), (Backend::Legacy, &["PREROUTING", "FORWARD", "POSTROUTING"][..])]
    {
        let (save, _) = iptables::parse(rules, 0, Family::V4);
        let config = NetNsConfig { rulesets: vec![Ruleset { backend, save: save.into() }], ..open() };
        let sends = vec![send("udp 10.0.1.2:40000 > 10.0.2.2:53 ipid=1", "left")];
        let confirmation = confirmed(config, sends);
        assert_eq!(confirmation.agreement(), Agreement::Agree, "{:?}", confirmation.differences);
        let events = &confirmation.other.sends[0].packets[0].events;
        let mut chains: Vec<&str> = events.iter().map(|event| event.chain.as_str()).collect();
        chains.dedup();
        assert_eq!(chains, expected, "{backend}");
    }
}

#[test]
fn routes_by_an_ipv6_gateway_are_made() {
    if skip_unprivileged("routes_by_an_ipv6_gateway_are_made") {
        return;
    }
    let mut config = open();
    for (net, via) in [("10.8.0.0/16", "fe80::1"), ("10.9.0.0/16", "2001:db8::1")] {
        let via = via.parse().expect("an address");
        config.routes.push(Route::new(net.parse().expect("a net"), Some(via), Some("right")));
    }
    let other = send("udp 10.0.1.2:40000 > 10.0.2.2:53 ipid=1", "left");
    let confirmation = confirmed(config.clone(), vec![other.clone(), other.clone()]);
    assert_eq!(confirmation.agreement(), Agreement::Agree, "{:?}", confirmation.differences);
    for dst in ["10.8.0.1", "10.9.0.1"] {
        let by_it = send(&format!("udp 10.0.1.2:40000 > {dst}:53 ipid=2"), "left");
        let confirmation = confirmed(config.clone(), vec![by_it, other.clone()]);
        assert_eq!(confirmation.agreement(), Agreement::Unknown, "{:?}", confirmation.differences);
    }
}

/// One end of a veth whose other end, of index `peer`, is in the same namespace.
fn end(name: &str, ifindex: u32, peer: u32) -> Device {
    let kind = DeviceKind::Veth { peer_ifindex: Some(peer), peer_netns: None };
    Device::new(name, ifindex, kind, MacAddr([2, 0, 0, 0, 0, ifindex as u8]))
}

#[test]
fn a_veth_whose_ends_are_both_here_is_one() {
    if skip_unprivileged("a_veth_whose_ends_are_both_here_is_one") {
        return;
    }
    for backend in [Backend::Nft, Backend::Legacy] {
        let mut config = namespace(backend);
        config.sysctls.insert("net.ipv4.conf.all.rp_filter".to_owned(), "0".to_owned());
        config.devices.extend([end("here", 4, 5), end("there", 5, 4)]);
        let net = "10.7.0.0/16".parse().expect("a net");
        config.routes.push(Route::new(net, Some([10, 0, 7, 9].into()), Some("here")));
        config.routes.push(Route::new("10.0.7.0/24".parse().expect("a net"), None, Some("here")));
        config.neighbours.push(Neighbour {
            dev: "here".to_owned(),
            addr: [10, 0, 7, 9].into(),
            mac: Some(MacAddr([2, 0, 0, 0, 0, 5])),
            state: NudState::Permanent,
            source: SourceLine::default(),
        });
        // Round and round until its TTL is used up.
        let sends = vec![
            send("udp 10.0.1.2:40000 > 10.7.1.1:53 ipid=1 ttl=3", "left"),
            send("udp 10.0.1.2:40000 > 10.0.2.2:53 ipid=2", "left"),
        ];
        let confirmation = confirmed(config, sends);
        assert_eq!(confirmation.agreement(), Agreement::Agree, "{:?}", confirmation.differences);
        assert_eq!(confirmation.other.sends[0].packets[0].frames, []);
        let events = &confirmation.other.sends[0].packets[0].events;
        let forwards = events.iter().filter(|event| event.hook == Hook::Prerouting).count();
        assert!(forwards > 3, "{events:?}");
    }
}

#[test]
fn a_veth_joins_a_bridge_and_the_stack_of_one_namespace() {
    if skip_unprivileged("a_veth_joins_a_bridge_and_the_stack_of_one_namespace") {
        return;
    }
    for backend in [Backend::Nft, Backend::Legacy] {
        let mut config = namespace(backend);
        let kind = DeviceKind::Bridge { vlan_filtering: false, nf_call_iptables: false };
        config.devices.push(Device::new("br0", 4, kind, MacAddr([2, 0, 0, 0, 0, 4])));
        let wire = Device::new("wire", 7, DeviceKind::Physical, MacAddr([2, 0, 0, 0, 0, 7]));
        let mut port = end("port", 6, 5);
        port.master = Some("br0".to_owned());
        config.devices.extend([end("here", 5, 6), port, Device { master: Some("br0".to_owned()), ..wire }]);
        config.routes.push(Route::new("10.0.7.0/24".parse().expect("a net"), None, Some("here")));
        config.neighbours.push(Neighbour {
            dev: "here".to_owned(),
            addr: [10, 0, 7, 9].into(),
            mac: Some(MacAddr([2, 0, 0, 0, 9, 9])),
            state: NudState::Permanent,
            source: SourceLine::default(),
        });
        let into = send(
            "udp 10.0.7.9:53 > 10.0.2.2:53 ipid=2 smac=02:00:00:00:09:09 dmac=02:00:00:00:00:05",
            "wire",
        );
        let sends = vec![send("udp 10.0.1.2:40000 > 10.0.7.9:53 ipid=1", "left"), into];
        let confirmation = confirmed(config, sends);
        assert_eq!(confirmation.agreement(), Agreement::Agree, "{:?}", confirmation.differences);
        let devs = |at: usize| -> Vec<&str> {
            let packets = &confirmation.other.sends[at].packets;
            packets.iter().flat_map(|packet| &packet.frames).map(|frame| frame.dev.as_str()).collect()
        };
        assert_eq!((devs(0), devs(1)), (vec!["wire"], vec!["right"]));
    }
}

#[test]
fn what_the_senders_own_socket_hears_is_not_judged() {
    if skip_unprivileged("what_the_senders_own_socket_hears_is_not_judged") {
        return;
    }
    // Sockets that send packets with their own headers are of this protocol.
    let packet = pktwalk_packet::spec::parse("ip 10.0.1.1 > 10.0.1.1 proto=255 data=00").expect("a packet");
    let sent = CaseSend::new(packet, Entry::Local(SkbSocket::default()));
    let confirmation = confirmed(open(), vec![sent]);
    assert_eq!(confirmation.agreement(), Agreement::Unconfirmed, "{:?}", confirmation.differences);
    assert_eq!(ends(&confirmation), [Some(Disposition::Rejected)]);
}
