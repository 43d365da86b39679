//! A kernel cannot tell a packet from its copies: what it saw of them stands under one packet, and is compared there.

use std::path::Path;

use pktwalk_linux::choice::{Choice, Seeded};
use pktwalk_linux::netns::NetNs;
use pktwalk_scenario::case::Case;
use pktwalk_scenario::compare::Compared;
use pktwalk_scenario::confirm::{Backends, confirm};
use pktwalk_scenario::event::{EventVerdict, SendRun};
use pktwalk_scenario::model::{Choices, ModelEngine};
use pktwalk_scenario::runner;

use super::*;

struct Own;

impl Choices for Own {
    fn for_send(&mut self, _: usize, _: &NetNs) -> Box<dyn Choice> {
        Box::new(Seeded::new(0))
    }
}

/// Of a scenario, what both saw where the other engine is the model with the eyes of a kernel; `change` is what it did otherwise.
fn seen(folder: &str, change: &dyn Fn(&mut [SendRun])) -> (String, Exit) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios").join(folder);
    let case = runner::load(&folder).unwrap().case;
    let mut kernel = |case: &Case| {
        let mut run = ModelEngine::new().walk(case)?.run;
        for send in &mut run.sends {
            let whole = Compared::of(send, send).left;
            send.packets = whole.into_iter().map(|whole| whole.run).collect();
            send.record = None;
        }
        change(&mut run.sends);
        Ok((run, Box::new(Own) as Box<_>))
    };
    let confirmations = confirm(&case, Backends::AsGiven, &mut kernel).unwrap();
    let Side { text, verdict, exit } = side_by_side(&confirmations[0]);
    assert!(text.contains(&format!("\n{verdict}\n")), "{text}");
    (text, exit)
}

/// Lines that begin as those of differences do.
fn marked(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("  !") || line.starts_with("  ?")).collect()
}

/// Scenarios with packets that the stack makes: copies of broadcasts and of frames that are flooded, redirects, errors.
const COPIED: [&str; 4] =
    ["50-local/heard-by-its-sender", "60-bridge/same-bridge", "60-bridge/promiscuous", "40-routing/redirect"];

#[test]
fn where_they_agree_nothing_is_marked_as_a_difference() {
    for folder in COPIED {
        let (text, exit) = seen(folder, &|_| {});
        assert_eq!(exit, Exit::Ok, "{text}");
        assert!(text.contains("\nAGREE"), "{text}");
        assert_eq!(marked(&text), Vec::<&str>::new(), "{text}");
    }
    let (text, _) = seen(COPIED[0], &|_| {});
    assert!(text.contains("     with its copy udp 192.168.50.1:40000 > 192.168.50.255:137"), "{text}");
}

#[test]
fn every_difference_is_marked_once() {
    for folder in COPIED {
        // The last event of the packets that have any.
        let (text, exit) = seen(folder, &|sends| {
            for packet in sends.iter_mut().flat_map(|send| &mut send.packets) {
                if let Some(event) = packet.events.last_mut() {
                    event.verdict = EventVerdict::Stolen;
                }
            }
        });
        assert_eq!(exit, Exit::Bad, "{text}");
        let stolen = text.lines().filter(|line| line.starts_with("     kernel: ") && line.contains("STOLEN"));
        let stolen = stolen.count();
        assert!(stolen > 0 && marked(&text).len() == stolen, "{text}");
        assert!(text.contains(&format!("\nDIFFER  {}", count(stolen, "difference"))), "{text}");
    }
}

#[test]
fn events_of_both_backends_say_whose_they_are() {
    let (text, _) = seen("10-filter/both-backends", &|_| {});
    let both =
        "  =  legacy filter FORWARD rule 1 ACCEPT mark 0x1\n  =  nft filter FORWARD rule 1 ACCEPT mark 0x1\n";
    assert!(text.contains(both), "{text}");
    let (text, _) = seen(COPIED[0], &|_| {});
    assert!(!text.contains("nft filter"), "{text}");
}

#[test]
fn a_packet_that_only_one_saw_is_told() {
    // The redirect, which is no copy.
    let (text, exit) = seen("40-routing/redirect", &|sends| sends[0].packets.truncate(1));
    assert_eq!(exit, Exit::Bad, "{text}");
    let [packets] = marked(&text)[..] else { panic!("{text}") };
    assert!(packets.contains("2 packets in all | 1"), "{text}");
    assert!(text.contains("     model: out by"), "{text}");
    let (text, _) = seen("40-routing/redirect", &|sends| {
        let more = sends[0].packets[1].clone();
        sends[0].packets.push(more);
    });
    assert!(text.contains("  because of it: not on the model\n"), "{text}");
    assert!(text.contains("     kernel: out by"), "{text}");
}
