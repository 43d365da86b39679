//! What the kernel leaves unsaid, and what of it is filled in. Each test stands in `docs/model/known-differences.md`.

use pktwalk_linux::hook::Family;
use pktwalk_linux::iptables;

use super::*;

const RULES: &[u8] =
    b"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\n-A INPUT -j MARK --set-xmark 1/1\nCOMMIT\n";

fn loaded() -> Loaded {
    let (save, _) = iptables::parse(RULES, 0, Family::V4);
    let chain = save.tables[0].chains[0].clone();
    let mut loaded = Loaded::default();
    loaded.chains.insert((Backend::Legacy, TableName::Filter, chain.name.clone()), chain);
    loaded
}

/// Verdicts of x_tables' lines about rules of this table.
fn verdicts(table: &str, numbers: &[u32]) -> Vec<EventVerdict> {
    let mut run = PacketRun::default();
    for number in numbers {
        let (table, chain) = (table.to_owned(), "INPUT".to_owned());
        let event = LegacyEvent { hook: 1, table, chain, number: *number, ..LegacyEvent::default() };
        legacy(&loaded(), &mut run, &event);
    }
    run.events.into_iter().map(|event| event.verdict).collect()
}

#[test]
fn verdicts_of_x_tables_are_those_of_its_targets() {
    let (dropped, goes_on, policy) = (EventVerdict::Drop, EventVerdict::Continue, EventVerdict::Accept);
    assert_eq!(verdicts("filter", &[1, 2, 3]), [dropped, goes_on, policy]);
}

#[test]
fn tables_of_earlier_cases_say_nothing() {
    assert_eq!(verdicts("mangle", &[1]), []);
}

/// The reasons that packets are said to have been freed for, of `packets` packets that did not leave.
fn reasons(packets: usize, freed: &[(&str, u16)]) -> Vec<Option<String>> {
    let mut runs = vec![PacketRun::default(); packets];
    let freed =
        freed.iter().map(|(reason, protocol)| Freed { protocol: *protocol, reason: (*reason).to_owned() });
    let none = vec![false; packets];
    let hints = Hints { told: &none, arrived: &none, heard: &none };
    ends(&loaded(), &mut runs, hints, Some(freed.collect()), None);
    runs.into_iter().map(|run| run.kernel_reason).collect()
}

#[test]
fn a_reason_that_fits_several_packets_is_nobodys() {
    let reason = || Some("NO_SOCKET".to_owned());
    assert_eq!(reasons(1, &[("NO_SOCKET", 0x800)]), [reason()]);
    assert_eq!(reasons(2, &[("NO_SOCKET", 0x800)]), [None, None]);
    assert_eq!(reasons(1, &[("NO_SOCKET", 0x800), ("OTHERHOST", 0x800)]), [None]);
}

#[test]
fn what_other_ends_and_listeners_free_is_not_of_the_namespace() {
    for freed in [("TC_INGRESS", 0x800), ("SOCKET_FILTER", 0x800), ("NOT_SPECIFIED", 0)] {
        assert_eq!(reasons(1, &[freed]), [None]);
        assert_eq!(reasons(1, &[freed, ("NO_SOCKET", 0x800)]), [Some("NO_SOCKET".to_owned())]);
    }
}
