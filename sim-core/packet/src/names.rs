//! Names of protocols and of ICMP types, as people and tools write them.

/// IP protocol numbers that this crate looks into.
pub mod proto {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// IPv4 in IPv4.
    pub const IPIP: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// DCCP.
    pub const DCCP: u8 = 33;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// UDPlite.
    pub const UDPLITE: u8 = 136;
}

const PROTOCOLS: [(u8, &str); 12] = [
    (1, "icmp"),
    (2, "igmp"),
    (4, "ipip"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (41, "ipv6"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (132, "sctp"),
    (136, "udplite"),
];

/// The name of an IP protocol number, where it is a common one.
pub fn protocol_name(number: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(n, _)| *n == number).map(|(_, name)| *name)
}

/// The number of a protocol that [`protocol_name`] knows.
pub fn protocol_number(name: &str) -> Option<u8> {
    PROTOCOLS.iter().find(|(_, n)| *n == name).map(|(number, _)| *number)
}

/// Whether the first four bytes of the protocol's header are two ports.
pub fn has_ports(protocol: u8) -> bool {
    matches!(protocol, proto::TCP | proto::UDP | proto::DCCP | proto::SCTP | proto::UDPLITE)
}

/// Whether an ICMP type is a query or its reply: bytes 4 to 7 are identifier and sequence number.
pub fn is_icmp_query(icmp_type: u8) -> bool {
    matches!(icmp_type, 0 | 8 | 13..=18)
}

/// Whether an ICMP type is a timestamp request or reply: three times follow identifier and sequence number (RFC 792).
pub fn is_icmp_timestamp(icmp_type: u8) -> bool {
    matches!(icmp_type, 13 | 14)
}

/// Whether an ICMP type is an error: a packet is quoted behind its header (kernel `icmp_is_err`).
pub fn is_icmp_error(icmp_type: u8) -> bool {
    matches!(icmp_type, 3 | 4 | 5 | 11 | 12)
}

/// Types by name: their number.
const ICMP_TYPES: [(u8, &str); 15] = [
    (0, "echo-reply"),
    (3, "destination-unreachable"),
    (4, "source-quench"),
    (5, "redirect"),
    (8, "echo-request"),
    (9, "router-advertisement"),
    (10, "router-solicitation"),
    (11, "time-exceeded"),
    (12, "parameter-problem"),
    (13, "timestamp-request"),
    (14, "timestamp-reply"),
    (15, "information-request"),
    (16, "information-reply"),
    (17, "address-mask-request"),
    (18, "address-mask-reply"),
];

/// Types with a code by name, as iptables names them.
const ICMP_CODES: [(u8, u8, &str); 22] = [
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
    (5, 0, "network-redirect"),
    (5, 1, "host-redirect"),
    (5, 2, "TOS-network-redirect"),
    (5, 3, "TOS-host-redirect"),
    (11, 0, "ttl-zero-during-transit"),
    (11, 1, "ttl-zero-during-reassembly"),
    (12, 1, "required-option-missing"),
];

/// The name of a type with this code: of both where they have one, of the type where it has a single code (0), else none.
pub fn icmp_name(icmp_type: u8, code: u8) -> Option<&'static str> {
    let both = ICMP_CODES.iter().find(|(t, c, _)| (*t, *c) == (icmp_type, code)).map(|(_, _, name)| *name);
    both.or_else(|| ICMP_TYPES.iter().find(|(t, _)| *t == icmp_type && code == 0).map(|(_, name)| *name))
}

/// The type and, if the name says it, the code of an ICMP name.
pub fn icmp_number(name: &str) -> Option<(u8, Option<u8>)> {
    // Names that iptables reads too, and never prints.
    match name {
        "ping" => return Some((8, None)),
        "pong" => return Some((0, None)),
        "ttl-exceeded" => return Some((11, None)),
        _ => {}
    }
    let both = ICMP_CODES.iter().find(|(_, _, n)| *n == name).map(|(t, c, _)| (*t, Some(*c)));
    both.or_else(|| ICMP_TYPES.iter().find(|(_, n)| *n == name).map(|(t, _)| (*t, None)))
}
