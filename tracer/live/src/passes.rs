//! Which pass through the rules of a hook an event is of: the kernel does not tell a packet from its copies, which go one after the other.

use std::collections::BTreeMap;

use pktwalk_linux::hook::{Backend, Hook, TableName};
use pktwalk_scenario::event::{At, EventVerdict, ScenarioEvent, SendRun};

/// A table at a hook, and a packet by its number.
type Place = (Hook, Backend, TableName, usize);

/// The events of one send.
pub(crate) struct Passes<'a> {
    /// Each with its packet's number, and the number of the pass.
    pub events: Vec<(usize, usize, &'a ScenarioEvent)>,
    count: BTreeMap<Place, usize>,
}

impl Passes<'_> {
    pub fn of(run: &SendRun) -> Passes<'_> {
        let (mut events, mut count) = (Vec::new(), BTreeMap::new());
        let mut done: BTreeMap<Place, usize> = BTreeMap::new();
        for (number, packet) in run.packets.iter().enumerate() {
            for event in &packet.events {
                let place = (event.hook, event.backend, event.table, number);
                let pass = done.entry(place).or_default();
                events.push((number, *pass, event));
                count.insert(place, *pass + 1);
                let left = match event.verdict {
                    EventVerdict::Accept
                    | EventVerdict::Drop
                    | EventVerdict::Stolen
                    | EventVerdict::Queue
                    | EventVerdict::Unknown => true,
                    EventVerdict::Return
                    | EventVerdict::Continue
                    | EventVerdict::Jump(_)
                    | EventVerdict::Goto(_) => event.at == At::Policy,
                };
                if left {
                    *pass += 1;
                }
            }
        }
        Passes { events, count }
    }

    /// How many passes through the rules of a chain each packet has: as many as at the chain's hook, or if others call it, at the hook where there
    /// are most.
    pub fn of_chain(&self, backend: Backend, table: TableName, chain: &str) -> BTreeMap<usize, usize> {
        let hook = Hook::from_chain_name(chain);
        let mut most: BTreeMap<usize, usize> = BTreeMap::new();
        for ((at, by, of, number), count) in &self.count {
            if (*by, *of) == (backend, table) && hook.is_none_or(|hook| hook == *at) {
                let most = most.entry(*number).or_default();
                *most = (*most).max(*count);
            }
        }
        most
    }
}
