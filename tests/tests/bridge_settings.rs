//! Settings of bridges and of their ports, as the tools print them: what decides about a frame is seen on the kernel beside the model, and what is
//! not modelled is named.

use pktwalk_ingest::read_files;
use pktwalk_linux::choice::Seeded;
use pktwalk_linux::config::NetNsConfig;
use pktwalk_linux::hook::Hook;
use pktwalk_linux::netns::{NetNs, NetNsState};
use pktwalk_linux::reason::{Because, Disposition, DropCode, End};
use pktwalk_linux::trace::NullSink;
use pktwalk_linux::walk::{Inject, walk};
use pktwalk_live::engine::KernelRun;
use pktwalk_packet::spec;
use pktwalk_scenario::case::{Case, CaseSend, Entry};
use pktwalk_scenario::compare::Difference;
use pktwalk_skip::skip_unprivileged;
use pktwalk_tests::node::{self, send};

const FIRST: &str = "02:00:00:00:01:06";
const SECOND: &str = "02:00:00:00:01:07";

/// What a bundle says of the bridge br0 (172.20.0.1) and its ports brp0, brp1 and brp2.
#[derive(Default)]
struct Node<'a> {
    /// Of `info_data` of br0.
    bridge: &'a str,
    /// Of `info_slave_data` of the ports.
    ports: [&'a str; 3],
    /// MTUs of br0 and of brp1.
    mtus: Option<(u32, u32)>,
    /// brp1 has no carrier.
    silent: bool,
    /// More entries of the forwarding database.
    fdb: &'a str,
    sysctl: &'a str,
    rules: &'a str,
}

impl Node<'_> {
    fn config(&self) -> NetNsConfig {
        let (bridge_mtu, mtu) = self.mtus.unwrap_or((1500, 1500));
        let device = |index: u32, name: &str, flags: &str, mtu: u32, rest: &str| {
            format!(
                r#"{{"ifindex":{index},"ifname":"{name}","flags":[{flags}],"mtu":{mtu},"link_type":"ether","address":"02:00:00:00:00:0{index}"{rest}}}"#
            )
        };
        let works = r#""BROADCAST","MULTICAST","UP","LOWER_UP""#;
        let of = |data: &str| if data.is_empty() { String::new() } else { format!(",{data}") };
        let mut links = vec![
            r#"{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"link_type":"loopback","address":"00:00:00:00:00:00"}"#.to_owned(),
            device(
                5,
                "br0",
                works,
                bridge_mtu,
                &format!(
                    r#","linkinfo":{{"info_kind":"bridge","info_data":{{"vlan_filtering":0{}}}}}"#,
                    of(self.bridge)
                ),
            ),
        ];
        for (at, port) in self.ports.iter().enumerate() {
            let flags = if at == 1 && self.silent { r#""NO-CARRIER","BROADCAST","UP""# } else { works };
            // What is tested may say another state.
            let state = if port.contains("state") { "" } else { r#""state":"forwarding""# };
            let data =
                [state, port].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(",");
            links.push(device(
                6 + at as u32,
                &format!("brp{at}"),
                flags,
                if at == 1 { mtu } else { 1500 },
                &format!(
                    r#","master":"br0","linkinfo":{{"info_kind":"veth","info_slave_kind":"bridge","info_slave_data":{{{data}}}}},"link_index":9,"link_netnsid":0"#
                ),
            ));
        }
        let links = format!("[{}]", links.join(",\n"));
        let addrs = r#"[{"ifindex":5,"ifname":"br0","flags":["UP","LOWER_UP"],"mtu":1500,"link_type":"ether","addr_info":[{"family":"inet","local":"172.20.0.1","prefixlen":16,"scope":"global"}]}]"#;
        let entry = |mac: &str, dev: &str| {
            format!(r#"{{"mac":"{mac}","ifname":"{dev}","flags":[],"master":"br0","state":"static"}}"#)
        };
        let first = if self.fdb.contains(FIRST) { Vec::new() } else { vec![entry(FIRST, "brp0")] };
        let more = (!self.fdb.is_empty()).then(|| self.fdb.to_owned());
        let fdb: Vec<String> = first.into_iter().chain([entry(SECOND, "brp1")]).chain(more).collect();
        let sysctl = format!("net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 0\n{}", self.sysctl);
        let fdb = format!("[{}]", fdb.join(","));
        let files = [
            ("ip-link.json", links.as_str()),
            ("ip-addr.json", addrs),
            ("bridge-fdb.json", &fdb),
            ("sysctl", &sysctl),
            ("iptables-save", self.rules),
            ("ss", ""),
            ("proc-net-raw", ""),
            ("proc-net-icmp", ""),
        ];
        let files = files.map(|(name, text)| (name, text.as_bytes()));
        read_files("t", files).expect("a bundle").host.config
    }

    /// By the kernel and the model, which agree.
    #[track_caller]
    fn seen(&self, sends: Vec<CaseSend>) -> KernelRun {
        let case = Case { name: "bridge".to_owned(), config: self.config(), sends, ..Case::default() };
        let (differences, kernel) = node::differences(&case);
        assert_eq!(differences, [] as [Difference; 0]);
        kernel
    }

    /// What the model says alone.
    fn told(&self, dev: &str, text: &str) -> (End, NetNs) {
        let (ns, _) = NetNs::compile(self.config());
        let packet = spec::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let inject = Inject::Rx { dev: ns.dev(dev).expect("it is there"), packet };
        let end = walk(&ns, &mut NetNsState::start(&ns), inject, &mut Seeded::new(1), &mut NullSink);
        (end, ns)
    }
}

/// A packet from the host behind brp0 to the one behind brp1, with what else is said of it.
fn across(more: &str) -> CaseSend {
    send(&format!("udp 172.20.0.10:5 > 172.20.0.11:7 smac={FIRST} dmac={SECOND} {more}"), "brp0")
}

fn to(dmac: &str) -> CaseSend {
    send(&format!("udp 172.20.0.10:5 > 172.20.0.11:7 smac={FIRST} dmac={dmac}"), "brp0")
}

/// The devices that frames left by, and their lengths behind the Ethernet header: of each packet that was sent.
fn left(kernel: &KernelRun) -> Vec<Vec<(&str, usize)>> {
    let frames = |run| -> Vec<(&str, usize)> {
        let run: &pktwalk_scenario::event::SendRun = run;
        let mut frames: Vec<_> = run
            .packets
            .iter()
            .flat_map(|packet| &packet.frames)
            .map(|frame| (frame.dev.as_str(), frame.packet.l3().len()))
            .collect();
        frames.sort_unstable();
        frames
    };
    kernel.run.sends.iter().map(frames).collect()
}

fn devices(kernel: &KernelRun) -> Vec<Vec<&str>> {
    left(kernel).into_iter().map(|frames| frames.into_iter().map(|(dev, _)| dev).collect()).collect()
}

const NETFILTER: &str = "net.bridge.bridge-nf-call-iptables = 1\nnet.bridge.bridge-nf-call-ip6tables = 0\n";
const COUNTING: &str = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING\nCOMMIT\n*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD\nCOMMIT\n";

#[test]
fn ports_that_want_no_multicast_or_broadcast_get_none() {
    if skip_unprivileged("ports_that_want_no_multicast_or_broadcast_get_none") {
        return;
    }
    let many = || vec![to("01:00:5e:01:02:03"), to("ff:ff:ff:ff:ff:ff"), to("02:00:00:00:09:09")];
    for (port, wanted) in [
        (r#""mcast_flood":true"#, [2, 2, 2]),
        (r#""mcast_flood":false"#, [1, 2, 2]),
        (r#""bcast_flood":false"#, [2, 1, 2]),
        (r#""flood":false"#, [2, 2, 1]),
    ] {
        let node = Node { ports: ["", port, ""], ..Node::default() };
        let kernel = node.seen(many());
        assert_eq!(devices(&kernel).iter().map(Vec::len).collect::<Vec<_>>(), wanted, "{port}");
    }
}

#[test]
fn group_addresses_stay_on_the_link_unless_they_are_let_through() {
    if skip_unprivileged("group_addresses_stay_on_the_link_unless_they_are_let_through") {
        return;
    }
    let groups = || ["00", "01", "02", "0e"].map(|last| to(&format!("01:80:c2:00:00:{last}"))).into();
    for (bridge, port, wanted) in [
        ("", "", [2, 0, 0, 0]),
        (r#""group_fwd_mask":"0x4000""#, "", [2, 0, 0, 2]),
        ("", r#""group_fwd_mask":"0x4004""#, [2, 0, 2, 2]),
    ] {
        let node = Node { bridge, ports: [port, "", ""], ..Node::default() };
        let kernel = node.seen(groups());
        assert_eq!(devices(&kernel).iter().map(Vec::len).collect::<Vec<_>>(), wanted, "{bridge} {port}");
        let pause = kernel.run.sends[1].packets[0].kernel_reason.clone();
        assert_eq!(pause.as_deref(), Some("MAC_IEEE_MAC_CONTROL"));
    }
}

#[test]
fn a_bridge_learns_of_frames_that_stay_on_the_link() {
    if skip_unprivileged("a_bridge_learns_of_frames_that_stay_on_the_link") {
        return;
    }
    let from = "smac=02:00:00:00:07:77 dmac=01:80:c2:00:00:0e";
    let sends =
        || vec![send(&format!("udp 172.20.0.12:5 > 172.20.0.11:7 {from}"), "brp0"), to("02:00:00:00:07:77")];
    for (bridge, port, wanted) in [
        ("", "", 0),
        (r#""no_linklocal_learn":1"#, "", 2),
        (r#""ageing_time":0"#, "", 2),
        ("", r#""learning":false"#, 2),
    ] {
        let node = Node { bridge, ports: [port, "", ""], ..Node::default() };
        assert_eq!(devices(&node.seen(sends()))[1].len(), wanted, "{bridge} {port}");
    }
}

#[test]
fn entries_of_the_administrator_stay_where_they_are() {
    if skip_unprivileged("entries_of_the_administrator_stay_where_they_are") {
        return;
    }
    let moves = |mac: &str| {
        vec![
            send(&format!("udp 172.20.0.10:5 > 172.20.0.11:7 smac={mac} dmac=02:00:00:00:00:05"), "brp1"),
            send(&format!("udp 172.20.0.11:5 > 172.20.0.10:7 smac={SECOND} dmac={mac}"), "brp1"),
        ]
    };
    let entry = |mac: &str, flags: &str, state: &str| {
        format!(r#"{{"mac":"{mac}","ifname":"brp0","flags":[{flags}],"master":"br0","state":"{state}"}}"#)
    };
    for (flags, state, wanted) in [
        (r#""sticky""#, "static", vec!["brp0"]),
        // It moved to the port that it would leave by.
        ("", "static", vec![]),
        // It is the bridge's own.
        ("", "permanent", vec![]),
    ] {
        let fdb = entry(FIRST, flags, state);
        let kernel = Node { fdb: &fdb, ..Node::default() }.seen(moves(FIRST));
        assert_eq!(devices(&kernel)[1], wanted, "{fdb}");
        let own = kernel.run.sends[1].packets[0].kernel_reason.as_deref() == Some("OTHERHOST");
        assert_eq!(own, state == "permanent", "{fdb}");
    }
}

#[test]
fn a_port_that_only_learns_passes_prerouting() {
    if skip_unprivileged("a_port_that_only_learns_passes_prerouting") {
        return;
    }
    for (state, seen) in [("learning", 2), ("disabled", 0)] {
        let port = format!(r#""state":"{state}""#);
        let node = Node { ports: [&port, "", ""], sysctl: NETFILTER, rules: COUNTING, ..Node::default() };
        let kernel = node.seen(vec![across("")]);
        assert_eq!(left(&kernel), [[]]);
        assert_eq!(kernel.run.sends[0].packets[0].events.len(), seen, "{state}");
    }
}

#[test]
fn bridge_netfilter_cuts_to_the_mtu_of_the_bridge() {
    if skip_unprivileged("bridge_netfilter_cuts_to_the_mtu_of_the_bridge") {
        return;
    }
    let sends = || {
        vec![
            across("len=1400"),
            across("len=1400 mf"),
            across("len=1400 df"),
            // 1001 bytes: a VLAN tag would have room.
            across("len=973"),
            across("len=973 df"),
            across("len=972 df"),
            // Record route is in every piece.
            across("len=1300 opts=0704040001010100"),
        ]
    };
    let node = Node { mtus: Some((1000, 1000)), sysctl: NETFILTER, rules: COUNTING, ..Node::default() };
    let pieces = |rest| vec![("brp1", rest), ("brp1", 996)];
    let kernel = node.seen(sends());
    let wanted = [pieces(452), pieces(452), vec![], pieces(25), vec![], vec![("brp1", 1000)]];
    assert_eq!(left(&kernel)[..6], wanted);
    let events = &kernel.run.sends[2].packets[0].events;
    assert!(events.iter().any(|event| event.hook == Hook::Forward), "dropped behind FORWARD: {events:?}");
    // Nobody cuts.
    let plain = Node { sysctl: "net.bridge.bridge-nf-call-iptables = 0\n", ..node };
    let kernel = plain.seen(sends());
    let whole = vec![("brp1", 1001)];
    assert_eq!(left(&kernel)[..6], [vec![], vec![], vec![], whole.clone(), whole, vec![("brp1", 1000)]]);
    // The bridge's MTU is larger than that of its port: what is cut to that does not fit.
    let larger = Node { mtus: Some((1400, 1000)), sysctl: NETFILTER, rules: COUNTING, ..Node::default() };
    let kernel = larger.seen(vec![across("len=1100"), across("len=974"), across("len=974 df")]);
    assert_eq!(left(&kernel), [vec![], vec![("brp1", 1002)], vec![]]);
}

#[test]
fn pieces_that_do_not_all_fit_are_not_known() {
    let node = Node { mtus: Some((1400, 1000)), sysctl: NETFILTER, ..Node::default() };
    let text = format!("udp 172.20.0.10:5 > 172.20.0.11:7 smac={FIRST} dmac={SECOND} len=1400");
    let what = "pieces of a bridged packet that are longer than the MTU of its port";
    assert_eq!(node.told("brp0", &text).0, End::unknown(Because::NotModelled(what)));
}

#[test]
fn tagged_frames_keep_their_tags() {
    if skip_unprivileged("tagged_frames_keep_their_tags") {
        return;
    }
    let node = Node { mtus: Some((1000, 1000)), sysctl: NETFILTER, rules: COUNTING, ..Node::default() };
    let sends = vec![
        across("vlan=7"),
        across("vlan=0 pcp=3"),
        // The tag does not count.
        across("len=976 vlan=7"),
        across("len=977 vlan=7"),
        send(
            &format!("udp 172.20.0.10:5 > 172.20.0.255:7 smac={FIRST} dmac=ff:ff:ff:ff:ff:ff vlan=7"),
            "brp0",
        ),
    ];
    let kernel = node.seen(sends);
    let wanted = [
        vec![("brp1", 32)],
        vec![("brp1", 32)],
        vec![("brp1", 1008)],
        vec![],
        vec![("brp1", 32), ("brp2", 32)],
    ];
    assert_eq!(left(&kernel), wanted);
    assert!(kernel.run.sends.iter().all(|send| send.packets.iter().all(|packet| packet.events.is_empty())));
}

#[test]
fn bridge_netfilter_of_other_frames_is_not_known() {
    let udp = format!("udp 172.20.0.10:5 > 172.20.0.11:7 smac={FIRST} dmac={SECOND}");
    let tagged = "net.bridge.bridge-nf-call-iptables = 1\nnet.bridge.bridge-nf-filter-vlan-tagged = 1\n";
    let tag = "bridge netfilter of VLAN-tagged frames (bridge-nf-filter-vlan-tagged)";
    let session = "net.bridge.bridge-nf-call-iptables = 1\nnet.bridge.bridge-nf-filter-pppoe-tagged = 1\n";
    let pppoe = "bridge netfilter of PPPoE frames (bridge-nf-filter-pppoe-tagged)";
    let six = "net.bridge.bridge-nf-call-ip6tables = 1\n";
    let raw = |ethertype: &str| format!("raw ethertype={ethertype} len=60 smac={FIRST} dmac={SECOND}");
    for (sysctl, text, wanted) in [
        (tagged, format!("{udp} vlan=7"), Some(tag)),
        (tagged, udp.clone(), None),
        (NETFILTER, format!("{udp} vlan=7"), None),
        (session, raw("0x8864"), Some(pppoe)),
        (NETFILTER, raw("0x8864"), None),
        (six, raw("0x86dd"), Some("IPv6")),
        (NETFILTER, raw("0x86dd"), None),
    ] {
        let (end, _) = Node { sysctl, ..Node::default() }.told("brp0", &text);
        match wanted {
            Some(what) => assert_eq!(end, End::unknown(Because::NotModelled(what)), "{text}"),
            None => assert_eq!(end.disposition, Disposition::Forwarded, "{sysctl}{text}"),
        }
    }
}

#[test]
fn a_bridge_port_hears_no_answer_to_its_own_questions() {
    if skip_unprivileged("a_bridge_port_hears_no_answer_to_its_own_questions") {
        return;
    }
    let mut config = Node::default().config();
    let port = config.devices.iter_mut().find(|device| device.name == "brp0").expect("it is there");
    port.addresses.push(pktwalk_linux::config::Address {
        local: [10, 90, 0, 1].into(),
        prefix_len: 24,
        peer: None,
        broadcast: None,
        scope: 0,
        secondary: false,
    });
    let packet = spec::parse("udp 10.90.0.1:5 > 10.90.0.2:7 ipid=1").expect("a packet");
    let local = CaseSend::new(packet, Entry::Local(pktwalk_linux::skb::SkbSocket::default()));
    let through = format!("udp 172.20.0.11:5 > 10.90.0.2:7 smac={SECOND} dmac=02:00:00:00:00:05");
    let sends = vec![local, send(&through, "brp1")];
    let case = Case { name: "address of a port".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = node::differences(&case);
    assert_eq!(differences, [] as [Difference; 0]);
    // All that leaves is the answer that the second one's sender gets, flooded as nobody has seen the address that it is assumed to have.
    assert_eq!(devices(&kernel), [vec![], vec!["brp0", "brp1", "brp2"]]);
}

#[test]
fn what_a_bridge_sends_by_a_veth_is_received_after_its_own_answer() {
    if skip_unprivileged("what_a_bridge_sends_by_a_veth_is_received_after_its_own_answer") {
        return;
    }
    use pktwalk_linux::config::{Address, Device, DeviceKind};
    let mut config = Node::default().config();
    let end = |name: &str, index: u32, peer: u32| {
        let kind = DeviceKind::Veth { peer_ifindex: Some(peer), peer_netns: None };
        Device::new(name, index, kind, pktwalk_packet::MacAddr([2, 0, 0, 0, 0, index as u8]))
    };
    let mut outer = end("v0", 30, 31);
    outer.addresses.push(Address {
        local: [10, 99, 0, 1].into(),
        prefix_len: 24,
        peer: None,
        broadcast: None,
        scope: 0,
        secondary: false,
    });
    config.devices.extend([outer, Device { master: Some("br0".to_owned()), ..end("v1", 31, 30) }]);
    let sends = vec![send(&format!("arp 172.20.0.10 > 10.99.0.1 smac={FIRST}"), "brp0")];
    let case = Case { name: "order".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = node::differences(&case);
    assert_eq!(differences, [] as [Difference; 0]);
    let frames = kernel.run.sends[0].packets.iter().flat_map(|packet| &packet.frames);
    let answers: Vec<u8> = frames
        .filter(|frame| frame.dev == "brp0")
        .filter_map(|frame| frame.packet.mac_src().map(|mac| mac.0[5]))
        .collect();
    assert_eq!(answers, [5, 30]);
}

#[test]
fn a_bridge_that_answers_arp_is_not_known() {
    let arp = format!("arp 172.20.0.10 > 172.20.0.11 smac={FIRST}");
    let what = "ARP at a bridge that answers for neighbours (neigh_suppress, proxy_arp)";
    for key in ["neigh_suppress", "neigh_vlan_suppress", "proxy_arp", "proxy_arp_wifi"] {
        let port = format!(r#""{key}":true"#);
        let node = Node { ports: ["", "", &port], ..Node::default() };
        assert_eq!(node.told("brp0", &arp).0, End::unknown(Because::NotModelled(what)), "{key}");
        let udp = format!("udp 172.20.0.10:5 > 172.20.0.11:7 smac={FIRST} dmac={SECOND}");
        assert_eq!(node.told("brp0", &udp).0.disposition, Disposition::Forwarded, "{key}");
    }
    assert_eq!(Node::default().told("brp0", &arp).0.disposition, Disposition::Dropped);
}

#[test]
fn a_backup_port_is_not_known_where_it_is_needed() {
    let udp = format!("udp 172.20.0.10:5 > 172.20.0.11:7 smac={FIRST} dmac={SECOND}");
    let backup = r#""backup_port":"brp2""#;
    for (silent, port, wanted) in [(true, backup, true), (false, backup, false), (true, "", false)] {
        let node = Node { silent, ports: ["", port, ""], ..Node::default() };
        let (end, ns) = node.told("brp0", &udp);
        match end.because {
            Some(Because::State(at)) => {
                let state = &ns.config.unmodelled[at as usize];
                assert_eq!(state.what, "backup port brp2 of brp1, which has no carrier");
                assert!(wanted && state.source.line > 0);
            }
            _ => assert!(!wanted, "{end:?}"),
        }
        let dropped = (silent && !wanted).then_some(DropCode::BridgeNoPort);
        assert_eq!(end.code, dropped);
    }
}

#[test]
fn settings_of_a_bridge_that_are_not_known_are_named() {
    let udp = format!("udp 172.20.0.10:5 > 172.20.0.11:7 smac={FIRST} dmac={SECOND}");
    for key in ["mst_enabled", "fdb_max_learned"] {
        for (value, wanted) in [(1, true), (0, false)] {
            let bridge = format!(r#""{key}":{value}"#);
            let (end, ns) = Node { bridge: &bridge, ..Node::default() }.told("brp0", &udp);
            let named = match end.because {
                Some(Because::State(at)) => ns.config.unmodelled[at as usize].what == format!("{key} of br0"),
                _ => false,
            };
            assert_eq!(named, wanted, "{bridge}: {end:?}");
        }
    }
}

#[test]
fn a_querier_makes_multicast_unknown() {
    let many = |dmac: &str| format!("udp 172.20.0.10:5 > 239.1.2.3:7 smac={FIRST} dmac={dmac}");
    let what = "IGMP snooping where there is a querier";
    let node = Node { bridge: r#""mcast_querier":1"#, ..Node::default() };
    assert_eq!(node.told("brp0", &many("01:00:5e:01:02:03")).0, End::unknown(Because::NotModelled(what)));
    // With broadcasts it has nothing to do, whatever comes of them.
    assert_ne!(node.told("brp0", &many("ff:ff:ff:ff:ff:ff")).0, End::unknown(Because::NotModelled(what)));
}

#[test]
fn stp_keeps_its_group_to_itself() {
    let to = |head: &str| format!("{head} smac={FIRST} dmac=01:80:c2:00:00:00");
    let udp = to("udp 172.20.0.10:5 > 172.20.0.11:7");
    let stp = Node { bridge: r#""stp_state":1"#, ..Node::default() };
    // Up the stack, as a frame for many that is to be forwarded; without STP so is the copy of one that is flooded.
    let end = stp.told("brp0", &udp).0;
    assert_eq!(end.code, Some(DropCode::LinkBroadcastForward));
    let length = to("raw ethertype=38 len=38");
    assert_eq!(stp.told("brp0", &length).0, End::unknown(Because::NotModelled("STP")));
    // The kernel engine leaves it out, and says so.
    if skip_unprivileged("stp_keeps_its_group_to_itself") {
        return;
    }
    let case =
        Case { name: "stp".to_owned(), config: stp.config(), sends: vec![across("")], ..Case::default() };
    let run =
        pktwalk_live::engine::KernelEngine::new(None).run_for_replay(&case).expect("the kernel ran it").run;
    assert_eq!(run.gaps, ["not set: stp_state of br0: ports forward at once here"]);
}
