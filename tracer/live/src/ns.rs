//! Namespaces by file descriptor, and tools that run inside them.

use std::fs::File;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};
use pktwalk_scenario::engine::EngineError;

/// The engine's name.
pub(crate) const ENGINE: &str = "kernel";

/// [`EngineError::Failed`].
pub(crate) fn failed(what: impl Into<String>) -> EngineError {
    EngineError::Failed { engine: ENGINE, what: what.into() }
}

/// [`EngineError::Missing`].
pub(crate) fn missing(what: impl Into<String>) -> EngineError {
    EngineError::Missing { engine: ENGINE, what: what.into() }
}

/// [`EngineError::Unsupported`].
pub(crate) fn unsupported(what: impl Into<String>) -> EngineError {
    EngineError::Unsupported { engine: ENGINE, what: what.into() }
}

/// A network namespace, alive as long as this.
pub(crate) struct Namespace(File);

impl Namespace {
    /// A new one. The calling thread is in it afterwards.
    pub fn new() -> Result<Namespace, EngineError> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| {
            missing(format!("a network namespace cannot be made (root is needed): {errno}"))
        })?;
        Namespace::current()
    }

    /// The calling thread's.
    pub fn current() -> Result<Namespace, EngineError> {
        File::open("/proc/thread-self/ns/net")
            .map(Namespace)
            .map_err(|error| failed(format!("/proc/thread-self/ns/net: {error}")))
    }

    /// Puts the calling thread into it.
    pub fn enter(&self) -> Result<(), EngineError> {
        setns(&self.0, CloneFlags::CLONE_NEWNET).map_err(|errno| failed(format!("setns: {errno}")))
    }

    /// A path by which other processes of this user find it.
    pub fn path(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Runs a tool in the calling thread's namespace (a child starts in the namespace of the thread that makes it) and feeds it `input`.
pub(crate) fn tool(
    name: &str,
    args: &[&str],
    input: &str,
    env: &[(&str, &str)],
) -> Result<String, EngineError> {
    let mut child = Command::new(name)
        .args(args)
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => missing(format!("{name} is not installed")),
            _ => failed(format!("{name}: {error}")),
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that stops reading says why on its standard error.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(format!("{name}: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!("{name} {}: {}", args.join(" "), said.trim())))
}
