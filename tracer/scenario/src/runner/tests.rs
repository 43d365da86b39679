//! What may put the kernel's name into a golden text.

use pktwalk_linux::hook::Backend;

use super::*;
use crate::case::Case;
use crate::confirm::tests::{DROPS, NOT_MODELLED, case, itself};

/// A scenario whose only packet is expected to end so.
fn scenario(case: Case, disposition: &str) -> Scenario {
    let text = format!(
        "title: t\nsource: {{bundle: b}}\nsend:\n  - packet: 'udp 10.0.1.2:1 > 10.0.2.2:2'\n    at: left\n    expect: {{disposition: {disposition}}}\n"
    );
    let file = file::parse(SCENARIO, &text).unwrap();
    let expects = file.sends.iter().map(|send| send.expect.clone()).collect();
    Scenario { folder: PathBuf::new(), file, case, expects, fingerprint: 7, golden: None }
}

const BOTH: RunOptions = RunOptions { model: true, bless: false, backends: Backends::Both };

#[test]
fn the_kernel_confirms_nothing_that_the_model_does_not_know() {
    let known = scenario(case(&[(Backend::Nft, DROPS)]), "dropped");
    let outcome = run(&known, BOTH, Some(&mut itself)).unwrap();
    assert!(outcome.unknown.is_empty(), "{outcome:?}");
    assert_eq!(outcome.golden.unwrap().kernel.as_deref(), Some("7.0 (legacy, nft)"));

    let mut unknown = scenario(case(&[(Backend::Nft, NOT_MODELLED)]), "unknown");
    // Not even if it was once confirmed.
    unknown.golden = run(&unknown, RunOptions { model: true, ..BOTH }, None).unwrap().golden;
    unknown.golden.as_mut().unwrap().case = Some(7);
    unknown.golden.as_mut().unwrap().kernel = Some("7.0 (legacy, nft)".to_owned());
    let outcome = run(&unknown, BOTH, Some(&mut itself)).unwrap();
    assert_eq!(outcome.golden.unwrap().kernel, None);
    assert_eq!(outcome.unknown.len(), 2, "{:?}", outcome.unknown);
    assert!(
        outcome.unknown[0].starts_with("packet 1 (legacy): the model does not know"),
        "{:?}",
        outcome.unknown
    );
}

#[test]
fn a_stamp_is_of_one_case_only() {
    let model = RunOptions { model: true, ..BOTH };
    let mut scenario = scenario(case(&[(Backend::Nft, DROPS)]), "dropped");
    scenario.golden = run(&scenario, BOTH, Some(&mut itself)).unwrap().golden;
    let kept = run(&scenario, model, None).unwrap();
    assert_eq!(kept.golden.unwrap().kernel.as_deref(), Some("7.0 (legacy, nft)"));
    assert!(kept.notes.is_empty(), "{:?}", kept.notes);
    // Another bundle or packet, of which the report says the same.
    scenario.fingerprint = 8;
    let lost = run(&scenario, model, None).unwrap();
    assert_eq!(lost.golden.unwrap().kernel, None);
    assert!(lost.notes[0].contains("another case"), "{:?}", lost.notes);
}

#[test]
fn the_kernel_is_held_to_the_expectations() {
    let kernel_only = RunOptions { model: false, ..BOTH };
    let scenario = scenario(case(&[(Backend::Nft, DROPS)]), "forwarded");
    let outcome = run(&scenario, kernel_only, Some(&mut itself)).unwrap();
    let words = "packet 1 on the kernel (nft): disposition: expected FORWARDED, got DROPPED";
    assert!(outcome.failures.iter().any(|line| line == words), "{:?}", outcome.failures);
}

#[test]
fn a_kernel_that_did_not_tell_all_gives_no_stamp() {
    let scenario = scenario(case(&[(Backend::Nft, DROPS)]), "dropped");
    let mut blind = |case: &Case| {
        let (mut run, choices) = itself(case)?;
        run.gaps.push("not seen: why packets were freed".to_owned());
        run.sends
            .iter_mut()
            .flat_map(|send| &mut send.packets)
            .for_each(|packet| packet.kernel_reason = None);
        Ok((run, choices))
    };
    let outcome = run(&scenario, BOTH, Some(&mut blind)).unwrap();
    assert_eq!(outcome.golden.unwrap().kernel, None);
    assert!(outcome.unknown[0].contains("not confirmed (legacy): not seen"), "{:?}", outcome.unknown);
}

#[test]
fn where_a_code_is_expected_the_kernel_must_have_told_why() {
    let mut scenario = scenario(case(&[(Backend::Nft, DROPS)]), "dropped");
    scenario.expects[0].as_mut().unwrap().code = Some("RULE_DROP".to_owned());
    let mut silent = |case: &Case| {
        let (mut run, choices) = itself(case)?;
        run.sends[0].packets[0].kernel_reason = None;
        Ok((run, choices))
    };
    let outcome = run(&scenario, BOTH, Some(&mut silent)).unwrap();
    assert_eq!(outcome.golden.unwrap().kernel, None);
    let words = "packet 1 on the kernel (nft): kernel's reason: expected NETFILTER_DROP, got nothing";
    assert!(outcome.failures.iter().any(|line| line == words), "{:?}", outcome.failures);
    assert!(run(&scenario, BOTH, Some(&mut itself)).unwrap().golden.unwrap().kernel.is_some());
}

#[test]
fn what_leaves_can_be_expected() {
    let out = |text: &str| {
        let mut scenario = scenario(case(&[]), "forwarded");
        let text = format!(
            "title: t\nsource: {{bundle: b}}\nsend:\n  - packet: 'udp 10.0.1.2:1 > 10.0.2.2:2'\n    at: left\n    expect: {{out: {text}}}\n"
        );
        scenario.expects = vec![file::parse(SCENARIO, &text).unwrap().sends[0].expect.clone()];
        run(&scenario, RunOptions { model: true, ..BOTH }, None).unwrap().failures
    };
    let only_golden = |failures: Vec<String>| failures.len() == 1 && failures[0].contains(GOLDEN);
    assert!(only_golden(out("{dev: right}")));
    assert!(only_golden(out("{dev: right, packet: 'udp 10.0.1.2:1 > 10.0.2.2:2 ttl=63'}")));
    assert!(only_golden(out("[{dev: right}]")));
    assert!(only_golden(out("{dev: right, not: 'udp 10.0.1.2:1 > 10.0.2.2:2'}")));
    assert!(only_golden(out(
        "{dev: right, packet: ['udp 10.0.1.2:1 > 10.0.2.2:3 ttl=63', 'udp 10.0.1.2:1 > 10.0.2.2:2 ttl=63']}"
    )));
    for wrong in [
        "[]",
        "{dev: left}",
        "[{dev: right}, {dev: right}]",
        "{dev: right, packet: 'udp 10.0.1.2:1 > 10.0.2.2:2'}",
        "{dev: right, packet: ['udp 10.0.1.2:1 > 10.0.2.2:2', 'udp 10.0.1.2:1 > 10.0.2.2:3 ttl=63']}",
        "{dev: right, not: 'udp 10.0.1.2:1 > 10.0.2.2:2 ttl=63'}",
    ] {
        let failures = out(wrong);
        assert!(
            failures[0].ends_with("got right 'udp 10.0.1.2:1 > 10.0.2.2:2 ttl=63'"),
            "{wrong}: {failures:?}"
        );
    }
}

#[test]
fn what_the_node_makes_can_be_expected() {
    let made = |rules: &str, text: &str| {
        let mut scenario = scenario(case(&[(Backend::Nft, rules)]), "dropped");
        // The sender's address, which an error goes to, is one of its network.
        let text = format!(
            "title: t\nsource: {{bundle: b}}\nsend:\n  - packet: 'udp 10.0.1.2:1 > 10.0.2.2:2'\n    at: left\n    expect: {{made: {text}}}\n"
        );
        scenario.expects = vec![file::parse(SCENARIO, &text).unwrap().sends[0].expect.clone()];
        run(&scenario, RunOptions { model: true, ..BOTH }, None).unwrap().failures
    };
    let only_golden = |failures: Vec<String>| failures.len() == 1 && failures[0].contains(GOLDEN);
    let rejects = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -p udp -j REJECT --reject-with icmp-port-unreachable\nCOMMIT\n";
    assert!(only_golden(made(DROPS, "[]")));
    assert!(only_golden(made(rejects, "{dev: left}")));
    // The packet's own leaving is none of it.
    assert!(only_golden(made("*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n", "[]")));
    for (rules, wrong) in [(rejects, "[]"), (rejects, "{dev: right}"), (DROPS, "{dev: left}")] {
        let failures = made(rules, wrong);
        assert!(failures[0].starts_with("packet 1: made: expected "), "{wrong}: {failures:?}");
    }
}
