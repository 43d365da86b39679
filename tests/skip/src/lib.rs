//! Tests that a machine cannot run.
//!
//! Privileged tests need root, network namespaces and the real tools. Where one of these is missing they say so and pass, unless
//! `PKTWALK_REQUIRE_PRIVILEGED=1` is set (as `.ci/run` does where the machine has them), which turns a skip into a failure. Every skip goes through
//! [`skip`].

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What privileged tests run.
const TOOLS: &[&str] = &[
    "ip",
    "bridge",
    "tc",
    "ss",
    "nft",
    "ipset",
    "conntrack",
    "iptables-nft",
    "iptables-nft-restore",
    "iptables-legacy",
    "iptables-legacy-restore",
];

/// Why privileged tests cannot run here; `None` if they can.
pub fn missing_privilege() -> Option<String> {
    let unshare =
        Command::new("unshare").args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !matches!(unshare, Ok(status) if status.success()) {
        return Some("cannot make a network namespace (needs root)".to_owned());
    }
    TOOLS.iter().find(|tool| !tool_exists(tool)).map(|tool| format!("{tool} is not installed"))
}

fn tool_exists(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir: PathBuf| dir.join(tool).is_file())
}

/// Skips a test that needs what privileged tests need, where that is missing; `true` if the caller must return.
///
/// # Panics
/// As [`skip`].
pub fn skip_unprivileged(test: &str) -> bool {
    match missing_privilege() {
        Some(why) => {
            skip(test, &why);
            true
        }
        None => false,
    }
}

/// Says on standard error that a test is skipped. The caller must return.
///
/// # Panics
/// If `PKTWALK_REQUIRE_PRIVILEGED=1`: then no test may be skipped.
pub fn skip(test: &str, why: &str) {
    assert!(
        std::env::var("PKTWALK_REQUIRE_PRIVILEGED").as_deref() != Ok("1"),
        "{test} must run on this machine: {why}"
    );
    // Not by `eprintln!`: what that prints is kept by the test runner and, of a test that passes, never shown.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "run by the next one, in a process of its own"]
    fn a_test_that_cannot_run() {
        skip("a_test_that_cannot_run", "it lacks everything");
    }

    #[test]
    fn a_skip_is_seen_though_the_test_passes() {
        let run = |required: Option<&str>| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--ignored", "--exact", "tests::a_test_that_cannot_run"]);
            command.env_remove("PKTWALK_REQUIRE_PRIVILEGED").env_remove("RUST_TEST_NOCAPTURE");
            command.envs(required.map(|value| ("PKTWALK_REQUIRE_PRIVILEGED", value)));
            let output = command.output().unwrap();
            let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
            (output.status.success(), text)
        };
        let (passed, [out, err]) = run(None);
        assert!(passed && out.contains("1 passed"), "{out}{err}");
        assert!(err.contains("SKIPPED a_test_that_cannot_run: it lacks everything\n"), "{out}{err}");
        let (passed, [out, err]) = run(Some("1"));
        assert!(!passed, "{out}{err}");
        assert!(!err.contains("SKIPPED"), "{out}{err}");
    }
}
