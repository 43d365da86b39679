//! The ledger of known differences (`docs/model/known-differences.md`): the model held to what each row says, and every row to a test.
//!
//! A test here fails when a difference goes away, too: its row is to go with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use pktwalk_ingest::{Bundle, read_files};
use pktwalk_linux::choice::Seeded;
use pktwalk_linux::config::{MissingState, NetNsConfig, NudState};
use pktwalk_linux::netns::{NetNs, NetNsState};
use pktwalk_linux::reason::{Because, Disposition, DropCode, End};
use pktwalk_linux::skb::{MadeBy, SkbSocket};
use pktwalk_linux::trace::{Assumption, NeighResult, PacketTrace, Recorder, Step};
use pktwalk_linux::walk::{Inject, walk};
use pktwalk_live::engine::KernelEngine;
use pktwalk_live::replay::Replay;
use pktwalk_packet::{EtherType, Packet};
use pktwalk_scenario::case::{Case, CaseSend, Entry};
use pktwalk_scenario::confirm::{Backends, confirm};
use pktwalk_scenario::engine::Engine;
use pktwalk_scenario::event::EngineRun;
use pktwalk_scenario::model::{Choices, ModelEngine};
use pktwalk_skip::skip_unprivileged;
use pktwalk_tests::repo_root;

const LEDGER: &str = "docs/model/known-differences.md";
/// A host beyond the gateway, and the node's address on that side.
const FAR: &str = "203.0.113.5";
const NODE: &str = "192.168.50.1";

/// The built-in node with files replaced; empty ones are taken away.
fn bundle(changed: &[(&str, &str)]) -> Bundle {
    let folder = repo_root().join("scenarios/demo/bundle");
    let mut files: BTreeMap<String, Vec<u8>> = fs::read_dir(folder)
        .expect("the folder is there")
        .flatten()
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).expect("the file is read"))
        })
        .collect();
    for (name, text) in changed {
        match *text {
            "" => files.remove(*name),
            text => files.insert((*name).to_owned(), text.as_bytes().to_vec()),
        };
    }
    read_files("t", files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))).expect("a bundle")
}

/// As [`bundle`], without rules.
fn plain(changed: &[(&str, &str)]) -> NetNsConfig {
    let changed: Vec<_> = [("iptables-save", "")].into_iter().chain(changed.iter().copied()).collect();
    bundle(&changed).host.config
}

fn filter(rules: &str) -> String {
    format!("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{rules}COMMIT\n")
}

fn packet(text: &str) -> Packet {
    pktwalk_packet::spec::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Packets through one namespace, one after the other.
struct Run {
    ns: NetNs,
    state: NetNsState,
    choice: Seeded,
    packets: Vec<PacketTrace>,
}

impl Run {
    fn new(config: NetNsConfig) -> Run {
        let (ns, _) = NetNs::compile(config);
        Run { state: NetNsState::start(&ns), ns, choice: Seeded::new(1), packets: Vec::new() }
    }

    fn inject(&mut self, inject: Inject) -> End {
        let mut recorder = Recorder::default();
        let end = walk(&self.ns, &mut self.state, inject, &mut self.choice, &mut recorder);
        self.packets = recorder.packets;
        end
    }

    fn rx_packet(&mut self, dev: &str, packet: Packet) -> End {
        let dev = self.ns.dev(dev).expect("the device is there");
        self.inject(Inject::Rx { dev, packet })
    }

    fn rx(&mut self, dev: &str, text: &str) -> End {
        self.rx_packet(dev, packet(text))
    }

    fn local(&mut self, text: &str) -> End {
        self.inject(Inject::Local { packet: packet(text), socket: SkbSocket::default() })
    }

    fn steps(&self) -> impl Iterator<Item = &Step> {
        self.packets.iter().flat_map(|packet| &packet.steps).map(|recorded| &recorded.step)
    }

    /// The devices by which the first packet left.
    fn left_by(&self) -> Vec<&str> {
        let frames = self.packets.iter().flat_map(|packet| &packet.frames);
        frames.map(|(dev, _)| self.ns.device(*dev).name.as_str()).collect()
    }

    /// Why the first packet was not answered.
    fn unanswered(&self) -> Option<&'static str> {
        self.steps().find_map(|step| match step {
            Step::NotAnswered { why } => Some(*why),
            _ => None,
        })
    }
}

/// What the walk says of something that it does not model at all.
fn not_modelled(what: &'static str) -> End {
    End::unknown(Because::NotModelled(what))
}

/// The name of the state for which a walk ended.
fn state_name(run: &Run, end: End) -> &str {
    match end.because {
        Some(Because::State(at)) => &run.ns.config.unmodelled[at as usize].what,
        _ => panic!("{end:?}"),
    }
}

#[test]
fn every_row_names_its_kernel_function_and_its_tests() {
    let text = fs::read_to_string(repo_root().join(LEDGER)).expect("the ledger is there");
    let quoted =
        |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let mut named = BTreeSet::new();
    let mut rows = 0;
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [what, kernel, _, test] = cells.as_slice() else { panic!("four columns are wanted: {line}") };
        if *what == "what" || what.starts_with("---") {
            continue;
        }
        rows += 1;
        assert!(!quoted(kernel).is_empty(), "no kernel function: {line}");
        let tests = quoted(test);
        let (file, functions) = tests.split_last().unwrap_or_else(|| panic!("no test: {line}"));
        assert!(!functions.is_empty() && file.ends_with(".rs"), "tests, then `in` their file: {line}");
        let source = fs::read_to_string(repo_root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        for function in functions {
            let there = source.contains(&format!("#[test]\nfn {function}() {{"));
            assert!(there, "{file} has no test {function}");
            if file.ends_with("known_differences.rs") {
                named.insert(function.clone());
            }
        }
    }
    assert!(rows > 10, "{rows} rows");
    let own = include_str!("known_differences.rs");
    for function in own.split("#[test]\nfn ").skip(1).filter_map(|rest| rest.split('(').next()) {
        let stands =
            named.contains(function) || function == "every_row_names_its_kernel_function_and_its_tests";
        assert!(stands, "{LEDGER} has no row for {function}");
    }
}

#[test]
fn connections_of_a_dump_have_no_windows() {
    let line = "ipv4     2 tcp      6 431999 ESTABLISHED src=172.20.0.10 dst=203.0.113.5 sport=40000 dport=443 \
                src=203.0.113.5 dst=172.20.0.10 sport=443 dport=40000 [ASSURED] mark=0 use=1\n";
    let bundle = bundle(&[("conntrack", line)]);
    assert_eq!(bundle.host.config.connections.len(), 1);
    // Whatever its sequence number, it is a reply, and rule 1 of FORWARD accepts it. On the node it may be out of its window.
    let mut run = Run::new(bundle.host.config);
    let end = run.rx("eth0", "tcp 203.0.113.5:443 > 172.20.0.10:40000 flags=A seq=123456789 ack=987654321");
    assert_eq!(end.disposition, Disposition::Forwarded);
    let assumed = Step::Assumed(Assumption::TcpWindow);
    assert!(run.packets[0].steps.iter().any(|recorded| recorded.step == assumed));
}

#[test]
fn who_closed_a_connection_of_a_dump_is_not_known() {
    let of = |state: &str| {
        let line = format!(
            "ipv4     2 tcp      6 9 {state} src=203.0.113.5 dst=172.20.0.10 sport=40000 dport=80 src=172.20.0.10 \
             dst=203.0.113.5 sport=80 dport=40000 [ASSURED] mark=0 use=1\n"
        );
        let mut run = Run::new(bundle(&[("conntrack", &line)]).host.config);
        run.rx("eth0", "tcp 203.0.113.5:40000 > 172.20.0.10:80 flags=S").because
    };
    assert!(matches!(of("CLOSE"), Some(Because::NotModelled(what)) if what.contains("CLOSE")));
    // After FINs it is opened again, whoever sent the first.
    assert_eq!(of("TIME_WAIT"), None);
}

/// A second engine that is the model again.
fn mirror(case: &Case) -> Result<(EngineRun, Box<dyn Choices>), pktwalk_scenario::engine::EngineError> {
    struct Seed;
    impl Choices for Seed {
        fn for_send(&mut self, _: usize, _: &NetNs) -> Box<dyn pktwalk_linux::choice::Choice> {
            Box::new(Seeded::new(0))
        }
    }
    Ok((ModelEngine::new().run(case)?, Box::new(Seed)))
}

#[test]
fn compared_packets_of_a_socket_are_a_raw_sockets() {
    // DNS by a table of its own, which has no route: a raw socket's lookup has no ports, and passes that rule by.
    let rules = r#"[{"priority":0,"src":"all","table":"local"},
        {"priority":100,"src":"all","ipproto":"udp","dport":53,"action":"blackhole"},
        {"priority":32766,"src":"all","table":"main"}]"#;
    let config = plain(&[("ip-rule.json", rules)]);
    let send = CaseSend::new(
        packet(&format!("udp {NODE}:40000 > 8.8.8.8:53 len=4")),
        Entry::Local(SkbSocket::default()),
    );
    let case = Case { config, sends: vec![send], ..Case::default() };
    let ends = |run: &EngineRun| run.sends[0].packets[0].disposition;
    let alone = ModelEngine::new().walk(&case).expect("the model runs");
    assert_eq!(ends(&alone.run), Some(Disposition::Dropped));
    let mut asked = Vec::new();
    let compared = confirm(&case, Backends::AsGiven, &mut |case: &Case| {
        asked.extend(case.sends.iter().map(|send| send.entry.clone()));
        mirror(case)
    })
    .expect("both run");
    assert_eq!(asked, [Entry::Local(SkbSocket { raw: true, ..SkbSocket::default() })]);
    assert_eq!(ends(&compared[0].model.run), Some(Disposition::Forwarded));
}

#[test]
fn what_a_listener_answers_is_a_packet_of_its_own() {
    if skip_unprivileged("what_a_listener_answers_is_a_packet_of_its_own") {
        return;
    }
    let ss = "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:* ino:1 sk:1 <->\n";
    let send = CaseSend::new(
        packet(&format!("tcp {FAR}:40000 > {NODE}:80 flags=S")),
        Entry::Device("eth0".to_owned()),
    );
    let case = Case { config: plain(&[("ss", ss)]), sends: vec![send], ..Case::default() };
    let kernel = KernelEngine::new(None).run(&case).expect("the kernel ran it");
    assert_eq!(kernel.gaps, [""; 0]);
    let model = ModelEngine::new().run(&case).expect("the model ran it");
    assert_eq!(model.sends[0].packets[0].disposition, Some(Disposition::Delivered));
    // A listener without the filter would have made a SYN/ACK.
    assert_eq!((model.sends[0].packets.len(), kernel.sends[0].packets.len()), (1, 1));
    assert!(kernel.sends[0].packets[0].frames.is_empty());
    assert_eq!(kernel.sends[0].packets[0].kernel_reason, None);
}

#[test]
fn raw_and_ping_sockets_are_an_assumption() {
    let reply = format!("icmp {FAR} > {NODE} type=echo-reply id=7 seq=1");
    let config = plain(&[("proc-net-icmp", "")]);
    assert!(config.sockets.is_some() && config.missing.contains(&MissingState::RawSockets));
    let mut run = Run::new(config);
    assert_eq!(run.rx("eth0", &reply).disposition, Disposition::Delivered);
    let assumed = Step::Assumed(Assumption::SocketListens { protocol: 1, port: 7 });
    assert!(run.steps().any(|step| *step == assumed));
    // Of a list that is whole, the kernel's answer follows.
    let config = plain(&[]);
    assert!(!config.missing.contains(&MissingState::RawSockets));
    assert_eq!(Run::new(config).rx("eth0", &reply).code, Some(DropCode::NoPingSocket));
}

#[test]
fn connections_that_begin_take_every_segment() {
    let ss = "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:* ino:1 sk:1 <->\n\
              tcp ESTAB 0 0 192.168.50.1:9 192.168.50.9:9 ino:2 sk:2 <->\n";
    let mut run = Run::new(plain(&[("ss", ss)]));
    let mut send =
        |flags: &str| run.rx("eth0", &format!("tcp {FAR}:40000 > {NODE}:80 flags={flags} seq=1 ack=2"));
    assert_eq!(send("A").code, Some(DropCode::NotConnected));
    assert_eq!(send("S").disposition, Disposition::Delivered);
    // The kernel would hold its sequence number against what it sent, and answer this one with a RST.
    assert_eq!(send("A").disposition, Disposition::Delivered);
    assert_eq!(send("R").disposition, Disposition::Delivered);
    // The connection is reset, which is not followed.
    assert_eq!(send("A").disposition, Disposition::Delivered);
}

#[test]
fn fragments_for_this_host_are_not_put_together() {
    let mut run = Run::new(plain(&[]));
    let first = format!("udp {FAR}:1 > {NODE}:2 mf len=8");
    assert_eq!(run.rx("eth0", &first), not_modelled("reassembly of fragments on delivery"));
}

#[test]
fn timestamp_and_source_route_options_are_not_followed() {
    let changed = [("sysctl", "net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.accept_source_route = 1\n")];
    let mut run = Run::new(plain(&changed));
    // Timestamp with room for one; loose source route with one hop to go.
    for (options, what) in [
        ("440c0500000000000000000000000000", "the IP timestamp option"),
        ("8307040102030400", "source routing"),
    ] {
        let end = run.rx("eth0", &format!("udp {FAR}:1 > 172.20.0.10:2 opts={options}"));
        assert_eq!(end, not_modelled(what));
    }
}

#[test]
fn ipv6_is_not_known() {
    let mut run = Run::new(plain(&[]));
    let mut header = vec![0x60, 0, 0, 0, 0, 0, 59, 64];
    header.resize(40, 1);
    assert_eq!(run.rx_packet("eth0", Packet::from_l3(EtherType::IPV6, header)), not_modelled("IPv6"));
}

#[test]
fn native_nft_rules_are_not_known() {
    let nft = r#"{"nftables":[{"table":{"family":"inet","name":"fw"}},
        {"chain":{"family":"inet","table":"fw","name":"in","hook":"input","policy":"accept"}},
        {"rule":{"family":"inet","table":"fw","chain":"in"}}]}"#;
    let mut run = Run::new(plain(&[("nft.json", nft)]));
    for text in [format!("udp {FAR}:1 > 172.20.0.10:2"), format!("udp {FAR}:1 > {NODE}:2")] {
        let end = run.rx("eth0", &text);
        assert_eq!(state_name(&run, end), "nft table inet fw (base chains at input)");
    }
    let end = run.local(&format!("udp {NODE}:1 > {FAR}:2"));
    assert_eq!(state_name(&run, end), "nft table inet fw (base chains at input)");
}

#[test]
fn programs_at_xdp_and_tc_are_not_known() {
    let xdp =
        r#"[{"xdp":[{"devname":"eth0","ifindex":2,"mode":"driver","id":17}],"tc":[],"flow_dissector":[]}]"#;
    let mut run = Run::new(plain(&[("bpf-net.json", xdp)]));
    let end = run.rx("eth0", &format!("udp {FAR}:1 > {NODE}:2"));
    assert_eq!(state_name(&run, end), "XDP program 17 on eth0");
    assert_eq!(run.local(&format!("udp {NODE}:1 > {FAR}:2")).disposition, Disposition::Forwarded);
    let tc =
        r#"[{"xdp":[],"tc":[{"devname":"eth0","ifindex":2,"kind":"tcx/egress","name":"out","prog_id":6}]}]"#;
    let mut run = Run::new(plain(&[("bpf-net.json", tc)]));
    let end = run.local(&format!("udp {NODE}:1 > {FAR}:2"));
    assert_eq!(state_name(&run, end), "TC program 6 (out) at egress on eth0");
    let clsact = r#"[{"kind":"clsact","handle":"ffff:","dev":"eth0","parent":"ffff:fff1"}]"#;
    let mut run = Run::new(plain(&[("tc.json", clsact)]));
    let end = run.rx("eth0", &format!("udp {FAR}:1 > {NODE}:2"));
    assert_eq!(state_name(&run, end), "qdisc clsact on eth0, whose filters the bundle does not hold");
}

#[test]
fn other_kinds_of_devices_are_not_known() {
    let links = r#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"link_type":"loopback","address":"00:00:00:00:00:00"},
        {"ifindex":2,"ifname":"eth0","flags":["BROADCAST","UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"02:00:00:00:00:02"},
        {"ifindex":9,"ifname":"tun9","flags":["UP","LOWER_UP"],"mtu":1450,"link_type":"ether","address":"02:00:00:00:00:09","linkinfo":{"info_kind":"vxlan"}}]"#;
    let routes = r#"[{"dst":"10.9.0.0/16","dev":"tun9","scope":"link"},{"dst":"default","gateway":"192.168.50.254","dev":"eth0"}]"#;
    let addresses = r#"[{"ifindex":2,"ifname":"eth0","flags":["UP","LOWER_UP"],"mtu":1500,"link_type":"ether","addr_info":[{"family":"inet","local":"192.168.50.1","prefixlen":24,"scope":"global"}]}]"#;
    let mut run = Run::new(plain(&[
        ("ip-link.json", links),
        ("ip-addr.json", addresses),
        ("ip-route.json", routes),
        ("ip-neigh.json", ""),
        ("bridge-fdb.json", ""),
    ]));
    let tunnel = Some(Because::Device(run.ns.dev("tun9").expect("it is there")));
    assert_eq!(run.rx("tun9", &format!("udp 10.9.0.2:1 > {NODE}:2")).because, tunnel);
    assert_eq!(run.rx("eth0", &format!("udp {FAR}:1 > 10.9.0.2:2")).because, tunnel);
}

#[test]
fn udp_lite_is_not_known() {
    let mut run = Run::new(plain(&[]));
    assert_eq!(run.rx("eth0", &format!("udplite {FAR}:1 > {NODE}:2")), not_modelled("UDP-Lite"));
}

#[test]
fn groups_that_sockets_joined_are_not_known() {
    let ss = "udp UNCONN 0 0 0.0.0.0:5353 0.0.0.0:* ino:1 sk:1 <->\n";
    let mut run = Run::new(plain(&[("ss", ss)]));
    let text = format!("udp {FAR}:5353 > 224.0.0.251:5353");
    assert_eq!(run.rx("eth0", &text), not_modelled("multicast groups that sockets joined"));
    // Where no socket can have joined, nobody has.
    let nobody = "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:* ino:1 sk:1 <->\n";
    let end = Run::new(plain(&[("ss", nobody)])).rx("eth0", &text);
    assert_eq!(end.code, Some(DropCode::NoMulticastMember));
}

#[test]
fn multicast_is_flooded_whatever_was_snooped() {
    let mut run = Run::new(plain(&[]));
    // Nobody asked for this group; a bridge that snoops, with a querier, keeps it from brp1.
    run.rx("brp0", "udp 172.20.0.10:1 > 239.1.1.1:2 smac=02:00:00:00:01:06 dmac=01:00:5e:01:01:01");
    assert_eq!(run.left_by(), ["brp1"]);
}

#[test]
fn neighbours_do_not_grow_old() {
    // The kernel asks one again that is stale, five seconds after it was needed (`neigh_timer_handler`).
    let mut config = plain(&[]);
    for neighbour in &mut config.neighbours {
        neighbour.state = NudState::Stale;
    }
    let mut run = Run::new(config);
    for seconds in [0, 1, 3600] {
        run.state.now_ns = seconds * 1_000_000_000;
        assert_eq!(run.local(&format!("udp {NODE}:1 > 192.168.50.20:2")).disposition, Disposition::Forwarded);
        let known = |step: &Step| matches!(step, Step::Neighbour { result: NeighResult::Known(_), .. });
        assert!(run.steps().any(known));
    }
}

#[test]
fn path_mtus_and_redirects_are_not_learned() {
    let mut run = Run::new(plain(&[]));
    let sent = format!("udp {NODE}:5000 > {FAR}:2 df len=1000");
    assert_eq!(run.local(&sent).disposition, Disposition::Forwarded);
    for error in ["type=3 code=4 mtu=600", "type=5 code=1 gateway=192.168.50.20"] {
        let text = format!("icmp 192.168.50.254 > {NODE} {error} about ({sent})");
        assert_eq!(run.rx("eth0", &text).disposition, Disposition::Delivered);
    }
    assert_eq!(run.local(&sent).disposition, Disposition::Forwarded);
    let frame = &run.packets[0].frames[0].1;
    assert_eq!(frame.l3_wire_len(), 1028);
    assert_eq!(frame.mac_dst().map(|mac| mac.to_string()).as_deref(), Some("02:00:00:00:01:02"));
}

#[test]
fn next_hops_are_chosen_for_each_packet() {
    let routes = r#"[{"dst":"172.20.0.0/16","dev":"br0","scope":"link"},{"dst":"192.168.50.0/24","dev":"eth0","scope":"link"},
        {"dst":"default","gateway":"192.168.50.254","dev":"eth0"},
        {"dst":"8.0.0.0/8","nexthops":[{"gateway":"192.168.50.254","dev":"eth0","weight":1},{"gateway":"172.20.0.10","dev":"br0","weight":1}]}]"#;
    let mut run = Run::new(plain(&[("ip-route.json", routes)]));
    let mut seen = BTreeSet::new();
    for _ in 0..32 {
        // One flow: the kernel hashes its addresses, so that all take one way.
        let end = run.rx("eth0", &format!("udp {FAR}:1 > 8.8.8.8:2"));
        assert_eq!(end.disposition, Disposition::Forwarded, "{end:?}");
        seen.extend(run.left_by().into_iter().map(str::to_owned));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["brp0", "eth0"]);
}

#[test]
fn neighbour_states_choose_no_next_hop() {
    let routes = r#"[{"dst":"172.20.0.0/16","dev":"br0","scope":"link"},{"dst":"192.168.50.0/24","dev":"eth0","scope":"link"},
        {"dst":"default","gateway":"192.168.50.254","dev":"eth0"},{"dst":"default","gateway":"192.168.50.20","dev":"eth0"}]"#;
    let mut run = Run::new(plain(&[("ip-route.json", routes)]));
    assert!(matches!(run.local("udp 192.168.50.1:1 > 8.8.8.8:2").because, Some(Because::Route(_))));
    let routes = routes.replace(
        r#"{"dst":"default","gateway":"192.168.50.20","dev":"eth0"}"#,
        r#"{"dst":"8.0.0.0/8","nexthops":[{"gateway":"192.168.50.254","dev":"eth0","weight":1},{"gateway":"192.168.50.20","dev":"eth0","weight":1}]}"#,
    );
    // A group of nexthop objects always goes by neighbours, but only one that does not answer makes a difference.
    let group = routes.replace(r#""dst":"8.0.0.0/8","#, r#""dst":"8.0.0.0/8","nhid":7,"#);
    for (state, known) in [("REACHABLE", true), ("FAILED", false)] {
        let neigh = format!(
            r#"[{{"dst":"192.168.50.20","dev":"eth0","lladdr":"02:00:00:00:01:20","state":["{state}"]}}]"#
        );
        let mut run = Run::new(plain(&[("ip-route.json", &group), ("ip-neigh.json", &neigh)]));
        let end = run.local("udp 192.168.50.1:1 > 8.8.8.8:2");
        assert_eq!(end.because.is_none(), known, "{end:?}");
    }
    let sysctl = "net.ipv4.ip_forward = 1\nnet.ipv4.fib_multipath_use_neigh = 1\n";
    let mut run = Run::new(plain(&[("ip-route.json", &routes), ("sysctl", sysctl)]));
    assert_eq!(run.local("udp 192.168.50.1:1 > 8.8.8.8:2"), not_modelled("fib_multipath_use_neigh"));
}

#[test]
fn listeners_are_not_reached_by_broadcasts() {
    let routes = r#"[{"dst":"192.168.50.0/24","dev":"eth0","scope":"link"},
        {"type":"broadcast","dst":"198.51.100.7","dev":"eth0","scope":"link"}]"#;
    let ss = "tcp LISTEN 0 128 0.0.0.0:443 0.0.0.0:* ino:1 sk:1 <->\n";
    let mut run = Run::new(plain(&[("ip-route.json", routes), ("ss", ss)]));
    let end = run.rx(
        "eth0",
        "tcp 192.168.50.7:1 > 198.51.100.7:443 flags=S smac=02:00:00:00:01:07 dmac=02:00:00:00:00:02",
    );
    assert_eq!(end, not_modelled("a listening socket reached by a broadcast or multicast address"));
    let end = run.rx(
        "eth0",
        "tcp 192.168.50.7:1 > 198.51.100.7:444 flags=S smac=02:00:00:00:01:07 dmac=02:00:00:00:00:02",
    );
    assert_eq!(end.code, Some(DropCode::NoSocket));
}

#[test]
fn routes_of_type_multicast_to_one_host_are_not_followed() {
    let routes = r#"[{"dst":"192.168.50.0/24","dev":"eth0","scope":"link"},
        {"type":"multicast","dst":"10.9.0.0/16","dev":"eth0","scope":"link"}]"#;
    let mut run = Run::new(plain(&[("ip-route.json", routes)]));
    assert!(matches!(run.local("udp 192.168.50.1:1 > 10.9.0.3:2").because, Some(Because::Route(_))));
}

#[test]
fn extended_echoes_are_not_answered() {
    let mut run = Run::new(plain(&[]));
    let end = run.rx("eth0", &format!("icmp {FAR} > {NODE} type=42 data={}", "00".repeat(12)));
    assert_eq!((end.disposition, run.packets.len()), (Disposition::Delivered, 1));
    assert!(run.unanswered().is_some_and(|told| told.starts_with("extended echo")), "{:?}", run.unanswered());
}

#[test]
fn each_icmp_message_costs_one_credit() {
    let sysctl = "net.ipv4.ip_forward = 1\nnet.ipv4.icmp_ratelimit = 0\nnet.ipv4.icmp_msgs_burst = 50\n";
    let mut run = Run::new(plain(&[("sysctl", sysctl)]));
    let mut answered = 0;
    for _ in 0..150 {
        run.rx("eth0", &format!("udp {FAR}:1 > {NODE}:9"));
        answered += usize::from(run.packets.iter().any(|packet| packet.made_by == MadeBy::IcmpError));
    }
    // The kernel takes 0, 1 or 2 for a message.
    assert_eq!(answered, 50);
    assert_eq!(run.unanswered(), Some("the limit of ICMP messages per second is reached"));
}

#[test]
fn cut_off_bytes_do_not_spoil_a_checksum() {
    let ss = "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:* ino:1 sk:1 <->\n";
    let mut run = Run::new(plain(&[("ss", ss)]));
    let text = format!("tcp {FAR}:1 > {NODE}:80 flags=S len=40 sum=bad");
    assert_eq!(run.rx("eth0", &text).code, Some(DropCode::TcpChecksum));
    assert_eq!(run.rx("eth0", &format!("{text} cut=10")).disposition, Disposition::Delivered);
}

#[test]
fn expired_buckets_are_gone_at_once() {
    let rules = filter(
        "-A INPUT -m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 1 --hashlimit-name h \
         --hashlimit-htable-expire 1000 --hashlimit-htable-gcinterval 60000 -j DROP\n",
    );
    let mut run = Run::new(bundle(&[("iptables-save", &rules)]).host.config);
    let mut dropped = |at_ms: u64| {
        run.state.now_ns = at_ms * 1_000_000;
        run.rx("eth0", &format!("udp {FAR}:1 > {NODE}:9")).code == Some(DropCode::RuleDrop)
    };
    // The kernel keeps the empty bucket until its collector comes round, after a minute.
    assert_eq!([0, 500, 1_600].map(&mut dropped), [true, false, true]);
}

#[test]
fn ticks_are_four_milliseconds() {
    let rules = filter("-A INPUT -m limit --limit 1000/sec --limit-burst 1 -j DROP\n");
    let node = "name: t\nbackend: legacy\n";
    let mut run = Run::new(bundle(&[("iptables-save", &rules), ("node.yaml", node)]).host.config);
    let mut dropped = |at_ms: u64| {
        run.state.now_ns = at_ms * 1_000_000;
        run.rx("eth0", &format!("udp {FAR}:1 > {NODE}:9")).code == Some(DropCode::RuleDrop)
    };
    // A kernel of 1000 ticks a second has the next token after one millisecond.
    assert_eq!([0, 3, 4].map(&mut dropped), [true, false, true]);
}

#[test]
fn packets_of_a_run_come_at_one_moment() {
    let rules = filter("-A INPUT -m limit --limit 1/sec --limit-burst 2 -j DROP\n");
    let config = bundle(&[("iptables-save", &rules)]).host.config;
    let send = CaseSend::new(packet(&format!("udp {FAR}:1 > {NODE}:9")), Entry::Device("eth0".to_owned()));
    let case = Case { config, sends: vec![send; 4], ..Case::default() };
    let run = ModelEngine::new().run(&case).expect("the model runs");
    let codes: Vec<_> = run.sends.iter().map(|send| send.packets[0].code).collect();
    assert_eq!(codes, [Some("RULE_DROP"), Some("RULE_DROP"), Some("NO_SOCKET"), Some("NO_SOCKET")]);
    // Where a kernel ran it, its time is that of the model.
    let mut kernel = run;
    for (send, at_ns) in kernel.sends.iter_mut().zip([0, 1_000, 1_100_000_000, 1_200_000_000]) {
        send.at_ns = Some(at_ns);
    }
    let run = ModelEngine::with_choices(Box::new(Replay::of(&kernel))).run(&case).expect("the model runs");
    let codes: Vec<_> = run.sends.iter().map(|send| send.packets[0].code).collect();
    assert_eq!(codes, [Some("RULE_DROP"), Some("RULE_DROP"), Some("RULE_DROP"), Some("NO_SOCKET")]);
}

#[test]
fn helpers_and_timeout_policies_are_not_known() {
    for target in ["--helper ftp", "--timeout long"] {
        let rules = format!("*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j CT {target}\nCOMMIT\n");
        let mut run = Run::new(bundle(&[("iptables-save", &rules)]).host.config);
        let end = run.rx("eth0", &format!("tcp {FAR}:1 > {NODE}:21 flags=S"));
        assert!(matches!(end.because, Some(Because::Target { .. })), "{target}: {end:?}");
    }
}

#[test]
fn supplementary_groups_are_not_known() {
    let rules = filter("-A OUTPUT -m owner --gid-owner 27 --suppl-groups -j DROP\n");
    let mut run = Run::new(bundle(&[("iptables-save", &rules)]).host.config);
    let socket = SkbSocket { uid: Some(1000), gid: Some(1000), ..SkbSocket::default() };
    let end = run.inject(Inject::Local { packet: packet(&format!("udp {NODE}:1 > {FAR}:2")), socket });
    assert!(matches!(end.because, Some(Because::Match { position: 0, .. })), "{end:?}");
}
