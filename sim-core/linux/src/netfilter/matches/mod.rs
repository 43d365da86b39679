//! Matches (`-m`): one module per family of extensions.
//!
//! Not known, and therefore `Unknown` where a walk depends on it: what `limit`, `hashlimit`, `recent` and `statistic` had in store before the
//! run (they start as just loaded), supplementary groups of a socket's owner, bytes that a capture cut off.

mod addr;
mod ct;
mod dev;
pub(super) mod hashlimit;
pub(super) mod limit;
pub(super) mod recent;
mod transport;

use super::HookState;
use super::program::{Matcher, Program, TargetOp};
use super::state::Slot;
use crate::choice::ChoicePoint;
use crate::ids::RuleId;
use crate::iptables::ast::RecentAction;
use crate::netns::Cx;
use crate::reason::Because;
use crate::skb::Skb;
use crate::trace::{Assumption, Sink, Step};

/// What a match says of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Yes,
    No,
    /// The packet is dropped, whatever follows.
    Hotdrop,
    /// A capture cut off what it would look at.
    Cut,
    /// Cannot be known, for a reason of its own.
    Because(Because),
    /// Cannot be known.
    Unknown,
}

impl From<bool> for Outcome {
    fn from(holds: bool) -> Outcome {
        if holds { Outcome::Yes } else { Outcome::No }
    }
}

/// The kernel's clock tick in nanoseconds: 250 a second, the default of `CONFIG_HZ` and what most distributions build with. `limit`,
/// `hashlimit` and `recent` count in these.
const JIFFY_NS: u64 = 1_000_000_000 / HZ;
const HZ: u64 = 250;

/// The threshold of `statistic --mode random` that every draw is below (`get_random_u32() & 0x7FFFFFFF`).
const CERTAIN: u32 = 1 << 31;

/// What `statistic --mode random` leaves to chance.
const CHOICE: &str = "whether -m statistic --mode random matches";

/// The first `len` bytes of the transport header (`skb_header_pointer`): a packet that is too short is dropped.
fn transport(skb: &Skb, len: usize) -> Result<&[u8], Outcome> {
    let l4 = skb.l4();
    match l4.get(..len) {
        Some(_) => Ok(l4),
        None if usize::from(skb.ip.header_len) + len <= skb.packet.l3_wire_len() => Err(Outcome::Cut),
        None => Err(Outcome::Hotdrop),
    }
}

/// Tells that what `rule` remembers is taken to be as loaded. Of a rule that only logs or counts it decides nothing.
fn as_loaded<S: Sink>(cx: &mut Cx<'_, S>, program: &Program, rule: RuleId, skb: &Skb, what: &'static str) {
    let counts = matches!(program.targets.get(rule.index()), Some(TargetOp::None | TargetOp::Log));
    if S::ENABLED && !counts {
        cx.sink.step(skb, Step::Assumed(Assumption::AsLoaded { rule, what }));
    }
}

/// Evaluates one match. What it remembers changes, the packet does not.
pub(super) fn run<S: Sink>(
    cx: &mut Cx<'_, S>,
    program: &Program,
    at: HookState,
    rule: RuleId,
    matcher: &Matcher,
    skb: &Skb,
) -> Outcome {
    match *matcher {
        Matcher::Tcp { sport, dport, flags } => transport::tcp(skb, sport, dport, flags, None),
        Matcher::TcpOption { sport, dport, flags, option, not } => {
            transport::tcp(skb, sport, dport, flags, Some((option, not)))
        }
        Matcher::Udp { sport, dport } => transport::udp(skb, sport, dport),
        Matcher::Payload { sport, dport, flags } => transport::payload(skb, sport, dport, flags),
        Matcher::Icmp { not, icmp_type, code_lo, code_hi } => {
            transport::icmp(skb, not, icmp_type, code_lo..=code_hi)
        }
        Matcher::Multiport { kind, not, first, count } => {
            let ports = program.ports.get(first as usize..first as usize + usize::from(count));
            transport::multiport(skb, kind, not, ports.unwrap_or(&[]))
        }
        Matcher::State { not, states } => ct::state(cx.state, skb, states, not).into(),
        Matcher::Conntrack(index) => match program.conntrack.get(index as usize) {
            Some(test) => ct::conntrack(cx.state, skb, test).into(),
            None => Outcome::Unknown,
        },
        Matcher::Mark { not, value, mask } => ((skb.mark & mask == value) != not).into(),
        Matcher::Connmark { not, value, mask } => ct::connmark(cx.state, skb, value, mask, not).into(),
        Matcher::Addrtype(index) => match program.addrtype.get(index as usize) {
            Some(test) => addr::addrtype(cx.ns, at, skb, test).into(),
            None => Outcome::Unknown,
        },
        Matcher::Iprange(index) => match program.iprange.get(index as usize) {
            Some(test) => addr::iprange(skb, test),
            None => Outcome::Unknown,
        },
        Matcher::Limit { slot, cost, cap } => {
            as_loaded(cx, program, rule, skb, "limit");
            let now = cx.state.now_ns;
            limit::test(cx.state.rules.slot(slot, program.slots, limit::full(cap)), now, cost, cap).into()
        }
        Matcher::NftLimit { slot, cost, max } => {
            as_loaded(cx, program, rule, skb, "limit");
            let now = cx.state.now_ns;
            let slot = cx.state.rules.slot(slot, program.slots, Slot { value: max, at: 0 });
            limit::test_nft(slot, now, cost, max).into()
        }
        Matcher::Hashlimit { table, rule: config } => match program.hashlimit.get(config as usize) {
            Some(test) => {
                as_loaded(cx, program, rule, skb, "hashlimit");
                hashlimit::test(cx.state, program, table, test, skb)
            }
            None => Outcome::Unknown,
        },
        Matcher::Recent { list, rule: config } => match program.recent.get(config as usize) {
            Some(test) => {
                // `--set` holds whatever the list has.
                if test.action != RecentAction::Set {
                    as_loaded(cx, program, rule, skb, "recent");
                }
                recent::test(cx.state, program, at, list, test, skb)
            }
            None => Outcome::Unknown,
        },
        Matcher::Mac { not, addr } => dev::mac(cx.ns, at, skb, addr, not).into(),
        Matcher::Physdev(index) => match program.physdev.get(index as usize) {
            Some(test) => dev::physdev(program, at, test).into(),
            None => Outcome::Unknown,
        },
        Matcher::Set { index } => match program.sets.get(index as usize) {
            Some((Some(set), test)) => {
                let (now_ns, counted) = (cx.state.now_ns, &mut cx.state.sets);
                match cx.ns.sets.matches_at(*set, test, skb, now_ns, counted) {
                    Some(holds) => holds.into(),
                    None => Outcome::Because(Because::Set { rule, set: Some(*set) }),
                }
            }
            Some((None, _)) | None => Outcome::Because(Because::Set { rule, set: None }),
        },
        Matcher::Owner(index) => match program.owner.get(index as usize) {
            Some(test) => dev::owner(skb, test),
            None => Outcome::Unknown,
        },
        Matcher::Random { not, threshold } => {
            let answer = cx.choice.choose(ChoicePoint::Statistic { rule, hook: at.hook, threshold });
            // Probabilities 0 and 1 leave nothing to chance.
            if (1..CERTAIN).contains(&threshold) {
                cx.sink.step(skb, Step::Assumed(Assumption::Choice(CHOICE)));
            }
            ((answer % 2 == 1) != not).into()
        }
        Matcher::Nth { not, slot, every, packet } => {
            // The kernel counts up to `every - 1` and starts so that evaluation number `packet` (from 0) is the one that wraps.
            let top = u64::from(every.saturating_sub(1));
            let initial = Slot { value: top.saturating_sub(u64::from(packet)), at: 0 };
            let count = &mut cx.state.rules.slot(slot, program.slots, initial).value;
            *count = if *count == top { 0 } else { *count + 1 };
            ((*count == 0) != not).into()
        }
        Matcher::Rpfilter(flags) => match at.in_dev {
            Some(dev) => match crate::fib::rpfilter_match(cx.ns, skb, dev, &flags) {
                Ok(holds) => holds.into(),
                Err(because) => Outcome::Because(because),
            },
            None => Outcome::Unknown,
        },
        Matcher::Pkttype { not, pkt_type } => ((skb.pkt_type == pkt_type) != not).into(),
        Matcher::Unmodelled => Outcome::Unknown,
    }
}
