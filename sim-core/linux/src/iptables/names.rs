//! Names that stand for numbers in rules: protocols, services, ICMP types, log levels, REJECT kinds.
//!
//! Protocol names are those that iptables 1.8.9 prints where `/etc/protocols` is the usual one (seen by saving `-p N` for every N). Service names
//! are not in the kernel at all, so only a handful of well-known ones is read; the tools never print them.

use crate::hook::Family;

use super::ast::RejectWith;
use crate::protocols::PROTOCOLS;

/// What iptables prints for a protocol number; `None` where it prints the number.
pub(super) fn protocol_name(number: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(n, _)| *n == number).map(|(_, name)| *name)
}

/// The number of a protocol, by any name that the tools take, or by number.
pub(super) fn protocol_number(name: &str) -> Option<u8> {
    if let Some(number) = number(name) {
        return u8::try_from(number).ok();
    }
    let alias = PROTOCOL_ALIASES.iter().map(|(n, name)| (n, name));
    let mut all = PROTOCOLS.iter().map(|(n, name)| (n, name)).chain(alias);
    all.find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(n, _)| *n)
}

/// Read, never printed: zero is no test.
const PROTOCOL_ALIASES: [(u8, &str); 8] = [
    (0, "ip"),
    (0, "all"),
    (0, "any"),
    (0, "hopopt"),
    (58, "icmpv6"),
    (58, "icmp6"),
    (135, "ipv6-mh"),
    (135, "mh"),
];

/// The port of a well-known service.
pub(super) fn service_port(name: &str) -> Option<u16> {
    SERVICES.iter().find(|(known, _)| *known == name).map(|(_, port)| *port)
}

const SERVICES: [(&str, u16); 78] = [
    ("echo", 7),
    ("discard", 9),
    ("daytime", 13),
    ("chargen", 19),
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("time", 37),
    ("whois", 43),
    ("tacacs", 49),
    ("domain", 53),
    ("bootps", 67),
    ("bootpc", 68),
    ("tftp", 69),
    ("gopher", 70),
    ("finger", 79),
    ("http", 80),
    ("www", 80),
    ("kerberos", 88),
    ("pop3", 110),
    ("sunrpc", 111),
    ("portmapper", 111),
    ("auth", 113),
    ("ident", 113),
    ("nntp", 119),
    ("ntp", 123),
    ("epmap", 135),
    ("loc-srv", 135),
    ("netbios-ns", 137),
    ("netbios-dgm", 138),
    ("netbios-ssn", 139),
    ("imap2", 143),
    ("imap", 143),
    ("snmp", 161),
    ("snmp-trap", 162),
    ("snmptrap", 162),
    ("bgp", 179),
    ("irc", 194),
    ("ldap", 389),
    ("https", 443),
    ("microsoft-ds", 445),
    ("kpasswd", 464),
    ("submissions", 465),
    ("ssmtp", 465),
    ("smtps", 465),
    ("urd", 465),
    ("isakmp", 500),
    ("login", 513),
    ("syslog", 514),
    ("shell", 514),
    ("printer", 515),
    ("route", 520),
    ("rtsp", 554),
    ("nntps", 563),
    ("submission", 587),
    ("ipp", 631),
    ("ldaps", 636),
    ("rsync", 873),
    ("ftps-data", 989),
    ("ftps", 990),
    ("telnets", 992),
    ("imaps", 993),
    ("pop3s", 995),
    ("socks", 1080),
    ("openvpn", 1194),
    ("ms-sql-s", 1433),
    ("ms-sql-m", 1434),
    ("l2f", 1701),
    ("l2tp", 1701),
    ("pptp", 1723),
    ("radius", 1812),
    ("nfs", 2049),
    ("mysql", 3306),
    ("postgresql", 5432),
    ("sip", 5060),
    ("mdns", 5353),
];

/// The syslog level of a name as LOG takes it.
pub(super) fn log_level(name: &str) -> Option<u8> {
    if let Some(number) = number(name) {
        return u8::try_from(number).ok().filter(|level| *level <= 7);
    }
    Some(match name.to_ascii_lowercase().as_str() {
        "emerg" | "panic" => 0,
        "alert" => 1,
        "crit" => 2,
        "error" | "err" => 3,
        "warning" | "warn" => 4,
        "notice" => 5,
        "info" => 6,
        "debug" => 7,
        _ => return None,
    })
}

/// What stands after `--reject-with`.
pub(super) fn reject_name(with: RejectWith) -> &'static str {
    match with {
        RejectWith::IcmpNetUnreachable => "icmp-net-unreachable",
        RejectWith::IcmpHostUnreachable => "icmp-host-unreachable",
        RejectWith::IcmpProtoUnreachable => "icmp-proto-unreachable",
        RejectWith::IcmpPortUnreachable => "icmp-port-unreachable",
        RejectWith::IcmpNetProhibited => "icmp-net-prohibited",
        RejectWith::IcmpHostProhibited => "icmp-host-prohibited",
        RejectWith::IcmpAdminProhibited => "icmp-admin-prohibited",
        RejectWith::TcpReset => "tcp-reset",
        RejectWith::Icmp6NoRoute => "icmp6-no-route",
        RejectWith::Icmp6AdmProhibited => "icmp6-adm-prohibited",
        RejectWith::Icmp6AddrUnreachable => "icmp6-addr-unreachable",
        RejectWith::Icmp6PortUnreachable => "icmp6-port-unreachable",
        RejectWith::Icmp6PolicyFail => "icmp6-policy-fail",
        RejectWith::Icmp6RejectRoute => "icmp6-reject-route",
    }
}

/// By name, by the short name, or by an abbreviation of either, as the tool compares: the first of its table that begins so.
pub(super) fn reject_with(name: &str, family: Family) -> Option<RejectWith> {
    let table: &[(&str, &str, RejectWith)] = match family {
        Family::V4 => &REJECT_V4,
        Family::V6 => &REJECT_V6,
    };
    let name = name.to_ascii_lowercase();
    if name.is_empty() {
        return None;
    }
    table.iter().find(|(full, short, _)| full.starts_with(&name) || short.starts_with(&name)).map(|r| r.2)
}

const REJECT_V4: [(&str, &str, RejectWith); 9] = [
    ("icmp-net-unreachable", "net-unreach", RejectWith::IcmpNetUnreachable),
    ("icmp-host-unreachable", "host-unreach", RejectWith::IcmpHostUnreachable),
    ("icmp-proto-unreachable", "proto-unreach", RejectWith::IcmpProtoUnreachable),
    ("icmp-port-unreachable", "port-unreach", RejectWith::IcmpPortUnreachable),
    ("icmp-net-prohibited", "net-prohib", RejectWith::IcmpNetProhibited),
    ("icmp-host-prohibited", "host-prohib", RejectWith::IcmpHostProhibited),
    ("tcp-reset", "tcp-rst", RejectWith::TcpReset),
    ("icmp-admin-prohibited", "admin-prohib", RejectWith::IcmpAdminProhibited),
    ("icmp-adm-prohibited", "adm-prohib", RejectWith::IcmpAdminProhibited),
];

const REJECT_V6: [(&str, &str, RejectWith); 8] = [
    ("icmp6-no-route", "no-route", RejectWith::Icmp6NoRoute),
    ("icmp6-adm-prohibited", "adm-prohibited", RejectWith::Icmp6AdmProhibited),
    ("icmp6-addr-unreachable", "addr-unreach", RejectWith::Icmp6AddrUnreachable),
    ("icmp6-port-unreachable", "port-unreach", RejectWith::Icmp6PortUnreachable),
    ("tcp-reset", "tcp-reset", RejectWith::TcpReset),
    ("tcp-rst", "tcp-rst", RejectWith::TcpReset),
    ("icmp6-policy-fail", "policy-fail", RejectWith::Icmp6PolicyFail),
    ("icmp6-reject-route", "reject-route", RejectWith::Icmp6RejectRoute),
];

/// Type and codes of an ICMP type name, or of an abbreviation that fits only one.
pub(super) fn icmp_type(name: &str, family: Family) -> Option<(u8, u8, u8)> {
    let table: &[(&str, u8, u8, u8)] = match family {
        Family::V4 => &ICMP_V4,
        Family::V6 => &ICMP_V6,
    };
    let name = name.to_ascii_lowercase();
    let found = |row: &(&str, u8, u8, u8)| (row.1, row.2, row.3);
    if let Some(row) = table.iter().find(|row| row.0.eq_ignore_ascii_case(&name)) {
        return Some(found(row));
    }
    let begins = |row: &&(&str, u8, u8, u8)| {
        !name.is_empty() && row.0.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(&name))
    };
    let mut rows = table.iter().filter(begins);
    match (rows.next(), rows.next()) {
        (Some(row), None) => Some(found(row)),
        _ => None,
    }
}

const ICMP_V4: [(&str, u8, u8, u8); 40] = [
    ("any", 255, 0, 255),
    ("echo-reply", 0, 0, 255),
    ("pong", 0, 0, 255),
    ("destination-unreachable", 3, 0, 255),
    ("network-unreachable", 3, 0, 0),
    ("host-unreachable", 3, 1, 1),
    ("protocol-unreachable", 3, 2, 2),
    ("port-unreachable", 3, 3, 3),
    ("fragmentation-needed", 3, 4, 4),
    ("source-route-failed", 3, 5, 5),
    ("network-unknown", 3, 6, 6),
    ("host-unknown", 3, 7, 7),
    ("network-prohibited", 3, 9, 9),
    ("host-prohibited", 3, 10, 10),
    ("TOS-network-unreachable", 3, 11, 11),
    ("TOS-host-unreachable", 3, 12, 12),
    ("communication-prohibited", 3, 13, 13),
    ("host-precedence-violation", 3, 14, 14),
    ("precedence-cutoff", 3, 15, 15),
    ("source-quench", 4, 0, 255),
    ("redirect", 5, 0, 255),
    ("network-redirect", 5, 0, 0),
    ("host-redirect", 5, 1, 1),
    ("TOS-network-redirect", 5, 2, 2),
    ("TOS-host-redirect", 5, 3, 3),
    ("echo-request", 8, 0, 255),
    ("ping", 8, 0, 255),
    ("router-advertisement", 9, 0, 255),
    ("router-solicitation", 10, 0, 255),
    ("time-exceeded", 11, 0, 255),
    ("ttl-exceeded", 11, 0, 255),
    ("ttl-zero-during-transit", 11, 0, 0),
    ("ttl-zero-during-reassembly", 11, 1, 1),
    ("parameter-problem", 12, 0, 255),
    ("ip-header-bad", 12, 0, 0),
    ("required-option-missing", 12, 1, 1),
    ("timestamp-request", 13, 0, 255),
    ("timestamp-reply", 14, 0, 255),
    ("address-mask-request", 17, 0, 255),
    ("address-mask-reply", 18, 0, 255),
];

const ICMP_V6: [(&str, u8, u8, u8); 29] = [
    ("destination-unreachable", 1, 0, 255),
    ("no-route", 1, 0, 0),
    ("communication-prohibited", 1, 1, 1),
    ("beyond-scope", 1, 2, 2),
    ("address-unreachable", 1, 3, 3),
    ("port-unreachable", 1, 4, 4),
    ("failed-policy", 1, 5, 5),
    ("reject-route", 1, 6, 6),
    ("packet-too-big", 2, 0, 255),
    ("time-exceeded", 3, 0, 255),
    ("ttl-exceeded", 3, 0, 255),
    ("ttl-zero-during-transit", 3, 0, 0),
    ("ttl-zero-during-reassembly", 3, 1, 1),
    ("parameter-problem", 4, 0, 255),
    ("bad-header", 4, 0, 0),
    ("unknown-header-type", 4, 1, 1),
    ("unknown-option", 4, 2, 2),
    ("echo-request", 128, 0, 255),
    ("ping", 128, 0, 255),
    ("echo-reply", 129, 0, 255),
    ("pong", 129, 0, 255),
    ("router-solicitation", 133, 0, 255),
    ("router-advertisement", 134, 0, 255),
    ("neighbour-solicitation", 135, 0, 255),
    ("neighbor-solicitation", 135, 0, 255),
    ("neighbour-advertisement", 136, 0, 255),
    ("neighbor-advertisement", 136, 0, 255),
    ("redirect", 137, 0, 255),
    ("any", 255, 0, 255),
];

/// A number as `strtoul` with base 0 reads it: decimal, `0x` hexadecimal, leading `0` octal. `None` if anything else stands there.
pub(super) fn number(text: &str) -> Option<u64> {
    let (digits, radix) = if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        (hex, 16)
    } else if text.len() > 1 && text.starts_with('0') {
        (text.get(1..)?, 8)
    } else {
        (text, 10)
    };
    // `from_str_radix` takes a sign, which stands in no save file.
    if !digits.bytes().next()?.is_ascii_alphanumeric() {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}
