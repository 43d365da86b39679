//! Every scenario folder on the model, against its expectations and its golden text; and on the kernel of this machine, beside the model.

use std::collections::BTreeSet;
use std::path::PathBuf;

use pktwalk_live::engine::KernelEngine;
use pktwalk_live::replay::Replay;
use pktwalk_scenario::case::Case;
use pktwalk_scenario::confirm::{Backends, Judge};
use pktwalk_scenario::file::Live;
use pktwalk_scenario::runner::{self, RunOptions, Scenario};
use pktwalk_skip::skip_unprivileged;
use pktwalk_tests::{confirmed, repo_root};

fn all() -> Vec<Scenario> {
    let folders: Vec<PathBuf> = runner::find(&repo_root().join("scenarios")).expect("scenarios can be read");
    folders
        .iter()
        .map(|folder| runner::load(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())))
        .collect()
}

fn run(scenarios: &[Scenario], options: RunOptions, mut kernel: Option<&mut Judge<'_>>) {
    let mut failed = Vec::new();
    for scenario in scenarios {
        let kernel = kernel.as_mut().map(|kernel| &mut **kernel as &mut Judge<'_>);
        match runner::run(scenario, options, kernel) {
            Ok(outcome) => {
                // What the kernel could not confirm counts as well.
                let lines = outcome.failures.iter().chain(&outcome.unknown);
                failed.extend(lines.map(|line| format!("{}: {line}", scenario.case.name)));
            }
            Err(error) => failed.push(format!("{}: {error}", scenario.case.name)),
        }
    }
    assert!(failed.is_empty(), "{} failures:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn on_the_model() {
    run(&all(), RunOptions { model: true, ..RunOptions::default() }, None);
}

#[test]
fn on_the_kernel() {
    if skip_unprivileged("on_the_kernel") {
        return;
    }
    let mut engine = KernelEngine::new(None);
    let mut judge = |case: &Case| {
        let run = engine.run_for_replay(case)?;
        Ok((run.run.clone(), Box::new(Replay::new(run)) as Box<_>))
    };
    run(&all(), RunOptions { backends: Backends::Both, ..RunOptions::default() }, Some(&mut judge));
}

#[test]
fn what_the_kernel_can_confirm_it_has_confirmed() {
    for scenario in all() {
        if scenario.file.live == Live::Netns {
            let kernel = scenario.golden.as_ref().and_then(|golden| golden.kernel.as_deref());
            assert!(
                kernel.is_some_and(|kernel| confirmed(&scenario, kernel)),
                "{}: {} says of no kernel that it agreed with the rules on both backends",
                scenario.case.name,
                runner::GOLDEN
            );
            let case = scenario.golden.as_ref().and_then(|golden| golden.case);
            assert_eq!(
                case,
                Some(scenario.fingerprint),
                "{}: the kernel confirmed another case",
                scenario.case.name
            );
        }
    }
}

#[test]
fn every_scenario_expects_something() {
    for scenario in all() {
        assert!(scenario.expects.iter().any(Option::is_some), "{} expects nothing", scenario.case.name);
        assert!(!scenario.file.symptom.is_empty(), "{} has no symptom", scenario.case.name);
    }
}

#[test]
fn every_neighbour_has_an_address_of_its_own() {
    // Else a frame does not tell which next hop was taken.
    for scenario in all() {
        let neighbours = &scenario.case.config.neighbours;
        let macs: BTreeSet<_> = neighbours.iter().filter_map(|neighbour| neighbour.mac).collect();
        let known = neighbours.iter().filter(|neighbour| neighbour.mac.is_some()).count();
        assert_eq!(macs.len(), known, "{}: {neighbours:?}", scenario.case.name);
    }
}
