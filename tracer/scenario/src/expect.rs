//! Whether a packet did what was expected of it.

use crate::event::PacketRun;
use crate::file::Expect;

/// One expectation that was not met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unmet {
    /// Which key of `expect`.
    pub key: &'static str,
    /// What was expected.
    pub expected: String,
    /// What happened; empty if the engine saw nothing of the kind.
    pub got: String,
}

impl std::fmt::Display for Unmet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let got = if self.got.is_empty() { "nothing" } else { &self.got };
        write!(f, "{}: expected {}, got {got}", self.key, self.expected)
    }
}

/// Compares what an engine saw with what was expected. What the engine cannot tell (see [`PacketRun`]) is not held against it.
pub fn unmet(expect: &Expect, run: &PacketRun) -> Vec<Unmet> {
    let mut unmet = Vec::new();
    let mut check = |key, expected: Option<String>, got: Option<String>| {
        if let Some(expected) = expected
            && got.as_ref() != Some(&expected)
        {
            unmet.push(Unmet { key, expected, got: got.unwrap_or_default() });
        }
    };
    if run.disposition.is_some() {
        check(
            "disposition",
            expect.disposition.map(|d| d.name().to_owned()),
            run.disposition.map(|d| d.name().to_owned()),
        );
    }
    if run.code.is_some() || run.disposition.is_some() {
        check("code", expect.code.clone(), run.code.map(str::to_owned));
    }
    let decided = &run.decided;
    check("node", expect.node.clone(), Some(decided.node.clone()));
    check("hook", expect.hook.map(|h| h.to_string()), decided.hook.map(|h| h.to_string()));
    check("table", expect.table.map(|t| t.to_string()), decided.table.map(|t| t.to_string()));
    check("chain", expect.chain.clone(), decided.chain.clone());
    check("rule", expect.rule.map(|r| r.to_string()), decided.rule.map(|r| r.to_string()));
    unmet
}
