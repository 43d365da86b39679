//! The accepting rule that a dropped packet missed by one test, for whoever reads why it was dropped.
//!
//! Decides nothing and is looked for only where somebody takes the steps of a walk, right where the packet is dropped: addresses, connection
//! and devices are what the rules saw. It asks the same tests as the walk, one by one, of rules that the walk passed over. What would have to
//! be asked twice (limits, lists, chance), is not known, or may have been changed by a rule in between, leaves a rule out.

use super::HookState;
use super::matches::{self, Outcome};
use super::program::{Head, Key, Matcher, Ports, Program, TargetOp, TcpFlagsTest, flag};
use crate::hook::Hook;
use crate::ids::{DevId, RuleId};
use crate::ipset::SetCounters;
use crate::netns::Cx;
use crate::skb::{CtInfo, Skb, SkbCt};
use crate::trace::Sink;

/// One test of a rule. Numbers are positions among the matches of the rule as written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RuleTest {
    /// `-s`.
    Src,
    /// `-d`.
    Dst,
    /// `-i`.
    InDev,
    /// `-o`.
    OutDev,
    /// `-p`.
    Protocol,
    /// `--sport` of this match.
    SrcPort(u16),
    /// `--dport` of this match.
    DstPort(u16),
    /// `--tcp-flags` of this match.
    TcpFlags(u16),
    /// This match as a whole.
    Match(u16),
}

/// A rule that would have accepted a packet but for one test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NearMiss {
    /// Where.
    pub hook: Hook,
    /// The rule.
    pub rule: RuleId,
    /// The test that failed; every other held.
    pub failed: RuleTest,
    /// What `-i` was compared with.
    pub in_dev: Option<DevId>,
    /// What `-o` was compared with.
    pub out_dev: Option<DevId>,
    /// Rules that were missed by one test too, with as many that held.
    pub others: u32,
}

/// Tests of a rule so far.
#[derive(Default)]
struct Tally {
    held: u32,
    failed: Option<RuleTest>,
    /// More than one failed, or one cannot be said.
    out: bool,
}

impl Tally {
    fn test(&mut self, holds: bool, which: RuleTest) {
        match (holds, self.failed) {
            (true, _) => self.held += 1,
            (false, None) => self.failed = Some(which),
            (false, Some(_)) => self.out = true,
        }
    }
}

/// Whether a rule has no tests: it takes every packet.
pub(super) fn takes_all(program: &Program, rule: u32) -> bool {
    let (Some(head), Some(after)) = (program.heads.get(rule as usize), program.heads.get(rule as usize + 1))
    else {
        return false;
    };
    head.src_mask == 0
        && head.dst_mask == 0
        && head.protocol_mask == 0
        && head.flags == 0
        && head.matches == after.matches
}

/// The nearest of the rules in `passed`. `changed`: a rule of this run of the chain may have changed the packet or what is known of it.
pub(super) fn nearest<S: Sink>(
    cx: &mut Cx<'_, S>,
    at: HookState,
    key: &Key<'_>,
    passed: &[(u32, u32)],
    changed: bool,
    skb: &Skb,
) -> Option<NearMiss> {
    let program = &cx.ns.netfilter.program;
    let mut best: Option<(u32, NearMiss)> = None;
    for rule in passed.iter().flat_map(|&(from, to)| from..to) {
        if !matches!(program.targets.get(rule as usize), Some(TargetOp::Accept)) {
            continue;
        }
        let tally = tally(cx, program, at, key, rule, changed, skb);
        let (false, Some(failed)) = (tally.out, tally.failed) else { continue };
        // A rule of one test is near to everything.
        if tally.held == 0 {
            continue;
        }
        match &mut best {
            Some((held, near)) if *held == tally.held => near.others += u32::from(near.rule.0 != rule),
            Some((held, _)) if *held > tally.held => {}
            _ => {
                let near = NearMiss {
                    hook: at.hook,
                    rule: RuleId(rule),
                    failed,
                    in_dev: at.in_dev,
                    out_dev: at.out_dev,
                    others: 0,
                };
                best = Some((tally.held, near));
            }
        }
    }
    best.map(|(_, near)| near)
}

fn tally<S: Sink>(
    cx: &mut Cx<'_, S>,
    program: &Program,
    at: HookState,
    key: &Key<'_>,
    rule: u32,
    changed: bool,
    skb: &Skb,
) -> Tally {
    let mut tally = Tally::default();
    let (Some(head), Some(after)) = (program.heads.get(rule as usize), program.heads.get(rule as usize + 1))
    else {
        return Tally { out: true, ..tally };
    };
    head_tests(head, key, &mut tally);
    let other_protocol = tally.failed == Some(RuleTest::Protocol);
    let range = head.matches as usize..after.matches as usize;
    for (index, matcher) in range.clone().zip(program.matches.get(range).unwrap_or(&[])) {
        if tally.out {
            break;
        }
        let position = program.positions.get(index).copied().unwrap_or(0);
        if let Some((sport, dport, flags)) = ports(matcher) {
            port_tests(skb, [sport, dport], flags, other_protocol, position, &mut tally);
            continue;
        }
        let outcome = match *matcher {
            Matcher::Limit { .. }
            | Matcher::NftLimit { .. }
            | Matcher::Hashlimit { .. }
            | Matcher::Recent { .. }
            | Matcher::Random { .. }
            | Matcher::Nth { .. }
            | Matcher::Unmodelled => Outcome::Unknown,
            Matcher::Mark { .. }
            | Matcher::Connmark { .. }
            | Matcher::TcpOption { .. }
            | Matcher::State { .. }
            | Matcher::Conntrack(_)
                if changed =>
            {
                Outcome::Unknown
            }
            Matcher::Icmp { .. } | Matcher::TcpOption { .. } | Matcher::Multiport { .. }
                if other_protocol =>
            {
                Outcome::Unknown
            }
            Matcher::Set { index } => match program.sets.get(index as usize) {
                // What elements have counted has this packet in it already.
                Some((Some(set), test)) if test.packets.is_none() && test.bytes.is_none() => {
                    let mut counted = SetCounters::default();
                    match cx.ns.sets.matches_at(*set, test, skb, cx.state.now_ns, &mut counted) {
                        Some(holds) => holds.into(),
                        None => Outcome::Unknown,
                    }
                }
                _ => Outcome::Unknown,
            },
            _ => matches::run(cx, program, at, RuleId(rule), matcher, skb),
        };
        match outcome {
            Outcome::Yes => tally.test(true, RuleTest::Match(position)),
            // That it is not of a known connection is so of every first packet.
            Outcome::No if asks_for_state(program, matcher) && is_new(skb) => tally.out = true,
            Outcome::No => tally.test(false, RuleTest::Match(position)),
            _ => tally.out = true,
        }
    }
    tally
}

fn head_tests(head: &Head, key: &Key<'_>, tally: &mut Tally) {
    let not = |bit: u8| head.flags & bit != 0;
    if head.src_mask != 0 {
        tally.test((key.src & head.src_mask == head.src) != not(flag::NOT_SRC), RuleTest::Src);
    }
    if head.dst_mask != 0 {
        tally.test((key.dst & head.dst_mask == head.dst) != not(flag::NOT_DST), RuleTest::Dst);
    }
    if head.in_test != 0 {
        tally.test(key.in_row.passes(head.in_test), RuleTest::InDev);
    }
    if head.out_test != 0 {
        tally.test(key.out_row.passes(head.out_test), RuleTest::OutDev);
    }
    if head.protocol_mask != 0 {
        let same = key.protocol & head.protocol_mask == head.protocol;
        tally.test(same != not(flag::NOT_PROTOCOL), RuleTest::Protocol);
    }
    // Fragments are a matter of their own.
    if head.flags & (flag::FRAGMENT | flag::NO_FRAGMENT) != 0 || key.fragment {
        tally.out = true;
    }
}

/// The ports and flags that a match compares; none for a match of another kind.
fn ports(matcher: &Matcher) -> Option<(Option<Ports>, Option<Ports>, Option<TcpFlagsTest>)> {
    let some = |ports: Ports| (ports.not || ports.lo > 0 || ports.hi < u16::MAX).then_some(ports);
    match *matcher {
        Matcher::Tcp { sport, dport, flags } => {
            Some((some(sport), some(dport), (flags.mask != 0 || flags.not).then_some(flags)))
        }
        Matcher::Udp { sport, dport } => Some((some(sport), some(dport), None)),
        Matcher::Payload { sport, dport, flags } => Some((sport, dport, flags)),
        _ => None,
    }
}

fn port_tests(
    skb: &Skb,
    [sport, dport]: [Option<Ports>; 2],
    flags: Option<TcpFlagsTest>,
    other_protocol: bool,
    position: u16,
    tally: &mut Tally,
) {
    // Two inverted ports are one comparison on nft.
    let inverted = |ports: Option<Ports>| ports.is_some_and(|ports| ports.not);
    let other = other_protocol && (flags.is_some() || ![6, 17].contains(&skb.ip.protocol));
    if other || (inverted(sport) && inverted(dport)) {
        tally.out = true;
        return;
    }
    let l4 = skb.l4();
    for (ports, at, which) in
        [(sport, 0, RuleTest::SrcPort(position)), (dport, 2, RuleTest::DstPort(position))]
    {
        let Some(ports) = ports else { continue };
        match l4.get(at..at + 2) {
            Some(&[high, low]) => tally.test(ports.holds(u16::from_be_bytes([high, low])), which),
            _ => tally.out = true,
        }
    }
    if let Some(flags) = flags {
        match l4.get(13) {
            Some(&bits) => tally.test(flags.holds(bits), RuleTest::TcpFlags(position)),
            None => tally.out = true,
        }
    }
}

/// Whether a match asks for a state that the connection is in.
fn asks_for_state(program: &Program, matcher: &Matcher) -> bool {
    match *matcher {
        Matcher::State { not, .. } => !not,
        Matcher::Conntrack(index) => program
            .conntrack
            .get(index as usize)
            .and_then(|test| test.state)
            .is_some_and(|wanted| !wanted.not),
        _ => false,
    }
}

fn is_new(skb: &Skb) -> bool {
    matches!(skb.ct, SkbCt::Entry { info: CtInfo::New, .. })
}
