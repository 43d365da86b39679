//! Names that `ipset` prints for protocols (as `/etc/protocols` has them) and for ICMP types; seen by adding every number and saving.

use pktwalk_packet::names::{self, icmp_number};

use crate::protocols::PROTOCOLS;

/// Read, never printed: the names of later editions of the file, and the tool's own word.
const PROTOCOL_ALIASES: [(u8, &str); 3] = [(58, "icmpv6"), (89, "ospfigp"), (4, "ipv4")];

/// ICMP 12/0, which iptables calls `parameter-problem`.
const HEADER_BAD: &str = "ip-header-bad";

/// The number of a protocol given by name, in any case, or by number. Not 0: no set takes it.
pub(super) fn protocol(text: &str) -> Option<u8> {
    if let Ok(number) = text.parse::<u8>() {
        return (number != 0).then_some(number);
    }
    let mut all = PROTOCOLS.iter().chain(&PROTOCOL_ALIASES);
    all.find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|&(number, _)| number)
}

/// As the tool prints a protocol.
pub(super) fn protocol_name(number: u8) -> String {
    PROTOCOLS
        .iter()
        .find(|(n, _)| *n == number)
        .map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

/// Type and code of an ICMP name or of `8/0`, as the kernel stores them in the place of a port.
pub(super) fn icmp(text: &str) -> Option<u16> {
    if let Some((icmp_type, code)) = text.split_once('/') {
        return Some(u16::from_be_bytes([icmp_type.parse().ok()?, code.parse().ok()?]));
    }
    let (icmp_type, code) = match text {
        "pong" => (0, 0),
        "ping" => (8, 0),
        HEADER_BAD => (12, 0),
        name => {
            let (icmp_type, code) = icmp_number(name)?;
            (icmp_type, code.unwrap_or(0))
        }
    };
    let known = matches!(text, "ping" | "pong") || icmp_word(icmp_type, code) == Some(text);
    known.then(|| u16::from_be_bytes([icmp_type, code]))
}

/// The tool's word for an ICMP type and code: that of iptables but for one, and without words for kinds of messages as such.
fn icmp_word(icmp_type: u8, code: u8) -> Option<&'static str> {
    match (icmp_type, code) {
        (12, 0) => Some(HEADER_BAD),
        (15 | 16, _) => None,
        _ => names::icmp_name(icmp_type, code),
    }
}

/// As the tool prints ICMP type and code.
pub(super) fn icmp_name(port: u16) -> String {
    let [icmp_type, code] = port.to_be_bytes();
    icmp_word(icmp_type, code).map_or_else(|| format!("{icmp_type}/{code}"), str::to_owned)
}
