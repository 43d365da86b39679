//! `limit`: a token bucket for each rule, in jiffies (`xt_limit`), or in nanoseconds where iptables-nft writes nf_tables' own (`nft_limit`).

use super::{HZ, JIFFY_NS};
use crate::iptables::ast::LimitMatch;
use crate::netfilter::program::Matcher;
use crate::netfilter::state::Slot;

/// `CREDITS_PER_JIFFY`: the largest power of two below 2^32 / (HZ * one day).
const CREDITS_PER_JIFFY: u64 = {
    let most = 0xffff_ffff / (HZ * 60 * 60 * 24);
    1 << most.ilog2()
};

/// `XT_LIMIT_SCALE`.
const SCALE: u32 = 10_000;

/// `user2credits`.
fn credits(user: u32) -> u32 {
    let per_second = (HZ * CREDITS_PER_JIFFY) as u32;
    if user > u32::MAX / per_second {
        (user / SCALE).wrapping_mul(per_second)
    } else {
        user.wrapping_mul(per_second) / SCALE
    }
}

/// What `limit_mt_check` refuses.
pub(in crate::netfilter) fn overflows(limit: &LimitMatch) -> bool {
    limit.burst == 0 || credits(limit.avg.wrapping_mul(limit.burst)) < credits(limit.avg)
}

pub(in crate::netfilter) fn compile(slot: u32, limit: &LimitMatch) -> Matcher {
    Matcher::Limit { slot, cost: credits(limit.avg), cap: credits(limit.avg.wrapping_mul(limit.burst)) }
}

/// As `add_nft_limit` of iptables-nft turns the average into packets per unit, and `nft_limit_init` that into nanoseconds.
pub(in crate::netfilter) fn compile_nft(slot: u32, limit: &LimitMatch) -> Matcher {
    const UNITS: [u32; 4] = [SCALE * 86_400, SCALE * 3_600, SCALE * 60, SCALE];
    let avg = limit.avg.max(1);
    let mut unit = UNITS[0];
    for larger in UNITS.windows(2) {
        let next = larger[1];
        unit = larger[0];
        if avg > next || next / avg < next % avg {
            break;
        }
        unit = next;
    }
    let rate = u64::from(unit / avg).max(1);
    let cost = u64::from(unit / SCALE) * 1_000_000_000 / rate;
    Matcher::NftLimit { slot, cost, max: cost * u64::from(limit.burst) }
}

/// A bucket as a rule has it when it is loaded, at the start of the run.
pub(super) fn full(cap: u32) -> Slot {
    Slot { value: u64::from(cap), at: 0 }
}

/// `limit_mt`.
pub(super) fn test(slot: &mut Slot, now_ns: u64, cost: u32, cap: u32) -> bool {
    let now = now_ns / JIFFY_NS;
    let gained = (now.saturating_sub(slot.at) * CREDITS_PER_JIFFY) as u32;
    slot.at = now;
    let mut credit = (slot.value as u32).wrapping_add(gained).min(cap);
    let holds = credit >= cost;
    if holds {
        credit -= cost;
    }
    slot.value = u64::from(credit);
    holds
}

/// `nft_limit_eval`.
pub(super) fn test_nft(slot: &mut Slot, now_ns: u64, cost: u64, max: u64) -> bool {
    let tokens = slot.value.saturating_add(now_ns.saturating_sub(slot.at)).min(max);
    slot.at = now_ns;
    let holds = tokens >= cost;
    slot.value = if holds { tokens - cost } else { tokens };
    holds
}
