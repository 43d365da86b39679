//! The node that is built in: `scenarios/demo`, made on a real kernel by the `make.sh` there.

use crate::bundle::{Bundle, read_files};

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../../../scenarios/demo/bundle/", $name)).as_slice())),*]
    };
}

/// The text of its `scenario.yaml`: a packet that gets through and one that does not, and why.
pub const DEMO_SCENARIO: &str = include_str!("../../../scenarios/demo/scenario.yaml");

/// The bundle; no file is needed when the program runs.
pub fn demo_bundle() -> Bundle {
    let files = files![
        "bridge-fdb.json",
        "conntrack",
        "ip-addr.json",
        "ip-link.json",
        "ip-neigh.json",
        "ip-route.json",
        "ip-rule.json",
        "ipset-save",
        "iptables-save",
        "node.yaml",
        "proc-net-icmp",
        "proc-net-raw",
        "ss",
        "sysctl",
    ];
    read_files("demo", files).unwrap_or_else(|| Bundle {
        name: "demo".to_owned(),
        node: Default::default(),
        host: Default::default(),
        netns: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use pktwalk_linux::config::MissingState;

    use super::*;

    #[test]
    fn the_demo_is_read_without_a_remark() {
        let bundle = demo_bundle();
        assert_eq!(bundle.remarks().collect::<Vec<_>>(), []);
        assert_eq!(bundle.name, "demo");
        // No line of `ss` says that there is no connected socket, and rules elsewhere are none of the scenario.
        let missing = [MissingState::ConnectedSockets, MissingState::OtherRules];
        assert_eq!(bundle.host.config.missing, missing);
        assert_eq!(bundle.host.config.unmodelled, []);
        assert!(bundle.host.config.devices.iter().all(|device| device.up && device.carrier));
    }

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/demo/bundle");
        let read =
            crate::read_bundle(std::path::Path::new(folder)).map(|bundle| bundle.host.config.files.len());
        assert_eq!(read.ok(), Some(demo_bundle().host.config.files.len()));
    }
}
