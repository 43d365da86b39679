//! Rules through a hook, on small namespaces. What the kernel does with the same rules was seen on 6.18 (see `docs/model/`).

use std::net::IpAddr;

use pktwalk_packet::{EtherType, Ipv4Fields, MacAddr, Packet, checksum};

use super::{HookState, HookVerdict, run_hook};
use crate::choice::{Choice, ChoicePoint};
use crate::config::{Address, Device, DeviceKind, MissingState, NetNsConfig, Ruleset};
use crate::hook::{Backend, Family, Hook, TableName};
use crate::ids::{DevId, RuleId, SourceLine};
use crate::iptables::ast::*;
use crate::netns::{Cx, NetNs, NetNsState};
use crate::reason::{Because, Disposition, DropCode, End};
use crate::skb::{Dst, Skb, SkbCt, SkbSocket};
use crate::trace::{Assumption, Recorder, RuleVerdict, Sink, Step};

mod nearest;
mod targets;

const BACKENDS: [Backend; 2] = [Backend::Legacy, Backend::Nft];

/// Answers 0 or 1 in turn as told.
struct Always(u32);

impl Choice for Always {
    fn choose(&mut self, _: ChoicePoint) -> u32 {
        self.0
    }
}

fn rule(target: Target) -> Rule {
    Rule {
        ip: IpMatch::default(),
        matches: Vec::new(),
        target,
        counters: None,
        source: SourceLine::default(),
    }
}

impl Rule {
    /// With the protocol that the match needs.
    fn with(mut self, m: Match) -> Rule {
        let protocol = match m {
            Match::Tcp(_) | Match::Multiport(_) => Some(6),
            Match::Udp(_) => Some(17),
            Match::Icmp(_) => Some(1),
            _ => None,
        };
        self.ip.protocol = self.ip.protocol.or(protocol.map(Neg::is));
        self.matches.push(m);
        self
    }

    fn ip(mut self, set: impl FnOnce(&mut IpMatch)) -> Rule {
        set(&mut self.ip);
        self
    }
}

fn chain(name: &str, policy: Option<Policy>, rules: Vec<Rule>) -> Chain {
    Chain { name: name.to_owned(), policy, counters: None, rules, source: SourceLine::default() }
}

fn table(name: TableName, chains: Vec<Chain>) -> Table {
    Table { name, chains, source: SourceLine::default() }
}

fn ruleset(backend: Backend, tables: Vec<Table>) -> Ruleset {
    Ruleset { backend, save: SaveFile { family: Family::V4, header: None, tables }.into() }
}

fn device(name: &str, kind: DeviceKind, ifindex: u32, addr: [u8; 4]) -> Device {
    let mut device = Device::new(name, ifindex, kind, MacAddr([2, 0, 0, 0, 0, ifindex as u8]));
    device.addresses.push(Address {
        local: IpAddr::from(addr),
        prefix_len: if name == "lo" { 8 } else { 24 },
        peer: None,
        broadcast: None,
        scope: if name == "lo" { 254 } else { 0 },
        secondary: false,
    });
    device
}

fn config(rulesets: Vec<Ruleset>) -> NetNsConfig {
    let veth = DeviceKind::Veth { peer_ifindex: None, peer_netns: None };
    NetNsConfig {
        devices: vec![
            device("lo", DeviceKind::Loopback, 1, [127, 0, 0, 1]),
            device("eth0", veth.clone(), 2, [10, 0, 0, 1]),
            device("eth1", veth, 3, [10, 0, 1, 1]),
        ],
        rulesets,
        ..NetNsConfig::default()
    }
}

/// An IPv4 packet 10.0.0.2 > 10.0.1.2 with a mac header.
fn packet(protocol: u8, frag: u16, l4: &[u8]) -> Packet {
    let mut l3 = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 2, 10, 0, 1, 2];
    l3[6..8].copy_from_slice(&frag.to_be_bytes());
    let len = (l3.len() + l4.len()) as u16;
    l3[2..4].copy_from_slice(&len.to_be_bytes());
    let check = checksum::checksum(&l3);
    l3[10..12].copy_from_slice(&check.to_be_bytes());
    l3.extend(l4);
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 9, 8, 0];
    bytes.extend(l3);
    Packet::from_ethernet(bytes).unwrap()
}

/// A TCP header 1000 > 80 with a right checksum.
fn tcp(flags: u8, options: &[u8]) -> Vec<u8> {
    let offset = ((20 + options.len()) / 4) as u8;
    let mut l4 = vec![3, 232, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, offset << 4, flags, 255, 255, 0, 0, 0, 0];
    l4.extend(options);
    let check = tcp_checksum(&l4);
    l4[16..18].copy_from_slice(&check.to_be_bytes());
    l4
}

fn tcp_checksum(l4: &[u8]) -> u16 {
    checksum::finish(checksum::sum(l4, checksum::pseudo_header(0x0a00_0002, 0x0a00_0102, 6, l4.len() as u32)))
}

fn skb(packet: Packet) -> Skb {
    let ip = Ipv4Fields::parse(packet.l3()).unwrap();
    Skb { in_dev: Some(DevId(1)), ..Skb::new(packet, ip) }
}

fn syn() -> Skb {
    skb(packet(6, 0, &tcp(2, &[])))
}

/// A namespace, its state, and what a run of it told.
struct World {
    ns: NetNs,
    state: NetNsState,
    choice: Always,
}

impl World {
    fn new(config: NetNsConfig) -> World {
        World { ns: NetNs::compile(config).0, state: NetNsState::default(), choice: Always(0) }
    }

    /// One backend with a FORWARD chain of table filter, and user-defined chains.
    fn forward(backend: Backend, policy: Policy, rules: Vec<Rule>, user: Vec<(&str, Vec<Rule>)>) -> World {
        let mut chains = vec![
            chain("INPUT", Some(Policy::Accept), Vec::new()),
            chain("FORWARD", Some(policy), rules),
            chain("OUTPUT", Some(Policy::Accept), Vec::new()),
        ];
        chains.extend(user.into_iter().map(|(name, rules)| chain(name, None, rules)));
        World::new(config(vec![ruleset(backend, vec![table(TableName::Filter, chains)])]))
    }

    fn run(&mut self, hook: Hook, skb: &mut Skb) -> (Option<End>, Vec<Step>) {
        let at = HookState {
            hook,
            in_dev: (hook != Hook::Output).then_some(DevId(1)),
            out_dev: (hook != Hook::Prerouting && hook != Hook::Input).then_some(DevId(2)),
            phys_in: None,
            phys_out: None,
        };
        let mut sink = Recorder::default();
        sink.begin(None, skb);
        let mut cx = Cx {
            ns: &self.ns,
            state: &mut self.state,
            choice: &mut self.choice,
            sink: &mut sink,
            made: Vec::new(),
            undecided: None,
            backend_untold: false,
        };
        let end = match run_hook(&mut cx, at, skb) {
            HookVerdict::Accept => None,
            HookVerdict::End(end) => Some(end),
        };
        let steps = sink.packets.into_iter().flat_map(|p| p.steps).map(|s| s.step).collect();
        (end, steps)
    }

    /// Chain name, 1-based rule (0: end or policy), rules passed over, verdict; of FORWARD.
    fn story(&mut self, skb: &mut Skb) -> (Option<End>, Vec<String>) {
        let (end, steps) = self.run(Hook::Forward, skb);
        let name = |chain| self.ns.netfilter.chain_ast(&self.ns.config, chain).map_or("?", |c| &c.name);
        let lines = steps.iter().filter_map(|step| match *step {
            Step::Rule { rule, passed, verdict, .. } => {
                let (chain, position) = self.ns.netfilter.rule(rule)?;
                let verdict = match verdict {
                    RuleVerdict::Jump(to) => format!("jump {}", name(to)),
                    RuleVerdict::Goto(to) => format!("goto {}", name(to)),
                    other => format!("{other:?}").to_lowercase(),
                };
                Some(format!("{}:{position} +{passed} {verdict}", name(chain)))
            }
            Step::ChainEnd { chain, passed, .. } => Some(format!("{} end +{passed}", name(chain))),
            Step::ChainPolicy { chain, passed, policy, .. } => {
                Some(format!("{} policy +{passed} {policy:?}", name(chain)).to_lowercase())
            }
            _ => None,
        });
        (end, lines.collect())
    }
}

/// Whether the first rule of FORWARD, with this match and DROP, drops; `None` if that is not known.
fn holds_in(world: &mut World, skb: &mut Skb) -> Option<bool> {
    holds_at(world, Hook::Forward, skb)
}

fn holds_at(world: &mut World, hook: Hook, skb: &mut Skb) -> Option<bool> {
    match world.run(hook, skb).0 {
        None => Some(false),
        Some(end) if end.disposition == Disposition::Dropped && end.code == Some(DropCode::RuleDrop) => {
            Some(true)
        }
        Some(end) => {
            assert_eq!(end.disposition, Disposition::Unknown, "{end:?}");
            None
        }
    }
}

fn holds(backend: Backend, m: Match, skb: &mut Skb) -> Option<bool> {
    // Owners stand nowhere but where packets leave.
    let hook = if matches!(m, Match::Owner(_)) { Hook::Output } else { Hook::Forward };
    let chains = vec![chain(hook.name(), Some(Policy::Accept), vec![rule(Target::Drop).with(m)])];
    let tables = vec![table(TableName::Filter, chains)];
    holds_at(&mut World::new(config(vec![ruleset(backend, tables)])), hook, skb)
}

fn both(m: Match, mut skb: Skb) -> Option<bool> {
    let [legacy, nft] = BACKENDS.map(|backend| holds(backend, m.clone(), &mut skb));
    assert_eq!(legacy, nft, "{m:?}");
    nft
}

fn never() -> Match {
    Match::Mark(Neg::is(MarkMask { value: 9, mask: 255 }))
}

fn jump(to: &str) -> Target {
    Target::Jump(to.to_owned())
}

fn goto(to: &str) -> Target {
    Target::Goto(to.to_owned())
}

#[test]
fn chains_call_and_come_back() {
    for backend in BACKENDS {
        let rules = vec![
            rule(Target::None).with(never()),
            rule(jump("A")),
            rule(Target::None).with(never()),
            rule(goto("B")),
            rule(Target::Drop),
        ];
        let user = vec![
            ("A", vec![rule(goto("C")), rule(Target::Drop)]),
            ("B", vec![rule(jump("C")), rule(Target::None), rule(Target::Return), rule(Target::Drop)]),
            ("C", vec![rule(Target::None).with(never())]),
        ];
        let (end, story) = World::forward(backend, Policy::Drop, rules, user).story(&mut syn());
        assert_eq!(
            story,
            [
                "FORWARD:2 +1 jump A",
                "A:1 +0 goto C",
                "C end +1",
                "FORWARD:4 +1 goto B",
                "B:1 +0 jump C",
                "C end +1",
                "B:2 +0 continue",
                "B:3 +0 return",
                "forward policy +0 drop",
            ]
        );
        assert_eq!(end.and_then(|end| end.code), Some(DropCode::ChainPolicy));
    }
}

#[test]
fn the_end_of_a_base_chain_is_its_policy() {
    for backend in BACKENDS {
        let rules =
            vec![rule(jump("EMPTY")), rule(Target::Drop).with(never()), rule(Target::Drop).with(never())];
        let (end, story) =
            World::forward(backend, Policy::Accept, rules, vec![("EMPTY", vec![])]).story(&mut syn());
        assert_eq!(story, ["FORWARD:1 +0 jump EMPTY", "EMPTY end +0", "forward policy +2 accept"]);
        assert_eq!(end, None);
        let (end, story) =
            World::forward(backend, Policy::Accept, vec![rule(Target::Return), rule(Target::Drop)], vec![])
                .story(&mut syn());
        assert_eq!(
            (end, story),
            (None, vec!["FORWARD:1 +0 return".into(), "forward policy +0 accept".into()])
        );
    }
}

#[test]
fn loops_end() {
    for backend in BACKENDS {
        for target in [jump("A"), goto("A")] {
            let user = vec![("A", vec![rule(target)])];
            let (end, _) = World::forward(backend, Policy::Accept, vec![rule(jump("A"))], user)
                .run(Hook::Forward, &mut syn());
            assert_eq!(end.map(|end| end.disposition), Some(Disposition::LimitReached));
        }
    }
}

#[test]
fn loops_are_remarked_on() {
    let remarks = |user: Vec<(&str, Vec<Rule>)>| {
        let chains = user.into_iter().map(|(name, rules)| chain(name, None, rules)).collect();
        let config = config(vec![ruleset(Backend::Nft, vec![table(TableName::Filter, chains)])]);
        NetNs::compile(config).1.len()
    };
    assert_eq!(remarks(vec![("A", vec![rule(jump("A"))])]), 1);
    assert_eq!(
        remarks(vec![("A", vec![rule(jump("B"))]), ("B", vec![rule(Target::None), rule(goto("A"))])]),
        1
    );
    let twice = || vec![rule(jump("B")), rule(jump("B")), rule(goto("C"))];
    assert_eq!(remarks(vec![("A", twice()), ("B", vec![rule(jump("C"))]), ("C", vec![])]), 0);
    assert_eq!(remarks(vec![("A", vec![rule(jump("NOSUCH"))])]), 1);
}

#[test]
fn ip_tests() {
    let mask = |addr: [u8; 4], mask: [u8; 4]| AddrMask { addr: IpAddr::from(addr), mask: IpAddr::from(mask) };
    let dev = |name: &str, prefix| DevPattern { name: name.to_owned(), prefix };
    type Case = (IpMatch, bool);
    let of = |set: &dyn Fn(&mut IpMatch)| {
        let mut ip = IpMatch::default();
        set(&mut ip);
        ip
    };
    let cases: Vec<Case> = vec![
        (of(&|ip| ip.src = Some(Neg::is(mask([10, 0, 0, 0], [255, 0, 255, 0])))), true),
        (of(&|ip| ip.src = Some(Neg::is(mask([10, 0, 1, 0], [255, 0, 255, 0])))), false),
        (of(&|ip| ip.src = Some(Neg::is_not(mask([0, 0, 0, 0], [0, 0, 0, 0])))), false),
        (of(&|ip| ip.dst = Some(Neg::is_not(mask([10, 0, 1, 2], [255; 4])))), false),
        (of(&|ip| ip.dst = Some(Neg::is(mask([10, 0, 1, 2], [255; 4])))), true),
        (of(&|ip| ip.protocol = Some(Neg::is(6))), true),
        (of(&|ip| ip.protocol = Some(Neg::is_not(6))), false),
        (of(&|ip| ip.in_dev = Some(Box::new(Neg::is(dev("eth0", false))))), true),
        (of(&|ip| ip.in_dev = Some(Box::new(Neg::is(dev("eth", false))))), false),
        (of(&|ip| ip.in_dev = Some(Box::new(Neg::is(dev("eth", true))))), true),
        (of(&|ip| ip.in_dev = Some(Box::new(Neg::is_not(dev("eth0", true))))), false),
        (of(&|ip| ip.out_dev = Some(Box::new(Neg::is(dev("eth0", false))))), false),
        (of(&|ip| ip.out_dev = Some(Box::new(Neg::is_not(dev("nosuch", false))))), true),
        (of(&|ip| ip.fragment = Some(true)), false),
        (of(&|ip| ip.fragment = Some(false)), true),
    ];
    for backend in BACKENDS {
        for (ip, wanted) in &cases {
            let rules = vec![rule(Target::Drop).ip(|to| *to = ip.clone())];
            let mut world = World::forward(backend, Policy::Accept, rules, vec![]);
            assert_eq!(holds_in(&mut world, &mut syn()), Some(*wanted), "{ip:?}");
        }
    }
}

#[test]
fn an_absent_device_has_the_empty_name() {
    for backend in BACKENDS {
        for (pattern, wanted) in [
            (Neg::is(DevPattern { name: "eth0".into(), prefix: false }), false),
            (Neg::is_not(DevPattern { name: "eth0".into(), prefix: false }), true),
            (Neg::is(DevPattern { name: String::new(), prefix: true }), true),
        ] {
            let rules = vec![rule(Target::Drop).ip(|ip| ip.in_dev = Some(Box::new(pattern.clone())))];
            // OUTPUT itself takes no `-i`.
            let chains =
                vec![chain("OUTPUT", Some(Policy::Accept), vec![rule(jump("A"))]), chain("A", None, rules)];
            let mut world =
                World::new(config(vec![ruleset(backend, vec![table(TableName::Filter, chains)])]));
            let (end, _) = world.run(Hook::Output, &mut syn());
            assert_eq!(end.map(|end| end.disposition), wanted.then_some(Disposition::Dropped), "{pattern:?}");
        }
    }
}

fn tcp_match(set: impl FnOnce(&mut TcpMatch)) -> Match {
    let mut m = TcpMatch::default();
    set(&mut m);
    Match::Tcp(m)
}

fn ports(lo: u16, hi: u16) -> PortRange {
    PortRange { lo, hi }
}

#[test]
fn tcp_ports_flags_and_options() {
    let dport = |m: &mut TcpMatch| m.dport = Some(Neg::is(ports(80, 90)));
    assert_eq!(both(tcp_match(dport), syn()), Some(true));
    assert_eq!(both(tcp_match(|m| m.sport = Some(Neg::is_not(ports(1000, 1000)))), syn()), Some(false));
    let flags = TcpFlags { mask: 0x17, comp: 2 };
    assert_eq!(both(tcp_match(|m| m.flags = Some(Neg::is(flags))), syn()), Some(true));
    assert_eq!(
        both(tcp_match(|m| m.flags = Some(Neg::is(flags))), skb(packet(6, 0, &tcp(18, &[])))),
        Some(false)
    );
    let option = |not| tcp_match(|m| m.option = Some(Neg { not, value: 3 }));
    let with = || skb(packet(6, 0, &tcp(2, &[1, 2, 4, 5, 180, 3, 3, 7])));
    assert_eq!(both(option(false), with()), Some(true));
    assert_eq!(both(option(true), with()), Some(false));
    assert_eq!(both(option(false), syn()), Some(false));
    assert_eq!(both(option(true), syn()), Some(true));
}

/// What `nft --debug=netlink` shows of rules that iptables-nft 1.8.9 loaded, and which packets then matched.
#[test]
fn iptables_nft_leaves_tests_of_nothing_out() {
    let each = |m: Match| {
        [holds(Backend::Legacy, m.clone(), &mut syn()), holds(Backend::Nft, m, &mut syn())]
            .map(|m| m == Some(true))
    };
    let flags =
        |mask, comp, not| each(tcp_match(|m| m.flags = Some(Neg { not, value: TcpFlags { mask, comp } })));
    assert_eq!(flags(0, 2, false), [false, true]);
    assert_eq!(flags(0, 0, true), [false, true]);
    assert_eq!(flags(0, 2, true), [true, true]);
    let ports = |not| each(tcp_match(|m| m.sport = Some(Neg { not, value: ports(0, 65535) })));
    assert_eq!(ports(true), [false, true]);
    assert_eq!(ports(false), [true, true]);
}

/// What the kernel did with raw packets cut short and with fragments, per backend: matched, passed on, or dropped by the match.
#[test]
fn short_headers_and_fragments() {
    #[derive(PartialEq, Debug, Clone, Copy)]
    enum Seen {
        Held,
        Pass,
        Hotdrop,
    }
    use Seen::{Held, Hotdrop, Pass};
    let dport = || tcp_match(|m| m.dport = Some(Neg::is(ports(80, 80))));
    let plain = || tcp_match(|_| ());
    let syn = || tcp_match(|m| m.flags = Some(Neg::is(TcpFlags { mask: 0x17, comp: 2 })));
    let option = || tcp_match(|m| m.option = Some(Neg::is(2)));
    let multiport = || {
        Match::Multiport(MultiportMatch {
            kind: MultiportKind::Destination,
            not: false,
            ports: vec![MultiportEntry { range: ports(80, 80), is_range: false }],
        })
    };
    // Fragment offset, bytes of l4, match, legacy, nft.
    let cases = [
        (0, 0, dport(), Hotdrop, Pass),
        (0, 3, dport(), Hotdrop, Pass),
        (0, 4, dport(), Hotdrop, Held),
        (0, 20, dport(), Held, Held),
        (1, 30, dport(), Hotdrop, Held),
        (2, 30, dport(), Pass, Held),
        (0, 4, plain(), Hotdrop, Hotdrop),
        (1, 30, plain(), Hotdrop, Hotdrop),
        (2, 30, plain(), Pass, Pass),
        (0, 4, syn(), Hotdrop, Pass),
        (0, 14, syn(), Hotdrop, Held),
        (2, 30, syn(), Pass, Held),
        (0, 14, option(), Hotdrop, Hotdrop),
        (0, 20, option(), Pass, Pass),
        (0, 3, multiport(), Hotdrop, Hotdrop),
        (0, 4, multiport(), Held, Held),
        (1, 30, multiport(), Pass, Pass),
    ];
    let mut l4 = vec![0, 80, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2];
    l4.resize(60, 0);
    for (frag, len, m, legacy, nft) in cases {
        for (backend, wanted) in [(Backend::Legacy, legacy), (Backend::Nft, nft)] {
            let rules = vec![rule(Target::Drop).with(m.clone())];
            let mut world = World::forward(backend, Policy::Accept, rules, vec![]);
            let mut skb = skb(packet(6, frag, &l4[..len]));
            let seen = match world.run(Hook::Forward, &mut skb).0.and_then(|end| end.code) {
                None => Pass,
                Some(DropCode::Hotdrop) => Hotdrop,
                Some(code) => {
                    assert_eq!(code, DropCode::RuleDrop);
                    Held
                }
            };
            assert_eq!(seen, wanted, "{backend} {frag} {len} {m:?}");
        }
    }
}

#[test]
fn a_cut_capture_is_not_a_short_packet() {
    let whole = packet(6, 0, &tcp(2, &[]));
    let cut = Packet::from_l3(EtherType::IPV4, whole.l3()[..22].to_vec()).with_missing(18);
    let m = tcp_match(|m| m.dport = Some(Neg::is(ports(80, 80))));
    assert_eq!(both(m, skb(cut)), None);
}

#[test]
fn udp_icmp_and_multiport() {
    let udp = || skb(packet(17, 0, &[0, 53, 0, 53, 0, 8, 0, 0]));
    let m = |not| Match::Udp(UdpMatch { sport: None, dport: Some(Neg { not, value: ports(53, 53) }) });
    assert_eq!(both(m(false), udp()), Some(true));
    assert_eq!(both(m(true), udp()), Some(false));
    let icmp = |icmp_type, code_lo, code_hi, not| Match::Icmp(IcmpMatch { not, icmp_type, code_lo, code_hi });
    let echo = || skb(packet(1, 0, &[8, 0, 0, 0, 0, 1, 0, 1]));
    assert_eq!(both(icmp(8, 0, 255, false), echo()), Some(true));
    assert_eq!(both(icmp(8, 1, 1, false), echo()), Some(false));
    assert_eq!(both(icmp(255, 0, 255, false), echo()), Some(true));
    assert_eq!(both(icmp(255, 0, 255, true), echo()), Some(false));
    let entry = |lo, hi| MultiportEntry { range: ports(lo, hi), is_range: lo != hi };
    for (kind, not, wanted) in [
        (MultiportKind::Source, false, true),
        (MultiportKind::Destination, false, false),
        (MultiportKind::Either, false, true),
        (MultiportKind::Destination, true, true),
    ] {
        let m = Match::Multiport(MultiportMatch { kind, not, ports: vec![entry(7, 7), entry(900, 1000)] });
        assert_eq!(both(m, syn()), Some(wanted), "{kind:?} {not}");
    }
}

#[test]
fn a_state_that_holds_decides_alone_without_an_entry() {
    let test = |set: &dyn Fn(&mut ConntrackMatch)| {
        let mut m = ConntrackMatch::default();
        set(&mut m);
        let rules = vec![rule(Target::Drop).with(Match::Conntrack(Box::new(m)))];
        // Straight into the chain: conntrack itself is not asked here.
        let mut world = World::forward(Backend::Legacy, Policy::Accept, rules, vec![]);
        holds_in(&mut world, &mut syn())
    };
    let any = AddrMask { addr: IpAddr::from([1, 2, 3, 4]), mask: IpAddr::from([255; 4]) };
    assert_eq!(test(&|m| m.state = Some(Neg::is(CtStateSet::INVALID))), Some(true));
    let both = |m: &mut ConntrackMatch| {
        m.state = Some(Neg::is(CtStateSet::INVALID));
        m.orig_src = Some(Neg::is(any));
    };
    assert_eq!(test(&both), Some(true));
    assert_eq!(test(&|m| m.orig_src = Some(Neg::is_not(any))), Some(false));
    assert_eq!(test(&|m| m.status = Some(Neg::is_not(0))), Some(false));
    assert_eq!(test(&|m| m.state = Some(Neg::is_not(CtStateSet::NEW))), Some(true));
}

#[test]
fn marks() {
    for backend in BACKENDS {
        let rules = vec![
            rule(Target::Mark(MarkMask { value: 0x14, mask: 0xff })),
            rule(Target::Mark(MarkMask { value: 0x10, mask: 0 })),
            rule(Target::Drop).with(Match::Mark(Neg::is(MarkMask { value: 4, mask: 0xff }))),
        ];
        let mut world = World::forward(backend, Policy::Accept, rules, vec![]);
        let mut skb = syn();
        skb.mark = 0x7733;
        let (end, steps) = world.run(Hook::Forward, &mut skb);
        assert!(end.is_some());
        assert_eq!(skb.mark, 0x7704);
        assert!(matches!(steps[1], Step::Rule { mark_before: 0x7733, mark: 0x7714, .. }));
    }
}

#[test]
fn side_effects_happen_left_of_a_failing_match_only() {
    let nth = Match::Statistic(StatisticMatch::Nth { not: false, every: 2, packet: 0 });
    let run = |matches: [Match; 2]| {
        let mut first = rule(Target::Drop);
        first.matches.extend(matches);
        let mut world = World::forward(Backend::Nft, Policy::Accept, vec![first], vec![]);
        let mut marked = syn();
        marked.mark = 9;
        [holds_in(&mut world, &mut syn()), holds_in(&mut world, &mut marked)]
    };
    assert_eq!(run([nth.clone(), never()]), [Some(false), Some(false)]);
    assert_eq!(run([never(), nth]), [Some(false), Some(true)]);
}

fn times(m: Match, world_time: impl Fn(usize) -> u64, count: usize, backend: Backend) -> Vec<bool> {
    let rules = vec![rule(Target::Drop).with(m)];
    let mut world = World::forward(backend, Policy::Accept, rules, vec![]);
    (0..count)
        .map(|n| {
            world.state.now_ns = world_time(n);
            holds_in(&mut world, &mut syn()).unwrap()
        })
        .collect()
}

#[test]
fn statistic() {
    let nth = |not, every, packet| Match::Statistic(StatisticMatch::Nth { not, every, packet });
    let t = |m| times(m, |_| 0, 6, Backend::Legacy);
    assert_eq!(t(nth(false, 3, 0)), [true, false, false, true, false, false]);
    assert_eq!(t(nth(false, 3, 2)), [false, false, true, false, false, true]);
    assert_eq!(t(nth(true, 3, 1)), [true, false, true, true, false, true]);
    assert_eq!(t(nth(false, 1, 0)), [true; 6]);
    let random = |not| Match::Statistic(StatisticMatch::Random { not, threshold: 1 << 30 });
    assert_eq!((both(random(false), syn()), both(random(true), syn())), (Some(false), Some(true)));
}

#[test]
fn a_random_statistic_says_that_it_is_left_to_chance() {
    let choices = |threshold, drawn| {
        let m = Match::Statistic(StatisticMatch::Random { not: false, threshold });
        let rules = vec![rule(Target::Drop).with(m)];
        let mut world = World::forward(Backend::Legacy, Policy::Accept, rules, vec![]);
        world.choice = Always(drawn);
        let (_, steps) = world.run(Hook::Forward, &mut syn());
        steps.iter().filter(|step| matches!(step, Step::Assumed(Assumption::Choice(_)))).count()
    };
    assert_eq!((choices(1 << 30, 0), choices(1 << 30, 1)), (1, 1), "whether it matches or not");
    assert_eq!((choices(0, 0), choices(1 << 31, 1)), (0, 0), "never and always are no choices");
}

#[test]
fn limit_gives_its_burst_then_its_rate() {
    for backend in BACKENDS {
        let m = Match::Limit(LimitMatch { avg: 10_000, burst: 3 });
        // Five at once, then one every half second.
        let clock = |n: usize| n.saturating_sub(4) as u64 * 500_000_000;
        let seen = times(m, clock, 10, backend);
        assert_eq!(seen, [true, true, true, false, false, false, true, false, true, false], "{backend}");
    }
}

#[test]
fn hashlimit_keeps_a_bucket_for_each_key() {
    let m = |above| {
        Match::Hashlimit(Box::new(HashlimitMatch {
            name: "h".into(),
            above,
            rate: HashlimitRate::Packets(1_000_000),
            burst: Some(2),
            mode: HashlimitMode { src_ip: true, ..HashlimitMode::default() },
            src_mask: 32,
            dst_mask: 32,
            size: None,
            max: None,
            gc_interval: None,
            expire: None,
            rate_match: false,
            rate_interval: None,
        }))
    };
    for backend in BACKENDS {
        assert_eq!(times(m(false), |_| 0, 4, backend), [true, true, false, false]);
        assert_eq!(times(m(true), |_| 0, 4, backend), [false, false, true, true]);
        assert_eq!(
            times(m(false), |n| n as u64 * 500_000_000, 6, backend),
            [true, true, true, false, true, false]
        );
    }
}

fn recent(action: RecentAction, set: impl FnOnce(&mut RecentMatch)) -> Match {
    let mut m = RecentMatch {
        not: false,
        action,
        seconds: 0,
        reap: false,
        hitcount: 0,
        rttl: false,
        name: "r".into(),
        mask: IpAddr::from([255; 4]),
        dest: false,
    };
    set(&mut m);
    Match::Recent(Box::new(m))
}

#[test]
fn recent_counts_hits_in_a_window() {
    for backend in BACKENDS {
        let rules = vec![
            rule(Target::Drop).with(recent(RecentAction::Update, |m| (m.seconds, m.hitcount) = (10, 3))),
            rule(Target::None).with(recent(RecentAction::Set, |_| ())),
        ];
        let mut world = World::forward(backend, Policy::Accept, rules, vec![]);
        let mut seen = Vec::new();
        for second in [0, 1, 2, 3, 4, 30, 31] {
            world.state.now_ns = second * 1_000_000_000;
            seen.push(holds_in(&mut world, &mut syn()).unwrap());
        }
        assert_eq!(seen, [false, false, false, true, true, false, false]);
    }
    // Not listed, and inverted.
    assert_eq!(both(recent(RecentAction::Rcheck, |_| ()), syn()), Some(false));
    assert_eq!(both(recent(RecentAction::Rcheck, |m| m.not = true), syn()), Some(true));
    assert_eq!(both(recent(RecentAction::Set, |_| ()), syn()), Some(true));
}

#[test]
fn recent_takes_as_many_hits_as_the_kernel() {
    let read = |hits: &str| {
        let text = format!(
            "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m recent --rcheck --hitcount {hits}\nCOMMIT\n"
        );
        let (save, diagnostics) = crate::iptables::parse(text.as_bytes(), 0, Family::V4);
        let matches = save.tables.first().and_then(|table| table.chains.iter().flat_map(|c| &c.rules).next());
        (matches.map(|rule| rule.matches.clone()).unwrap(), diagnostics.len())
    };
    assert!(matches!(read("65535"), (matches, 0) if matches!(matches[..], [Match::Recent(_)])));
    for hits in ["65536", "2147483649", "4294967295"] {
        let (matches, said) = read(hits);
        assert!(matches!(matches[..], [Match::Unmodelled(_)]) && said > 0, "{hits}: {matches:?}");
    }
    // Whatever is written by hand: no overflow.
    assert_eq!(both(recent(RecentAction::Rcheck, |m| m.hitcount = u32::MAX), syn()), Some(false));
}

#[test]
fn addresses() {
    let range = |a: [u8; 4], b: [u8; 4], not| Neg { not, value: (IpAddr::from(a), IpAddr::from(b)) };
    let m = |src| Match::Iprange(IprangeMatch { src: Some(src), dst: None }.into());
    assert_eq!(both(m(range([10, 0, 0, 2], [10, 0, 0, 2], false)), syn()), Some(true));
    assert_eq!(both(m(range([10, 0, 0, 1], [10, 0, 0, 3], true)), syn()), Some(false));
    let local = AddrTypeSet(1 << 2);
    let dst = |value, limit_iface_out| {
        Match::Addrtype(AddrtypeMatch { dst: Some(value), limit_iface_out, ..AddrtypeMatch::default() })
    };
    let mut to_us = packet(6, 0, &tcp(2, &[]));
    to_us.l3_mut()[16..20].copy_from_slice(&[10, 0, 0, 1]);
    assert_eq!(both(dst(Neg::is(local), false), syn()), Some(false));
    assert_eq!(both(dst(Neg::is(local), false), skb(to_us.clone())), Some(true));
    // Local, but not of the device that it leaves by.
    assert_eq!(both(dst(Neg::is(local), true), skb(to_us)), Some(false));
}

#[test]
fn mac_pkttype_and_physdev() {
    let mac = |last, not| Match::Mac(Neg { not, value: MacAddr([2, 0, 0, 0, 0, last]) });
    assert_eq!(both(mac(9, false), syn()), Some(true));
    assert_eq!(both(mac(8, true), syn()), Some(true));
    let bare = Packet::from_l3(EtherType::IPV4, syn().packet.l3().to_vec());
    assert_eq!(both(mac(8, true), skb(bare)), Some(false));
    assert_eq!(both(Match::Pkttype(Neg::is(PktType::Unicast)), syn()), Some(true));
    assert_eq!(both(Match::Pkttype(Neg::is_not(PktType::Unicast)), syn()), Some(false));
    let physdev =
        |is_bridged| Match::Physdev(Box::new(PhysdevMatch { is_bridged, ..PhysdevMatch::default() }));
    assert_eq!(both(physdev(Some(true)), syn()), Some(false));
    assert_eq!(both(physdev(Some(false)), syn()), Some(true));
}

#[test]
fn owner() {
    let uid = |not| {
        Match::Owner(OwnerMatch { uid: Some(Neg { not, value: (1000, 1000) }), ..OwnerMatch::default() })
    };
    let exists = |wanted| Match::Owner(OwnerMatch { socket_exists: Some(wanted), ..OwnerMatch::default() });
    let with = |uid| {
        let mut skb = syn();
        skb.sk = Some(SkbSocket { uid, gid: uid, bound_dev: None, raw: false });
        skb
    };
    assert_eq!(both(uid(false), with(Some(1000))), Some(true));
    assert_eq!(both(uid(true), with(Some(1000))), Some(false));
    assert_eq!(both(uid(false), syn()), Some(false));
    assert_eq!(both(uid(true), syn()), Some(true));
    assert_eq!(both(uid(true), with(None)), Some(true));
    assert_eq!(both(exists(true), with(None)), Some(true));
    assert_eq!(both(exists(false), with(None)), Some(false));
    assert_eq!(both(exists(false), syn()), Some(true));
}

#[test]
fn what_is_not_modelled_is_named() {
    let unmodelled = |name: &str| Unmodelled { name: name.into(), words: Vec::new() };
    for backend in BACKENDS {
        let rules = vec![
            rule(Target::None),
            rule(Target::Drop).with(Match::Comment("c".into())).with(Match::Unmodelled(unmodelled("time"))),
        ];
        let (end, _) = World::forward(backend, Policy::Accept, rules, vec![]).run(Hook::Forward, &mut syn());
        assert!(
            matches!(end.and_then(|e| e.because), Some(Because::Match { rule, position: 1 }) if rule.0 == 1)
        );
        let rules = vec![rule(Target::Unmodelled(Box::new(unmodelled("TTL"))))];
        let (end, _) = World::forward(backend, Policy::Accept, rules, vec![]).run(Hook::Forward, &mut syn());
        assert!(matches!(end.and_then(|e| e.because), Some(Because::Target { .. })));
    }
    let set = SetMatch {
        not: false,
        name: "nosuch".into(),
        dirs: vec![SetDir::Src],
        return_nomatch: false,
        no_update_counters: false,
        no_update_subcounters: false,
        packets: None,
        bytes: None,
    };
    assert_eq!(both(Match::Set(set.into()), syn()), None);
}

#[test]
fn conntrack_is_on_while_some_rule_refers_to_it() {
    let on = |rules: Vec<Rule>| {
        World::forward(Backend::Nft, Policy::Accept, vec![], vec![("UNREACHED", rules)])
            .ns
            .netfilter
            .conntrack_on()
    };
    assert!(!on(vec![rule(Target::Accept), rule(Target::Drop).with(never())]));
    assert!(on(vec![rule(Target::Drop).with(Match::State(Neg::is(CtStateSet::NEW)))]));
    assert!(on(vec![rule(Target::Masquerade(Box::default()))]));
    assert!(on(vec![rule(Target::Ct(CtTarget::default().into()))]));
    assert!(!on(vec![rule(Target::Ct(CtTarget { notrack: true, ..CtTarget::default() }.into()))]));
    let connlimit = Unmodelled { name: "connlimit".into(), words: Vec::new() };
    assert!(on(vec![rule(Target::Drop).with(Match::Unmodelled(connlimit))]));
}

#[test]
fn fragments_are_not_put_together() {
    let state = Match::State(Neg::is(CtStateSet::NEW));
    let chains = vec![chain("PREROUTING", Some(Policy::Accept), vec![rule(Target::None).with(state)])];
    let mut world = World::new(config(vec![ruleset(Backend::Nft, vec![table(TableName::Mangle, chains)])]));
    let (end, _) = world.run(Hook::Prerouting, &mut skb(packet(6, 0x2000, &tcp(2, &[]))));
    assert_eq!(end.and_then(|end| end.because), Some(Because::NotModelled("reassembly of fragments")));
}

#[test]
fn the_backend_that_came_last_runs_first() {
    let filter =
        |target| table(TableName::Filter, vec![chain("FORWARD", Some(Policy::Accept), vec![rule(target)])]);
    let rulesets = vec![
        ruleset(Backend::Legacy, vec![filter(Target::Drop)]),
        ruleset(Backend::Nft, vec![filter(Target::Mark(MarkMask { value: 7, mask: 255 }))]),
    ];
    let mut world = World::new(config(rulesets.clone()));
    assert!(world.ns.netfilter.order_matters());
    let mut skb = syn();
    let (end, steps) = world.run(Hook::Forward, &mut skb);
    assert_eq!((end.and_then(|end| end.code), skb.mark), (Some(DropCode::RuleDrop), 7));
    assert_eq!(steps.iter().filter(|step| matches!(step, Step::ChainEnter { .. })).count(), 2);
    let unknown = NetNsConfig { missing: vec![MissingState::RegistrationOrder], ..config(rulesets) };
    let (end, _) = World::new(unknown).run(Hook::Forward, &mut syn());
    assert_eq!(end.and_then(|end| end.because), Some(Because::RegistrationOrder { hook: Hook::Forward }));
}

#[test]
fn tables_of_x_tables_are_whole() {
    let chains = vec![chain("INPUT", Some(Policy::Accept), Vec::new())];
    let steps = |backend| {
        let tables = vec![table(TableName::Filter, chains.clone())];
        World::new(config(vec![ruleset(backend, tables)])).run(Hook::Forward, &mut syn()).1.len()
    };
    assert_eq!((steps(Backend::Legacy), steps(Backend::Nft)), (2, 0));
}

#[test]
fn rules_and_chains_know_their_place() {
    let world = World::forward(
        Backend::Nft,
        Policy::Accept,
        vec![rule(Target::None), rule(Target::Drop)],
        vec![("A", vec![]), ("B", vec![rule(Target::Return)])],
    );
    let netfilter = &world.ns.netfilter;
    for chain in netfilter.chains() {
        let place = netfilter.chain(chain).unwrap();
        for position in 1..=place.rules {
            let rule = netfilter.rule_at(chain, position).unwrap();
            assert_eq!(netfilter.rule(rule), Some((chain, position)));
            assert!(netfilter.rule_ast(&world.ns.config, rule).is_some());
        }
        assert_eq!(netfilter.rule_at(chain, place.rules + 1), None);
        assert_eq!(netfilter.rule_at(chain, 0), None);
    }
    assert_eq!(world.ns.netfilter.base_chains(Hook::Forward, TableName::Filter).len(), 1);
}
