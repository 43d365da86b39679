//! Names that `ipset` prints for protocols (as `/etc/protocols` has them) and for ICMP types; seen by adding every number and saving.

/// Protocols that the tool prints by name.
const PROTOCOLS: [(u8, &str); 58] = [
    (1, "icmp"),
    (2, "igmp"),
    (3, "ggp"),
    (4, "ipencap"),
    (5, "st"),
    (6, "tcp"),
    (8, "egp"),
    (9, "igp"),
    (12, "pup"),
    (17, "udp"),
    (20, "hmp"),
    (22, "xns-idp"),
    (27, "rdp"),
    (29, "iso-tp4"),
    (33, "dccp"),
    (36, "xtp"),
    (37, "ddp"),
    (38, "idpr-cmtp"),
    (41, "ipv6"),
    (43, "ipv6-route"),
    (44, "ipv6-frag"),
    (45, "idrp"),
    (46, "rsvp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (57, "skip"),
    (58, "ipv6-icmp"),
    (59, "ipv6-nonxt"),
    (60, "ipv6-opts"),
    (73, "rspf"),
    (81, "vmtp"),
    (88, "eigrp"),
    (89, "ospf"),
    (93, "ax.25"),
    (94, "ipip"),
    (97, "etherip"),
    (98, "encap"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "vrrp"),
    (115, "l2tp"),
    (124, "isis"),
    (132, "sctp"),
    (133, "fc"),
    (135, "mobility-header"),
    (136, "udplite"),
    (137, "mpls-in-ip"),
    (138, "manet"),
    (139, "hip"),
    (140, "shim6"),
    (141, "wesp"),
    (142, "rohc"),
    (143, "ethernet"),
    // Read, never printed: the names of later editions of the file, and the tool's own word.
    (58, "icmpv6"),
    (89, "ospfigp"),
    (4, "ipv4"),
    (94, "ipip"),
];

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
    PROTOCOLS.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|&(number, _)| number)
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
