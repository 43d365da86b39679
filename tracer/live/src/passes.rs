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

    /// How many passes through the rules of a table each packet has, at each hook.
    pub fn of_table(&self, backend: Backend, table: TableName) -> BTreeMap<(Hook, usize), usize> {
        let of_table = self.count.iter().filter(|((_, by, of, _), _)| (*by, *of) == (backend, table));
        of_table.map(|(&(hook, _, _, number), &count)| ((hook, number), count)).collect()
    }
}
