//! Names that `ipset` prints for protocols (as `/etc/protocols` has them) and for ICMP types; seen by adding every number and saving.

use crate::protocols::PROTOCOLS;

/// Read, never printed: the names of later editions of the file, and the tool's own word.
const PROTOCOL_ALIASES: [(u8, &str); 3] = [(58, "icmpv6"), (89, "ospfigp"), (4, "ipv4")];

/// ICMP types and codes that the tool knows by name. The last two are read only.
const ICMP: [(u8, u8, &str); 34] = [
    (0, 0, "echo-reply"),
    (3, 0, "network-unreachable"),
    (3, 1, "host-unreachable"),
    (3, 2, "protocol-unreachable"),
    (3, 3, "port-unreachable"),
    (3, 4, "fragmentation-needed"),
    (3, 5, "source-route-failed"),
    (3, 6, "network-unknown"),
    (3, 7, "host-unknown"),
    (3, 9, "network-prohibited"),
    (3, 10, "host-prohibited"),
    (3, 11, "TOS-network-unreachable"),
    (3, 12, "TOS-host-unreachable"),
    (3, 13, "communication-prohibited"),
    (3, 14, "host-precedence-violation"),
    (3, 15, "precedence-cutoff"),
    (4, 0, "source-quench"),
    (5, 0, "network-redirect"),
    (5, 1, "host-redirect"),
    (5, 2, "TOS-network-redirect"),
    (5, 3, "TOS-host-redirect"),
    (8, 0, "echo-request"),
    (9, 0, "router-advertisement"),
    (10, 0, "router-solicitation"),
    (11, 0, "ttl-zero-during-transit"),
    (11, 1, "ttl-zero-during-reassembly"),
    (12, 0, "ip-header-bad"),
    (12, 1, "required-option-missing"),
    (13, 0, "timestamp-request"),
    (14, 0, "timestamp-reply"),
    (17, 0, "address-mask-request"),
    (18, 0, "address-mask-reply"),
    (0, 0, "pong"),
    (8, 0, "ping"),
];

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
    ICMP.iter().find(|(_, _, name)| *name == text).map(|&(t, c, _)| u16::from_be_bytes([t, c]))
}

/// As the tool prints ICMP type and code.
pub(super) fn icmp_name(port: u16) -> String {
    let [icmp_type, code] = port.to_be_bytes();
    ICMP.iter()
        .find(|(t, c, _)| (*t, *c) == (icmp_type, code))
        .map_or_else(|| format!("{icmp_type}/{code}"), |(_, _, name)| (*name).to_owned())
}
