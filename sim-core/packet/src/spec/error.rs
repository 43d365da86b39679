//! What is wrong with a packet text, and where.

use thiserror::Error;

use crate::build::BuildError;

/// A packet text that was refused.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("at byte {offset}{}: {problem}", near(.word))]
pub struct SpecError {
    /// Byte offset into the text at which the word in question starts (the text's length if something is missing at its end).
    pub offset: usize,
    /// The word in question, at most its first 60 characters; empty at the end of the text.
    pub word: String,
    /// What is wrong with it.
    pub problem: SpecProblem,
}

fn near(word: &str) -> String {
    if word.is_empty() { String::new() } else { format!(" (`{word}`)") }
}

/// What can be wrong with a packet text.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum SpecProblem {
    /// Nothing but white space.
    #[error("the packet is empty; write for example `tcp 10.0.0.1:40000 > 10.0.0.2:80 flags=S`")]
    Empty,
    /// A text of this many bytes is not read: no packet needs so many.
    #[error("a text of {0} bytes is longer than that of any packet")]
    TextTooLong(usize),
    /// The first word is no protocol.
    #[error("unknown protocol; it is one of tcp, udp, icmp, arp, sctp, udplite, ip (with proto=N), raw")]
    UnknownProtocol,
    /// No such key for this protocol.
    #[error("{protocol} packets have no such key; valid are {valid}")]
    UnknownKey {
        /// The protocol word.
        protocol: String,
        /// Its keys, with commas.
        valid: String,
    },
    /// The key stands twice.
    #[error("this key was given before")]
    Repeated,
    /// The key needs a value.
    #[error("a value is missing: write KEY=VALUE with {expected}")]
    NeedsValue {
        /// What would be valid.
        expected: &'static str,
    },
    /// The key has no value.
    #[error("this word takes no value")]
    TakesNoValue,
    /// The value is not valid.
    #[error("not a valid value; valid is {expected}")]
    BadValue {
        /// What would be valid.
        expected: &'static str,
    },
    /// Something else was expected here.
    #[error("expected {what}")]
    Expected {
        /// What would be valid here.
        what: &'static str,
    },
    /// Something must be said.
    #[error("the packet is ambiguous: {what}")]
    Ambiguous {
        /// What must be said.
        what: &'static str,
    },
    /// Two things exclude each other.
    #[error("the packet contradicts itself: {why}")]
    Contradiction {
        /// Which, and why.
        why: &'static str,
    },
    /// An address of IPv6.
    #[error("IPv6 is not walked yet; its packets can be written as `raw ethertype=0x86dd data=HEX` only")]
    Ipv6,
    /// No packet can hold this.
    #[error(transparent)]
    Build(#[from] BuildError),
}
