//! `unsafe` stands in `tracer/live` and nowhere else, and there each block says why it is sound.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pktwalk_tests::repo_root;
use pktwalk_tests::source::{packages, rust_files, words};

/// The one crate that may have it.
const LIVE: &str = "pktwalk-live";

/// Keys and values of a table of a manifest, by the table's name.
fn table(manifest: &Path, name: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(manifest).expect("a manifest");
    let lines = text.lines().skip_while(|line| *line != format!("[{name}]")).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

#[test]
fn the_word_stands_in_live_only() {
    let mut files = Vec::new();
    rust_files(&repo_root(), &mut files);
    let live = repo_root().join("tracer/live/src");
    let (mut inside, mut outside) = (0, 0);
    for file in files {
        let text = fs::read_to_string(&file).expect("source is UTF-8");
        let unsafe_words =
            words(&text).into_iter().filter(|word| ["unsafe", "unsafe_code"].contains(word)).count();
        if file.starts_with(&live) {
            inside += unsafe_words;
        } else {
            assert_eq!(unsafe_words, 0, "{}: unsafe belongs in tracer/live", file.display());
            outside += 1;
        }
    }
    assert!(inside > 0 && outside > 0, "nothing was looked at");
}

#[test]
fn every_other_crate_forbids_it() {
    let root = repo_root().join("Cargo.toml");
    let workspace = table(&root, "workspace.lints.rust");
    assert_eq!(workspace.get("unsafe_code").map(String::as_str), Some("\"forbid\""));
    let clippy = table(&root, "workspace.lints.clippy");
    assert_eq!(clippy.get("undocumented_unsafe_blocks").map(String::as_str), Some("\"warn\""));
    let mut live = 0;
    for package in packages() {
        let name = package["name"].as_str().expect("name");
        let manifest = Path::new(package["manifest_path"].as_str().expect("path"));
        if name != LIVE {
            let lints = table(manifest, "lints");
            assert_eq!(lints.get("workspace").map(String::as_str), Some("true"), "{name}: [lints]");
            continue;
        }
        live += 1;
        // Cargo lets no crate take the workspace's lints and change one: all others must be the same.
        let mut own = table(manifest, "lints.rust");
        assert_eq!(
            own.insert("unsafe_code".to_owned(), "\"forbid\"".to_owned()).as_deref(),
            Some("\"warn\"")
        );
        assert_eq!(own, workspace, "{name}");
        assert_eq!(table(manifest, "lints.clippy"), clippy, "{name}");
    }
    assert_eq!(live, 1);
}
