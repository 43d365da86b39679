//! The kernel's random choices, read back from what it did, so that the model can make the same ones.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pktwalk_linux::choice::{Choice, ChoicePoint, MS_PER_DAY, Seeded};
use pktwalk_linux::config::{NetNsConfig, Nexthop};
use pktwalk_linux::conntrack::tuple::{CtL4, CtTuple};
use pktwalk_linux::hook::{Backend, Hook, TableName};
use pktwalk_linux::ids::{RouteId, RuleId};
use pktwalk_linux::iptables::ast::{Match, StatisticMatch};
use pktwalk_linux::netns::NetNs;
use pktwalk_linux::trace::Manip;
use pktwalk_linux::walk::assumed_mac;
use pktwalk_packet::{Ipv4Fields, MacAddr};
use pktwalk_scenario::event::{At, CtSnapshot, EngineRun, FrameOut, PacketRun, SendRun};
use pktwalk_scenario::model::Choices;

use crate::engine::KernelRun;
use crate::identity::Identity;
use crate::passes::Passes;

/// The choices of every packet of a case that the kernel ran.
#[derive(Clone, Debug)]
pub struct Replay(KernelRun);

impl Replay {
    /// Of a run of the same case.
    pub fn new(run: KernelRun) -> Replay {
        Replay(run)
    }

    /// Of a run whose ids of made packets were not kept: they are read from the frames. A made packet that never left takes any id.
    pub fn of(run: &EngineRun) -> Replay {
        let ids = |send: &SendRun| {
            let made = send.packets.iter().skip(1);
            // Resets have id 0 by construction: that was no choice.
            let id = |packet: &PacketRun| match packet.frames.first().map(|f| Identity::of(f.packet.l3())) {
                Some(Some(made)) => (!made.is_reset()).then_some(made.id),
                _ => Some(1),
            };
            made.filter_map(id).collect()
        };
        Replay(KernelRun { made_ids: run.sends.iter().map(ids).collect(), run: run.clone() })
    }
}

impl Choices for Replay {
    fn for_send(&mut self, send: usize, ns: &NetNs) -> Box<dyn Choice> {
        let ids = self.0.made_ids.get(send).cloned().unwrap_or_default();
        match self.0.run.sends.get(send) {
            Some(run) => Box::new(SendReplay::new(ns, run, ids)),
            None => Box::new(Seeded::new(0)),
        }
    }

    fn time(&self, send: usize) -> Option<u64> {
        self.0.run.sends.get(send)?.at_ns
    }
}

/// Where a rule stands, by names, as the kernel tells it.
type Position<'a> = (Backend, TableName, &'a str, u32);

/// A rule with a random statistic.
#[derive(Debug)]
struct Random {
    not: bool,
    /// How often each packet still has to match, in the kernel's numbers, at a hook, in each of its passes.
    matches: BTreeMap<(Hook, usize, usize), u32>,
    /// How many passes each packet has at a hook.
    passes: BTreeMap<(Hook, usize), usize>,
}

/// The choices of one sent packet.
#[derive(Debug)]
struct SendReplay {
    random: BTreeMap<RuleId, Random>,
    /// The packets begun so far, in the kernel's numbers: it does not tell a copy from what it is a copy of.
    begun: Vec<usize>,
    /// The one that goes on, in the kernel's numbers.
    current: usize,
    /// Which copy of that one it is, if it is one: copies go before what they are copies of.
    copy: Option<usize>,
    /// Of each packet begun so far which copy it is.
    copies: Vec<Option<usize>>,
    /// The last of them that is no copy.
    last: Option<usize>,
    /// Which packet each was made because of, in the kernel's numbers.
    parents: Vec<Option<u32>>,
    conntrack: Vec<CtSnapshot>,
    /// Routes with several nexthops: the draw that takes the one that each packet left by, in the kernel's numbers.
    nexthops: BTreeMap<(RouteId, usize), u32>,
    /// What timestamp replies told of the time, in the kernel's numbers.
    times: BTreeMap<usize, u32>,
    /// IP ids of packets that were made, in order.
    ids: std::vec::IntoIter<u16>,
    /// Where the kernel left no sign.
    otherwise: Seeded,
}

impl SendReplay {
    fn new(ns: &NetNs, run: &SendRun, ids: Vec<u16>) -> SendReplay {
        let mut matched: BTreeMap<Position<'_>, BTreeMap<(Hook, usize, usize), u32>> = BTreeMap::new();
        let passes = Passes::of(run);
        for (number, pass, event) in &passes.events {
            if let At::Rule(position) = event.at {
                let rule = (event.backend, event.table, event.chain.as_str(), position);
                let of_rule = matched.entry(rule).or_default();
                *of_rule.entry((event.hook, *number, *pass)).or_default() += 1;
            }
        }
        let mut random = BTreeMap::new();
        for rule in (0u32..).map(RuleId) {
            let Some((chain, position)) = ns.netfilter.rule(rule) else { break };
            let Some(ast) = ns.netfilter.rule_ast(&ns.config, rule) else { continue };
            let not = ast.matches.iter().find_map(|m| match m {
                Match::Statistic(StatisticMatch::Random { not, .. }) => Some(*not),
                _ => None,
            });
            let (Some(not), Some(name)) = (not, ns.netfilter.chain_ast(&ns.config, chain)) else { continue };
            let place = ns.netfilter.chain(chain);
            let key = place.map(|place| (place.backend, place.table, name.name.as_str(), position));
            let matches = key.and_then(|key| matched.get(&key)).cloned().unwrap_or_default();
            let passes = key.map(|(backend, table, ..)| passes.of_table(backend, table));
            random.insert(rule, Random { not, matches, passes: passes.unwrap_or_default() });
        }
        let frames = left(&ns.config, run);
        let multipath = (0u32..).zip(&ns.config.routes).filter(|(_, route)| route.nexthops.len() > 1);
        let mut nexthops = BTreeMap::new();
        for (route, _) in multipath {
            for (number, frames) in frames.iter().enumerate() {
                let position = nexthop(ns, RouteId(route), frames);
                if let Some(draw) = position.and_then(|at| ns.fib.draw_of(RouteId(route), at)) {
                    nexthops.insert((RouteId(route), number), draw);
                }
            }
        }
        SendReplay {
            random,
            begun: Vec::new(),
            current: 0,
            copy: None,
            copies: Vec::new(),
            last: None,
            parents: run.packets.iter().map(|packet| packet.parent).collect(),
            conntrack: run.conntrack.clone(),
            nexthops,
            times: run
                .packets
                .iter()
                .enumerate()
                .filter_map(|(at, made)| Some((at, told_time(made)?)))
                .collect(),
            ids: ids.into_iter(),
            otherwise: Seeded::new(0),
        }
    }

    /// Whether the random half of a rule came out true: the rule matched, or its statistic is inverted and it did not.
    fn statistic(&mut self, rule: RuleId, hook: Hook) -> Option<u32> {
        let random = self.random.get_mut(&rule)?;
        let last = random.passes.get(&(hook, self.current)).map_or(0, |passes| passes.saturating_sub(1));
        let pass = self.copy.map_or(last, |copy| copy.min(last));
        let matches = random.matches.entry((hook, self.current, pass)).or_default();
        let hit = *matches > 0;
        *matches = matches.saturating_sub(1);
        Some(u32::from(hit != random.not))
    }

    /// Which of the packets made because of the one that goes on will be the `nth` to begin, in the kernel's numbers.
    fn answer(&self, nth: u32) -> Option<usize> {
        let parents = self.parents.iter().enumerate();
        let made = parents.filter(|(_, parent)| parent.is_some_and(|parent| parent as usize == self.current));
        made.map(|(number, _)| number).filter(|number| !self.begun.contains(number)).nth(nth as usize)
    }

    /// The port that one half of the connection with this original tuple, in this zone, got.
    fn port(&self, original: CtTuple, zone: u16, manip: Manip) -> Option<u32> {
        let entry = self.conntrack.iter().find(|entry| (entry.original, entry.zone) == (original, zone))?;
        // The source half shows in the reply's destination, the other half in the reply's source.
        let port = match manip {
            Manip::Src => destination(entry.reply),
            Manip::Dst => source(entry.reply),
        };
        port.map(u32::from)
    }
}

/// The receive time of a timestamp reply, where it left and has one that is of a day: any other is no time that the kernel's clock has.
fn told_time(made: &PacketRun) -> Option<u32> {
    let l3 = made.frames.first()?.packet.l3();
    let ip = Ipv4Fields::parse(l3).ok().filter(|ip| ip.protocol == 1 && ip.frag_offset == 0)?;
    let l4 = l3.get(usize::from(ip.header_len)..).filter(|l4| l4.first() == Some(&14))?;
    let time = l4.get(12..16)?.first_chunk().map(|time| u32::from_be_bytes(*time));
    time.filter(|time| *time < MS_PER_DAY)
}

/// What a frame says of its next hop: the device that routing knows (a bridge for its ports), and whose address it carries.
type Left = (String, Option<MacAddr>);

/// Per packet, the frames that left.
fn left(config: &NetNsConfig, run: &SendRun) -> Vec<Vec<Left>> {
    let master = |name: &str| {
        let device = config.devices.iter().find(|device| device.name == name);
        device.and_then(|device| device.master.clone()).unwrap_or_else(|| name.to_owned())
    };
    let frame = |frame: &FrameOut| (master(&frame.dev), frame.packet.mac_dst());
    run.packets.iter().map(|packet| packet.frames.iter().map(frame).collect()).collect()
}

/// The nexthop of `route` that `frames` left by, where only one fits.
fn nexthop(ns: &NetNs, route: RouteId, frames: &[Left]) -> Option<u32> {
    let hops = &ns.config.routes.get(route.0 as usize)?.nexthops;
    let fits = |hop: &Nexthop| {
        let Some(dev) = hop.dev.as_deref() else { return false };
        // Without a gateway the frame goes to the destination itself: the device is all that tells.
        let mac = hop.via.map(|addr| {
            let known = ns.config.neighbours.iter().find(|n| n.dev == dev && n.addr == addr);
            let assumed = || if let IpAddr::V4(addr) = addr { Some(assumed_mac(addr.into())) } else { None };
            known.and_then(|n| n.mac).or_else(assumed)
        });
        frames.iter().any(|frame| frame.0 == dev && mac.is_none_or(|mac| mac == frame.1))
    };
    let mut fitting = (0u32..).zip(hops).filter(|(_, hop)| fits(hop)).map(|(position, _)| position);
    fitting.next().filter(|_| fitting.next().is_none())
}

fn source(tuple: CtTuple) -> Option<u16> {
    match tuple.l4 {
        CtL4::Ports { src, .. } => Some(src),
        CtL4::Icmp { id, .. } => Some(id),
        CtL4::None => None,
    }
}

fn destination(tuple: CtTuple) -> Option<u16> {
    match tuple.l4 {
        CtL4::Ports { dst, .. } => Some(dst),
        CtL4::Icmp { id, .. } => Some(id),
        CtL4::None => None,
    }
}

impl Choice for SendReplay {
    fn choose(&mut self, point: ChoicePoint) -> u32 {
        let seen = match point {
            // No chance is in these: what the rule did must come of its other matches.
            ChoicePoint::Statistic { threshold: 0, .. } => Some(0),
            ChoicePoint::Statistic { threshold: 0x8000_0000.., .. } => Some(1),
            ChoicePoint::Statistic { rule, hook, .. } => self.statistic(rule, hook),
            ChoicePoint::NatPort { original, zone, manip, .. } => self.port(original, zone, manip),
            ChoicePoint::Nexthop { route, answer, .. } => {
                let number = answer.map_or(Some(self.current), |nth| self.answer(nth));
                number.and_then(|number| self.nexthops.get(&(route, number)).copied())
            }
            ChoicePoint::IpId => self.ids.next().map(u32::from),
            ChoicePoint::TimeOfDay { answer } => {
                self.answer(answer).and_then(|number| self.times.get(&number).copied())
            }
        };
        seen.unwrap_or_else(|| self.otherwise.choose(point))
    }

    fn begin(&mut self, parent: Option<u32>, copy: bool) {
        let of = parent.filter(|_| copy).and_then(|parent| self.begun.get(parent as usize)).copied();
        let number = of.unwrap_or_else(|| self.last.map_or(0, |last| last + 1));
        self.last = self.last.max(Some(number));
        let earlier = self.begun.iter().zip(&self.copies);
        let copies = earlier.filter(|(begun, copy)| **begun == number && copy.is_some()).count();
        self.copy = of.map(|_| copies);
        self.copies.push(self.copy);
        self.begun.push(number);
        self.current = number;
    }

    fn resume(&mut self, number: u32) {
        self.current = self.begun.get(number as usize).copied().unwrap_or(0);
        self.copy = self.copies.get(number as usize).copied().flatten();
    }
}

#[cfg(test)]
mod tests {
    use pktwalk_linux::config::Ruleset;
    use pktwalk_linux::hook::{Backend, Family};
    use pktwalk_scenario::event::{EventVerdict, ScenarioEvent};

    use super::*;

    #[test]
    fn chance_that_is_none_is_not_replayed() {
        let rules = b"*filter\n:FORWARD ACCEPT [0:0]\n\
            -A FORWARD -m statistic --mode random --probability 0.5\nCOMMIT\n";
        let (save, _) = pktwalk_linux::iptables::parse(rules, 0, Family::V4);
        let rulesets = vec![Ruleset { backend: Backend::Nft, save: save.into() }];
        let (ns, _) = NetNs::compile(NetNsConfig { rulesets, ..NetNsConfig::default() });
        // The kernel's rule did not match.
        let mut replay = SendReplay::new(&ns, &SendRun::default(), Vec::new());
        replay.begin(None, false);
        let mut ask = |threshold| {
            replay.choose(ChoicePoint::Statistic { rule: RuleId(0), hook: Hook::Forward, threshold })
        };
        assert_eq!([ask(0x4000_0000), ask(0x8000_0000), ask(0)], [0, 1, 0]);
    }

    /// A rule that matched at a hook, as the kernel tells it.
    fn matched(hook: Hook) -> ScenarioEvent {
        ScenarioEvent {
            hook,
            backend: Backend::Nft,
            table: TableName::Mangle,
            chain: "half".to_owned(),
            at: At::Rule(1),
            verdict: EventVerdict::Continue,
            mark_before: None,
            mark: Some(0),
        }
    }

    #[test]
    fn chance_is_that_of_the_hook() {
        let rules = b"*mangle\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:half - [0:0]\n\
            -A PREROUTING -j half\n-A OUTPUT -j half\n-A half -m statistic --mode random --probability 0.5\nCOMMIT\n";
        let (save, _) = pktwalk_linux::iptables::parse(rules, 0, Family::V4);
        let rulesets = vec![Ruleset { backend: Backend::Nft, save: save.into() }];
        let (ns, _) = NetNs::compile(NetNsConfig { rulesets, ..NetNsConfig::default() });
        let half = (0u32..).map(RuleId).find(|rule| {
            ns.netfilter.rule_ast(&ns.config, *rule).is_some_and(|rule| !rule.matches.is_empty())
        });
        // It went out by `lo`: the rule did not match in OUTPUT, and did when the packet came back.
        let events = vec![matched(Hook::Prerouting)];
        let packets = vec![PacketRun { events, ..PacketRun::default() }];
        let mut replay = SendReplay::new(&ns, &SendRun { packets, ..SendRun::default() }, Vec::new());
        replay.begin(None, false);
        let mut ask = |hook| {
            let rule = half.expect("a rule with a statistic");
            replay.choose(ChoicePoint::Statistic { rule, hook, threshold: 0x4000_0000 })
        };
        assert_eq!([ask(Hook::Output), ask(Hook::Prerouting)], [0, 1]);
    }

    #[test]
    fn ports_are_those_of_the_zone() {
        let tuple = |sport, dport| CtTuple {
            src: 1,
            dst: 2,
            protocol: 17,
            l4: CtL4::Ports { src: sport, dst: dport },
        };
        let of = |zone, port| CtSnapshot {
            original: tuple(53, 443),
            reply: tuple(443, port),
            mark: 0,
            status: 0,
            tcp_state: None,
            zone,
        };
        let run = SendRun { conntrack: vec![of(7, 53), of(0, 158)], ..SendRun::default() };
        let (ns, _) = NetNs::compile(NetNsConfig::default());
        let replay = SendReplay::new(&ns, &run, Vec::new());
        let port = |zone| replay.port(tuple(53, 443), zone, Manip::Src);
        assert_eq!([port(0), port(7), port(9)], [Some(158), Some(53), None]);
    }

    #[test]
    fn an_id_of_zero_is_a_choice_but_for_resets() {
        let made = |text: &str| {
            let packet = pktwalk_packet::spec::parse(text).expect("a packet");
            PacketRun { frames: vec![FrameOut { dev: String::new(), packet }], ..PacketRun::default() }
        };
        let packets = vec![
            PacketRun::default(),
            made("icmp 10.0.0.1 > 10.0.0.2 type=0 id=1 seq=1 ipid=0"),
            made("tcp 10.0.0.1:1 > 10.0.0.2:2 flags=R ipid=0"),
            made("icmp 10.0.0.1 > 10.0.0.2 type=0 id=1 seq=1 ipid=9"),
        ];
        let sends = vec![SendRun { packets, ..SendRun::default() }];
        let replay = Replay::of(&EngineRun { sends, ..EngineRun::default() });
        assert_eq!(replay.0.made_ids, [[0, 9]]);
    }
}
