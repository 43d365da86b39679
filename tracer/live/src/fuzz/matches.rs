//! Generated matches.

use std::net::{IpAddr, Ipv4Addr};

use pktwalk_linux::hook::{Hook, TableName};
use pktwalk_linux::ipset::{IpSet, SetType};
use pktwalk_linux::iptables::ast::{
    AddrTypeSet, AddrtypeMatch, ConntrackMatch, CounterTest, CtStateSet, DevPattern, IcmpMatch, IpMatch,
    IprangeMatch, LimitMatch, MarkMask, Match, MultiportEntry, MultiportKind, MultiportMatch, Neg,
    OwnerMatch, PhysdevMatch, PktType, PortRange, RpfilterMatch, SetDir, SetMatch, StatisticMatch, TcpFlags,
    TcpMatch, UdpMatch,
};

use super::pools::{self, CLIENT_PORTS, MARKS, MASKS, NEAR_MAC, SERVICE_PORTS, peer_mac};
use super::rng::Rng;
use super::rules::{Place, addr_mask, bit};
use super::world::BRIDGE_IFINDEX;

mod limits;

fn neg<T>(rng: &mut Rng, value: T) -> Neg<T> {
    Neg { not: rng.chance(20), value }
}

fn port_range(rng: &mut Rng, from: &[u16]) -> PortRange {
    let port = *rng.pick(from);
    match rng.below(20) {
        6..=8 => PortRange { lo: port, hi: port.saturating_add(rng.below(400) as u16) },
        1..=3 => PortRange { lo: 0, hi: port },
        4 => PortRange { lo: 0, hi: u16::MAX },
        5 => PortRange { lo: port, hi: u16::MAX },
        _ => PortRange { lo: port, hi: port },
    }
}

/// A test of ports. None but the ports that there are is left out: `iptables-legacy-save` prints nothing of it.
fn ports(rng: &mut Rng, from: &[u16]) -> Neg<PortRange> {
    let range = port_range(rng, from);
    let all = range == PortRange { lo: 0, hi: u16::MAX };
    Neg { not: !all && rng.chance(20), value: range }
}

fn service_port(rng: &mut Rng) -> Option<Neg<PortRange>> {
    rng.maybe(70, |rng| ports(rng, &SERVICE_PORTS))
}

fn client_port(rng: &mut Rng) -> Option<Neg<PortRange>> {
    rng.maybe(20, |rng| ports(rng, &CLIENT_PORTS))
}

/// Matches for a rule that stands at `place`. `ip` gets the protocol that some of them need.
pub fn matches(rng: &mut Rng, place: Place, ip: &mut IpMatch, sets: &[IpSet]) -> Vec<Match> {
    let mut list = Vec::new();
    if rng.chance(45) {
        list.extend(protocol_match(rng, ip));
    }
    let more = match rng.below(10) {
        0..=3 => 0,
        4..=7 => 1,
        8 => 2,
        _ => 3,
    };
    for _ in 0..more {
        list.extend(other_match(rng, place, ip, sets));
    }
    // The tool takes each match once.
    let mut seen = Vec::new();
    list.retain(|one| {
        let kind = std::mem::discriminant(one);
        let new = !seen.contains(&kind);
        seen.push(kind);
        new
    });
    // The order of matches is the order of evaluation, so any order is worth trying.
    if list.len() > 1 && rng.chance(50) {
        list.reverse();
    }
    list
}

fn protocol_match(rng: &mut Rng, ip: &mut IpMatch) -> Option<Match> {
    let protocol = match &ip.protocol {
        Some(Neg { not: true, .. }) => return None,
        Some(Neg { value, .. }) => *value,
        None => {
            let value = *rng.pick(&[6u8, 17, 1]);
            ip.protocol = Some(Neg::is(value));
            value
        }
    };
    match protocol {
        6 => Some(Match::Tcp(TcpMatch {
            sport: client_port(rng),
            dport: service_port(rng),
            flags: rng.maybe(25, |rng| {
                let flags = match rng.below(4) {
                    0 | 1 => TcpFlags { mask: 0x17, comp: 0x02 },
                    2 => TcpFlags { mask: 0x3f, comp: 0x10 },
                    _ => TcpFlags { mask: rng.below(64) as u8, comp: rng.below(64) as u8 },
                };
                neg(rng, flags)
            }),
            option: rng.maybe(8, |rng| {
                let option = *rng.pick(&[2u8, 3, 4, 8, 1]);
                neg(rng, option)
            }),
        })),
        17 => Some(Match::Udp(UdpMatch { sport: client_port(rng), dport: service_port(rng) })),
        1 => {
            let (icmp_type, code_lo, code_hi) = *rng.pick(&[
                (8u8, 0u8, 255u8),
                (0, 0, 255),
                (3, 0, 255),
                (3, 3, 3),
                (255, 0, 255),
                (11, 0, 0),
            ]);
            let any = icmp_type == 255;
            Some(Match::Icmp(IcmpMatch { not: !any && rng.chance(20), icmp_type, code_lo, code_hi }))
        }
        _ => None,
    }
}

fn other_match(rng: &mut Rng, place: Place, ip: &mut IpMatch, sets: &[IpSet]) -> Option<Match> {
    let made = match rng.below(24) {
        0..=2 => Match::Mark(mark(rng)),
        3 => Match::Connmark(mark(rng)),
        4 | 5 => conntrack(rng),
        6 => {
            let all = CtStateSet(CtStateSet::INVALID.0 | 0x4e);
            let set = CtStateSet((rng.below(128) as u8) & all.0);
            Match::State(neg(rng, if set.0 == 0 { CtStateSet::NEW } else { set }))
        }
        7 => return multiport(rng, ip),
        8 | 9 => addrtype(rng, place),
        10 => Match::Limit(LimitMatch { avg: 10_000 * 3_600, burst: rng.between(1, 4) }),
        11 => limits::hashlimit(rng),
        12 => limits::recent(rng),
        13 => return mac(rng, place),
        14 => return physdev(rng, place),
        15 => iprange(rng),
        16..=18 => return set(rng, sets),
        19 => return owner(rng, place),
        20 => statistic(rng),
        21 => {
            let here = place.table == TableName::Raw || place.table == TableName::Mangle;
            if !here || place.hooks != bit(Hook::Prerouting) {
                return None;
            }
            Match::Rpfilter(RpfilterMatch {
                loose: rng.chance(30),
                valid_mark: rng.chance(30),
                accept_local: rng.chance(30),
                invert: rng.chance(50),
            })
        }
        22 => Match::Pkttype(Neg {
            not: rng.chance(20),
            value: *rng.pick(&[PktType::Unicast, PktType::Broadcast, PktType::Multicast]),
        }),
        _ => Match::Comment(rng.pick(&["plain", "two words", "quo\"ted", "back\\slash", "it's"]).to_string()),
    };
    Some(made)
}

fn mark(rng: &mut Rng) -> Neg<MarkMask> {
    let value = MarkMask { value: *rng.pick(&MARKS), mask: *rng.pick(&MASKS) };
    neg(rng, value)
}

fn conntrack(rng: &mut Rng) -> Match {
    let mut ct = ConntrackMatch::default();
    if rng.chance(75) {
        let set = CtStateSet((rng.below(127) + 1) as u8);
        ct.state = Some(neg(rng, set));
    }
    if rng.chance(15) {
        ct.protocol = Some(Neg { not: rng.chance(20), value: *rng.pick(&[6u8, 17, 1]) });
    }
    // The tool takes prefixes only here.
    let side = |rng: &mut Rng| {
        let mut value = addr_mask(rng);
        while matches!(value.mask, IpAddr::V4(mask) if mask.octets()[0] == 0) {
            value = addr_mask(rng);
        }
        neg(rng, value)
    };
    ct.orig_src = rng.maybe(10, side);
    ct.orig_dst = rng.maybe(10, side);
    ct.reply_src = rng.maybe(10, side);
    ct.reply_dst = rng.maybe(10, side);
    ct.orig_dst_port = service_port(rng).filter(|_| rng.chance(20));
    ct.reply_src_port = service_port(rng).filter(|_| rng.chance(20));
    ct.orig_src_port = client_port(rng).filter(|_| rng.chance(20));
    ct.reply_dst_port = client_port(rng).filter(|_| rng.chance(20));
    ct.status = rng.maybe(15, |rng| {
        let status = *rng.pick(&[0u32, 2, 4, 8, 6, 1, 15]);
        neg(rng, status)
    });
    // Far from every timeout on both sides, so that the time that passes does not matter.
    ct.expire = rng.maybe(5, |rng| {
        let range = *rng.pick(&[(0u32, 1000u32), (1000, 1_000_000), (3000, 4000)]);
        neg(rng, range)
    });
    ct.direction_original = rng.maybe(15, |rng| rng.chance(50));
    if ct == ConntrackMatch::default() {
        ct.state = Some(Neg::is(CtStateSet::NEW));
    }
    Match::Conntrack(Box::new(ct))
}

fn multiport(rng: &mut Rng, ip: &mut IpMatch) -> Option<Match> {
    match &ip.protocol {
        Some(Neg { not: false, value: 6 | 17 }) => {}
        None => ip.protocol = Some(Neg::is(*rng.pick(&[6u8, 17]))),
        Some(_) => return None,
    }
    let ports = (0..rng.between(1, 5))
        .map(|_| {
            let lo = *rng.pick(&SERVICE_PORTS);
            let is_range = rng.chance(30);
            let hi = if is_range { lo.saturating_add(1 + rng.below(300) as u16) } else { lo };
            MultiportEntry { range: PortRange { lo, hi }, is_range }
        })
        .collect();
    let kind = *rng.pick(&[MultiportKind::Source, MultiportKind::Destination, MultiportKind::Either]);
    Some(Match::Multiport(MultiportMatch { kind, not: rng.chance(20), ports }))
}

fn addrtype(rng: &mut Rng, place: Place) -> Match {
    let types = |rng: &mut Rng| {
        let set = match rng.below(12) {
            0..=3 => 1 << 2,
            4 => 1 << 1,
            5 => 1 << 3,
            6 => (1 << 2) | (1 << 3),
            7 => 1 << 5,
            8 => 1 << 4,
            // The error types and UNSPEC, each alone.
            9 => *rng.pick(&[1, 1 << 6, 1 << 7, 1 << 8, 1 << 9]),
            _ => 1 + rng.below(0x3ff) as u16,
        };
        neg(rng, AddrTypeSet(set))
    };
    let src = rng.chance(40).then(|| types(rng));
    let dst = if src.is_none() || rng.chance(40) { Some(types(rng)) } else { None };
    // The tool ties limit-iface-in to PREROUTING, INPUT and FORWARD, and -out to the others; the kernel refuses them where the device is not known.
    let limit_iface_in = rng.chance(15) && place.only(&[Hook::Prerouting, Hook::Input, Hook::Forward]);
    let limit_iface_out =
        !limit_iface_in && rng.chance(15) && place.only(&[Hook::Forward, Hook::Output, Hook::Postrouting]);
    Match::Addrtype(AddrtypeMatch { src, dst, limit_iface_in, limit_iface_out })
}

fn mac(rng: &mut Rng, place: Place) -> Option<Match> {
    if !place.only(&[Hook::Prerouting, Hook::Input, Hook::Forward]) {
        return None;
    }
    // No host is at the other end of a bridge.
    let mac = match rng.between(2, 7) {
        BRIDGE_IFINDEX => NEAR_MAC,
        ifindex => peer_mac(ifindex),
    };
    Some(Match::Mac(neg(rng, mac)))
}

fn physdev(rng: &mut Rng, place: Place) -> Option<Match> {
    let mut physdev = PhysdevMatch::default();
    let dev = |rng: &mut Rng| {
        let (name, prefix) = *rng.pick(&[("brp0", false), ("brp", true), ("vetha", false)]);
        neg(rng, DevPattern { name: name.to_owned(), prefix })
    };
    let leaving = place.only(&[Hook::Forward, Hook::Postrouting]);
    match rng.below(6) {
        0 => physdev.in_dev = Some(dev(rng)),
        1 => physdev.is_in = Some(rng.chance(50)),
        2 => physdev.is_bridged = Some(rng.chance(50)),
        // The kernel only takes tests of the output port where the packet may be a bridged one.
        3 if leaving => physdev.is_out = Some(rng.chance(50)),
        4 if leaving => physdev.out_dev = Some(dev(rng)),
        5 if leaving => {
            physdev.in_dev = Some(dev(rng));
            physdev.out_dev = Some(dev(rng));
            physdev.is_bridged = Some(true);
        }
        _ => return None,
    }
    Some(Match::Physdev(Box::new(physdev)))
}

fn iprange(rng: &mut Rng) -> Match {
    let range = |rng: &mut Rng| {
        let lo = u32::from(pools::addr(rng));
        let hi = lo.saturating_add(rng.below(70_000) as u32);
        let range = (IpAddr::V4(Ipv4Addr::from(lo)), IpAddr::V4(Ipv4Addr::from(hi)));
        neg(rng, range)
    };
    let src = rng.maybe(50, range);
    let dst = if src.is_none() { Some(range(rng)) } else { rng.maybe(40, range) };
    Match::Iprange(Box::new(IprangeMatch { src, dst }))
}

fn set(rng: &mut Rng, sets: &[IpSet]) -> Option<Match> {
    if sets.is_empty() {
        return None;
    }
    let set = rng.pick(sets);
    let counters = set.has_option("counters");
    let dimensions = match set.set_type {
        SetType::HashIpPort => 2,
        SetType::HashIp | SetType::HashNet | SetType::Unmodelled(_) => 1,
    };
    // Sometimes one flag more or less than the set has dimensions.
    let count = match rng.below(12) {
        0 => dimensions + 1,
        1 => (dimensions - 1).max(1),
        _ => dimensions,
    };
    let dirs = (0..count).map(|_| *rng.pick(&[SetDir::Src, SetDir::Dst])).collect();
    Some(Match::Set(Box::new(SetMatch {
        not: rng.chance(20),
        name: set.name.clone(),
        dirs,
        return_nomatch: set.set_type == SetType::HashNet && rng.chance(10),
        no_update_counters: counters && rng.chance(25),
        no_update_subcounters: counters && rng.chance(10),
        packets: rng.maybe(if counters { 40 } else { 2 }, |rng| counter(rng, 6)),
        bytes: rng.maybe(if counters { 25 } else { 2 }, |rng| counter(rng, 400)),
    })))
}

/// A test that a counter which starts low may pass or fail.
fn counter(rng: &mut Rng, most: usize) -> CounterTest {
    let value = rng.below(most) as u64;
    match rng.below(4) {
        0 => CounterTest::Eq(value),
        1 => CounterTest::Ne(value),
        2 => CounterTest::Lt(value),
        _ => CounterTest::Gt(value),
    }
}

fn owner(rng: &mut Rng, place: Place) -> Option<Match> {
    if !place.only(&[Hook::Output, Hook::Postrouting]) {
        return None;
    }
    let mut owner = OwnerMatch::default();
    let ids = |rng: &mut Rng| {
        let range = *rng.pick(&[(0u32, 0u32), (1000, 1000), (0, 999), (500, 70_000)]);
        neg(rng, range)
    };
    match rng.below(3) {
        0 => owner.uid = Some(ids(rng)),
        1 => owner.gid = Some(ids(rng)),
        _ => owner.socket_exists = Some(rng.chance(50)),
    }
    Some(Match::Owner(owner))
}

fn statistic(rng: &mut Rng) -> Match {
    let not = rng.chance(20);
    if rng.chance(50) {
        let threshold = *rng.pick(&[0u32, 0x4000_0000, 0x8000_0000, 0x2aaa_aaab, 0x6000_0000]);
        return Match::Statistic(StatisticMatch::Random { not, threshold });
    }
    let every = rng.between(1, 4);
    Match::Statistic(StatisticMatch::Nth { not, every, packet: rng.below(every as usize) as u32 })
}
