//! What a comparison of two engines sees, and what it lets pass: every field of what engines tell is in one of the two lists here, and whatever passes
//! stands in `docs/model/known-differences.md`.

use std::collections::BTreeSet;
use std::fs;

use pktwalk_ingest::{Bundle, read_files};
use pktwalk_linux::choice::Seeded;
use pktwalk_linux::conntrack::status;
use pktwalk_linux::conntrack::tuple::{CtL4, CtTuple};
use pktwalk_linux::hook::{Backend, Hook, TableName};
use pktwalk_linux::netns::NetNs;
use pktwalk_linux::reason::Disposition;
use pktwalk_linux::skb::SkbSocket;
use pktwalk_live::replay::Replay;
use pktwalk_packet::{Ipv4Fields, Packet, spec};
use pktwalk_scenario::case::{Case, CaseSend, Entry};
use pktwalk_scenario::compare::{Difference, compare};
use pktwalk_scenario::confirm::{Backends, confirm};
use pktwalk_scenario::engine::Engine;
use pktwalk_scenario::event::{
    At, CT_STATUS_MASK, CtSnapshot, Decided, EngineRun, EventVerdict, FrameOut, PacketRun, Question,
    ScenarioEvent, SendRun,
};
use pktwalk_scenario::model::{Choices, ModelEngine};
use pktwalk_tests::repo_root;

const LEDGER: &str = "docs/model/known-differences.md";

fn packet(text: &str) -> Packet {
    spec::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn event() -> ScenarioEvent {
    ScenarioEvent {
        hook: Hook::Forward,
        backend: Backend::Nft,
        table: TableName::Filter,
        chain: "FORWARD".to_owned(),
        at: At::Rule(1),
        verdict: EventVerdict::Accept,
        mark_before: Some(1),
        mark: Some(2),
    }
}

fn connection() -> CtSnapshot {
    let l4 = CtL4::Ports { src: 1, dst: 2 };
    let original = CtTuple { src: 1, dst: 2, protocol: 17, l4 };
    let reply = CtTuple { src: 2, dst: 1, protocol: 17, l4: CtL4::Ports { src: 2, dst: 1 } };
    CtSnapshot { original, reply, mark: 0, status: status::CONFIRMED, tcp_state: None, zone: 0 }
}

fn frame(dev: &str, text: &str) -> FrameOut {
    FrameOut { dev: dev.to_owned(), packet: packet(text) }
}

const FRAME: &str = "udp 10.0.1.2:1 > 10.0.2.2:2 smac=02:00:00:00:00:02 dmac=02:00:00:00:01:02";

fn seen() -> SendRun {
    let first = PacketRun {
        parent: None,
        copy: false,
        events: vec![event()],
        places: vec![1],
        frames: vec![frame("eth0", FRAME)],
        unseen: false,
        disposition: Some(Disposition::Forwarded),
        code: None,
        kernel_reason: Some("NOT_SPECIFIED".to_owned()),
        decided: Decided::default(),
    };
    SendRun {
        packets: vec![first],
        conntrack: vec![connection()],
        questions: Some(vec![Question { dev: "eth0".to_owned(), target: [10, 0, 2, 2].into() }]),
        at_ns: Some(0),
        record: None,
    }
}

fn run(send: SendRun) -> EngineRun {
    EngineRun { sends: vec![send], ..EngineRun::default() }
}

/// The differences that a change makes.
fn after(change: impl FnOnce(&mut SendRun)) -> Vec<Difference> {
    let mut changed = seen();
    change(&mut changed);
    compare(&run(seen()), &run(changed))
}

#[test]
fn every_field_is_compared_or_let_pass() {
    // A new field belongs into one of the two lists below.
    let SendRun { packets, conntrack, questions: _, at_ns: _, record: _ } = seen();
    let PacketRun { events, frames, .. } = packets[0].clone();
    let PacketRun {
        parent: _,
        copy: _,
        events: _,
        places: _,
        frames: _,
        unseen: _,
        disposition: _,
        code: _,
        kernel_reason: _,
        decided: _,
    } = packets[0].clone();
    let ScenarioEvent { hook: _, backend: _, table: _, chain: _, at: _, verdict: _, mark_before: _, mark: _ } =
        events[0].clone();
    let FrameOut { dev: _, packet: _ } = frames[0].clone();
    let CtSnapshot { original: _, reply: _, mark: _, status: _, tcp_state: _, zone: _ } =
        conntrack[0].clone();

    type Change = (&'static str, fn(&mut SendRun));
    let compared: &[Change] = &[
        ("packets", |send| send.packets.push(PacketRun::default())),
        ("events", |send| send.packets[0].events.push(event())),
        ("hook", |send| send.packets[0].events[0].hook = Hook::Input),
        ("backend", |send| send.packets[0].events[0].backend = Backend::Legacy),
        ("table", |send| send.packets[0].events[0].table = TableName::Mangle),
        ("chain", |send| send.packets[0].events[0].chain = "other".to_owned()),
        ("at", |send| send.packets[0].events[0].at = At::Rule(2)),
        ("verdict", |send| send.packets[0].events[0].verdict = EventVerdict::Continue),
        ("mark_before", |send| send.packets[0].events[0].mark_before = Some(9)),
        ("mark", |send| send.packets[0].events[0].mark = Some(9)),
        ("frames", |send| send.packets[0].frames.clear()),
        ("dev", |send| send.packets[0].frames[0].dev = "eth1".to_owned()),
        ("bytes", |send| send.packets[0].frames[0] = frame("eth0", &FRAME.replace(":2 ", ":3 "))),
        ("destination", |send| send.packets[0].frames[0] = frame("eth0", &FRAME.replace("01:02", "01:03"))),
        ("source", |send| send.packets[0].frames[0] = frame("eth0", &FRAME.replace("00:02", "00:03"))),
        ("disposition", |send| send.packets[0].disposition = Some(Disposition::Dropped)),
        ("kernel_reason", |send| send.packets[0].kernel_reason = Some("NO_SOCKET".to_owned())),
        ("conntrack", |send| send.conntrack.clear()),
        ("original", |send| send.conntrack[0].original.src = 9),
        ("reply", |send| send.conntrack[0].reply.dst = 9),
        ("mark of a connection", |send| send.conntrack[0].mark = 9),
        ("status", |send| send.conntrack[0].status |= status::SRC_NAT),
        ("tcp_state", |send| send.conntrack[0].tcp_state = Some("CLOSE".to_owned())),
        ("zone", |send| send.conntrack[0].zone = 9),
        ("questions", |send| send.questions = Some(Vec::new())),
    ];
    for (name, change) in compared {
        assert_ne!(after(change), [], "{name} is not compared");
    }
    let passes: &[Change] = &[
        ("parent", |send| send.packets[0].parent = Some(0)),
        ("places of what has no copies", |send| send.packets[0].places = vec![2]),
        ("unseen of what left", |send| send.packets[0].unseen = true),
        ("code", |send| send.packets[0].code = Some("RULE_DROP")),
        ("decided", |send| send.packets[0].decided.rule = Some(7)),
        ("at_ns", |send| send.at_ns = None),
        // What one engine cannot tell.
        ("mark_before", |send| send.packets[0].events[0].mark_before = None),
        ("mark", |send| send.packets[0].events[0].mark = None),
        ("disposition", |send| send.packets[0].disposition = None),
        ("kernel_reason", |send| send.packets[0].kernel_reason = None),
        ("questions", |send| send.questions = None),
    ];
    for (name, change) in passes {
        assert_eq!(after(change), [], "{name} is compared");
    }
}

#[test]
fn codes_deciders_and_parents_are_the_models_own() {
    let differences = after(|send| {
        send.packets[0].code = Some("RULE_DROP");
        send.packets[0].decided = Decided { rule: Some(7), ..Decided::default() };
        send.packets[0].parent = Some(3);
    });
    assert_eq!(differences, []);
}

#[test]
fn marks_ends_and_reasons_are_compared_where_both_tell() {
    let none = |send: &mut SendRun| {
        let packet = &mut send.packets[0];
        (packet.disposition, packet.kernel_reason) = (None, None);
        (packet.events[0].mark_before, packet.events[0].mark) = (None, None);
    };
    assert_eq!(after(none), []);
    assert_ne!(after(|send| send.packets[0].disposition = Some(Disposition::Dropped)), []);
    assert_ne!(after(|send| send.packets[0].events[0].mark = Some(9)), []);
}

#[test]
fn copies_are_put_under_what_they_copy() {
    let copy = PacketRun {
        parent: Some(0),
        copy: true,
        frames: vec![frame("eth1", FRAME)],
        disposition: Some(Disposition::Dropped),
        ..PacketRun::default()
    };
    let mut apart = seen();
    apart.packets.push(copy);
    let mut together = seen();
    // In no order, and without a single end.
    together.packets[0].frames.insert(0, frame("eth1", FRAME));
    together.packets[0].kernel_reason = Some("NO_SOCKET".to_owned());
    assert_eq!(compare(&run(apart.clone()), &run(together.clone())), []);
    together.packets[0].frames.pop();
    assert_ne!(compare(&run(apart), &run(together)), []);
}

#[test]
fn some_bits_of_connections_are_the_kernels_own() {
    // Of the kernel's bits 0 to 15: what `DYING` and the like say differs without being a difference; `IPS_TEMPLATE` 11, `IPS_HELPER` 13, `IPS_OFFLOAD`
    // 14 and `IPS_HW_OFFLOAD` 15.
    let own = status::SEQ_ADJUST | status::DYING | status::FIXED_TIMEOUT | status::NAT_CLASH | 0xe800;
    assert_eq!(CT_STATUS_MASK, 0xffff & !own);
}

/// The built-in node with these rules.
fn bundle(rules: &str) -> Bundle {
    let folder = repo_root().join("scenarios/demo/bundle");
    let files = fs::read_dir(folder).expect("the folder is there").flatten().map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let bytes = fs::read(entry.path()).expect("the file is read");
        if name == "iptables-save" { (name, rules.as_bytes().to_vec()) } else { (name, bytes) }
    });
    let files: Vec<(String, Vec<u8>)> = files.collect();
    read_files("t", files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))).expect("a bundle")
}

#[test]
fn arp_that_nobody_could_see_is_left_out() {
    let made = |frames| PacketRun { parent: Some(0), unseen: true, frames, ..PacketRun::default() };
    let answer =
        || frame("brp0", "arp 10.0.1.1 > 10.0.1.2 op=reply sha=02:00:00:00:00:02 tha=02:00:00:00:01:02");
    let copy = PacketRun { parent: Some(1), copy: true, frames: vec![answer()], ..PacketRun::default() };
    assert_eq!(after(|send| send.packets.push(made(Vec::new()))), []);
    // It may be what the kernel freed.
    let freed = |reason: &str| {
        let (mut model, mut kernel) = (seen(), seen());
        let lost = PacketRun { kernel_reason: Some("NO_TX_TARGET".to_owned()), ..made(Vec::new()) };
        model.packets.push(lost);
        kernel.packets[0].kernel_reason = Some(reason.to_owned());
        kernel.packets[0].disposition = Some(Disposition::Dropped);
        compare(&run(model), &run(kernel))
    };
    assert_eq!(freed("NO_TX_TARGET"), []);
    assert_ne!(freed("NO_SOCKET"), [], "but nothing else of that send");
    assert_ne!(after(|send| send.packets.push(made(vec![answer()]))), []);
    // One of its copies left.
    assert_ne!(after(|send| send.packets.extend([made(Vec::new()), copy.clone()])), []);
}

#[test]
fn what_chance_decided_is_read_back() {
    // The kernel says whether a rule matched, not which of its matches did: one that is modelled wrongly beside a random one would pass.
    let rules = "*filter\n:INPUT ACCEPT [0:0]\n\
        -A INPUT -p udp -m statistic --mode random --probability 0.5 -j DROP\nCOMMIT\n";
    let send = CaseSend::new(packet("udp 203.0.113.5:1 > 192.168.50.1:9"), Entry::Device("eth0".to_owned()));
    let case = Case { config: bundle(rules).host.config, sends: vec![send; 8], ..Case::default() };
    let code = |kernel: &EngineRun| -> Vec<Option<&str>> {
        let run = ModelEngine::with_choices(Box::new(Replay::of(kernel))).run(&case).expect("the model runs");
        run.sends.iter().map(|send| send.packets[0].code).collect()
    };
    let mut kernel = EngineRun { sends: vec![SendRun::default(); 8], ..EngineRun::default() };
    for send in &mut kernel.sends {
        send.packets.push(PacketRun::default());
    }
    assert_eq!(code(&kernel), [Some("NO_SOCKET"); 8]);
    for send in &mut kernel.sends {
        let at = ScenarioEvent { hook: Hook::Input, chain: "INPUT".to_owned(), ..event() };
        send.packets[0].events.push(at);
    }
    assert_eq!(code(&kernel), [Some("RULE_DROP"); 8]);
}

#[test]
fn ids_of_made_packets_are_read_back() {
    let sent = packet("udp 203.0.113.5:1 > 192.168.50.1:9");
    let send = CaseSend::new(sent, Entry::Device("eth0".to_owned()));
    let case = Case { config: bundle("").host.config, sends: vec![send], ..Case::default() };
    let text =
        "icmp 192.168.50.1 > 203.0.113.5 type=3 code=3 ipid=777 about (udp 203.0.113.5:1 > 192.168.50.1:9)";
    let made = PacketRun { parent: Some(0), frames: vec![frame("eth0", text)], ..PacketRun::default() };
    let kernel = run(SendRun { packets: vec![PacketRun::default(), made], ..SendRun::default() });
    let run = ModelEngine::with_choices(Box::new(Replay::of(&kernel))).run(&case).expect("the model runs");
    let frame = &run.sends[0].packets[1].frames[0];
    assert_eq!(Ipv4Fields::parse(frame.packet.l3()).expect("an IPv4 packet").id, 777);
}

#[test]
fn the_time_of_timestamp_replies_is_read_back() {
    let sent = packet("icmp 203.0.113.5 > 192.168.50.1 type=13 id=1 seq=2 org=3");
    let send = CaseSend::new(sent, Entry::Device("eth0".to_owned()));
    let case = Case { config: bundle("").host.config, sends: vec![send], ..Case::default() };
    let differing = |times: &str| {
        let text = format!("icmp 192.168.50.1 > 203.0.113.5 type=14 id=1 seq=2 {times} ipid=777");
        let made = PacketRun { parent: Some(0), frames: vec![frame("eth0", &text)], ..PacketRun::default() };
        let kernel = run(SendRun { packets: vec![PacketRun::default(), made], ..SendRun::default() });
        let model =
            ModelEngine::with_choices(Box::new(Replay::of(&kernel))).run(&case).expect("the model runs");
        let frame = |run: &EngineRun| run.sends[0].packets[1].frames[0].packet.l3().to_vec();
        frame(&model) != frame(&kernel)
    };
    assert!(!differing("org=3 recv=23:59:59.999 xmit=23:59:59.999"));
    assert!(!differing("org=3 recv=0 xmit=0"));
    for wrong in ["org=4 recv=5 xmit=5", "org=3 recv=5 xmit=6", "org=3 recv=24:00:00.000 xmit=24:00:00.000"] {
        assert!(differing(wrong), "{wrong}");
    }
}

#[test]
fn port_choices_are_read_back() {
    let rules = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o eth0 -p udp -j MASQUERADE --to-ports 50000-50999 --random\nCOMMIT\n";
    let send =
        CaseSend::new(packet("udp 172.20.0.10:40000 > 203.0.113.5:53"), Entry::Device("brp0".to_owned()));
    let case = Case { config: bundle(rules).host.config, sends: vec![send], ..Case::default() };
    let with = |kernel: SendRun| {
        let choices = Box::new(Replay::of(&run(kernel)));
        ModelEngine::with_choices(choices).run(&case).expect("the model runs").sends.remove(0)
    };
    let mut kernel = SendRun { packets: vec![PacketRun::default()], ..SendRun::default() };
    kernel.conntrack = with(kernel.clone()).conntrack;
    for port in [50123, 50999] {
        kernel.conntrack[0].reply.l4 = CtL4::Ports { src: 53, dst: port };
        assert_eq!(with(kernel.clone()).conntrack[0].reply.l4, CtL4::Ports { src: 53, dst: port });
    }
    // No port of the range: the model takes another, and differs.
    let wrong = CtL4::Ports { src: 53, dst: 51500 };
    kernel.conntrack[0].reply.l4 = wrong;
    assert_ne!(with(kernel).conntrack[0].reply.l4, wrong);
}

#[test]
fn a_sockets_packet_without_an_id_is_given_one() {
    struct Seed;
    impl Choices for Seed {
        fn for_send(&mut self, _: usize, _: &NetNs) -> Box<dyn pktwalk_linux::choice::Choice> {
            Box::new(Seeded::new(0))
        }
    }
    let sends = ["udp 192.168.50.1:1 > 203.0.113.5:9", "udp 192.168.50.1:1 > 203.0.113.5:9 ipid=7"]
        .map(|text| CaseSend::new(packet(text), Entry::Local(SkbSocket::default())));
    let case = Case { config: bundle("").host.config, sends: sends.into(), ..Case::default() };
    let mut ids = Vec::new();
    confirm(&case, Backends::AsGiven, &mut |case: &Case| {
        let id = |send: &CaseSend| Ipv4Fields::parse(send.packet.l3()).expect("an IPv4 packet").id;
        ids.extend(case.sends.iter().map(id));
        Ok((ModelEngine::new().run(case)?, Box::new(Seed) as Box<dyn Choices>))
    })
    .expect("both run");
    assert_eq!(ids, [1, 7]);
}

#[test]
fn whatever_passes_stands_in_the_ledger() {
    let text = fs::read_to_string(repo_root().join(LEDGER)).expect("the ledger is there");
    let own = include_str!("compared.rs");
    let tests: BTreeSet<&str> =
        own.split("#[test]\nfn ").skip(1).filter_map(|rest| rest.split('(').next()).collect();
    for test in tests.into_iter().filter(|test| *test != "whatever_passes_stands_in_the_ledger") {
        assert!(text.contains(&format!("`{test}`")), "{LEDGER} has no row for {test}");
    }
}
