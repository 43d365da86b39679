//! Matches as the tools print them.

use std::net::IpAddr;

use crate::hook::Family;

use super::ast::{
    AddrMask, AddrTypeSet, AddrtypeMatch, ConntrackMatch, CounterTest, CtStateSet, HashlimitMatch,
    HashlimitRate, IcmpMatch, IprangeMatch, LimitMatch, MarkMask, Match, MultiportKind, MultiportMatch, Neg,
    OwnerMatch, PhysdevMatch, PktType, PortRange, RecentAction, RecentMatch, RpfilterMatch, SetDir, SetMatch,
    StatisticMatch, TcpFlags, TcpMatch, UdpMatch,
};
use super::print::{Line, Shown, prefix_length, push_pattern, push_unmodelled};
use super::rate;

/// Appends `-m NAME` with its options.
pub(super) fn push_match(out: &mut Line, one: &Match, family: Family) {
    let name = match one {
        Match::Icmp(_) if family == Family::V6 => "icmp6",
        Match::Unmodelled(unmodelled) => return push_unmodelled(out, "-m", unmodelled),
        _ => one.name().unwrap_or_default(),
    };
    out.word("-m");
    out.word(name);
    match one {
        Match::Tcp(tcp) => push_tcp(out, tcp),
        Match::Udp(UdpMatch { sport, dport }) => {
            push_ports(out, "--sport", sport.as_ref());
            push_ports(out, "--dport", dport.as_ref());
        }
        Match::Icmp(icmp) => push_icmp(out, icmp, family),
        Match::Multiport(multiport) => push_multiport(out, multiport),
        Match::Conntrack(conntrack) => push_conntrack(out, conntrack),
        Match::State(state) => push_states(out, "--state", state),
        Match::Mark(mark) | Match::Connmark(mark) => push_mark(out, mark),
        Match::Comment(text) => {
            out.word("--comment");
            out.string(text);
        }
        Match::Addrtype(addrtype) => push_addrtype(out, addrtype),
        Match::Limit(LimitMatch { avg, burst }) => {
            out.word("--limit");
            out.word(&rate::packets(u64::from(*avg), rate::LIMIT_SCALE).0);
            if *burst != 5 {
                out.fmt(format_args!("--limit-burst {burst}"));
            }
        }
        Match::Hashlimit(hashlimit) => push_hashlimit(out, hashlimit, family),
        Match::Recent(recent) => push_recent(out, recent),
        Match::Mac(Neg { not, value }) => {
            out.option(*not, "--mac-source");
            out.fmt(format_args!("{value}"));
        }
        Match::Physdev(physdev) => push_physdev(out, physdev),
        Match::Iprange(iprange) => {
            let IprangeMatch { src, dst } = &**iprange;
            push_range(out, "--src-range", src.as_ref());
            push_range(out, "--dst-range", dst.as_ref());
        }
        Match::Set(set) => push_set(out, set),
        Match::Owner(owner) => push_owner(out, owner),
        Match::Statistic(statistic) => push_statistic(out, *statistic),
        Match::Rpfilter(RpfilterMatch { loose, valid_mark, accept_local, invert }) => {
            let options = [
                (*loose, "--loose"),
                (*valid_mark, "--validmark"),
                (*accept_local, "--accept-local"),
                (*invert, "--invert"),
            ];
            push_flags(out, &options);
        }
        Match::Pkttype(Neg { not, value }) => {
            out.option(*not, "--pkt-type");
            out.word(match value {
                PktType::Unicast => "unicast",
                PktType::Broadcast => "broadcast",
                PktType::Multicast => "multicast",
                PktType::OtherHost => "otherhost",
            });
        }
        Match::Unmodelled(_) => {}
    }
}

fn push_flags(out: &mut Line, options: &[(bool, &str)]) {
    for (_, option) in options.iter().filter(|(set, _)| *set) {
        out.word(option);
    }
}

fn push_ports(out: &mut Line, option: &str, ports: Option<&Neg<PortRange>>) {
    let Some(Neg { not, value: PortRange { lo, hi } }) = ports else { return };
    if (*lo, *hi) == (0, u16::MAX) && !not {
        return;
    }
    push_port_range(out, option, *not, PortRange { lo: *lo, hi: *hi });
}

fn push_port_range(out: &mut Line, option: &str, not: bool, PortRange { lo, hi }: PortRange) {
    out.option(not, option);
    if lo == hi { out.fmt(format_args!("{lo}")) } else { out.fmt(format_args!("{lo}:{hi}")) }
}

fn push_tcp(out: &mut Line, TcpMatch { sport, dport, flags, option }: &TcpMatch) {
    push_ports(out, "--sport", sport.as_ref());
    push_ports(out, "--dport", dport.as_ref());
    if let Some(Neg { not, value }) = option
        && (*value != 0 || *not)
    {
        out.option(*not, "--tcp-option");
        out.fmt(format_args!("{value}"));
    }
    if let Some(Neg { not, value: TcpFlags { mask, comp } }) = flags
        && (*mask != 0 || *comp != 0 || *not)
    {
        out.option(*not, "--tcp-flags");
        out.word(&tcp_flags(*mask));
        out.word(&tcp_flags(*comp));
    }
}

/// Names of the flags of header byte 13, lowest bit first.
pub(super) const TCP_FLAGS: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];

fn tcp_flags(bits: u8) -> String {
    list(u32::from(bits), &TCP_FLAGS)
}

/// The names of the set bits, lowest first; `NONE` for none.
fn list(bits: u32, names: &[&str]) -> String {
    let mut text = String::new();
    for (_, name) in names.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1) {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
    }
    if text.is_empty() { "NONE".to_owned() } else { text }
}

fn push_icmp(out: &mut Line, IcmpMatch { not, icmp_type, code_lo, code_hi }: &IcmpMatch, family: Family) {
    out.option(*not, if family == Family::V6 { "--icmpv6-type" } else { "--icmp-type" });
    if *icmp_type == u8::MAX && family == Family::V4 {
        return out.word("any");
    }
    match (code_lo, code_hi) {
        (0, 255) => out.fmt(format_args!("{icmp_type}")),
        (lo, hi) if lo == hi => out.fmt(format_args!("{icmp_type}/{lo}")),
        (lo, hi) => out.fmt(format_args!("{icmp_type}/{lo}-{hi}")),
    }
}

fn push_multiport(out: &mut Line, MultiportMatch { kind, not, ports }: &MultiportMatch) {
    out.option(
        *not,
        match kind {
            MultiportKind::Source => "--sports",
            MultiportKind::Destination => "--dports",
            MultiportKind::Either => "--ports",
        },
    );
    let mut text = String::new();
    for entry in ports {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&entry.range.lo.to_string());
        if entry.is_range {
            text.push(':');
            text.push_str(&entry.range.hi.to_string());
        }
    }
    out.name(&text);
}

/// Names of the states in the order of printing.
const STATES: [(CtStateSet, &str); 7] = [
    (CtStateSet::INVALID, "INVALID"),
    (CtStateSet::NEW, "NEW"),
    (CtStateSet::RELATED, "RELATED"),
    (CtStateSet::ESTABLISHED, "ESTABLISHED"),
    (CtStateSet::UNTRACKED, "UNTRACKED"),
    (CtStateSet::SNAT, "SNAT"),
    (CtStateSet::DNAT, "DNAT"),
];

/// The state that a name stands for, in either case.
pub(super) fn state(name: &str) -> Option<CtStateSet> {
    STATES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(set, _)| *set)
}

fn push_states(out: &mut Line, option: &str, Neg { not, value }: &Neg<CtStateSet>) {
    out.option(*not, option);
    let mut text = String::new();
    for (_, name) in STATES.iter().filter(|(set, _)| value.intersects(*set)) {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
    }
    out.name(&text);
}

/// Names of the status bits, lowest first.
pub(super) const STATUSES: [&str; 4] = ["EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED"];

fn push_conntrack(out: &mut Line, ct: &ConntrackMatch) {
    if let Some(state) = &ct.state {
        push_states(out, "--ctstate", state);
    }
    if let Some(Neg { not, value }) = ct.protocol {
        out.option(not, "--ctproto");
        out.fmt(format_args!("{value}"));
    }
    push_ct_addr(out, "--ctorigsrc", ct.orig_src.as_ref());
    push_ct_addr(out, "--ctorigdst", ct.orig_dst.as_ref());
    push_ct_addr(out, "--ctreplsrc", ct.reply_src.as_ref());
    push_ct_addr(out, "--ctrepldst", ct.reply_dst.as_ref());
    let ports = [
        ("--ctorigsrcport", ct.orig_src_port),
        ("--ctorigdstport", ct.orig_dst_port),
        ("--ctreplsrcport", ct.reply_src_port),
        ("--ctrepldstport", ct.reply_dst_port),
    ];
    for (option, ports) in ports {
        if let Some(Neg { not, value }) = ports {
            push_port_range(out, option, not, value);
        }
    }
    if let Some(Neg { not, value }) = ct.status {
        out.option(not, "--ctstatus");
        out.word(&list(value, &STATUSES));
    }
    if let Some(Neg { not, value: (lo, hi) }) = ct.expire {
        out.option(not, "--ctexpire");
        if lo == hi { out.fmt(format_args!("{lo}")) } else { out.fmt(format_args!("{lo}:{hi}")) }
    }
    if let Some(original) = ct.direction_original {
        out.word("--ctdir");
        out.word(if original { "ORIGINAL" } else { "REPLY" });
    }
}

fn push_ct_addr(out: &mut Line, option: &str, addr: Option<&Neg<AddrMask>>) {
    let Some(Neg { not, value: AddrMask { addr, mask } }) = addr else { return };
    out.option(*not, option);
    match prefix_length(*mask) {
        Some(length) if length == full_length(*addr) => out.fmt(format_args!("{}", Shown(*addr))),
        Some(length) => out.fmt(format_args!("{}/{length}", Shown(*addr))),
        None => out.fmt(format_args!("{}/{}", Shown(*addr), Shown(*mask))),
    }
}

/// 32 or 128.
fn full_length(addr: IpAddr) -> u32 {
    if addr.is_ipv4() { 32 } else { 128 }
}

fn push_mark(out: &mut Line, Neg { not, value: MarkMask { value, mask } }: &Neg<MarkMask>) {
    out.option(*not, "--mark");
    if *mask == u32::MAX {
        out.fmt(format_args!("{value:#x}"));
    } else {
        out.fmt(format_args!("{value:#x}/{mask:#x}"));
    }
}

/// Names of the address types, by `RTN_*` number.
pub(super) const ADDR_TYPES: [&str; 12] = [
    "UNSPEC",
    "UNICAST",
    "LOCAL",
    "BROADCAST",
    "ANYCAST",
    "MULTICAST",
    "BLACKHOLE",
    "UNREACHABLE",
    "PROHIBIT",
    "THROW",
    "NAT",
    "XRESOLVE",
];

fn push_addrtype(
    out: &mut Line,
    AddrtypeMatch { src, dst, limit_iface_in, limit_iface_out }: &AddrtypeMatch,
) {
    for (option, types) in [("--src-type", src), ("--dst-type", dst)] {
        if let Some(Neg { not, value: AddrTypeSet(bits) }) = types {
            out.option(*not, option);
            out.word(&list(u32::from(*bits), &ADDR_TYPES));
        }
    }
    push_flags(out, &[(*limit_iface_in, "--limit-iface-in"), (*limit_iface_out, "--limit-iface-out")]);
}

fn push_hashlimit(out: &mut Line, limit: &HashlimitMatch, family: Family) {
    out.word(if limit.above { "--hashlimit-above" } else { "--hashlimit-upto" });
    let default_expire = match limit.rate {
        HashlimitRate::Packets(avg) => {
            let (text, seconds) = rate::packets(avg, rate::HASHLIMIT_SCALE);
            out.word(&text);
            out.fmt(format_args!("--hashlimit-burst {}", limit.burst.unwrap_or(5)));
            seconds * 1000
        }
        HashlimitRate::Bytes(bytes) => {
            out.word(&rate::bytes_per_second(bytes));
            if let Some(burst) = limit.burst.filter(|burst| *burst != 0) {
                out.word("--hashlimit-burst");
                out.word(&rate::byte_burst(bytes, u64::from(burst)));
            }
            rate::BYTE_EXPIRE_MS
        }
    };
    let mode = limit.mode;
    let keys = [mode.src_ip, mode.src_port, mode.dst_ip, mode.dst_port];
    if keys.contains(&true) {
        let bits = keys.iter().enumerate().fold(0, |bits, (bit, set)| bits | u32::from(*set) << bit);
        out.word("--hashlimit-mode");
        out.word(&list(bits, &["srcip", "srcport", "dstip", "dstport"]));
    }
    out.word("--hashlimit-name");
    out.kernel_name(&limit.name);
    let numbers = [
        ("--hashlimit-htable-size", limit.size, 0),
        ("--hashlimit-htable-max", limit.max, 0),
        ("--hashlimit-htable-gcinterval", limit.gc_interval, 1000),
        ("--hashlimit-htable-expire", limit.expire, default_expire),
    ];
    for (option, value, default) in numbers {
        if let Some(value) = value.filter(|value| *value != default) {
            out.fmt(format_args!("{option} {value}"));
        }
    }
    let whole = if family == Family::V6 { 128 } else { 32 };
    for (option, length) in [("--hashlimit-srcmask", limit.src_mask), ("--hashlimit-dstmask", limit.dst_mask)]
    {
        if length != whole {
            out.fmt(format_args!("{option} {length}"));
        }
    }
    push_flags(out, &[(limit.rate_match, "--hashlimit-rate-match")]);
    if let Some(interval) = limit.rate_interval.filter(|interval| limit.rate_match && *interval != 1) {
        out.fmt(format_args!("--hashlimit-rate-interval {interval}"));
    }
}

fn push_recent(out: &mut Line, recent: &RecentMatch) {
    out.option(
        recent.not,
        match recent.action {
            RecentAction::Set => "--set",
            RecentAction::Rcheck => "--rcheck",
            RecentAction::Update => "--update",
            RecentAction::Remove => "--remove",
        },
    );
    if recent.seconds != 0 {
        out.fmt(format_args!("--seconds {}", recent.seconds));
    }
    push_flags(out, &[(recent.reap, "--reap")]);
    if recent.hitcount != 0 {
        out.fmt(format_args!("--hitcount {}", recent.hitcount));
    }
    push_flags(out, &[(recent.rttl, "--rttl")]);
    out.word("--name");
    out.kernel_name(&recent.name);
    out.fmt(format_args!("--mask {}", Shown(recent.mask)));
    out.word(if recent.dest { "--rdest" } else { "--rsource" });
}

fn push_physdev(out: &mut Line, PhysdevMatch { in_dev, out_dev, is_in, is_out, is_bridged }: &PhysdevMatch) {
    let flag = |out: &mut Line, option: &str, set: Option<bool>| {
        if let Some(set) = set {
            out.option(!set, option);
        }
    };
    flag(out, "--physdev-is-in", *is_in);
    if let Some(Neg { not, value }) = in_dev {
        out.option(*not, "--physdev-in");
        push_pattern(out, value);
    }
    flag(out, "--physdev-is-out", *is_out);
    if let Some(Neg { not, value }) = out_dev {
        out.option(*not, "--physdev-out");
        push_pattern(out, value);
    }
    flag(out, "--physdev-is-bridged", *is_bridged);
}

fn push_range(out: &mut Line, option: &str, range: Option<&Neg<(IpAddr, IpAddr)>>) {
    if let Some(Neg { not, value: (lo, hi) }) = range {
        out.option(*not, option);
        out.fmt(format_args!("{}-{}", Shown(*lo), Shown(*hi)));
    }
}

fn push_set(out: &mut Line, set: &SetMatch) {
    out.option(set.not, "--match-set");
    out.kernel_name(&set.name);
    let dirs: Vec<&str> =
        set.dirs.iter().map(|dir| if *dir == SetDir::Src { "src" } else { "dst" }).collect();
    out.name(&dirs.join(","));
    push_flags(out, &[(set.return_nomatch, "--return-nomatch")]);
    if set.no_update_counters {
        out.word("! --update-counters");
    }
    if set.no_update_subcounters {
        out.word("! --update-subcounters");
    }
    for (counter, test) in [("packets", set.packets), ("bytes", set.bytes)] {
        match test {
            None => {}
            Some(CounterTest::Eq(n)) => out.fmt(format_args!("--{counter}-eq {n}")),
            Some(CounterTest::Ne(n)) => out.fmt(format_args!("! --{counter}-eq {n}")),
            Some(CounterTest::Lt(n)) => out.fmt(format_args!("--{counter}-lt {n}")),
            Some(CounterTest::Gt(n)) => out.fmt(format_args!("--{counter}-gt {n}")),
        }
    }
}

fn push_owner(out: &mut Line, OwnerMatch { uid, gid, socket_exists, suppl_groups }: &OwnerMatch) {
    if let Some(exists) = socket_exists {
        out.option(!exists, "--socket-exists");
    }
    for (option, ids) in [("--uid-owner", uid), ("--gid-owner", gid)] {
        if let Some(Neg { not, value: (lo, hi) }) = ids {
            out.option(*not, option);
            if lo == hi { out.fmt(format_args!("{lo}")) } else { out.fmt(format_args!("{lo}-{hi}")) }
        }
    }
    push_flags(out, &[(*suppl_groups, "--suppl-groups")]);
}

fn push_statistic(out: &mut Line, statistic: StatisticMatch) {
    out.word("--mode");
    match statistic {
        StatisticMatch::Random { not, threshold } => {
            out.word("random");
            out.option(not, "--probability");
            out.fmt(format_args!("{:.11}", f64::from(threshold) / f64::from(1u32 << 31)));
        }
        StatisticMatch::Nth { not, every, packet } => {
            out.word("nth");
            out.option(not, "--every");
            out.fmt(format_args!("{every} --packet {packet}"));
        }
    }
}
