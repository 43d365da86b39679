//! What a packet costs over a large ruleset, beside a yardstick measured in the same run: etherparse slicing of a 254-byte TCP frame.
//!
//! The ruleset is 10,000 services of two endpoints each, 80,007 rules: for each service a rule of one long chain, a chain of three rules, and
//! two chains of two rules.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use pktwalk_linux::choice::Seeded;
use pktwalk_linux::config::{Address, Device, DeviceKind, NetNsConfig, Ruleset};
use pktwalk_linux::hook::{Backend, Family, Hook, TableName};
use pktwalk_linux::ids::SourceLine;
use pktwalk_linux::iptables;
use pktwalk_linux::iptables::ast::{
    AddrMask, Chain, ConntrackMatch, CtStateSet, IpMatch, MarkMask, Match, NatTarget, Neg, Policy, PortRange,
    Rule, SaveFile, StatisticMatch, Table, Target, TcpMatch,
};
use pktwalk_linux::netfilter::{HookState, HookVerdict, run_hook};
use pktwalk_linux::netns::{Cx, NetNs, NetNsState};
use pktwalk_linux::reason::{Disposition, End};
use pktwalk_linux::skb::Skb;
use pktwalk_linux::trace::{NullSink, Recorder, Sink};
use pktwalk_linux::walk::{Inject, walk};
use pktwalk_packet::{EtherType, Ipv4Fields, MacAddr, Packet, checksum};

const SERVICES: u32 = 10_000;
const CLIENT: u32 = 0x0af4_0105;
const VIP: u32 = 0x0a60_0000;
const ENDPOINTS: u32 = 0x0af5_0000;

fn v4(addr: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(addr))
}

fn host(addr: u32) -> Option<Neg<AddrMask>> {
    Some(Neg::is(AddrMask { addr: v4(addr), mask: v4(u32::MAX) }))
}

fn rule(ip: IpMatch, matches: Vec<Match>, target: Target) -> Rule {
    Rule { ip, matches, target, counters: None, source: SourceLine::default() }
}

fn chain(name: &str, policy: Option<Policy>, rules: Vec<Rule>) -> Chain {
    Chain { name: name.to_owned(), policy, counters: None, rules, source: SourceLine::default() }
}

fn jump(name: &str) -> Rule {
    rule(IpMatch::default(), Vec::new(), Target::Jump(name.to_owned()))
}

/// The three chains of a service.
fn service_chains(service: u32, nat: bool, chains: &mut Vec<Chain>) -> Rule {
    let ip = IpMatch { dst: host(VIP + service), protocol: Some(Neg::is(6)), ..IpMatch::default() };
    let dport = Some(Neg::is(PortRange { lo: 80, hi: 80 }));
    let tcp = Match::Tcp(TcpMatch { dport, ..TcpMatch::default() });
    let comment = Match::Comment(format!("space/service-{service}:http cluster IP"));
    let own = format!("SVC-{service}");
    let entry = rule(ip.clone(), vec![comment, tcp.clone()], Target::Jump(own.clone()));
    let ends = [0, 1].map(|end| format!("SEP-{service}-{end}"));
    let net = AddrMask { addr: v4(CLIENT & 0xffff_0000), mask: v4(0xffff_0000) };
    let outside = IpMatch { src: Some(Neg::is_not(net)), ..ip };
    let half = Match::Statistic(StatisticMatch::Random { not: false, threshold: 1 << 30 });
    let rules = vec![
        rule(outside, vec![tcp], Target::Jump("MARKING".to_owned())),
        rule(IpMatch::default(), vec![half], Target::Jump(ends[0].clone())),
        jump(&ends[1]),
    ];
    chains.push(chain(&own, None, rules));
    for (endpoint, name) in (ENDPOINTS + service * 2..).zip(&ends) {
        let target = NatTarget {
            addrs: Some((v4(endpoint), v4(endpoint))),
            ports: Some(PortRange { lo: 8080, hi: 8080 }),
            ..NatTarget::default()
        };
        let target = if nat { Target::Dnat(Box::new(target)) } else { Target::Accept };
        let own = IpMatch { src: host(endpoint), ..IpMatch::default() };
        let tcp = IpMatch { protocol: Some(Neg::is(6)), ..IpMatch::default() };
        let rules = vec![
            rule(own, Vec::new(), Target::Jump("MARKING".to_owned())),
            rule(tcp, vec![Match::Tcp(TcpMatch::default())], target),
        ];
        chains.push(chain(name, None, rules));
    }
    entry
}

/// The chains of the services, in table nat with translation, elsewhere with ACCEPT in its place.
fn services(name: TableName) -> Table {
    let nat = name == TableName::Nat;
    let mut chains = Vec::new();
    for &hook in name.hooks() {
        let rules = match hook {
            Hook::Prerouting | Hook::Output => vec![jump("SERVICES")],
            Hook::Postrouting => vec![jump("MASQUERADING")],
            _ => Vec::new(),
        };
        chains.push(chain(hook.name(), Some(Policy::Accept), rules));
    }
    let mark = MarkMask { value: 0x4000, mask: 0x4000 };
    chains.push(chain("MARKING", None, vec![rule(IpMatch::default(), Vec::new(), Target::Mark(mark))]));
    let masquerade = if nat { Target::Masquerade(Box::default()) } else { Target::Accept };
    let rules = vec![
        rule(IpMatch::default(), vec![Match::Mark(Neg::is_not(mark))], Target::Return),
        rule(IpMatch::default(), Vec::new(), masquerade),
    ];
    chains.push(chain("MASQUERADING", None, rules));
    let entries = (0..SERVICES).map(|service| service_chains(service, nat, &mut chains)).collect();
    chains.push(chain("SERVICES", None, entries));
    Table { name, chains, source: SourceLine::default() }
}

fn filter() -> Table {
    let state = Match::Conntrack(Box::new(ConntrackMatch {
        state: Some(Neg::is(CtStateSet::ESTABLISHED.union(CtStateSet::RELATED))),
        ..ConntrackMatch::default()
    }));
    let accept = rule(IpMatch::default(), vec![state], Target::Accept);
    let chains = TableName::Filter.hooks().iter().map(|hook| {
        let rules = if *hook == Hook::Forward { vec![accept.clone()] } else { Vec::new() };
        chain(hook.name(), Some(Policy::Accept), rules)
    });
    Table { name: TableName::Filter, chains: chains.collect(), source: SourceLine::default() }
}

fn device(name: &str, ifindex: u32, addr: u32) -> Device {
    let loopback = name == "lo";
    let kind = if loopback { DeviceKind::Loopback } else { DeviceKind::Physical };
    let mut device = Device::new(name, ifindex, kind, MacAddr([2, 0, 0, 0, 0, ifindex as u8]));
    device.addresses.push(Address {
        local: v4(addr),
        prefix_len: if loopback { 8 } else { 16 },
        peer: None,
        broadcast: None,
        scope: if loopback { 254 } else { 0 },
        secondary: false,
    });
    device
}

fn config(tables: Vec<Table>) -> NetNsConfig {
    let save = SaveFile { family: Family::V4, header: None, tables };
    NetNsConfig {
        devices: vec![
            device("lo", 1, 0x7f00_0001),
            device("in0", 2, 0x0af4_0001),
            device("out0", 3, 0x0af5_ff01),
        ],
        sysctls: BTreeMap::from([("net.ipv4.ip_forward".to_owned(), "1".to_owned())]),
        rulesets: vec![Ruleset { backend: Backend::Nft, save: save.into() }],
        ..NetNsConfig::default()
    }
}

/// A frame of 254 bytes: a SYN, or an ACK.
fn frame(dst: u32, flags: u8, seq: u32) -> Vec<u8> {
    let mut l3 = vec![0x45, 0, 0, 240, 0, 1, 0x40, 0, 64, 6, 0, 0];
    l3.extend(CLIENT.to_be_bytes());
    l3.extend(dst.to_be_bytes());
    let check = checksum::checksum(&l3);
    l3[10..12].copy_from_slice(&check.to_be_bytes());
    let mut tcp = vec![0x9c, 0x40, 0, 80];
    tcp.extend(seq.to_be_bytes());
    tcp.extend([0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    tcp.resize(220, 0x55);
    let check = checksum::finish(checksum::sum(&tcp, checksum::pseudo_header(CLIENT, dst, 6, 220)));
    tcp[16..18].copy_from_slice(&check.to_be_bytes());
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 9, 8, 0];
    bytes.extend(l3);
    bytes.extend(tcp);
    bytes
}

fn yardstick(c: &mut Criterion) {
    let bytes = frame(VIP, 2, 1);
    c.bench_function("yardstick: etherparse slices a 254-byte TCP frame", |b| {
        b.iter(|| etherparse::SlicedPacket::from_ethernet(black_box(&bytes)).is_ok())
    });
}

fn skb(ns: &NetNs, dst: u32) -> Option<Skb> {
    let packet = Packet::from_l3(EtherType::IPV4, frame(dst, 2, 1).split_off(14));
    let ip = Ipv4Fields::parse(packet.l3()).ok()?;
    Some(Skb { in_dev: ns.dev("in0"), ..Skb::new(packet, ip) })
}

fn at_prerouting<S: Sink>(ns: &NetNs, state: &mut NetNsState, skb: &mut Skb, sink: &mut S) -> HookVerdict {
    let mut choice = Seeded::new(1);
    let mut cx =
        Cx { ns, state, choice: &mut choice, sink, made: Vec::new(), undecided: None, backend_untold: false };
    let at = HookState {
        hook: Hook::Prerouting,
        in_dev: skb.in_dev,
        out_dev: None,
        phys_in: None,
        phys_out: None,
    };
    run_hook(&mut cx, at, skb)
}

/// Rules alone, in a table that every packet passes.
fn rules(c: &mut Criterion) {
    let (ns, _) = NetNs::compile(config(vec![services(TableName::Mangle)]));
    let mut state = NetNsState::default();
    for (name, dst) in [("none", VIP + SERVICES), ("the last", VIP + SERVICES - 1)] {
        let Some(mut skb) = skb(&ns, dst) else { continue };
        c.bench_function(&format!("rules, null sink: {name} of 10,000 matches"), |b| {
            b.iter(|| at_prerouting(&ns, &mut state, black_box(&mut skb), &mut NullSink))
        });
        c.bench_function(&format!("rules, recorder: {name} of 10,000 matches"), |b| {
            b.iter(|| {
                let mut recorder = Recorder::default();
                recorder.begin(None, &skb);
                at_prerouting(&ns, &mut state, black_box(&mut skb), &mut recorder)
            })
        });
    }
}

fn received(ns: &NetNs, bytes: &[u8]) -> Option<Inject> {
    Some(Inject::Rx { dev: ns.dev("in0")?, packet: Packet::from_ethernet(bytes.to_vec())? })
}

fn walked<S: Sink>(ns: &NetNs, state: &mut NetNsState, inject: &Inject, sink: &mut S) -> End {
    walk(ns, state, inject.clone(), &mut Seeded::new(1), sink)
}

/// Whole walks, from the wire to the wire.
fn walks(c: &mut Criterion) {
    let tables = vec![services(TableName::Nat), filter()];
    let count: usize = tables.iter().flat_map(|t| &t.chains).map(|chain| chain.rules.len()).sum();
    assert_eq!(count, 80_007, "rules of the bench");
    let (ns, _) = NetNs::compile(config(tables));
    let fresh = NetNsState::default();
    let Some(new) = received(&ns, &frame(VIP + SERVICES - 1, 2, 1)) else { return };
    let mut state = fresh.clone();
    let end = walked(&ns, &mut state, &new, &mut NullSink);
    if end.disposition != Disposition::Forwarded {
        eprintln!("whole walks are not measured: the new packet ends {end:?}");
        return;
    }
    c.bench_function("walk, null sink: new packet, 10,000 rules passed over", |b| {
        b.iter_batched_ref(
            || fresh.clone(),
            |state| walked(&ns, state, &new, &mut NullSink),
            BatchSize::SmallInput,
        )
    });
    c.bench_function("walk, recorder: new packet, 10,000 rules passed over", |b| {
        b.iter_batched_ref(
            || fresh.clone(),
            |state| walked(&ns, state, &new, &mut Recorder::default()),
            BatchSize::SmallInput,
        )
    });
    c.bench_function("walk, null sink: packet of a known connection", |b| {
        b.iter(|| walked(&ns, &mut state, &new, &mut NullSink))
    });
    c.bench_function("walk, recorder: packet of a known connection", |b| {
        b.iter(|| walked(&ns, &mut state, &new, &mut Recorder::default()))
    });
}

/// The text of the rules, as iptables-save prints it.
fn text() -> String {
    let tables = vec![services(TableName::Nat), filter()];
    iptables::print(&SaveFile { family: Family::V4, header: None, tables }, false)
}

/// From text to what is walked through.
fn loaded(text: &str) -> NetNs {
    let (save, _) = iptables::parse(text.as_bytes(), 0, Family::V4);
    NetNs::compile(config(save.tables)).0
}

fn load(c: &mut Criterion) {
    let text = text();
    c.bench_function("load: 80,007 rules from iptables-save", |b| b.iter_with_large_drop(|| loaded(&text)));
}

/// The least nanoseconds that one call took on average, of several rounds: what else the machine does only makes it longer.
fn least(calls: u32, mut call: impl FnMut()) -> f64 {
    let mut least = f64::MAX;
    for _ in 0..30 {
        let start = Instant::now();
        for _ in 0..calls {
            call();
        }
        least = least.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(calls));
    }
    least
}

/// The budgets, each measured beside the yardstick.
fn budgets(_: &mut Criterion) {
    let bytes = frame(VIP, 2, 1);
    let one = least(20_000, || {
        black_box(etherparse::SlicedPacket::from_ethernet(black_box(&bytes)).is_ok());
    });
    let text = text();
    let load = least(1, || {
        black_box(loaded(&text));
    });
    let ns = loaded(&text);
    let Some(new) = received(&ns, &frame(VIP + SERVICES - 1, 2, 1)) else { return };
    // A connection that is new each time: its state is made before the clock starts.
    let fresh = NetNsState::default();
    let mut first = f64::MAX;
    let mut traced = f64::MAX;
    for _ in 0..2_000 {
        let (mut state, mut other) = (fresh.clone(), fresh.clone());
        let start = Instant::now();
        black_box(walked(&ns, &mut state, &new, &mut NullSink));
        first = first.min(start.elapsed().as_secs_f64() * 1e9);
        let start = Instant::now();
        black_box(walked(&ns, &mut other, &new, &mut Recorder::default()));
        traced = traced.min(start.elapsed().as_secs_f64() * 1e9);
    }
    let mut state = fresh.clone();
    walked(&ns, &mut state, &new, &mut NullSink);
    let known = least(2_000, || {
        black_box(walked(&ns, &mut state, &new, &mut NullSink));
    });
    let known_traced = least(2_000, || {
        black_box(walked(&ns, &mut state, &new, &mut Recorder::default()));
    });
    let line = |what: &str, ns: f64, budget: f64| {
        let ratio = ns / one;
        let word = if ratio <= budget { "met" } else { "MISSED" };
        println!("  {what:<52} {ns:>10.1} ns {ratio:>9.3} of {budget:>6.2}  {word}");
    };
    println!("budgets, in yardsticks of {one:.1} ns (etherparse slices a 254-byte TCP frame)");
    line("new packet, per rule passed over", first / f64::from(SERVICES), 0.12);
    line("packet of a known connection", known, 12.0);
    line("full trace of a new packet, beyond its verdict", (traced - first).max(0.0), 150.0);
    line("full trace of a known connection, beyond its verdict", (known_traced - known).max(0.0), 150.0);
    let word = if load <= 0.5e9 { "met" } else { "MISSED" };
    println!(
        "  {:<52} {:>10.1} ms           of 500 ms  {word}",
        "load of 80,007 rules, text to arrays",
        load / 1e6
    );
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = yardstick, rules, walks, load, budgets
}
criterion_main!(benches);
