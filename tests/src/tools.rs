//! Asking the real tools what they make of a file.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// What `iptables-save` of `backend` says of `table` after `iptables-restore` of `text`, in a namespace of its own; none if that is refused.
///
/// # Panics
/// If `unshare` cannot be run.
pub fn restored(backend: &str, table: &str, text: &str) -> Option<String> {
    let script = format!("iptables-{backend}-restore >&2 && iptables-{backend}-save -t {table}");
    let mut child = Command::new("unshare")
        .args(["-n", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("unshare runs");
    let mut input = child.stdin.take().expect("it is piped");
    // A tool that refuses the beginning may not read the rest.
    let _ = input.write_all(text.as_bytes());
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
