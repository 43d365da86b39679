//! `recent`: lists of addresses with the times of their packets (`xt_recent`).
//!
//! A list is shared by the rules that give its name. Its mask is that of the rule which was loaded first. Lists hold 100 addresses
//! (`ip_list_tot`), the one that was written longest ago makes room.

use indexmap::IndexMap;

use super::{HZ, JIFFY_NS, Outcome};
use crate::iptables::ast::{RecentAction, RecentMatch};
use crate::netfilter::HookState;
use crate::netfilter::program::{Program, RecentList};
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

/// The largest `--hitcount` that a kernel takes (`XT_RECENT_MAX_NSTAMPS`, less one).
const MOST_HITS: u32 = 65_535;

/// What a rule asks of its list: how many stamps an entry keeps, less one.
pub(in crate::netfilter) fn stamps_mask(hitcount: u32) -> usize {
    match hitcount.min(MOST_HITS) {
        0 => 31,
        hits => hits.next_power_of_two() as usize - 1,
    }
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
    let Some(&RecentList { mask: Some(mask), stamps_mask }) = program.recent_lists.get(list as usize) else {
        return Outcome::Unknown;
    };
    let addr = if test.dest { skb.ip.dst } else { skb.ip.src } & mask;
    // The TTL as it was before forwarding.
    let ttl = if at.out_dev.is_some() && skb.sk.is_none() { skb.ip.ttl.wrapping_add(1) } else { skb.ip.ttl };
    // One jiffy ahead of the start, so that no stamp is 0 and windows reach back before it.
    let now = state.now_ns / JIFFY_NS;
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
