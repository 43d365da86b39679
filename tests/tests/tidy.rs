//! The house's own rules: direction of dependencies, purity of sim-core, words that must not stand in the Linux model.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use pktwalk_tests::repo_root;
use pktwalk_tests::source::{packages, rust_files};

/// The layers, lowest first. A crate may depend on crates of lower layers only, never on one of its own.
const LAYERS: &[&[&str]] = &[
    &["pktwalk-packet", "pktwalk-skip"],
    &["pktwalk-linux"],
    &["pktwalk-ingest", "pktwalk-capture", "pktwalk-report"],
    &["pktwalk-scenario"],
    &["pktwalk-live"],
    &["pktwalk"],
    &["pktwalk-tests"],
];

/// Crates that must stay pure.
const PURE: &[&str] = &["sim-core/packet/src", "sim-core/linux/src"];

/// What purity forbids, as it would stand in source.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::io::stdin",
    "println!",
    "thread_local!",
    "RandomState",
];

fn workspace_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    packages()
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let own = dependencies
                .iter()
                .filter_map(|d| d["name"].as_str())
                .filter(|name| *name == "pktwalk" || name.starts_with("pktwalk-"))
                .map(str::to_owned)
                .collect();
            (package["name"].as_str().expect("name").to_owned(), own)
        })
        .collect()
}

#[test]
fn crates_depend_in_one_direction() {
    let layer = |name: &str| {
        LAYERS
            .iter()
            .position(|layer| layer.contains(&name))
            .unwrap_or_else(|| panic!("{name} has no layer in this test"))
    };
    for (name, dependencies) in workspace_dependencies() {
        for dependency in dependencies {
            assert!(layer(&dependency) < layer(&name), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn sim_core_is_pure() {
    for dir in PURE {
        let mut files = Vec::new();
        rust_files(&repo_root().join(dir), &mut files);
        for file in files {
            let text = fs::read_to_string(&file).expect("source is UTF-8");
            for word in IMPURE {
                assert!(!text.contains(word), "{}: {word} has no place in sim-core", file.display());
            }
        }
    }
}

#[test]
fn the_linux_model_is_only_linux() {
    let mut files = Vec::new();
    rust_files(&repo_root().join("sim-core/linux/src"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).expect("source is UTF-8").to_lowercase();
        for word in ["calico", "felix", "kubernetes", "kube-proxy"] {
            assert!(!text.contains(word), "{}: {word} is not Linux", file.display());
        }
    }
}

#[test]
fn every_skip_goes_through_one_helper() {
    let mut files = Vec::new();
    rust_files(&repo_root(), &mut files);
    for file in files.iter().filter(|file| !file.ends_with("tests/skip/src/lib.rs")) {
        let text = fs::read_to_string(file).expect("source is UTF-8");
        for word in [concat!("REQUIRE_", "PRIVILEGED"), concat!("SKIP", "PED")] {
            assert!(!text.contains(word), "{}: skips go through pktwalk_skip", file.display());
        }
    }
}

#[test]
fn files_can_be_held_in_the_head() {
    let mut files = Vec::new();
    rust_files(&repo_root(), &mut files);
    for file in files {
        let lines = fs::read_to_string(&file).expect("source is UTF-8").lines().count();
        assert!(lines <= 900, "{} has {lines} lines: split it by concept", file.display());
    }
}

#[test]
fn the_map_names_every_module() {
    let map = fs::read_to_string(repo_root().join("docs/ARCHITECTURE.md")).expect("the map is there");
    let quoted: BTreeSet<&str> =
        map.split('`').skip(1).step_by(2).flat_map(|words| words.split(['/', ' '])).collect();
    for folder in ["sim-core/packet", "sim-core/linux", "tracer/scenario", "tracer/report", "tracer/live"] {
        for entry in fs::read_dir(repo_root().join(folder).join("src")).expect("sources").flatten() {
            let path = entry.path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let named = ["lib", "tests", "testing", "snapshots"].contains(&name.as_str());
            assert!(named || quoted.contains(name.as_str()), "docs/ARCHITECTURE.md: {folder} has {name}");
        }
    }
}
