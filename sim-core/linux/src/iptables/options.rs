//! Which options the modelled matches and targets have.

use crate::hook::Family;

/// A modelled match or target while its line is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ext {
    Tcp,
    Udp,
    Icmp,
    Icmp6,
    Multiport,
    Conntrack,
    State,
    Mark,
    Connmark,
    Comment,
    Addrtype,
    Limit,
    Hashlimit,
    Recent,
    Mac,
    Physdev,
    Iprange,
    Set,
    Owner,
    Statistic,
    Rpfilter,
    Pkttype,
    /// A match that is not modelled.
    OtherMatch,
    /// ACCEPT, DROP, RETURN, NOTRACK: no options.
    Bare,
    Reject,
    Log,
    Nflog,
    MarkTarget,
    ConnmarkTarget,
    Ct,
    Dnat,
    Snat,
    Masquerade,
    Redirect,
    Tcpmss,
    Checksum,
    /// A chain, or a target that is not modelled.
    OtherTarget,
}

/// Name, what it is handled as (aliases share it), number of words that follow, whether `!` may stand before it.
pub(super) type Spec = (&'static str, &'static str, u8, bool);

impl Ext {
    /// The match that `-m NAME` means.
    pub(super) fn of_match(name: &str, family: Family) -> Ext {
        match name {
            "tcp" => Ext::Tcp,
            "udp" => Ext::Udp,
            "icmp" if family == Family::V4 => Ext::Icmp,
            "icmp6" | "icmpv6" | "ipv6-icmp" if family == Family::V6 => Ext::Icmp6,
            "multiport" => Ext::Multiport,
            "conntrack" => Ext::Conntrack,
            "state" => Ext::State,
            "mark" => Ext::Mark,
            "connmark" => Ext::Connmark,
            "comment" => Ext::Comment,
            "addrtype" => Ext::Addrtype,
            "limit" => Ext::Limit,
            "hashlimit" => Ext::Hashlimit,
            "recent" => Ext::Recent,
            "mac" => Ext::Mac,
            "physdev" => Ext::Physdev,
            "iprange" => Ext::Iprange,
            "set" => Ext::Set,
            "owner" => Ext::Owner,
            "statistic" => Ext::Statistic,
            "rpfilter" => Ext::Rpfilter,
            "pkttype" => Ext::Pkttype,
            _ => Ext::OtherMatch,
        }
    }

    /// The target that `-j NAME` means; [`Ext::OtherTarget`] for chains too.
    pub(super) fn of_target(name: &str) -> Ext {
        match name {
            "ACCEPT" | "DROP" | "RETURN" | "NOTRACK" => Ext::Bare,
            "REJECT" => Ext::Reject,
            "LOG" => Ext::Log,
            "NFLOG" => Ext::Nflog,
            "MARK" => Ext::MarkTarget,
            "CONNMARK" => Ext::ConnmarkTarget,
            "CT" => Ext::Ct,
            "DNAT" => Ext::Dnat,
            "SNAT" => Ext::Snat,
            "MASQUERADE" => Ext::Masquerade,
            "REDIRECT" => Ext::Redirect,
            "TCPMSS" => Ext::Tcpmss,
            "CHECKSUM" => Ext::Checksum,
            _ => Ext::OtherTarget,
        }
    }

    /// Its options.
    pub(super) fn options(self) -> &'static [Spec] {
        match self {
            Ext::Tcp => &TCP,
            Ext::Udp => &UDP,
            Ext::Icmp => &[("icmp-type", "type", 1, true)],
            Ext::Icmp6 => &[("icmpv6-type", "type", 1, true)],
            Ext::Multiport => &MULTIPORT,
            Ext::Conntrack => &CONNTRACK,
            Ext::State => &[("state", "state", 1, true)],
            Ext::Mark | Ext::Connmark => &[("mark", "mark", 1, true)],
            Ext::Comment => &[("comment", "comment", 1, false)],
            Ext::Addrtype => &ADDRTYPE,
            Ext::Limit => &[("limit", "limit", 1, false), ("limit-burst", "burst", 1, false)],
            Ext::Hashlimit => &HASHLIMIT,
            Ext::Recent => &RECENT,
            Ext::Mac => &[("mac-source", "source", 1, true)],
            Ext::Physdev => &PHYSDEV,
            Ext::Iprange => &[("src-range", "src", 1, true), ("dst-range", "dst", 1, true)],
            Ext::Set => &SET,
            Ext::Owner => &OWNER,
            Ext::Statistic => &STATISTIC,
            Ext::Rpfilter => &RPFILTER,
            Ext::Pkttype => &[("pkt-type", "type", 1, true)],
            Ext::Reject => &[("reject-with", "with", 1, false)],
            Ext::Log => &LOG,
            Ext::Nflog => &NFLOG,
            Ext::MarkTarget => &MARK,
            Ext::ConnmarkTarget => &CONNMARK,
            Ext::Ct => &CT,
            Ext::Dnat => &DNAT,
            Ext::Snat => &SNAT,
            Ext::Masquerade => &MASQUERADE,
            Ext::Redirect => &[("to-ports", "to", 1, false), ("random", "random", 0, false)],
            Ext::Tcpmss => &[("set-mss", "set", 1, false), ("clamp-mss-to-pmtu", "clamp", 0, false)],
            Ext::Checksum => &[("checksum-fill", "fill", 0, false)],
            Ext::Bare | Ext::OtherMatch | Ext::OtherTarget => &[],
        }
    }

    /// Whether it is a target.
    pub(super) fn is_target(self) -> bool {
        self as u8 >= Ext::Bare as u8
    }
}

const TCP: [Spec; 7] = [
    ("sport", "sport", 1, true),
    ("source-port", "sport", 1, true),
    ("dport", "dport", 1, true),
    ("destination-port", "dport", 1, true),
    ("tcp-flags", "flags", 2, true),
    ("syn", "syn", 0, true),
    ("tcp-option", "option", 1, true),
];

const UDP: [Spec; 4] = [
    ("sport", "sport", 1, true),
    ("source-port", "sport", 1, true),
    ("dport", "dport", 1, true),
    ("destination-port", "dport", 1, true),
];

const MULTIPORT: [Spec; 7] = [
    ("sports", "sports", 1, true),
    ("source-ports", "sports", 1, true),
    ("source-port", "sports", 1, true),
    ("dports", "dports", 1, true),
    ("destination-ports", "dports", 1, true),
    ("destination-port", "dports", 1, true),
    ("ports", "ports", 1, true),
];

const CONNTRACK: [Spec; 14] = [
    ("ctstate", "state", 1, true),
    // What the oldest revisions printed.
    ("state", "state", 1, true),
    ("ctproto", "proto", 1, true),
    ("ctorigsrc", "origsrc", 1, true),
    ("ctorigdst", "origdst", 1, true),
    ("ctreplsrc", "replsrc", 1, true),
    ("ctrepldst", "repldst", 1, true),
    ("ctorigsrcport", "origsrcport", 1, true),
    ("ctorigdstport", "origdstport", 1, true),
    ("ctreplsrcport", "replsrcport", 1, true),
    ("ctrepldstport", "repldstport", 1, true),
    ("ctstatus", "status", 1, true),
    ("ctexpire", "expire", 1, true),
    ("ctdir", "dir", 1, false),
];

const ADDRTYPE: [Spec; 4] = [
    ("src-type", "src", 1, true),
    ("dst-type", "dst", 1, true),
    ("limit-iface-in", "in", 0, false),
    ("limit-iface-out", "out", 0, false),
];

const HASHLIMIT: [Spec; 14] = [
    ("hashlimit-upto", "upto", 1, true),
    ("hashlimit", "upto", 1, true),
    ("hashlimit-above", "above", 1, true),
    ("hashlimit-burst", "burst", 1, false),
    ("hashlimit-mode", "mode", 1, false),
    ("hashlimit-name", "name", 1, false),
    ("hashlimit-srcmask", "srcmask", 1, false),
    ("hashlimit-dstmask", "dstmask", 1, false),
    ("hashlimit-htable-size", "size", 1, false),
    ("hashlimit-htable-max", "max", 1, false),
    ("hashlimit-htable-gcinterval", "gc", 1, false),
    ("hashlimit-htable-expire", "expire", 1, false),
    ("hashlimit-rate-match", "rate-match", 0, false),
    ("hashlimit-rate-interval", "rate-interval", 1, false),
];

const RECENT: [Spec; 12] = [
    ("set", "set", 0, true),
    ("rcheck", "rcheck", 0, true),
    ("update", "update", 0, true),
    ("remove", "remove", 0, true),
    ("seconds", "seconds", 1, false),
    ("reap", "reap", 0, false),
    ("hitcount", "hitcount", 1, false),
    ("rttl", "rttl", 0, false),
    ("name", "name", 1, false),
    ("mask", "mask", 1, false),
    ("rsource", "rsource", 0, false),
    ("rdest", "rdest", 0, false),
];

const PHYSDEV: [Spec; 5] = [
    ("physdev-in", "in", 1, true),
    ("physdev-out", "out", 1, true),
    ("physdev-is-in", "is-in", 0, true),
    ("physdev-is-out", "is-out", 0, true),
    ("physdev-is-bridged", "is-bridged", 0, true),
];

const SET: [Spec; 11] = [
    ("match-set", "set", 2, true),
    ("set", "set", 2, true),
    ("return-nomatch", "nomatch", 0, false),
    ("update-counters", "counters", 0, true),
    ("update-subcounters", "subcounters", 0, true),
    ("packets-eq", "packets-eq", 1, true),
    ("packets-lt", "packets-lt", 1, false),
    ("packets-gt", "packets-gt", 1, false),
    ("bytes-eq", "bytes-eq", 1, true),
    ("bytes-lt", "bytes-lt", 1, false),
    ("bytes-gt", "bytes-gt", 1, false),
];

const OWNER: [Spec; 4] = [
    ("uid-owner", "uid", 1, true),
    ("gid-owner", "gid", 1, true),
    ("socket-exists", "socket", 0, true),
    ("suppl-groups", "groups", 0, false),
];

const STATISTIC: [Spec; 4] = [
    ("mode", "mode", 1, false),
    ("probability", "probability", 1, true),
    ("every", "every", 1, true),
    ("packet", "packet", 1, false),
];

const RPFILTER: [Spec; 4] = [
    ("loose", "loose", 0, false),
    ("validmark", "validmark", 0, false),
    ("accept-local", "accept-local", 0, false),
    ("invert", "invert", 0, false),
];

const LOG: [Spec; 7] = [
    ("log-prefix", "prefix", 1, false),
    ("log-level", "level", 1, false),
    ("log-tcp-sequence", "sequence", 0, false),
    ("log-tcp-options", "tcp-options", 0, false),
    ("log-ip-options", "ip-options", 0, false),
    ("log-uid", "uid", 0, false),
    ("log-macdecode", "macdecode", 0, false),
];

const NFLOG: [Spec; 5] = [
    ("nflog-group", "group", 1, false),
    ("nflog-prefix", "prefix", 1, false),
    ("nflog-range", "range", 1, false),
    ("nflog-size", "size", 1, false),
    ("nflog-threshold", "threshold", 1, false),
];

const MARK: [Spec; 5] = [
    ("set-xmark", "set-xmark", 1, false),
    ("set-mark", "set-mark", 1, false),
    ("and-mark", "and-mark", 1, false),
    ("or-mark", "or-mark", 1, false),
    ("xor-mark", "xor-mark", 1, false),
];

const CONNMARK: [Spec; 12] = [
    ("set-xmark", "set-xmark", 1, false),
    ("set-mark", "set-mark", 1, false),
    ("and-mark", "and-mark", 1, false),
    ("or-mark", "or-mark", 1, false),
    ("xor-mark", "xor-mark", 1, false),
    ("save-mark", "save", 0, false),
    ("restore-mark", "restore", 0, false),
    ("nfmask", "nfmask", 1, false),
    ("ctmask", "ctmask", 1, false),
    ("mask", "mask", 1, false),
    ("left-shift-mark", "left-shift", 1, false),
    ("right-shift-mark", "right-shift", 1, false),
];

const CT: [Spec; 8] = [
    ("notrack", "notrack", 0, false),
    ("helper", "helper", 1, false),
    ("timeout", "timeout", 1, false),
    ("ctevents", "ctevents", 1, false),
    ("expevents", "expevents", 1, false),
    ("zone", "zone", 1, false),
    ("zone-orig", "zone-orig", 1, false),
    ("zone-reply", "zone-reply", 1, false),
];

const DNAT: [Spec; 3] = [
    ("to-destination", "to", 1, false),
    ("random", "random", 0, false),
    ("persistent", "persistent", 0, false),
];

const SNAT: [Spec; 4] = [
    ("to-source", "to", 1, false),
    ("random", "random", 0, false),
    ("random-fully", "random-fully", 0, false),
    ("persistent", "persistent", 0, false),
];

const MASQUERADE: [Spec; 3] = [
    ("to-ports", "to", 1, false),
    ("random", "random", 0, false),
    ("random-fully", "random-fully", 0, false),
];

/// Options of every rule: name, letter.
pub(super) const GLOBAL: [(&str, char); 18] = [
    ("source", 's'),
    ("src", 's'),
    ("destination", 'd'),
    ("dst", 'd'),
    ("in-interface", 'i'),
    ("out-interface", 'o'),
    ("protocol", 'p'),
    ("proto", 'p'),
    ("fragments", 'f'),
    ("fragment", 'f'),
    ("match", 'm'),
    ("jump", 'j'),
    ("goto", 'g'),
    ("set-counters", 'c'),
    ("ipv4", '4'),
    ("ipv6", '6'),
    ("append", 'A'),
    ("insert", 'I'),
];

/// Targets that are known not to be chains, and are not modelled.
pub(super) const OTHER_TARGETS: [&str; 34] = [
    "AUDIT",
    "CLASSIFY",
    "CLUSTERIP",
    "CONNSECMARK",
    "DNPT",
    "DSCP",
    "ECN",
    "HL",
    "HMARK",
    "IDLETIMER",
    "LED",
    "MIRROR",
    "NETMAP",
    "NFQUEUE",
    "QUEUE",
    "RATEEST",
    "SAME",
    "SECMARK",
    "SET",
    "SNPT",
    "SYNPROXY",
    "TARPIT",
    "TCPOPTSTRIP",
    "TEE",
    "TOS",
    "TPROXY",
    "TRACE",
    "TTL",
    "ULOG",
    "IMQ",
    "ACCOUNT",
    "BALANCE",
    "ROUTE",
    "FLOWOFFLOAD",
];
