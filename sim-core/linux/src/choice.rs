//! Choices that the kernel makes at random, made by a source that the caller gives: seeded, fixed, replayed from a kernel's trace, or enumerated.

use crate::conntrack::tuple::CtTuple;
use crate::hook::Hook;
use crate::ids::{RouteId, RuleId};
use crate::trace::Manip;

/// Milliseconds of a day.
pub const MS_PER_DAY: u32 = 86_400_000;

/// A random choice that the kernel would make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChoicePoint {
    /// `-m statistic --mode random`: true with probability `threshold / 2^31`. Answer 0 (false) or 1 (true).
    Statistic {
        /// The rule that asks.
        rule: RuleId,
        /// Where: a chain may be called from several hooks.
        hook: Hook,
        /// 0 to 2^31.
        threshold: u32,
    },
    /// A port (or ICMP id) for a translation. Answer in `lo..=hi`, which is not in use (the caller of the choice tries again otherwise).
    NatPort {
        /// The original tuple of the connection that is translated.
        original: CtTuple,
        /// Zone of that direction.
        zone: u16,
        /// Which half of it.
        manip: Manip,
        /// The original direction as translated so far, before the choice.
        tuple: CtTuple,
        /// Lowest.
        lo: u16,
        /// Highest.
        hi: u16,
    },
    /// The nexthop of a multipath route. Answer below `total`: each nexthop that can be used has a share as large as its weight, in their order.
    Nexthop {
        /// The route.
        route: RouteId,
        /// The sum of these weights.
        total: u32,
        /// None if it is for the packet that is walked; else for an answer to it: how many were made because of it that are not yet begun.
        answer: Option<u32>,
    },
    /// IP id of a packet that this namespace makes. Answer in 0..=65535.
    IpId,
    /// The time of day in a timestamp reply: the kernel's own clock. Answer in milliseconds since midnight UTC, below 86400000.
    TimeOfDay {
        /// How many packets were made because of the one that is walked that are not yet begun; the reply will be the next.
        answer: u32,
    },
}

/// Makes the choices of a walk.
pub trait Choice {
    /// The answer to `point`; its range is said at each variant. An answer out of range is taken modulo the range.
    fn choose(&mut self, point: ChoicePoint) -> u32;

    /// The choices that follow are of the packet of this number again, in the order of [`Choice::begin`].
    fn resume(&mut self, number: u32) {
        let _ = number;
    }

    /// The choices that follow are of another packet: the first one, or the next that was made because of the `parent`th (0 is the first), in
    /// the order in which a sink hears of them. `copy`: it is a copy of its parent, or a piece of it.
    fn begin(&mut self, parent: Option<u32>, copy: bool) {
        let _ = (parent, copy);
    }
}

/// A choice source that depends on nothing but its seed.
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// Every value is a good seed.
    pub fn new(seed: u64) -> Seeded {
        Seeded(seed)
    }

    /// The next 64 pseudo-random bits (splitmix64).
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Choice for Seeded {
    fn choose(&mut self, point: ChoicePoint) -> u32 {
        let random = self.next_u64();
        match point {
            ChoicePoint::Statistic { threshold, .. } => {
                u32::from(((random & 0x7fff_ffff) as u32) < threshold)
            }
            ChoicePoint::NatPort { lo, hi, .. } => {
                let span = u64::from(hi.saturating_sub(lo)) + 1;
                u32::from(lo) + (random % span) as u32
            }
            ChoicePoint::Nexthop { total, .. } => (random % u64::from(total.max(1))) as u32,
            ChoicePoint::IpId => (random & 0xffff) as u32,
            ChoicePoint::TimeOfDay { .. } => (random % u64::from(MS_PER_DAY)) as u32,
        }
    }
}
