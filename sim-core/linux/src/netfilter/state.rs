//! What rules remember between packets.

use rustc_hash::FxHashMap;

use super::matches::hashlimit;
use super::matches::recent;
use crate::ids::RuleId;

/// What rules remember between packets: tokens of limits, counters of `statistic`, `hashlimit` tables, `recent` lists.
///
/// Every rule starts as just loaded; what a kernel had in store when a dump was taken is not in the dump.
#[derive(Clone, Debug, Default)]
pub struct RuleState {
    slots: Vec<Option<Slot>>,
    pub(super) hashlimit: FxHashMap<u32, hashlimit::State>,
    pub(super) recent: FxHashMap<u32, recent::State>,
    /// Marks of the templates of `CT` rules.
    templates: FxHashMap<RuleId, u32>,
}

/// Numbers of one rule. What they are is the match's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    pub value: u64,
    pub at: u64,
}

impl RuleState {
    /// The mark of the template of a `CT` rule.
    pub(super) fn template_mark(&self, rule: RuleId) -> u32 {
        self.templates.get(&rule).copied().unwrap_or(0)
    }

    /// The same, to be changed.
    pub(super) fn template_mark_mut(&mut self, rule: RuleId) -> &mut u32 {
        self.templates.entry(rule).or_default()
    }

    /// The numbers of slot `index` of `count`, which start as `initial`.
    pub(super) fn slot(&mut self, index: u32, count: u32, initial: Slot) -> &mut Slot {
        let index = index as usize;
        if self.slots.len() <= index {
            self.slots.resize(index.max((count as usize).saturating_sub(1)) + 1, None);
        }
        self.slots[index].get_or_insert(initial)
    }
}
