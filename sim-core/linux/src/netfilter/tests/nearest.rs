//! What is told beside a drop: the rule that was missed by one test, and what was taken for granted of rules that remember.

use super::*;
use crate::netfilter::{NearMiss, RuleTest};

fn recorded(world: &mut World, skb: &mut Skb) -> Recorder {
    let at = HookState {
        hook: Hook::Forward,
        in_dev: Some(DevId(1)),
        out_dev: Some(DevId(2)),
        phys_in: None,
        phys_out: None,
    };
    let mut sink = Recorder::default();
    sink.begin(None, skb);
    let mut cx = Cx {
        ns: &world.ns,
        state: &mut world.state,
        choice: &mut world.choice,
        sink: &mut sink,
        made: Vec::new(),
        undecided: None,
        backend_untold: false,
    };
    run_hook(&mut cx, at, skb);
    sink
}

/// Chain, 1-based rule, the test that failed, others as near.
fn near(world: &mut World, skb: &mut Skb) -> Option<(String, u32, RuleTest, u32)> {
    let NearMiss { rule, failed, others, .. } = recorded(world, skb).packets[0].nearest?;
    let (chain, position) = world.ns.netfilter.rule(rule).unwrap();
    let chain = world.ns.netfilter.chain_ast(&world.ns.config, chain).unwrap();
    Some((chain.name.clone(), position, failed, others))
}

fn dport(port: u16) -> Match {
    let ports = Some(Neg::is(PortRange { lo: port, hi: port }));
    Match::Tcp(TcpMatch { sport: None, dport: ports, flags: None, option: None })
}

fn accept() -> Rule {
    rule(Target::Accept)
}

fn to(dst: [u8; 4]) -> impl FnOnce(&mut IpMatch) {
    move |ip| {
        ip.dst =
            Some(Neg::is(AddrMask { addr: IpAddr::from(dst), mask: IpAddr::from([255, 255, 255, 255]) }));
    }
}

/// The packet is tcp 10.0.0.2:1000 > 10.0.1.2:80, by eth0 and eth1.
fn nearest_of(rules: Vec<Rule>, dmz: Vec<Rule>) -> Option<(String, u32, RuleTest, u32)> {
    let run = |backend| {
        let mut rules = rules.clone();
        rules.push(rule(jump("DMZ")));
        let dropped = near(
            &mut World::forward(backend, Policy::Drop, rules.clone(), vec![("DMZ", dmz.clone())]),
            &mut syn(),
        );
        // A last rule that takes everything is a policy by another name.
        for last in [Target::Drop, Target::Reject(RejectWith::IcmpPortUnreachable)] {
            let mut rules = rules.clone();
            rules.push(rule(last));
            let mut world = World::forward(backend, Policy::Accept, rules, vec![("DMZ", dmz.clone())]);
            assert_eq!(near(&mut world, &mut syn()), dropped);
        }
        dropped
    };
    let [legacy, nft] = BACKENDS.map(run);
    assert_eq!(legacy, nft);
    nft
}

#[test]
fn the_accepting_rule_that_one_test_failed_of() {
    let dmz = |rule: Rule| nearest_of(Vec::new(), vec![rule]);
    let told = |failed| Some(("DMZ".to_owned(), 1, failed, 0));
    assert_eq!(dmz(accept().ip(to([10, 0, 1, 2])).with(dport(443))), told(RuleTest::DstPort(0)));
    assert_eq!(dmz(accept().ip(to([10, 0, 1, 3])).with(dport(80))), told(RuleTest::Dst));
    let udp = Match::Udp(UdpMatch { sport: None, dport: Some(Neg::is(PortRange { lo: 80, hi: 80 })) });
    assert_eq!(dmz(accept().with(udp)), told(RuleTest::Protocol));
    assert_eq!(dmz(accept().with(dport(80)).with(never())), told(RuleTest::Match(1)));
    let dev = |name: &str| Some(Box::new(Neg::is(DevPattern { name: name.to_owned(), prefix: false })));
    assert_eq!(dmz(accept().ip(|ip| ip.in_dev = dev("eth1")).with(dport(80))), told(RuleTest::InDev));
    assert_eq!(dmz(accept().ip(|ip| ip.out_dev = dev("eth0")).with(dport(80))), told(RuleTest::OutDev));
    // Two tests failed; none held; it would not have accepted.
    assert_eq!(dmz(accept().ip(to([10, 0, 1, 3])).with(dport(443))), None);
    assert_eq!(dmz(accept().ip(to([10, 0, 1, 3]))), None);
    assert_eq!(dmz(rule(Target::Return).ip(to([10, 0, 1, 2])).with(dport(443))), None);
    assert_eq!(dmz(rule(Target::None).ip(to([10, 0, 1, 2])).with(dport(443))), None);
}

#[test]
fn most_tests_that_held_are_nearest() {
    let one = || accept().with(dport(443));
    let two = || accept().ip(to([10, 0, 1, 2])).with(dport(443));
    let told = nearest_of(vec![one()], vec![one(), two()]);
    assert_eq!(told, Some(("DMZ".to_owned(), 2, RuleTest::DstPort(0), 0)));
    let told = nearest_of(vec![one(), one()], vec![one()]);
    assert_eq!(told, Some(("FORWARD".to_owned(), 1, RuleTest::DstPort(0), 2)));
}

#[test]
fn a_rule_that_remembers_or_that_was_not_asked_is_not_near() {
    let limit = || Match::Limit(LimitMatch { avg: 10_000, burst: 3 });
    assert_eq!(nearest_of(vec![accept().with(dport(443)).with(limit())], Vec::new()), None);
    // Behind a rule that leaves the chain.
    let rules = vec![rule(Target::Return), accept().with(dport(443))];
    assert_eq!(nearest_of(Vec::new(), rules), None);
    // The mark is another one than when the rule was asked.
    let mark = Target::Mark(MarkMask { value: 9, mask: u32::MAX });
    assert_eq!(nearest_of(vec![accept().with(dport(80)).with(never()), rule(mark)], Vec::new()), None);
    // Accepted packets have none.
    let rules = vec![accept().with(dport(443)), accept()];
    assert_eq!(nearest_of(rules, Vec::new()), None);
}

/// What was assumed of rules that remember, as chain and match.
fn assumed(backend: Backend, rules: Vec<Rule>, limited: Vec<Rule>) -> Vec<&'static str> {
    let mut world = World::forward(backend, Policy::Accept, rules, vec![("LIMITED", limited)]);
    let steps = recorded(&mut world, &mut syn()).packets.remove(0).steps;
    steps
        .iter()
        .filter_map(|recorded| match recorded.step {
            Step::Assumed(Assumption::AsLoaded { what, .. }) => Some(what),
            _ => None,
        })
        .collect()
}

#[test]
fn what_a_rule_remembers_is_assumed_once_for_a_packet() {
    let limit = || Match::Limit(LimitMatch { avg: 10_000, burst: 3 });
    for backend in BACKENDS {
        let twice = vec![rule(jump("LIMITED")), rule(jump("LIMITED"))];
        let limited = vec![rule(Target::Return).with(limit()), rule(Target::Drop)];
        assert_eq!(assumed(backend, twice.clone(), limited), ["limit"]);
        let checked = vec![rule(Target::Return).with(recent(RecentAction::Update, |_| ()))];
        assert_eq!(assumed(backend, twice.clone(), checked), ["recent"]);
        // It holds whatever the list has; nothing depends on a rule that only counts; a rule that was not asked.
        let set = vec![rule(Target::Return).with(recent(RecentAction::Set, |_| ()))];
        assert_eq!(assumed(backend, twice.clone(), set), [""; 0]);
        assert_eq!(assumed(backend, twice.clone(), vec![rule(Target::None).with(limit())]), [""; 0]);
        assert_eq!(assumed(backend, twice, vec![rule(Target::Drop).with(dport(1)).with(limit())]), [""; 0]);
    }
}
