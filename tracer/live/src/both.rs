//! Rules of both backends in one namespace: each tells its own events, in order. Here they become one list.

use pktwalk_linux::hook::{Backend, Hook, TableName};
use pktwalk_scenario::event::{At, EventVerdict, ScenarioEvent};

/// A place in a walk: which pass through the stack, how far along its hooks, the priority there, and the place among the chains of that priority.
type Place = (u8, u8, i32, bool);

/// Where each event of one backend stands. `sent_here`: the packet came by OUTPUT.
fn places(first: Backend, sent_here: bool, events: &[ScenarioEvent]) -> Vec<Place> {
    // What is sent from here can come in afterwards; what came in is not seen at OUTPUT.
    let mut pass = u8::from(!sent_here);
    let mut places = Vec::with_capacity(events.len());
    for event in events {
        let rank = match event.hook {
            Hook::Ingress | Hook::Prerouting | Hook::Output => 0,
            Hook::Input | Hook::Forward => 1,
            Hook::Postrouting | Hook::Egress => 2,
        };
        if matches!(event.hook, Hook::Prerouting | Hook::Input | Hook::Forward) {
            pass = 1;
        }
        // iptables-nft gives its security chains 150 where x_tables has 50.
        let priority = match (event.backend, event.table) {
            (Backend::Nft, TableName::Security) => 150,
            (_, table) => table.priority(event.hook),
        };
        places.push((pass, rank, priority, event.backend != first));
    }
    places
}

/// The events of one packet in the order of the stack; among chains of one priority those of `first` come first, for they were registered last. Also
/// whether that order is known: not of a packet that comes by more often than once each way.
pub(crate) fn merge(
    first: Backend,
    sent_here: bool,
    nft: Vec<ScenarioEvent>,
    legacy: Vec<ScenarioEvent>,
) -> (Vec<ScenarioEvent>, bool) {
    let mut known = true;
    let mut all = Vec::with_capacity(nft.len() + legacy.len());
    for events in [nft, legacy] {
        let places = places(first, sent_here, &events);
        // A chain is left once each time; twice in one place is a packet that came by twice.
        let left = |event: &ScenarioEvent| {
            let ends = matches!(
                event.verdict,
                EventVerdict::Accept | EventVerdict::Drop | EventVerdict::Queue | EventVerdict::Stolen
            );
            ends || event.at == At::Policy
        };
        let ends = places.iter().zip(&events).filter(|(_, event)| left(event));
        let ends: Vec<&Place> = ends.map(|(place, _)| place).collect();
        known &= places.is_sorted() && ends.is_sorted_by(|one, next| one < next);
        all.extend(places.into_iter().zip(events));
    }
    // The sort is stable: events of one chain stay as they are.
    all.sort_by_key(|(place, _)| *place);
    (all.into_iter().map(|(_, event)| event).collect(), known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(backend: Backend, hook: Hook, table: TableName, chain: &str, rule: u32) -> ScenarioEvent {
        ScenarioEvent {
            hook,
            backend,
            table,
            chain: chain.to_owned(),
            at: At::Rule(rule),
            verdict: EventVerdict::Continue,
            mark_before: None,
            mark: None,
        }
    }

    #[test]
    fn events_stand_in_the_order_of_the_stack() {
        use Backend::{Legacy, Nft};
        use TableName::{Filter, Mangle, Raw, Security};
        let nft = vec![
            event(Nft, Hook::Prerouting, Mangle, "PREROUTING", 1),
            event(Nft, Hook::Forward, Filter, "FORWARD", 1),
            event(Nft, Hook::Forward, Filter, "user", 2),
            event(Nft, Hook::Forward, Security, "FORWARD", 1),
        ];
        let legacy = vec![
            event(Legacy, Hook::Prerouting, Raw, "PREROUTING", 1),
            event(Legacy, Hook::Forward, Mangle, "FORWARD", 1),
            event(Legacy, Hook::Forward, Filter, "FORWARD", 1),
            event(Legacy, Hook::Forward, Security, "FORWARD", 1),
        ];
        let merged = |first| {
            let (events, known) = merge(first, false, nft.clone(), legacy.clone());
            assert!(known);
            let letter = |event: &ScenarioEvent| if event.backend == Nft { 'n' } else { 'l' };
            events.iter().map(letter).collect::<String>()
        };
        assert_eq!(merged(Nft), "lnlnnlln");
        assert_eq!(merged(Legacy), "lnllnnln");
    }

    #[test]
    fn what_is_sent_here_is_heard_afterwards() {
        let nft = vec![event(Backend::Nft, Hook::Prerouting, TableName::Raw, "PREROUTING", 1)];
        let legacy = vec![
            event(Backend::Legacy, Hook::Output, TableName::Filter, "OUTPUT", 1),
            event(Backend::Legacy, Hook::Postrouting, TableName::Mangle, "POSTROUTING", 1),
            event(Backend::Legacy, Hook::Input, TableName::Filter, "INPUT", 1),
        ];
        let (events, known) = merge(Backend::Nft, true, nft, legacy);
        assert!(known);
        let hooks: Vec<Hook> = events.iter().map(|event| event.hook).collect();
        assert_eq!(hooks, [Hook::Output, Hook::Postrouting, Hook::Prerouting, Hook::Input]);
    }

    #[test]
    fn a_packet_that_comes_by_again_has_no_known_order() {
        let again = || event(Backend::Nft, Hook::Forward, TableName::Filter, "FORWARD", 1);
        let copied = vec![
            again(),
            event(Backend::Nft, Hook::Postrouting, TableName::Mangle, "POSTROUTING", 1),
            again(),
        ];
        assert!(!merge(Backend::Nft, false, copied, Vec::new()).1);
        let mut twice = [again(), again()];
        assert!(merge(Backend::Nft, false, twice.to_vec(), Vec::new()).1);
        twice.iter_mut().for_each(|event| event.at = At::Policy);
        assert!(!merge(Backend::Nft, false, twice.to_vec(), Vec::new()).1);
    }
}
