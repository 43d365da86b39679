//! The packet mini-language: one line of text for one packet, and back.
//!
//! ```text
//! tcp 10.244.1.5:40000 > 10.96.0.10:80 flags=S ttl=64
//! icmp 10.0.0.254 > 10.0.0.1 type=host-unreachable about (udp 10.0.0.1:5000 > 10.0.0.9:53 len=20)
//! ```
//!
//! Grammar (words are separated by white space; `>`, `(` and `)` need none around them):
//!
//! ```text
//! packet   = ports ADDR:PORT ">" ADDR:PORT key*         ports = tcp | udp | sctp | udplite
//!          | "icmp" ADDR ">" ADDR key* [ "about" "(" packet ")" ]
//!          | "ip" ADDR ">" ADDR "proto=" PROTO key*
//!          | (ports | "icmp") ADDR ">" ADDR "off=" N key*          a later fragment: no transport header
//!          | "arp" ADDR ">" ADDR key*                               sender > target
//!          | "raw" "ethertype=" N key*                              anything else
//! key      = NAME | NAME "=" VALUE                                  in any order, each at most once
//! ```
//!
//! The keys, their values and defaults are in `docs/packets.md`. As reports write them, names of TCP flags (`SYN,ACK`) and of ICMP types stand for
//! `flags=` and `type=`.
//!
//! [`parse`] and [`print()`] are inverse: `parse(print(packet))` is the packet, byte for byte, for every packet whatever its bytes (up to 1048575 of
//! them, and 32 bits of missing ones); and `print(parse(text))` is the canonical form of a text, which prints as itself. What the words of a protocol cannot say is printed as `raw`.
//! Nothing is guessed: a text that leaves something open (a port, an ICMP type) or says it twice is refused with the place and the reason.

mod ast;
mod error;
mod lex;
mod parse;
mod print;
mod value;

pub use error::{SpecError, SpecProblem};

use crate::Packet;
use ast::Spec;

/// Reads a packet text.
pub fn parse(text: &str) -> Result<Packet, SpecError> {
    parse::parse(text)?.build().map_err(|error| SpecError {
        offset: 0,
        word: String::new(),
        problem: SpecProblem::Build(error),
    })
}

/// Writes a packet as its canonical text.
pub fn print(packet: &Packet) -> String {
    // What is printed must be read as the same packet; the words of the protocol are used only if that is so.
    Spec::of(packet)
        .map(|spec| spec.to_string())
        .filter(|text| parse(text).as_ref() == Ok(packet))
        .unwrap_or_else(|| Spec::raw(packet).to_string())
}

/// The longest payload that [`print_short`] prints byte for byte.
const SHORT: usize = 48;

/// As [`print()`], but of a long payload only the length is told: it is read again as one of zeros.
pub fn print_short(packet: &Packet) -> String {
    let short = |spec: Spec| {
        let mut spec = spec;
        spec.shorten(SHORT);
        spec.to_string()
    };
    Spec::of(packet)
        .filter(|spec| parse(&spec.to_string()).as_ref() == Ok(packet))
        .map(short)
        .filter(|text| parse(text).is_ok())
        .unwrap_or_else(|| short(Spec::raw(packet)))
}

#[cfg(test)]
mod tests;
