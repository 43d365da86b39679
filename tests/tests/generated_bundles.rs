//! Generated namespaces written as bundles and read again: what the generator makes is what the tools' formats can say. Rules are left to the tests of their own syntax.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use pktwalk_ingest::{NodeInfo, read_bundle, write_bundle};
use pktwalk_linux::config::{MissingState, NetNsConfig};
use pktwalk_linux::ids::SourceLine;
use pktwalk_linux::ipset;
use pktwalk_live::fuzz::rng::Rng;
use pktwalk_live::fuzz::rules::ruleset;
use pktwalk_live::fuzz::world::world;

/// Without the places that things were read from.
fn plain(config: &NetNsConfig) -> NetNsConfig {
    let mut config = config.clone();
    let nowhere = SourceLine::default();
    config.files.clear();
    // No file of a bundle lists every connected socket.
    config.missing.retain(|missing| *missing != MissingState::ConnectedSockets);
    config.devices.iter_mut().for_each(|d| d.source = nowhere);
    config.routes.iter_mut().for_each(|r| r.source = nowhere);
    config.routing_rules.iter_mut().for_each(|r| r.source = nowhere);
    config.neighbours.iter_mut().for_each(|n| n.source = nowhere);
    config.fdb.iter_mut().for_each(|e| e.source = nowhere);
    for set in &mut config.sets {
        set.source = nowhere;
        set.entries.iter_mut().for_each(|e| e.source = nowhere);
    }
    config
}

#[test]
fn what_is_generated_is_read_again() {
    let mut rng = Rng::new(20_260);
    let dir = tempfile::tempdir().unwrap();
    for number in 0..300 {
        let mut config = world(&mut rng);
        config.sets = ruleset(&mut rng).sets;
        config.sockets = Some(Vec::new());
        let folder = dir.path().join(number.to_string());
        let lost = write_bundle(&folder, &NodeInfo::default(), &config).unwrap();
        assert_eq!(lost, Vec::<String>::new());
        let bundle = read_bundle(&folder).unwrap();
        assert_eq!(bundle.remarks().collect::<Vec<_>>(), [], "bundle {number}");
        let (one, two) = (plain(&config), plain(&bundle.host.config));
        // Told apart, so that a difference is short to read.
        for (left, right) in one.devices.iter().zip(&two.devices) {
            assert_eq!(left, right, "bundle {number}");
        }
        for (left, right) in one.routes.iter().zip(&two.routes) {
            assert_eq!(left, right, "bundle {number}");
        }
        assert_eq!(one.routing_rules, two.routing_rules, "bundle {number}");
        assert_eq!(one.neighbours, two.neighbours, "bundle {number}");
        assert_eq!(one.fdb, two.fdb, "bundle {number}");
        assert_eq!(ipset::print(&one.sets), ipset::print(&two.sets), "bundle {number}");
        assert_eq!(one.sysctls, two.sysctls, "bundle {number}");
        assert_eq!((&one.missing, &one.unmodelled), (&two.missing, &two.unmodelled), "bundle {number}");
        assert!(NetNsConfig { sets: two.sets.clone(), ..one } == two, "bundle {number}");
    }
}
