//! The generator of the differential runner makes everything that is modelled: walked by the model, its cases show every match, target, hook
//! with table, route type, kind of made packet and drop code. No kernel is asked here.

use pktwalk_linux::hook::Backend;
use pktwalk_live::fuzz::differ;
use pktwalk_scenario::model::ModelEngine;
use pktwalk_tests::modelled::{self, Shown, note, note_throw};

/// How many cases are made at least.
const CASES: u64 = 6000;
/// How many it may take for the rarest to come up.
const MOST: u64 = 60_000;

/// What is not generated, and why.
const NOT_GENERATED: &[(&str, &str)] = &[
    ("code CT_DROP", "traces of x_tables do not say who dropped what is too short to be translated"),
    ("code CT_TABLE_FULL", "how many connections there may be is the host's to say"),
    ("code DEVICE_DOWN", "the kernel takes routes through a device that is down away"),
    ("code DUMMY_DEVICE", "this kernel has no dummy devices"),
];

#[test]
fn everything_modelled_is_generated() {
    let mut shown = Shown::new();
    for number in 0..MOST {
        if number >= CASES && number % 1000 == 0 && modelled::missing(&shown, NOT_GENERATED).0.is_empty() {
            break;
        }
        let case = differ::case(1, number, Backend::Nft, 20);
        let model = ModelEngine::new().walk(&case).expect("the model runs every case");
        for record in model.run.sends.iter().filter_map(|send| send.record.as_ref()) {
            record.request.packets.iter().for_each(|packet| note(&model.ns, packet, &mut shown));
        }
        note_throw(&case, &model.run, &mut shown);
    }
    let (missing, needless) = modelled::missing(&shown, NOT_GENERATED);
    assert!(missing.is_empty(), "not generated:\n  {}", missing.join("\n  "));
    assert!(needless.is_empty(), "excused, but generated: {needless:?}");
}
