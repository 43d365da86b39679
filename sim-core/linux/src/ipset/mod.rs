//! ipsets: what `ipset save` says of them, and membership.

use crate::diag::Diagnostic;
use crate::hook::Family;
use crate::ids::{SetId, SourceLine};
use crate::iptables::ast::SetMatch;
use crate::skb::Skb;

/// Reads the output of `ipset save`; `file` is the number of the file for [`SourceLine`]. Whatever cannot be read is named in a diagnostic
/// with its line, and the rest is read all the same.
pub fn parse(_text: &[u8], _file: u32) -> (Vec<IpSet>, Vec<Diagnostic>) {
    (Vec::new(), Vec::new())
}

/// As `ipset save` prints it.
pub fn print(_sets: &[IpSet]) -> String {
    String::new()
}

/// One set, as saved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IpSet {
    /// Name.
    pub name: String,
    /// Its type.
    pub set_type: SetType,
    /// `family`, inet unless said.
    pub family: Family,
    /// Options of the `create` line after the type, in order, `family` included: name and value (flags have none).
    pub options: Vec<(String, Option<String>)>,
    /// `add` lines in order.
    pub entries: Vec<SetEntry>,
    /// Where `create` stands.
    pub source: SourceLine,
}

/// Type of a set.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SetType {
    /// `hash:ip`.
    HashIp,
    /// `hash:net`.
    HashNet,
    /// `hash:ip,port`.
    HashIpPort,
    /// Any other type, by name: kept and printed, and a match on it is `Unknown`.
    Unmodelled(String),
}

/// One element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetEntry {
    /// As written (`10.0.0.1,tcp:80`).
    pub element: String,
    /// Options after it, in order: name and value (flags such as `nomatch` have none).
    pub options: Vec<(String, Option<String>)>,
    /// Where it stands.
    pub source: SourceLine,
}

/// Sets compiled for membership tests.
#[derive(Clone, Debug, Default)]
pub struct CompiledSets {}

impl CompiledSets {
    /// Compiles the sets of `config`.
    pub fn compile(_config: &crate::config::NetNsConfig, _diagnostics: &mut Vec<Diagnostic>) -> CompiledSets {
        CompiledSets {}
    }

    /// Whether `-m set` with these options matches, `!` included; `None` if that cannot be known (a type that is not modelled, a counter that
    /// decides).
    pub fn matches(&self, _set: SetId, _test: &SetMatch, _skb: &Skb) -> Option<bool> {
        None
    }
}
