//! Options of the modelled matches.

use crate::hook::Family;

use super::ast::{
    AddrTypeSet, AddrtypeMatch, ConntrackMatch, CounterTest, CtStateSet, HashlimitMatch, HashlimitMode,
    HashlimitRate, IcmpMatch, IprangeMatch, LimitMatch, MarkMask, Match, MultiportEntry, MultiportKind,
    MultiportMatch, Neg, OwnerMatch, PhysdevMatch, PktType, PortRange, RecentAction, RecentMatch,
    RpfilterMatch, SetDir, SetMatch, StatisticMatch, TcpFlags, TcpMatch, UdpMatch, Unmodelled,
};
use super::names::{icmp_type, protocol_number};
use super::options::Ext;
use super::print::prefix_length;
use super::print_match::{ADDR_TYPES, STATUSES, TCP_FLAGS, state};
use super::rate;
use super::values::{self, Parsed, bad, int};

/// What options leave for the end of a match or target, where it depends on others.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Scratch {
    /// Statistic: whether the mode is nth. Hashlimit: seconds of the rate's unit. CONNMARK: the packet's mask.
    pub(super) a: Option<u32>,
    /// CONNMARK: the connection's mask.
    pub(super) b: Option<u32>,
}

/// A match before any option.
pub(super) fn empty(ext: Ext, name: &str, family: Family) -> Match {
    match ext {
        Ext::Tcp => Match::Tcp(TcpMatch::default()),
        Ext::Udp => Match::Udp(UdpMatch::default()),
        Ext::Icmp | Ext::Icmp6 => {
            Match::Icmp(IcmpMatch { not: false, icmp_type: 255, code_lo: 0, code_hi: 255 })
        }
        Ext::Multiport => {
            Match::Multiport(MultiportMatch { kind: MultiportKind::Either, not: false, ports: Vec::new() })
        }
        Ext::Conntrack => Match::Conntrack(Box::default()),
        Ext::State => Match::State(Neg::is(CtStateSet::default())),
        Ext::Mark => Match::Mark(Neg::is(MarkMask { value: 0, mask: 0 })),
        Ext::Connmark => Match::Connmark(Neg::is(MarkMask { value: 0, mask: 0 })),
        Ext::Comment => Match::Comment(String::new()),
        Ext::Addrtype => Match::Addrtype(AddrtypeMatch::default()),
        // The tool's defaults: 3/hour, 5.
        Ext::Limit => Match::Limit(LimitMatch { avg: 3600 * 10_000 / 3, burst: 5 }),
        Ext::Hashlimit => {
            let whole = if family == Family::V4 { 32 } else { 128 };
            Match::Hashlimit(Box::new(HashlimitMatch {
                name: String::new(),
                above: false,
                rate: HashlimitRate::Packets(0),
                burst: None,
                mode: HashlimitMode::default(),
                src_mask: whole,
                dst_mask: whole,
                size: None,
                max: None,
                gc_interval: None,
                expire: None,
                rate_match: false,
                rate_interval: None,
            }))
        }
        Ext::Recent => Match::Recent(Box::new(RecentMatch {
            not: false,
            action: RecentAction::Set,
            seconds: 0,
            reap: false,
            hitcount: 0,
            rttl: false,
            name: "DEFAULT".to_owned(),
            mask: values::prefix_mask(128, family),
            dest: false,
        })),
        Ext::Mac => Match::Mac(Neg::is(pktwalk_packet::MacAddr([0; 6]))),
        Ext::Physdev => Match::Physdev(Box::default()),
        Ext::Iprange => Match::Iprange(Box::default()),
        Ext::Set => Match::Set(Box::new(SetMatch {
            not: false,
            name: String::new(),
            dirs: Vec::new(),
            return_nomatch: false,
            no_update_counters: false,
            no_update_subcounters: false,
            packets: None,
            bytes: None,
        })),
        Ext::Owner => Match::Owner(OwnerMatch::default()),
        Ext::Statistic => Match::Statistic(StatisticMatch::Random { not: false, threshold: 0 }),
        Ext::Rpfilter => Match::Rpfilter(RpfilterMatch::default()),
        Ext::Pkttype => Match::Pkttype(Neg::is(PktType::Unicast)),
        _ => Match::Unmodelled(Unmodelled { name: name.to_owned(), words: Vec::new() }),
    }
}

/// Takes one option into `one`: `option` is the second part of its [`Spec`](super::options::Spec), `args` as many words as it says.
pub(super) fn apply(
    one: &mut Match,
    scratch: &mut Scratch,
    option: &str,
    not: bool,
    args: [&str; 2],
    family: Family,
) -> Parsed<()> {
    let [arg, second] = args;
    match one {
        Match::Tcp(tcp) => match option {
            "sport" => tcp.sport = Some(Neg { not, value: values::ports(arg)? }),
            "dport" => tcp.dport = Some(Neg { not, value: values::ports(arg)? }),
            "flags" => {
                let value = TcpFlags { mask: tcp_flags(arg)?, comp: tcp_flags(second)? };
                tcp.flags = Some(Neg { not, value });
            }
            "syn" => tcp.flags = Some(Neg { not, value: TcpFlags { mask: 0x17, comp: 0x02 } }),
            _ => match int(arg)? {
                0 => return bad(arg, "a TCP option"),
                value => tcp.option = Some(Neg { not, value }),
            },
        },
        Match::Udp(udp) => {
            let ports = Some(Neg { not, value: values::ports(arg)? });
            match option {
                "sport" => udp.sport = ports,
                _ => udp.dport = ports,
            }
        }
        Match::Icmp(icmp) => *icmp = icmp_value(arg, not, family)?,
        Match::Multiport(multiport) => {
            multiport.not = not;
            multiport.kind = match option {
                "sports" => MultiportKind::Source,
                "dports" => MultiportKind::Destination,
                _ => MultiportKind::Either,
            };
            // The tool keeps one list.
            if !multiport.ports.is_empty() {
                return Err("there are ports already".to_owned());
            }
            multiport.ports = multiports(arg)?;
        }
        Match::Conntrack(conntrack) => apply_conntrack(conntrack, option, not, arg, family)?,
        Match::State(states) => {
            let value = state_set(arg)?;
            if value.0 & (CtStateSet::SNAT.0 | CtStateSet::DNAT.0) != 0 {
                return bad(arg, "a list of states");
            }
            *states = Neg { not, value };
        }
        Match::Mark(mark) | Match::Connmark(mark) => *mark = Neg { not, value: values::mark_mask(arg)? },
        Match::Comment(text) => arg.clone_into(text),
        Match::Addrtype(addrtype) => match option {
            "in" => addrtype.limit_iface_in = true,
            "out" => addrtype.limit_iface_out = true,
            _ => {
                let bits = values::name_bits(arg, &ADDR_TYPES, "an address type")?;
                let types = Some(Neg { not, value: AddrTypeSet(bits as u16) });
                if option == "src" { addrtype.src = types } else { addrtype.dst = types }
            }
        },
        Match::Limit(limit) => match option {
            "limit" => {
                let avg =
                    rate::parse_packets(arg, rate::LIMIT_SCALE).and_then(|(avg, _)| u32::try_from(avg).ok());
                match avg {
                    Some(avg) => limit.avg = avg,
                    None => return bad(arg, "a rate"),
                }
            }
            _ => match int(arg)? {
                burst @ 0..=10_000 => limit.burst = burst,
                _ => return bad(arg, "a burst that the tool takes (10000 at most)"),
            },
        },
        Match::Hashlimit(hashlimit) => apply_hashlimit(hashlimit, scratch, option, not, arg, family)?,
        Match::Recent(recent) => match option {
            "set" => (recent.action, recent.not) = (RecentAction::Set, not),
            "rcheck" => (recent.action, recent.not) = (RecentAction::Rcheck, not),
            "update" => (recent.action, recent.not) = (RecentAction::Update, not),
            "remove" => (recent.action, recent.not) = (RecentAction::Remove, not),
            "seconds" => match int(arg)? {
                0 => return bad(arg, "a number of seconds"),
                seconds => recent.seconds = seconds,
            },
            "reap" => recent.reap = true,
            "hitcount" => match int(arg)? {
                // `XT_RECENT_MAX_NSTAMPS`.
                hits @ 0..=65_535 => recent.hitcount = hits,
                _ => return bad(arg, "a number of hits that a kernel takes (65535 at most)"),
            },
            "rttl" => recent.rttl = true,
            "name" => proc_name(arg)?.clone_into(&mut recent.name),
            "mask" => recent.mask = values::host(arg, family)?,
            "rsource" => recent.dest = false,
            _ => recent.dest = true,
        },
        Match::Mac(mac) => *mac = Neg { not, value: values::mac(arg)? },
        Match::Physdev(physdev) => apply_physdev(physdev, option, not, arg)?,
        Match::Iprange(iprange) => {
            let IprangeMatch { src, dst } = &mut **iprange;
            let range = Some(Neg { not, value: values::addr_range(arg, family)? });
            if option == "src" { *src = range } else { *dst = range }
        }
        Match::Set(set) => apply_set(set, option, not, args)?,
        Match::Owner(owner) => match option {
            "uid" => owner.uid = Some(Neg { not, value: values::ids(arg)? }),
            "gid" => owner.gid = Some(Neg { not, value: values::ids(arg)? }),
            "socket" => owner.socket_exists = Some(!not),
            _ => owner.suppl_groups = true,
        },
        Match::Statistic(statistic) => apply_statistic(statistic, scratch, option, not, arg)?,
        Match::Rpfilter(rpfilter) => match option {
            "loose" => rpfilter.loose = true,
            "validmark" => rpfilter.valid_mark = true,
            "accept-local" => rpfilter.accept_local = true,
            _ => rpfilter.invert = true,
        },
        Match::Pkttype(pkttype) => {
            let value = match arg.to_ascii_lowercase().as_str() {
                "unicast" | "host" => PktType::Unicast,
                "broadcast" | "bcast" => PktType::Broadcast,
                "multicast" | "mcast" => PktType::Multicast,
                "otherhost" => PktType::OtherHost,
                _ => return bad(arg, "a packet type"),
            };
            *pkttype = Neg { not, value };
        }
        Match::Unmodelled(_) => {}
    }
    Ok(())
}

/// Checks what must hold when all options are there; `seen` tells whether an option (second part of its spec) stood.
pub(super) fn finish(one: &mut Match, scratch: &Scratch, seen: &dyn Fn(&str) -> bool) -> Parsed<()> {
    let need = |ok: bool, what: &str| if ok { Ok(()) } else { Err(format!("{what} is missing")) };
    let refuse = |so: bool, why: &str| if so { Err(why.to_owned()) } else { Ok(()) };
    match one {
        Match::Icmp(_) => need(seen("type"), "the type"),
        Match::Multiport(multiport) => need(!multiport.ports.is_empty(), "the list of ports"),
        Match::Conntrack(conntrack) => need(**conntrack != ConntrackMatch::default(), "any condition"),
        Match::State(_) => need(seen("state"), "--state"),
        Match::Mark(_) | Match::Connmark(_) => need(seen("mark"), "--mark"),
        Match::Comment(_) => need(seen("comment"), "--comment"),
        Match::Addrtype(addrtype) => {
            need(addrtype.src.is_some() || addrtype.dst.is_some(), "--src-type or --dst-type")?;
            refuse(
                addrtype.limit_iface_in && addrtype.limit_iface_out,
                "--limit-iface-in and --limit-iface-out cannot stand together",
            )
        }
        Match::Hashlimit(hashlimit) => {
            need(seen("upto") || seen("above"), "the rate")?;
            need(seen("name"), "--hashlimit-name")?;
            // `hashlimit_mt_check_common`, and the ranges of the tool.
            let zero = [hashlimit.gc_interval, hashlimit.expire, hashlimit.rate_interval].contains(&Some(0));
            refuse(zero, "an interval of nothing")?;
            match (hashlimit.rate, hashlimit.burst) {
                (HashlimitRate::Bytes(0), _) => return Err("a rate of nothing".to_owned()),
                (HashlimitRate::Bytes(rate), Some(burst)) if u64::from(burst) < rate => {
                    return Err("a burst below the rate".to_owned());
                }
                (HashlimitRate::Packets(_), Some(0 | 1_000_001..)) => {
                    return Err("a burst beyond 1 to 1000000".to_owned());
                }
                _ => {}
            }
            finish_hashlimit(hashlimit, scratch);
            Ok(())
        }
        Match::Recent(recent) => {
            let actions = ["set", "rcheck", "update", "remove"].iter().filter(|action| seen(action)).count();
            need(actions == 1, "one of --set, --rcheck, --update and --remove")?;
            if seen("reap") {
                need(seen("seconds"), "--seconds, which --reap needs,")?;
            }
            // `recent_mt_check`.
            let looks = seen("seconds") || recent.hitcount != 0 || seen("rttl");
            refuse((seen("set") || seen("remove")) && looks, "--set and --remove look at no time, hit or TTL")
        }
        Match::Mac(_) => need(seen("source"), "--mac-source"),
        Match::Physdev(physdev) => need(**physdev != PhysdevMatch::default(), "any condition"),
        Match::Iprange(iprange) => need(iprange.src.is_some() || iprange.dst.is_some(), "a range"),
        Match::Set(_) => need(seen("set"), "--match-set"),
        Match::Owner(owner) => {
            need(*owner != OwnerMatch::default(), "any condition")?;
            if owner.suppl_groups {
                need(owner.gid.is_some(), "--gid-owner, which --suppl-groups needs,")?;
            }
            // The tool's highest id, as all ones mean none.
            let none = [owner.uid, owner.gid].into_iter().flatten().any(|ids| ids.value.1 == u32::MAX);
            refuse(none, "no one has the id 4294967295")
        }
        Match::Statistic(StatisticMatch::Random { .. }) => need(
            scratch.a == Some(0) && seen("probability") && !seen("every"),
            "--mode random with --probability",
        ),
        Match::Statistic(StatisticMatch::Nth { .. }) => {
            need(scratch.a == Some(1) && seen("every") && !seen("probability"), "--mode nth with --every")
        }
        Match::Pkttype(_) => need(seen("type"), "--pkt-type"),
        Match::Tcp(_) | Match::Udp(_) | Match::Limit(_) | Match::Rpfilter(_) | Match::Unmodelled(_) => Ok(()),
    }
}

/// A name that the kernel makes a file of (`xt_check_proc_name`).
fn proc_name(text: &str) -> Parsed<&str> {
    match text {
        "" | "." | ".." => bad(text, "a name"),
        _ if text.contains('/') => bad(text, "a name"),
        _ => Ok(text),
    }
}

fn tcp_flags(text: &str) -> Parsed<u8> {
    let mut bits = 0u8;
    for part in text.split(',') {
        bits |= match part.to_ascii_uppercase().as_str() {
            "ALL" => 0x3f,
            "NONE" => 0,
            name => match TCP_FLAGS.iter().position(|known| *known == name) {
                Some(bit) => 1 << bit,
                None => return bad(part, "a TCP flag"),
            },
        };
    }
    Ok(bits)
}

fn icmp_value(text: &str, not: bool, family: Family) -> Parsed<IcmpMatch> {
    if let Some((icmp_type, code_lo, code_hi)) = icmp_type(text, family) {
        return Ok(IcmpMatch { not, icmp_type, code_lo, code_hi });
    }
    let (kind, code) = match text.split_once('/') {
        Some((kind, code)) => (kind, Some(code)),
        None => (text, None),
    };
    let Ok(icmp_type) = int::<u8>(kind) else { return bad(text, "an ICMP type") };
    let (code_lo, code_hi) = match code {
        // Type 255 asks no code.
        _ if icmp_type == u8::MAX && family == Family::V4 => (0, 255),
        None => (0, 255),
        Some(code) => {
            let code = int(code)?;
            (code, code)
        }
    };
    Ok(IcmpMatch { not, icmp_type, code_lo, code_hi })
}

fn multiports(text: &str) -> Parsed<Vec<MultiportEntry>> {
    let mut ports = Vec::new();
    let mut count = 0;
    for part in text.split(',') {
        let is_range = part.contains(':');
        count += if is_range { 2 } else { 1 };
        if count > 15 {
            return Err("more than 15 ports".to_owned());
        }
        let range = match part.split_once(':') {
            Some((lo, hi)) => PortRange { lo: values::port(lo)?, hi: values::port(hi)? },
            None => values::ports(part)?,
        };
        if range.lo > range.hi {
            return bad(part, "a range of ports (it is reversed)");
        }
        ports.push(MultiportEntry { range, is_range });
    }
    Ok(ports)
}

fn state_set(text: &str) -> Parsed<CtStateSet> {
    let mut set = CtStateSet::default();
    for part in text.split(',') {
        match state(part) {
            Some(one) => set = set.union(one),
            None => return bad(part, "a state"),
        }
    }
    Ok(set)
}

fn apply_conntrack(
    ct: &mut ConntrackMatch,
    option: &str,
    not: bool,
    arg: &str,
    family: Family,
) -> Parsed<()> {
    let neg_addr = || {
        let value = values::host_mask(arg, family)?;
        // The tool takes prefixes only here; of any other mask it makes something else.
        if prefix_length(value.mask).is_none() {
            return bad(arg, "an address with a prefix");
        }
        Ok(Some(Neg { not, value }))
    };
    let neg_ports = || values::ports(arg).map(|value| Some(Neg { not, value }));
    match option {
        "state" => ct.state = Some(Neg { not, value: state_set(arg)? }),
        "proto" => match protocol_number(arg) {
            Some(value) => ct.protocol = Some(Neg { not, value }),
            None => return bad(arg, "a protocol"),
        },
        "origsrc" => ct.orig_src = neg_addr()?,
        "origdst" => ct.orig_dst = neg_addr()?,
        "replsrc" => ct.reply_src = neg_addr()?,
        "repldst" => ct.reply_dst = neg_addr()?,
        "origsrcport" => ct.orig_src_port = neg_ports()?,
        "origdstport" => ct.orig_dst_port = neg_ports()?,
        "replsrcport" => ct.reply_src_port = neg_ports()?,
        "repldstport" => ct.reply_dst_port = neg_ports()?,
        "status" => {
            let mut value = 0;
            for part in arg.split(',').filter(|part| !part.eq_ignore_ascii_case("NONE")) {
                value |= values::name_bits(part, &STATUSES, "a status")?;
            }
            ct.status = Some(Neg { not, value });
        }
        "expire" => ct.expire = Some(Neg { not, value: values::u32_range(arg)? }),
        _ => {
            ct.direction_original = Some(match arg.to_ascii_uppercase().as_str() {
                "ORIGINAL" => true,
                "REPLY" => false,
                _ => return bad(arg, "a direction"),
            });
        }
    }
    Ok(())
}

fn apply_hashlimit(
    limit: &mut HashlimitMatch,
    scratch: &mut Scratch,
    option: &str,
    not: bool,
    arg: &str,
    family: Family,
) -> Parsed<()> {
    match option {
        "upto" | "above" => {
            limit.above = (option == "above") != not;
            if arg.to_ascii_lowercase().ends_with("b/s") {
                let Some(bytes) = rate::parse_bytes(arg) else { return bad(arg, "a rate") };
                limit.rate = HashlimitRate::Bytes(bytes);
            } else {
                let Some((avg, seconds)) = rate::parse_packets(arg, rate::HASHLIMIT_SCALE) else {
                    return bad(arg, "a rate");
                };
                limit.rate = HashlimitRate::Packets(avg);
                scratch.a = Some(seconds);
            }
        }
        "burst" => {
            let Some(burst) = rate::parse_bytes(arg).and_then(|burst| u32::try_from(burst).ok()) else {
                return bad(arg, "a burst");
            };
            limit.burst = Some(burst);
        }
        "mode" => {
            let bits = values::name_bits(arg, &["srcip", "srcport", "dstip", "dstport"], "a mode")?;
            limit.mode = HashlimitMode {
                src_ip: bits & 1 != 0,
                src_port: bits & 2 != 0,
                dst_ip: bits & 4 != 0,
                dst_port: bits & 8 != 0,
            };
        }
        "name" => proc_name(arg)?.clone_into(&mut limit.name),
        "srcmask" => limit.src_mask = values::prefix(arg, family)?,
        "dstmask" => limit.dst_mask = values::prefix(arg, family)?,
        "size" => limit.size = Some(int(arg)?),
        "max" => limit.max = Some(int(arg)?),
        "gc" => limit.gc_interval = Some(int(arg)?),
        "expire" => limit.expire = Some(int(arg)?),
        "rate-match" => limit.rate_match = true,
        _ => limit.rate_interval = Some(int(arg)?),
    }
    Ok(())
}

/// Leaves out what is the default of the rate as it will be printed.
fn finish_hashlimit(limit: &mut HashlimitMatch, scratch: &Scratch) {
    limit.size = limit.size.filter(|size| *size != 0);
    limit.max = limit.max.filter(|max| *max != 0);
    limit.gc_interval = limit.gc_interval.filter(|gc| *gc != 1000);
    limit.rate_interval = limit.rate_interval.filter(|interval| *interval != 1);
    let printed = match limit.rate {
        HashlimitRate::Packets(avg) => rate::packets(avg, rate::HASHLIMIT_SCALE).1 * 1000,
        HashlimitRate::Bytes(_) => rate::BYTE_EXPIRE_MS,
    };
    // The unit that was written decides the default, and may not be the one that is printed (60/min is 1/sec).
    let written = scratch.a.map(|seconds| seconds.saturating_mul(1000));
    limit.expire = limit.expire.or(written).filter(|expire| *expire != printed);
}

fn apply_physdev(physdev: &mut PhysdevMatch, option: &str, not: bool, arg: &str) -> Parsed<()> {
    match option {
        "in" => physdev.in_dev = Some(Neg { not, value: values::device(arg)? }),
        "out" => physdev.out_dev = Some(Neg { not, value: values::device(arg)? }),
        "is-in" => physdev.is_in = Some(!not),
        "is-out" => physdev.is_out = Some(!not),
        _ => physdev.is_bridged = Some(!not),
    }
    Ok(())
}

fn apply_set(set: &mut SetMatch, option: &str, not: bool, [arg, dirs]: [&str; 2]) -> Parsed<()> {
    match option {
        "set" => {
            set.not = not;
            arg.clone_into(&mut set.name);
            set.dirs.clear();
            for dir in dirs.split(',') {
                set.dirs.push(match dir {
                    "src" => SetDir::Src,
                    "dst" => SetDir::Dst,
                    _ => return bad(dir, "src or dst"),
                });
            }
            if set.dirs.len() > 6 {
                return Err("more than six directions".to_owned());
            }
            set.dirs.shrink_to_fit();
        }
        "nomatch" => set.return_nomatch = true,
        "counters" => set.no_update_counters = not,
        "subcounters" => set.no_update_subcounters = not,
        "packets-eq" if not => set.packets = Some(CounterTest::Ne(int(arg)?)),
        "packets-eq" => set.packets = Some(CounterTest::Eq(int(arg)?)),
        "packets-lt" => set.packets = Some(CounterTest::Lt(int(arg)?)),
        "packets-gt" => set.packets = Some(CounterTest::Gt(int(arg)?)),
        "bytes-eq" if not => set.bytes = Some(CounterTest::Ne(int(arg)?)),
        "bytes-eq" => set.bytes = Some(CounterTest::Eq(int(arg)?)),
        "bytes-lt" => set.bytes = Some(CounterTest::Lt(int(arg)?)),
        _ => set.bytes = Some(CounterTest::Gt(int(arg)?)),
    }
    Ok(())
}

fn apply_statistic(
    statistic: &mut StatisticMatch,
    scratch: &mut Scratch,
    option: &str,
    not: bool,
    arg: &str,
) -> Parsed<()> {
    let (was_not, was_every, was_packet) = match *statistic {
        StatisticMatch::Nth { not, every, packet } => (not, every, packet),
        StatisticMatch::Random { .. } => (false, 0, 0),
    };
    match option {
        "mode" => match arg {
            "random" => scratch.a = Some(0),
            "nth" => scratch.a = Some(1),
            _ => return bad(arg, "a mode"),
        },
        "probability" => {
            let probability = arg.parse::<f64>().ok().filter(|p| (0.0..=1.0).contains(p));
            let Some(probability) = probability else { return bad(arg, "a probability from 0 to 1") };
            // At most 2^31, so it fits.
            let threshold = (probability * f64::from(1u32 << 31)).round() as u32;
            *statistic = StatisticMatch::Random { not, threshold };
        }
        "every" => {
            let every: u32 = int(arg)?;
            if every == 0 {
                return bad(arg, "a number of packets");
            }
            *statistic = StatisticMatch::Nth { not, every, packet: was_packet };
        }
        _ => *statistic = StatisticMatch::Nth { not: was_not, every: was_every, packet: int(arg)? },
    }
    if let StatisticMatch::Nth { every, packet, .. } = *statistic
        && every != 0
        && packet >= every
    {
        return Err("--packet must be below --every".to_owned());
    }
    Ok(())
}
