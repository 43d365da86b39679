//! Confirmations by an engine that is the model itself: what may count as agreement, and what each backend is given.

use pktwalk_linux::config::{Device, DeviceKind, NetNsConfig, Route, Ruleset};
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::iptables;
use pktwalk_linux::netns::NetNs;
use pktwalk_packet::{MacAddr, spec};

use super::*;
use crate::case::CaseSend;

struct Own;

impl Choices for Own {
    fn for_send(&mut self, _: usize, _: &NetNs) -> Box<dyn pktwalk_linux::choice::Choice> {
        Box::new(pktwalk_linux::choice::Seeded::new(0))
    }
}

/// What the other engine made of a case, which is what the model makes of it.
pub(crate) fn itself(case: &Case) -> Result<(EngineRun, Box<dyn Choices>), EngineError> {
    let run = ModelEngine::new().walk(case)?.run;
    Ok((EngineRun { kernel: Some("7.0".to_owned()), ..run }, Box::new(Own)))
}

fn ruleset(backend: Backend, text: &str) -> Ruleset {
    let (save, diagnostics) = iptables::parse(text.as_bytes(), 0, Family::V4);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    Ruleset { backend, save: save.into() }
}

/// One packet from `left` to `right`, by a node that forwards.
pub(crate) fn case(rulesets: &[(Backend, &str)]) -> Case {
    let device = |name: &str, ifindex: u8| {
        let mac = MacAddr([2, 0, 0, 0, 0, ifindex]);
        Device::new(name, ifindex.into(), DeviceKind::Physical, mac)
    };
    let route = |net: &str, dev: &str| Route::new(net.parse().unwrap(), None, Some(dev));
    let config = NetNsConfig {
        devices: vec![device("left", 2), device("right", 3)],
        routes: vec![route("10.0.1.0/24", "left"), route("10.0.2.0/24", "right")],
        sysctls: [("net.ipv4.ip_forward".to_owned(), "1".to_owned())].into(),
        rulesets: rulesets.iter().map(|(backend, text)| ruleset(*backend, text)).collect(),
        sockets: Some(Vec::new()),
        ..NetNsConfig::default()
    };
    let packet = spec::parse("udp 10.0.1.2:1 > 10.0.2.2:2").unwrap();
    let sends = vec![CaseSend { packet, entry: Entry::Device("left".to_owned()), number: None }];
    Case { name: "case".to_owned(), config, sends, ..Case::default() }
}

pub(crate) const DROPS: &str = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -p udp -j DROP\nCOMMIT\n";
pub(crate) const EMPTY: &str = "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n";
/// A rule of which the model does not know whether it matches.
pub(crate) const NOT_MODELLED: &str =
    "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m length --length 0:100 -j DROP\nCOMMIT\n";

fn agreements(case: &Case, backends: Backends) -> Vec<Agreement> {
    let confirmations = confirm(case, backends, &mut itself).unwrap();
    confirmations.iter().map(Confirmation::agreement).collect()
}

#[test]
fn what_the_model_does_not_know_is_no_agreement() {
    let known = case(&[(Backend::Nft, DROPS)]);
    assert_eq!(agreements(&known, Backends::Both), [Agreement::Agree; 2]);
    let unknown = case(&[(Backend::Nft, NOT_MODELLED)]);
    assert_eq!(agreements(&unknown, Backends::Both), [Agreement::Unknown; 2]);
}

#[test]
fn the_other_engine_going_on_is_no_difference_but_another_rule_is() {
    let unknown = case(&[(Backend::Nft, NOT_MODELLED)]);
    let agreement = |other: &Case| {
        let other = other.clone();
        let confirmations = confirm(&unknown, Backends::AsGiven, &mut |_: &Case| itself(&other)).unwrap();
        confirmations[0].agreement()
    };
    assert_eq!(agreement(&case(&[(Backend::Nft, DROPS)])), Agreement::Unknown);
    let rules =
        "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j MARK --set-xmark 0x1/0xffffffff\nCOMMIT\n";
    let marks = case(&[(Backend::Nft, &format!("{rules}{NOT_MODELLED}"))]);
    let confirmations = confirm(&marks, Backends::AsGiven, &mut |_: &Case| itself(&unknown)).unwrap();
    assert_eq!(confirmations[0].agreement(), Agreement::Differ);
}

#[test]
fn events_after_a_packet_that_is_not_known_are_not_known_either() {
    let mut unknown = case(&[(Backend::Nft, &NOT_MODELLED.replace("-m length", "-p udp -m length"))]);
    let packet = spec::parse("tcp 10.0.1.2:1 > 10.0.2.2:2 flags=S").unwrap();
    unknown.sends.push(CaseSend { packet, ..unknown.sends[0].clone() });
    let mut other = unknown.clone();
    other.config.rulesets = vec![ruleset(Backend::Nft, &DROPS.replace("udp", "tcp"))];
    let agreement = |case: &Case, other: &Case| {
        confirm(case, Backends::AsGiven, &mut |_: &Case| itself(other)).unwrap()[0].agreement()
    };
    // The policy that the second packet comes to, or the rule: the first packet may have changed what it meets.
    assert_eq!(agreement(&unknown, &other), Agreement::Unknown);
    for case in [&mut unknown, &mut other] {
        case.sends.remove(0);
    }
    assert_eq!(agreement(&unknown, &other), Agreement::Differ);
}

#[test]
fn tables_without_rules_never_stand_beside_those_of_the_other_backend() {
    for (given, empty) in [(Backend::Nft, Backend::Legacy), (Backend::Legacy, Backend::Nft)] {
        // In either order: the second one loaded would flush the first.
        for rulesets in [[(given, DROPS), (empty, EMPTY)], [(empty, EMPTY), (given, DROPS)]] {
            for backends in [Backends::AsGiven, Backends::Both, Backends::One(Backend::Nft)] {
                for backed in on_backends(&case(&rulesets), backends) {
                    let rulesets = &backed.case.config.rulesets;
                    assert_eq!(rulesets.len(), 1, "{backends:?}");
                    assert_eq!(Some(rulesets[0].backend), backed.backend);
                    assert!(acts(&rulesets[0]));
                    assert_eq!(backed.left_out, Some(empty));
                }
            }
        }
    }
    let both = on_backends(&case(&[(Backend::Nft, DROPS), (Backend::Legacy, DROPS)]), Backends::Both);
    assert_eq!((both.len(), both[0].backend, both[0].left_out), (1, None, None));
    let none = on_backends(&case(&[(Backend::Legacy, EMPTY), (Backend::Nft, EMPTY)]), Backends::Both);
    assert_eq!((none.len(), none[0].backend, none[0].left_out), (1, None, Some(Backend::Nft)));
    assert_eq!(none[0].case.config.rulesets.len(), 1);
}

#[test]
fn what_only_a_real_card_takes_is_not_confirmed() {
    for (len, agreement) in [(1476, Agreement::Agree), (1477, Agreement::Unconfirmed)] {
        let mut large = case(&[(Backend::Nft, DROPS)]);
        large.sends[0].packet = spec::parse(&format!("udp 10.0.1.2:1 > 10.0.2.2:2 len={len}")).unwrap();
        assert_eq!(agreements(&large, Backends::AsGiven), [agreement]);
    }
}

#[test]
fn what_meets_a_device_of_another_kind_is_not_judged() {
    let dummy = |name: &str| {
        let mut case = case(&[]);
        let device = case.config.devices.iter_mut().find(|device| device.name == name).unwrap();
        device.kind = DeviceKind::Dummy;
        case.config.devices.push(Device::new("idle", 4, DeviceKind::Dummy, MacAddr::default()));
        case
    };
    let wires = case(&[]);
    let agreement = |case: &Case, stand_ins: &[&str]| {
        let stand_ins: Vec<String> = stand_ins.iter().map(|name| (*name).to_owned()).collect();
        let mut other = |_: &Case| {
            let (run, choices) = itself(&wires)?;
            Ok((EngineRun { stand_ins: stand_ins.clone(), ..run }, choices))
        };
        confirm(case, Backends::AsGiven, &mut other).unwrap()[0].agreement()
    };
    assert_eq!(agreement(&dummy("right"), &[]), Agreement::Differ);
    assert_eq!(agreement(&dummy("right"), &["right", "idle"]), Agreement::Unconfirmed);
    assert_eq!(agreement(&wires, &["idle"]), Agreement::Agree);
}
