//! What the tests against the real tools share.

use std::process::Command;

/// A small generator of numbers (xorshift), so that a failure is the same every time.
pub struct Rng(pub u64);

#[allow(dead_code, reason = "each test file uses its part")]
impl Rng {
    /// Below `n`.
    pub fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 24) % u64::from(n)) as u32
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u32) as usize]
    }
}

/// Runs a script in an unnamed network namespace of its own, in a fresh folder that holds `files`. Gives the folder and what it printed.
pub fn in_namespace(files: &[(&str, &str)], script: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    std::fs::write(dir.path().join("script"), script).unwrap();
    let out =
        Command::new("unshare").args(["-n", "bash", "script"]).current_dir(dir.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    (dir, String::from_utf8_lossy(&out.stdout).into_owned())
}
