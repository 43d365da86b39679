//! ipsets: what `ipset save` says of them, and membership (kernel `net/netfilter/ipset`).
//!
//! Modelled in full: `hash:ip`, `hash:net` and `hash:ip,port` of family inet. Every other type is parsed, kept and printed back; a match on one
//! cannot be known, unless the set is empty, of the wrong family, or has more dimensions than the match has flags.
//!
//! Counters go on from what the dump says: every packet that is held against an element counts there.
//! Timeouts count from the start of the run (a dump is as old as the run).

mod compiled;
mod element;
mod names;
#[cfg(test)]
mod tests;
mod text;

use crate::hook::Family;
use crate::ids::SourceLine;

pub use compiled::{CompiledSets, SetCounters};
pub use text::{parse, print};

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

impl IpSet {
    /// The value of an option of the `create` line.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(n, _)| n == name).and_then(|(_, value)| value.as_deref())
    }

    /// Whether an option or flag stands on the `create` line.
    pub fn has_option(&self, name: &str) -> bool {
        self.options.iter().any(|(n, _)| n == name)
    }
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

impl SetType {
    /// As `create` has it.
    pub fn name(&self) -> &str {
        match self {
            SetType::HashIp => "hash:ip",
            SetType::HashNet => "hash:net",
            SetType::HashIpPort => "hash:ip,port",
            SetType::Unmodelled(name) => name,
        }
    }

    /// The inverse of [`SetType::name`].
    pub fn from_name(name: &str) -> SetType {
        match name {
            // The last ones are the names of old versions of the tool.
            "hash:ip" | "iphash" => SetType::HashIp,
            "hash:net" | "nethash" => SetType::HashNet,
            "hash:ip,port" | "ipporthash" => SetType::HashIpPort,
            other => SetType::Unmodelled(other.to_owned()),
        }
    }

    /// How many parts an element has; a match with fewer flags never matches. `None` for types of which it is not known.
    pub fn dimensions(&self) -> Option<usize> {
        match self.name() {
            "hash:ip" | "hash:net" | "hash:mac" | "bitmap:ip" | "bitmap:port" => Some(1),
            "hash:ip,port" | "hash:net,net" | "hash:net,port" | "hash:ip,mark" | "hash:ip,mac"
            | "hash:net,iface" | "bitmap:ip,mac" => Some(2),
            "hash:ip,port,ip" | "hash:ip,port,net" | "hash:net,port,net" => Some(3),
            // Tested against the flags of its members.
            "list:set" => Some(1),
            _ => None,
        }
    }
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
