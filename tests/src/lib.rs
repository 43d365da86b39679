//! What the cross-crate tests share.
//!
//! Privileged tests need root, network namespaces and the real tools. Where one of these is missing they say so on standard error and pass, unless
//! `PKTWALK_REQUIRE_PRIVILEGED=1` is set (as `.ci/run` does where the machine has them), which turns a skip into a failure.

pub mod modelled;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the repository.
pub fn repo_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Why privileged tests cannot run here; `None` if they can.
pub fn missing_privilege() -> Option<String> {
    let unshare =
        Command::new("unshare").args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !matches!(unshare, Ok(status) if status.success()) {
        return Some("cannot make a network namespace (needs root)".to_owned());
    }
    ["ip", "nft", "ipset", "conntrack", "iptables-nft-restore", "iptables-legacy-restore"]
        .into_iter()
        .find(|tool| !tool_exists(tool))
        .map(|tool| format!("{tool} is not installed"))
}

fn tool_exists(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir: PathBuf| dir.join(tool).is_file())
}

/// Says loudly that a test is skipped; `true` if the caller must return.
///
/// # Panics
/// If `PKTWALK_REQUIRE_PRIVILEGED=1` and the test would be skipped.
pub fn skip_unprivileged(test: &str) -> bool {
    let Some(why) = missing_privilege() else { return false };
    assert!(
        std::env::var("PKTWALK_REQUIRE_PRIVILEGED").as_deref() != Ok("1"),
        "{test} must run on this machine: {why}"
    );
    eprintln!("SKIPPED {test}: {why}");
    true
}
