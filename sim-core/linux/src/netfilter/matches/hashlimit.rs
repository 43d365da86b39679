//! `hashlimit`: a token bucket for each key (`xt_hashlimit`, revision 3).
//!
//! A table is shared by the rules that give its name; its buckets follow the options of the rule that was loaded first. Whether the collector
//! has taken an expired bucket away depends on a timer of its own: here it is gone when it has expired.

use rustc_hash::FxHashMap;

use super::{HZ, JIFFY_NS, Outcome, transport};
use crate::iptables::ast::{HashlimitMatch, HashlimitRate};
use crate::netfilter::program::Program;
use crate::netns::NetNsState;
use crate::skb::Skb;

/// `XT_HASHLIMIT_SCALE_v2`.
const SCALE: u64 = 1_000_000;
/// `XT_HASHLIMIT_BYTE_SHIFT`: bytes are counted in pieces of 16.
const BYTE_SHIFT: u32 = 4;
/// `CREDITS_PER_JIFFY_BYTES`: the largest power of two below 2^32 / HZ.
const CREDITS_PER_JIFFY_BYTES: u64 = 1 << (0xffff_ffff / HZ).ilog2();

/// Addresses and ports, those that the mode leaves out zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key {
    src: u32,
    dst: u32,
    src_port: u16,
    dst_port: u16,
}

/// A table's buckets.
#[derive(Clone, Debug, Default)]
pub(in crate::netfilter) struct State {
    buckets: FxHashMap<Key, Bucket>,
}

/// `struct dsthash_ent`.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    expires: u64,
    prev: u64,
    credit: u64,
    /// In byte mode, how many times an empty bucket may still be filled up.
    credit_cap: u64,
    cost: u64,
    /// Packets or bytes in an interval, in the mode that counts these (`--hashlimit-rate-match`).
    rate: u64,
    prev_window: bool,
    current_rate: u64,
    burst: u64,
}

/// `CREDITS_PER_JIFFY` of revision 2 and later: the largest power of two below 2^64 / (HZ * one day).
const CREDITS_PER_JIFFY: u64 = 1 << (u64::MAX / (HZ * 60 * 60 * 24)).ilog2();

/// `user2credits` of revision 2 and later.
fn credits(user: u64) -> u64 {
    user.wrapping_mul(HZ * CREDITS_PER_JIFFY / SCALE)
}

/// What `hashlimit_mt_check_common` refuses.
pub(in crate::netfilter) fn overflows(config: &HashlimitMatch) -> bool {
    match config.rate {
        HashlimitRate::Bytes(_) => false,
        HashlimitRate::Packets(avg) => {
            let burst = u64::from(config.burst.unwrap_or(5));
            burst == 0 || credits(avg.wrapping_mul(burst)) < credits(avg)
        }
    }
}

/// How the tool writes bytes a second into the rule (`bytes_to_cost`).
fn bytes_to_cost(bytes: u64) -> u64 {
    u64::from(u32::MAX) / u64::from((bytes >> BYTE_SHIFT) as u32 + 1).max(1)
}

/// `user2credits_byte`.
fn credits_byte(user: u64) -> u64 {
    (user * (HZ * CREDITS_PER_JIFFY_BYTES)) >> 32
}

/// `user2rate_bytes`, which is also the tool's `cost_to_bytes`.
fn cost_to_bytes(cost: u64) -> u64 {
    let pieces = u64::from(u32::MAX).checked_div(cost).unwrap_or(u64::from(u32::MAX));
    pieces.saturating_sub(1) << BYTE_SHIFT
}

/// Milliseconds without a packet after which a bucket is gone, as the tool fills it in.
fn expire_ms(config: &HashlimitMatch) -> u64 {
    u64::from(config.expire.unwrap_or(match (config.rate, config.burst) {
        (HashlimitRate::Packets(_), _) => 10_000,
        (HashlimitRate::Bytes(_), None) => 15_000,
        (HashlimitRate::Bytes(_), Some(_)) => 60_000,
    }))
}

impl Bucket {
    /// `rateinfo_init`. `config` is the table's.
    fn new(config: &HashlimitMatch, now: u64) -> Bucket {
        let mut bucket = Bucket {
            expires: 0,
            prev: now,
            credit: 0,
            credit_cap: 0,
            cost: 0,
            rate: 0,
            prev_window: false,
            current_rate: 0,
            burst: 0,
        };
        match config.rate {
            HashlimitRate::Bytes(bytes) => {
                let cost = bytes_to_cost(bytes);
                let rate = cost_to_bytes(cost);
                let burst = u64::from(config.burst.unwrap_or(0));
                if config.rate_match {
                    bucket.rate = rate;
                    bucket.burst = if burst == 0 { rate } else { burst.saturating_mul(rate) };
                } else {
                    bucket.credit = CREDITS_PER_JIFFY_BYTES * HZ;
                    bucket.cost = credits_byte(cost);
                    bucket.credit_cap = burst.checked_next_multiple_of(rate).unwrap_or(0) / rate.max(1);
                }
            }
            HashlimitRate::Packets(avg) => {
                let burst = u64::from(config.burst.unwrap_or(5));
                if config.rate_match {
                    bucket.rate = SCALE.checked_div(avg).unwrap_or(0);
                    bucket.burst = burst + bucket.rate;
                } else {
                    bucket.credit = credits(avg.wrapping_mul(burst));
                    bucket.cost = credits(avg);
                    bucket.credit_cap = bucket.credit;
                }
            }
        }
        bucket
    }

    /// `rateinfo_recalc`.
    fn recalc(&mut self, config: &HashlimitMatch, now: u64) {
        let delta = now.saturating_sub(self.prev);
        if delta == 0 {
            return;
        }
        if config.rate_match {
            let interval = u64::from(config.rate_interval.unwrap_or(1)) * HZ;
            if delta >= interval {
                self.prev = now;
                self.prev_window = self.current_rate.wrapping_mul(interval) > delta.wrapping_mul(self.rate);
                self.current_rate = 0;
            }
            return;
        }
        self.prev = now;
        let (gained, cap) = match config.rate {
            HashlimitRate::Bytes(_) => (CREDITS_PER_JIFFY_BYTES, CREDITS_PER_JIFFY_BYTES * HZ),
            HashlimitRate::Packets(_) => (CREDITS_PER_JIFFY, self.credit_cap),
        };
        self.credit = self.credit.saturating_add(gained.saturating_mul(delta)).min(cap);
    }

    /// `hashlimit_byte_cost`.
    fn byte_cost(&mut self, len: u64) -> u64 {
        let full = CREDITS_PER_JIFFY_BYTES * HZ;
        let cost = (((len >> BYTE_SHIFT) + 1) * self.cost).min(full);
        if self.credit < cost && self.credit_cap != 0 {
            self.credit_cap -= 1;
            self.credit = full;
        }
        cost
    }

    /// Whether one more packet is under the limit.
    fn takes(&mut self, rule: &HashlimitMatch, len: u64) -> bool {
        let bytes = matches!(rule.rate, HashlimitRate::Bytes(_));
        if rule.rate_match {
            self.current_rate += if bytes { len } else { 1 };
            return !self.prev_window && self.current_rate <= self.burst;
        }
        let cost = if bytes { self.byte_cost(len) } else { self.cost };
        let takes = self.credit >= cost;
        if takes {
            self.credit -= cost;
        }
        takes
    }
}

fn mask(addr: u32, len: u8) -> u32 {
    addr & u32::MAX.checked_shl(32 - u32::from(len.min(32))).unwrap_or(0)
}

/// `hashlimit_init_dst`.
fn key(config: &HashlimitMatch, skb: &Skb) -> Result<Key, Outcome> {
    let mode = config.mode;
    let mut key = Key {
        src: if mode.src_ip { mask(skb.ip.src, config.src_mask) } else { 0 },
        dst: if mode.dst_ip { mask(skb.ip.dst, config.dst_mask) } else { 0 },
        src_port: 0,
        dst_port: 0,
    };
    if mode.src_port || mode.dst_port {
        // `proto_ports_offset`; fragments are not told apart.
        let offset = match skb.ip.protocol {
            6 | 17 | 33 | 50 | 132 | 136 => Some(0),
            51 => Some(4),
            _ => None,
        };
        if let Some(offset) = offset {
            let l4 = transport(skb, offset + 4)?;
            let port = |at: usize| u16::from_be_bytes([l4[offset + at], l4[offset + at + 1]]);
            key.src_port = if mode.src_port { port(0) } else { 0 };
            key.dst_port = if mode.dst_port { port(2) } else { 0 };
        }
    }
    Ok(key)
}

/// `hashlimit_mt_common`.
pub(super) fn test(
    state: &mut NetNsState,
    program: &Program,
    table: u32,
    rule: &HashlimitMatch,
    skb: &Skb,
) -> Outcome {
    let Some(config) = program
        .hashlimit_tables
        .get(table as usize)
        .and_then(|first| program.hashlimit.get(first.0 as usize))
    else {
        return Outcome::Unknown;
    };
    let key = match key(config, skb) {
        Ok(key) => key,
        Err(outcome) => return outcome,
    };
    let now = state.now_ns / JIFFY_NS;
    let buckets = &mut state.rules.hashlimit.entry(table).or_default().buckets;
    let known = buckets.get(&key).is_some_and(|bucket| now < bucket.expires);
    if !known {
        // The size that the kernel chooses where none is given depends on the machine's memory; 8192 is that of 1 GB and more.
        let size = config.size.unwrap_or(8192) as usize;
        let max = config.max.map_or(size.saturating_mul(8), |max| size.max(max as usize));
        if buckets.len() >= max {
            buckets.retain(|_, bucket| now < bucket.expires);
            if buckets.len() >= max {
                return Outcome::Hotdrop;
            }
        }
        buckets.insert(key, Bucket::new(config, now));
    }
    let Some(bucket) = buckets.get_mut(&key) else { return Outcome::Unknown };
    bucket.expires = now + expire_ms(config) * HZ / 1000;
    bucket.recalc(config, now);
    (bucket.takes(rule, skb.packet.l3_wire_len() as u64) != rule.above).into()
}
