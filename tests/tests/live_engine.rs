//! The kernel engine on the kernel: what it makes of a fixed ruleset, and that both backends see the same.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use pktwalk_linux::config::{MissingState, Neighbour, NetNsConfig, Nexthop, Route, RouteType, Ruleset};
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::iptables;
use pktwalk_linux::reason::Disposition;
use pktwalk_linux::skb::SkbSocket;
use pktwalk_live::engine::KernelEngine;
use pktwalk_live::fuzz::differ::{Plan, run};
use pktwalk_live::replay::Replay;
use pktwalk_packet::MacAddr;
use pktwalk_scenario::case::{Case, CaseSend, Entry};
use pktwalk_scenario::compare::compare;
use pktwalk_scenario::engine::Engine;
use pktwalk_scenario::model::{Choices, ModelEngine};
use pktwalk_skip::skip_unprivileged;
use pktwalk_tests::node::{differences, namespace, send};

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
    assert_eq!(run.gaps, [""; 0]);
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
fn the_next_hop_that_the_kernel_took_is_replayed() {
    if skip_unprivileged("the_next_hop_that_the_kernel_took_is_replayed") {
        return;
    }
    // Of these gateways one is asked for; the third is at another device.
    let mut config = NetNsConfig { rulesets: Vec::new(), ..namespace(Backend::Nft) };
    let hop = |via: [u8; 4], dev: &str| {
        let route = Route::new("8.0.0.0/8".parse().expect("a net"), Some(IpAddr::V4(via.into())), Some(dev));
        route.nexthops.into_iter().next().expect("a hop")
    };
    let mut route = Route::new("8.0.0.0/8".parse().expect("a net"), None, None);
    route.scope = 0;
    route.nexthops =
        vec![hop([10, 0, 2, 2], "right"), hop([10, 0, 2, 9], "right"), hop([10, 0, 1, 9], "left")];
    config.routes.push(route);
    for dev in ["all", "left"] {
        config.sysctls.insert(format!("net.ipv4.conf.{dev}.send_redirects"), "0".to_owned());
    }
    let sends =
        (1..=32).map(|n| send(&format!("udp 10.0.1.2:40000 > 8.0.{n}.1:53 ipid={n}"), "left")).collect();
    let case = Case { name: "multipath".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    let frames = kernel.run.sends.iter().flat_map(|send| &send.packets[0].frames);
    let hops: BTreeSet<_> = frames.map(|frame| (frame.dev.clone(), frame.packet.mac_dst())).collect();
    assert_eq!(hops.len(), 3, "{hops:?}");
    let asked: Vec<_> = kernel.run.sends.iter().flat_map(|send| send.questions.iter().flatten()).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
}

#[test]
fn the_kernel_engine_tells_when_it_sent() {
    if skip_unprivileged("the_kernel_engine_tells_when_it_sent") {
        return;
    }
    let run = KernelEngine::new(None).run_for_replay(&case(Backend::Nft)).expect("the kernel ran it");
    assert_eq!(run.run.gaps, [""; 0]);
    let times: Vec<u64> = run.run.sends.iter().filter_map(|send| send.at_ns).collect();
    assert!(times.len() == 3 && times[0] == 0 && times.is_sorted() && times[2] > 0, "{times:?}");
    let replay = Replay::new(run);
    assert_eq!((0..4).map_while(|send| replay.time(send)).collect::<Vec<u64>>(), times);
}

#[test]
fn pieces_of_every_protocol_belong_to_their_packet() {
    if skip_unprivileged("pieces_of_every_protocol_belong_to_their_packet") {
        return;
    }
    let mut config = NetNsConfig { rulesets: Vec::new(), ..namespace(Backend::Nft) };
    config.devices[2].mtu = 1000;
    let sends = vec![
        send("tcp 10.0.1.2:40000 > 10.0.2.2:80 flags=A len=1300 ipid=1", "left"),
        send("icmp 10.0.1.2 > 10.0.2.2 type=8 id=1 seq=1 len=1300 ipid=2", "left"),
        send("udp 10.0.1.2:40000 > 10.0.2.2:80 len=1300 ipid=3", "left"),
    ];
    let case = Case { name: "pieces".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    for send in &kernel.run.sends {
        let frames: Vec<usize> = send.packets.iter().map(|packet| packet.frames.len()).collect();
        assert_eq!(frames, [2]);
    }
}

#[test]
fn sources_that_only_a_full_check_refuses_arrive() {
    if skip_unprivileged("sources_that_only_a_full_check_refuses_arrive") {
        return;
    }
    // Local routes as `ip route show table all` prints them: making them by hand would have the kernel look for broadcasts among sources.
    let mut config = NetNsConfig { rulesets: Vec::new(), ..namespace(Backend::Nft) };
    config.sysctls.insert("net.ipv4.conf.all.rp_filter".to_owned(), "0".to_owned());
    for (dev, addr) in [("left", [10, 0, 1, 1]), ("right", [10, 0, 2, 1])] {
        let own = |dst: [u8; 4], kind, scope| Route {
            kind,
            scope,
            table: 255,
            protocol: "kernel".to_owned(),
            prefsrc: Some(IpAddr::V4(addr.into())),
            ..Route::new(IpAddr::V4(dst.into()).into(), None, Some(dev))
        };
        config.routes.push(own(addr, RouteType::Local, 254));
        config.routes.push(own([addr[0], addr[1], addr[2], 255], RouteType::Broadcast, 253));
    }
    let sends = vec![
        send("udp 10.0.1.255:40000 > 10.0.2.2:53 ipid=1", "left"),
        send("udp 10.0.1.255:40000 > 10.0.1.1:53 ipid=2", "left"),
    ];
    let case = Case { name: "broadcast source".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    assert_eq!(kernel.run.sends[0].packets[0].disposition, Some(Disposition::Forwarded));
}

#[test]
fn what_no_file_tells_is_said_to_the_kernel() {
    if skip_unprivileged("what_no_file_tells_is_said_to_the_kernel") {
        return;
    }
    let config = NetNsConfig {
        rulesets: Vec::new(),
        sysctls: Default::default(),
        missing: vec![MissingState::Sysctls],
        ..namespace(Backend::Nft)
    };
    let sends = vec![
        send("udp 10.0.1.2:40000 > 10.0.2.2:53 ipid=1", "left"),
        // ARP comes from the sender that it names, and an echo of nothing has a checksum of zero.
        send("arp 10.0.2.9 > 10.0.2.1 op=request sha=02:00:00:00:99:99", "right"),
        send("icmp 10.0.1.2 > 10.0.1.1 type=8 id=0 seq=0 ipid=3", "left"),
    ];
    let case = Case { name: "defaults".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    let made: Vec<usize> = kernel.run.sends.iter().map(|send| send.packets.len()).collect();
    assert_eq!(made, [1, 2, 2]);
    assert_eq!(kernel.run.sends[0].packets[0].disposition, Some(Disposition::Forwarded));
}

#[test]
fn only_errors_and_resets_tell_a_sender() {
    if skip_unprivileged("only_errors_and_resets_tell_a_sender") {
        return;
    }
    // REJECT answers no ICMP error; the reset of the second packet is freed on its way, which is told all the same.
    let rules = b"*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -j REJECT\n\
        -A OUTPUT -p tcp -j DROP\nCOMMIT\n";
    let (save, _) = iptables::parse(rules, 0, Family::V4);
    let config = NetNsConfig {
        rulesets: vec![Ruleset { backend: Backend::Nft, save: save.into() }],
        ..namespace(Backend::Nft)
    };
    let sends = vec![
        send("icmp 10.0.1.2 > 10.0.1.1 type=3 code=1 ipid=1 about (udp 10.0.1.1:1 > 10.0.2.2:2)", "left"),
        send("tcp 10.0.1.2:40000 > 10.0.1.1:80 flags=S ipid=2", "left"),
        send("udp 10.0.1.2:40000 > 10.0.1.1:80 ipid=3", "left"),
    ];
    let case = Case { name: "told".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    let ends: Vec<_> = kernel.run.sends.iter().map(|send| send.packets[0].disposition).collect();
    let (dropped, rejected) = (Some(Disposition::Dropped), Some(Disposition::Rejected));
    assert_eq!(ends, [dropped, rejected, rejected]);
}

#[test]
fn who_asks_becomes_a_neighbour() {
    if skip_unprivileged("who_asks_becomes_a_neighbour") {
        return;
    }
    let config = NetNsConfig { rulesets: Vec::new(), ..namespace(Backend::Nft) };
    let sends = vec![
        send("arp 10.0.2.9 > 10.0.2.1 op=request smac=02:00:00:00:99:99", "right"),
        send("udp 10.0.1.2:40000 > 10.0.2.9:53 ipid=1", "left"),
        send("udp 10.0.1.2:40000 > 10.0.2.8:53 ipid=2", "left"),
    ];
    let case = Case { name: "asks".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    let asked: Vec<usize> =
        kernel.run.sends.iter().map(|send| send.questions.iter().flatten().count()).collect();
    assert_eq!(asked, [0, 0, 1]);
}

#[test]
fn rules_that_would_flush_each_other_are_refused() {
    if skip_unprivileged("rules_that_would_flush_each_other_are_refused") {
        return;
    }
    let mut case = case(Backend::Nft);
    case.config.rulesets.push(case.config.rulesets[0].clone());
    let error = KernelEngine::new(None).run(&case).expect_err("nothing to load").to_string();
    assert!(error.contains("two rulesets of nft that both have a table mangle"), "{error}");
}

/// Rules of both backends at one priority of every hook, which see what the other did. Both want to translate; one of them is first.
fn of_both(own: u16, other: u16, port: u16) -> String {
    format!(
        "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
         -A PREROUTING -m mark --mark {other:#x}/{other:#x} -j MARK --set-xmark 0x100/0x100\n\
         -A PREROUTING -j MARK --set-xmark {own:#x}/{own:#x}\n\
         -A OUTPUT -m mark --mark {other:#x}/{other:#x} -j MARK --set-xmark 0x200/0x200\n\
         -A OUTPUT -j MARK --set-xmark {own:#x}/{own:#x}\n\
         -A POSTROUTING -m mark --mark {own:#x} -j MARK --set-xmark 0x400/0x400\nCOMMIT\n\
         *nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
         -A PREROUTING -p udp -m udp --dport 53 -j DNAT --to-destination :{port}\n\
         -A OUTPUT -p udp -m udp --dport 53 -j DNAT --to-destination :{port}\n\
         -A POSTROUTING -p tcp -j MASQUERADE --to-ports {port}\nCOMMIT\n\
         *filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:own - [0:0]\n\
         -A FORWARD -j own\n\
         -A own -p icmp -j REJECT --reject-with icmp-host-prohibited\n\
         -A own -p tcp -m tcp --dport {port} -j DROP\n\
         -A INPUT -p udp -m udp --dport {port} -j DROP\nCOMMIT\n\
         *security\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
         -A FORWARD -m mark --mark 0x100/0x100 -j MARK --set-xmark {own:#x}/0xffff\nCOMMIT\n"
    )
}

#[test]
fn of_two_backends_at_one_priority_the_last_registered_runs_first() {
    if skip_unprivileged("of_two_backends_at_one_priority_the_last_registered_runs_first") {
        return;
    }
    let ruleset = |backend: Backend| {
        let text = if backend == Backend::Nft { of_both(1, 2, 1111) } else { of_both(2, 1, 2222) };
        let (save, diagnostics) = iptables::parse(text.as_bytes(), 0, Family::V4);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        Ruleset { backend, save: save.into() }
    };
    for (before, last) in [(Backend::Legacy, Backend::Nft), (Backend::Nft, Backend::Legacy)] {
        let config = NetNsConfig { rulesets: [before, last].map(ruleset).into(), ..namespace(Backend::Nft) };
        let mut sends = vec![
            send("udp 10.0.1.2:40000 > 10.0.2.2:53", "left"),
            send("tcp 10.0.1.2:40000 > 10.0.2.2:80 flags=S", "left"),
            send("tcp 10.0.1.2:40000 > 10.0.2.2:1111 flags=S", "left"),
            send("tcp 10.0.1.2:40000 > 10.0.2.2:2222 flags=S", "left"),
            send("icmp 10.0.1.2 > 10.0.2.2 type=8 id=1 seq=1", "left"),
            send("udp 10.0.1.2:40001 > 10.0.1.1:53", "left"),
        ];
        let local = pktwalk_packet::spec::parse("udp 10.0.2.1:40000 > 10.0.2.2:53 id=9").expect("a packet");
        let socket = SkbSocket { raw: true, ..SkbSocket::default() };
        sends.push(CaseSend::new(local, Entry::Local(socket)));
        let case = Case { name: "both".to_owned(), config, sends, ..Case::default() };
        let (differences, kernel) = differences(&case);
        assert_eq!(differences, [], "{last} last");
        let mut otherwise = case.clone();
        otherwise.config.rulesets.reverse();
        let model = ModelEngine::new().run(&otherwise).expect("the model ran it");
        let differing = compare(&model, &kernel.run);
        assert!(differing.iter().any(|difference| difference.send == 0), "{differing:?}");
        let port = if last == Backend::Nft { 1111u16 } else { 2222 };
        for (at, bytes) in [(0, 22..24), (1, 20..22), (6, 22..24)] {
            let frame = kernel.run.sends[at].packets[0].frames.first().expect("it went on");
            assert_eq!(frame.packet.l3()[bytes], port.to_be_bytes(), "{last} last, packet {at}");
        }
        // The marks tell who saw whose.
        let marks = kernel.run.sends[0].packets[0].events.iter().rev().find_map(|event| event.mark);
        assert!(marks.is_some_and(|mark| mark != 0), "{last} last");
    }
}

/// The same generated rules on both backends at once: what the first one did, the other sees.
#[test]
fn generated_rules_of_both_backends_run_as_the_model_says() {
    if skip_unprivileged("generated_rules_of_both_backends_run_as_the_model_says") {
        return;
    }
    let mut compared = 0;
    for number in 0..16 {
        let mut case = pktwalk_live::fuzz::differ::case(9, number, Backend::Nft, 20);
        let again = Ruleset { backend: Backend::Legacy, ..case.config.rulesets[0].clone() };
        case.config.rulesets.insert(number as usize % 2, again);
        let kernel = KernelEngine::new(None).run_for_replay(&case).expect("the kernel ran it");
        let choices = Box::new(Replay::new(kernel.clone()));
        let model = ModelEngine::with_choices(choices).run(&case).expect("the model ran it");
        let mut ends = model.sends.iter().flat_map(|send| &send.packets).map(|packet| packet.disposition);
        // Copies that come by the same chain are not told apart, so that their order is not known.
        if kernel.run.gaps.is_empty() && !ends.any(|end| end == Some(Disposition::Unknown)) {
            assert_eq!(compare(&model, &kernel.run), [], "{number}");
            compared += 1;
        }
    }
    assert!(compared >= 12, "{compared} of 16");
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
    assert!(report.agrees(), "{report}");
    assert_eq!(report.rulesets, 2 * rulesets);
    // What the model would not decide is not compared: it must stay rare.
    let undecided: u64 = report.unknown.values().sum();
    assert!(undecided * 50 < report.rulesets, "{report}");
}

/// Established connections are answered past the rules that made them, and their translations are done; of others, the first packet decides.
#[test]
fn connections_of_a_dump_are_there_before_the_first_packet() {
    if skip_unprivileged("connections_of_a_dump_are_there_before_the_first_packet") {
        return;
    }
    let dump = "\
        ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.1.2 dst=10.96.0.1 sport=40000 dport=80 src=10.0.2.2 dst=10.0.2.1 sport=8080 dport=50000 [ASSURED] mark=7 use=1\n\
        ipv4     2 udp      17 20 src=10.0.1.2 dst=10.0.2.2 sport=1000 dport=53 [UNREPLIED] src=10.0.2.2 dst=10.0.1.2 sport=53 dport=1000 mark=0 use=1\n\
        ipv4     2 icmp     1 20 src=10.0.1.2 dst=10.0.2.2 type=8 code=0 id=7 src=10.0.2.2 dst=10.0.2.1 type=0 code=0 id=9 mark=0 use=1\n\
        ipv4     2 tcp      6 100 TIME_WAIT src=10.0.1.2 dst=10.0.2.2 sport=41000 dport=80 src=10.0.2.2 dst=10.0.1.2 sport=80 dport=41000 [ASSURED] mark=0 use=1\n\
        ipv4     2 unknown  50 500 src=10.0.1.2 dst=10.0.2.2 src=10.0.2.2 dst=10.0.1.2 mark=0 use=1\n\
        ipv4     2 tcp      6 100 ESTABLISHED src=10.0.1.2 dst=10.0.2.2 sport=42000 dport=80 src=10.0.2.2 dst=10.0.1.2 sport=80 dport=42000 [ASSURED] mark=0 zone=5 use=1\n";
    let bundle = pktwalk_ingest::read_files("dump", [("conntrack", dump.as_bytes())]).expect("a bundle");
    let rules = "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
        -A PREROUTING -d 10.96.0.1/32 -j DNAT --to-destination 10.0.2.2\n\
        -A POSTROUTING -o right -j MASQUERADE\nCOMMIT\n\
        *filter\n:FORWARD DROP [0:0]\n\
        -A FORWARD -m connmark --mark 0x7 -j ACCEPT\n\
        -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n\
        -A FORWARD -p udp -j ACCEPT\n\
        -A FORWARD -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n";
    for backend in [Backend::Nft, Backend::Legacy] {
        let (save, _) = iptables::parse(rules.as_bytes(), 0, Family::V4);
        let rulesets = vec![Ruleset { backend, save: save.into() }];
        let connections = bundle.host.config.connections.clone();
        assert_eq!(connections.len(), 6);
        let config = NetNsConfig { rulesets, connections, ..namespace(backend) };
        let sends = vec![
            send("tcp 10.0.1.2:40000 > 10.96.0.1:80 flags=A", "left"),
            send("tcp 10.0.2.2:8080 > 10.0.2.1:50000 flags=PA seq=5 data=00", "right"),
            send("udp 10.0.1.2:1000 > 10.0.2.2:53 data=00", "left"),
            send("udp 10.0.2.2:53 > 10.0.1.2:1000 data=00", "right"),
            send("udp 10.0.1.2:1001 > 10.0.2.2:53 data=00", "left"),
            send("icmp 10.0.2.2 > 10.0.2.1 type=0 id=9 seq=1 data=00", "right"),
            send("tcp 10.0.2.2:80 > 10.0.1.2:41000 flags=A", "right"),
            send("tcp 10.0.1.2:41000 > 10.0.2.2:80 flags=S seq=1000000", "left"),
            send("ip 10.0.2.2 > 10.0.1.2 proto=50 data=00", "right"),
            send("tcp 10.0.1.2:42000 > 10.0.2.2:80 flags=A", "left"),
        ];
        let case = Case { name: "dump".to_owned(), config, sends, ..Case::default() };
        let (differences, kernel) = differences(&case);
        assert_eq!(differences, [], "{backend}");
        let ends: Vec<_> = kernel.run.sends.iter().map(|send| send.packets[0].disposition).collect();
        // But the one of another zone.
        let (dropped, others) = ends.split_last().expect("all were sent");
        assert!(others.iter().all(|end| *end == Some(Disposition::Forwarded)), "{backend}: {ends:?}");
        assert_eq!(*dropped, Some(Disposition::Dropped), "{backend}");
        let frame = kernel.run.sends[0].packets[0].frames.first().expect("it went on");
        let (src, dst) = (Ipv4Addr::new(10, 0, 2, 1).octets(), Ipv4Addr::new(10, 0, 2, 2).octets());
        assert_eq!(frame.packet.l3()[12..20], [src, dst].concat());
        assert_eq!(frame.packet.l3()[20..24], [50_000u16.to_be_bytes(), 8080u16.to_be_bytes()].concat());
    }
}

#[test]
fn answers_belong_to_the_packet_that_they_quote() {
    if skip_unprivileged("answers_belong_to_the_packet_that_they_quote") {
        return;
    }
    // Sent back where it came from: the kernel makes a redirect before it asks the rules, then what REJECT makes.
    for (backend, with) in [
        (Backend::Legacy, "icmp-host-prohibited"),
        (Backend::Legacy, "tcp-reset"),
        (Backend::Nft, "tcp-reset"),
    ] {
        let rules = format!(
            "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A FORWARD -p tcp -j REJECT --reject-with {with}\nCOMMIT\n"
        );
        let (save, _) = iptables::parse(rules.as_bytes(), 0, Family::V4);
        let mut config =
            NetNsConfig { rulesets: vec![Ruleset { backend, save: save.into() }], ..namespace(backend) };
        config.sysctls.insert("net.ipv4.conf.left.send_redirects".to_owned(), "1".to_owned());
        let sends = vec![send("tcp 10.0.1.2:40000 > 10.0.1.9:80 flags=S ipid=7", "left")];
        let case = Case { name: "quoted".to_owned(), config, sends, ..Case::default() };
        let (differences, kernel) = differences(&case);
        assert_eq!(differences, []);
        let packets = &kernel.run.sends[0].packets;
        let parents: Vec<Option<u32>> = packets.iter().map(|packet| packet.parent).collect();
        assert_eq!(parents, [None, Some(0), Some(0)]);
        assert_eq!(packets[0].disposition, Some(Disposition::Rejected));
    }
}

#[test]
fn answers_leave_by_the_nexthop_that_the_kernel_took() {
    if skip_unprivileged("answers_leave_by_the_nexthop_that_the_kernel_took") {
        return;
    }
    let mut config = NetNsConfig { rulesets: Vec::new(), ..namespace(Backend::Nft) };
    let mut route =
        Route::new("203.0.113.0/24".parse().expect("a net"), Some([10, 0, 1, 2].into()), Some("left"));
    route.nexthops.push(Nexthop { via: Some([10, 0, 1, 3].into()), ..route.nexthops[0].clone() });
    config.routes.push(route);
    config.neighbours.push(Neighbour {
        addr: [10, 0, 1, 3].into(),
        mac: Some(MacAddr([2, 0, 0, 0, 1, 33])),
        ..config.neighbours[0].clone()
    });
    let asks = |last: u16| format!("udp 203.0.113.{last}:40000 > 10.0.1.1:53 ipid={last}");
    let sends = (1..=16).map(|last| send(&asks(last), "left")).collect();
    let case = Case { name: "answers by two ways".to_owned(), config, sends, ..Case::default() };
    let (differences, kernel) = differences(&case);
    assert_eq!(differences, []);
    let frames = kernel.run.sends.iter().flat_map(|send| &send.packets[1].frames);
    let taken: BTreeSet<_> = frames.map(|frame| frame.packet.mac_dst()).collect();
    assert_eq!(taken.len(), 2, "16 answers and one way only");
}
