//! Model coverage: every match, target, hook with table, route type, kind of made packet and drop code that is modelled is shown by a scenario.

use pktwalk_scenario::case::Case;
use pktwalk_scenario::file::Live;
use pktwalk_scenario::model::ModelEngine;
use pktwalk_scenario::runner;
use pktwalk_tests::modelled::{self, Shown, note, note_throw};
use pktwalk_tests::{confirmed, repo_root};

/// What no kernel-confirmed scenario shows, and why.
const NOT_SHOWN: &[(&str, &str)] = &[
    ("code DUMMY_DEVICE", "this kernel has no dummy devices"),
    (
        "code MESSAGE_TOO_LONG",
        "senders of scenarios are no raw sockets, except when the kernel confirms them",
    ),
];

/// What the scenarios show that the kernel has confirmed on both backends.
fn shown() -> Shown {
    let mut shown = Shown::new();
    for folder in runner::find(&repo_root().join("scenarios")).expect("scenarios can be read") {
        let scenario = runner::load(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let kernel = scenario.golden.as_ref().and_then(|golden| golden.kernel.as_deref());
        if scenario.file.live != Live::Netns || !kernel.is_some_and(|kernel| confirmed(&scenario, kernel)) {
            continue;
        }
        let model = ModelEngine::new().walk(&scenario.case).expect("the model runs every scenario");
        let ns = &model.ns;
        for packet in model.run.sends.iter().filter_map(|send| send.record.as_ref()).flat_map(|record| {
            record.request.packets.iter().chain(record.reply.iter().flat_map(|reply| &reply.packets))
        }) {
            note(ns, packet, &mut shown);
        }
        note_throw(&scenario.case, &model.run, &mut shown);
    }
    shown
}

#[test]
fn everything_modelled_is_shown_by_a_scenario() {
    let (missing, needless) = modelled::missing(&shown(), NOT_SHOWN);
    assert!(missing.is_empty(), "no scenario shows:\n  {}", missing.join("\n  "));
    assert!(needless.is_empty(), "excused, but shown: {needless:?}");
}

#[test]
fn a_throw_route_that_no_packet_met_is_not_shown() {
    let folder = repo_root().join("scenarios/40-routing/route-types");
    let mut case = runner::load(&folder).expect("a scenario").case;
    let shows = |case: &Case| {
        let model = ModelEngine::new().walk(case).expect("the model runs every scenario");
        let mut shown = Shown::new();
        note_throw(case, &model.run, &mut shown);
        shown.contains("route throw")
    };
    assert!(shows(&case));
    // 198.51.100.193, the packet's destination.
    case.sends.retain(|send| send.packet.l3()[16..20] != [198, 51, 100, 193]);
    assert!(!shows(&case));
}
