//! `recent`: lists of addresses with the times of their packets (`xt_recent`).
//!
//! A list is shared by the rules that give its name. Its mask is that of the rule which was loaded first. Lists hold 100 addresses
//! (`ip_list_tot`), the one that was written longest ago makes room.

use indexmap::IndexMap;
use std::net::IpAddr;

use super::{HZ, JIFFY_NS, Outcome};
use crate::iptables::ast::{RecentAction, RecentMatch};
use crate::netfilter::HookState;
use crate::netfilter::program::Program;
use crate::netns::NetNsState;
use crate::skb::Skb;

/// `ip_list_tot`.
const ADDRESSES: usize = 100;

/// A list: addresses in the order of their last writing.
#[derive(Clone, Debug, Default)]
pub(in crate::netfilter) struct State {
    entries: IndexMap<u32, Entry, rustc_hash::FxBuildHasher>,
}

#[derive(Clone, Debug)]
struct Entry {
    ttl: u8,
    /// A ring: where the next stamp goes.
    index: usize,
    stamps: Vec<u64>,
}

impl Entry {
    /// `recent_entry_update`.
    fn stamp(&mut self, now: u64, stamps_mask: usize) {
        self.index &= stamps_mask;
        match self.stamps.get_mut(self.index) {
            Some(stamp) => *stamp = now,
            None => self.stamps.push(now),
        }
        self.index += 1;
    }
}

impl State {
    fn moved_to_end(&mut self, addr: u32) {
        if let Some(entry) = self.entries.shift_remove(&addr) {
            self.entries.insert(addr, entry);
        }
    }
}

/// How many stamps an entry of the list keeps, less one: a power of two that holds the largest `--hitcount` of any rule of the list, 32 for
/// rules without.
fn stamps_mask(program: &Program, name: &str) -> usize {
    let of = |hitcount: u32| if hitcount == 0 { 31 } else { hitcount.next_power_of_two() - 1 };
    let rules = program.recent.iter().filter(|rule| rule.name == name);
    rules.map(|rule| of(rule.hitcount)).max().unwrap_or(31) as usize
}

/// `recent_mt`.
pub(super) fn test(
    state: &mut NetNsState,
    program: &Program,
    at: HookState,
    list: u32,
    test: &RecentMatch,
    skb: &Skb,
) -> Outcome {
    let first = program.recent.iter().find(|rule| rule.name == test.name).unwrap_or(test);
    let IpAddr::V4(mask) = first.mask else { return Outcome::Unknown };
    let addr = if test.dest { skb.ip.dst } else { skb.ip.src } & u32::from(mask);
    // The TTL as it was before forwarding.
    let ttl = if at.out_dev.is_some() && skb.sk.is_none() { skb.ip.ttl.wrapping_add(1) } else { skb.ip.ttl };
    // One jiffy ahead of the start, so that no stamp is 0 and windows reach back before it.
    let now = state.now_ns / JIFFY_NS;
    let stamps_mask = stamps_mask(program, &test.name);
    let state = state.rules.recent.entry(list).or_default();
    let mut holds = test.not;
    let wanted_ttl = if test.rttl { ttl } else { 0 };
    let found = state
        .entries
        .get_mut(&addr)
        .filter(|entry| wanted_ttl == 0 || entry.ttl == 0 || entry.ttl == wanted_ttl);
    let Some(entry) = found else {
        if test.action == RecentAction::Set {
            if state.entries.len() >= ADDRESSES {
                state.entries.shift_remove_index(0);
            }
            state.entries.shift_remove(&addr);
            state.entries.insert(addr, Entry { ttl, index: 1, stamps: vec![now] });
            holds = !holds;
        }
        return holds.into();
    };
    match test.action {
        RecentAction::Set => {
            entry.stamp(now, stamps_mask);
            entry.ttl = ttl;
            state.moved_to_end(addr);
            holds = !holds;
        }
        RecentAction::Remove => {
            state.entries.shift_remove(&addr);
            holds = !holds;
        }
        RecentAction::Rcheck | RecentAction::Update => {
            let window = u64::from(test.seconds) * HZ;
            // `time_after(jiffies - seconds * HZ, stamp)`.
            let old = |stamp: u64| stamp + window < now;
            let hits = entry.stamps.iter().filter(|&&stamp| test.seconds == 0 || !old(stamp)).count();
            if hits >= test.hitcount.max(1) as usize {
                holds = !holds;
            }
            let update = test.action == RecentAction::Update && holds;
            if update {
                // After the reaping, which spares it.
                entry.ttl = ttl;
            }
            if test.reap {
                let oldest = state.entries.first().and_then(|(&addr, entry)| {
                    let last = entry.stamps.get(entry.index.checked_sub(1)?)?;
                    old(*last).then_some(addr)
                });
                if let Some(oldest) = oldest
                    && !(oldest == addr && update)
                {
                    state.entries.shift_remove(&oldest);
                }
            }
            if update {
                if let Some(entry) = state.entries.get_mut(&addr) {
                    entry.stamp(now, stamps_mask);
                }
                state.moved_to_end(addr);
            }
        }
    }
    holds.into()
}
