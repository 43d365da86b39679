//! Generated targets.

use std::net::{IpAddr, Ipv4Addr};

use pktwalk_linux::hook::{Hook, TableName};
use pktwalk_linux::iptables::ast::{
    ConnmarkTarget, CtTarget, CtTargetZone, IpMatch, LogTarget, MarkMask, MarkShift, Match, NatTarget, Neg,
    NflogTarget, PortRange, RejectWith, Target, TcpFlags, TcpMatch, TcpmssTarget,
};

use super::pools::{BRIDGE_HOST, FAR_HOST, MARKS, MASKS, NODE, NODE_SECOND, POD_A, POD_B, SERVICE_PORTS};
use super::rng::Rng;
use super::rules::Place;

/// A target for a rule that stands at `place`. `ip` gets what the target cannot do without.
pub fn target(rng: &mut Rng, place: Place, callees: &[&str], ip: &mut IpMatch) -> Target {
    if !callees.is_empty() && rng.chance(35) {
        let callee = rng.pick(callees).to_string();
        return if rng.chance(25) { Target::Goto(callee) } else { Target::Jump(callee) };
    }
    if rng.chance(30)
        && let Some(target) = of_table(rng, place, ip)
    {
        return target;
    }
    match rng.below(20) {
        0..=2 => Target::None,
        3..=6 => Target::Accept,
        7 | 8 if place.table != TableName::Nat => Target::Drop,
        9..=11 => Target::Return,
        12 => log(rng),
        13 => Target::Nflog(Box::new(NflogTarget { group: 5, ..NflogTarget::default() })),
        14 | 15 => connmark(rng),
        _ => Target::Mark(MarkMask { value: *rng.pick(&MARKS), mask: *rng.pick(&MASKS) }),
    }
}

fn of_table(rng: &mut Rng, place: Place, ip: &mut IpMatch) -> Option<Target> {
    match place.table {
        TableName::Raw => Some(Target::Ct(Box::new(match rng.below(4) {
            0 => CtTarget {
                zone: Some(match rng.below(4) {
                    0 => CtTargetZone { id: Some(7), original: true, reply: false },
                    1 => CtTargetZone { id: Some(7), original: false, reply: true },
                    // The zone is the packet's mark.
                    2 => CtTargetZone { id: None, original: true, reply: true },
                    _ => CtTargetZone { id: Some(7), original: true, reply: true },
                }),
                ..CtTarget::default()
            },
            _ => CtTarget { notrack: true, ..CtTarget::default() },
        }))),
        TableName::Nat => nat(rng, place, ip),
        TableName::Mangle => match rng.below(3) {
            0 => Some(Target::Checksum),
            _ => tcpmss(rng, place, ip),
        },
        TableName::Filter => match rng.below(4) {
            0 => tcpmss(rng, place, ip),
            _ => Some(reject(rng, ip)),
        },
        TableName::Security => None,
    }
}

fn nat(rng: &mut Rng, place: Place, ip: &mut IpMatch) -> Option<Target> {
    let destination = place.only(&[Hook::Prerouting, Hook::Output]);
    let source = place.only(&[Hook::Postrouting, Hook::Input]);
    let masquerade = place.only(&[Hook::Postrouting]);
    let random = rng.chance(10);
    let random_fully = rng.chance(10);
    let with_ports = |rng: &mut Rng, ip: &mut IpMatch, from: &[u16]| {
        if !rng.chance(60) {
            return None;
        }
        // Ports need a protocol that has them.
        match ip.protocol {
            Some(Neg { not: false, value: 6 | 17 }) => {}
            _ => ip.protocol = Some(Neg::is(*rng.pick(&[6u8, 17]))),
        }
        let lo = *rng.pick(from);
        let hi = if rng.chance(30) { lo.saturating_add(rng.below(50) as u16) } else { lo };
        Some(PortRange { lo, hi })
    };
    let addrs = |rng: &mut Rng, from: &[Ipv4Addr]| {
        let lo = *rng.pick(from);
        let hi = if rng.chance(15) { Ipv4Addr::from(u32::from(lo) + rng.below(4) as u32) } else { lo };
        Some((IpAddr::V4(lo), IpAddr::V4(hi)))
    };
    if destination {
        return Some(if rng.chance(25) {
            Target::Redirect(Box::new(NatTarget {
                ports: with_ports(rng, ip, &SERVICE_PORTS),
                random,
                ..NatTarget::default()
            }))
        } else {
            let pool = [POD_A, POD_B, BRIDGE_HOST, NODE, FAR_HOST, Ipv4Addr::LOCALHOST];
            let mut nat =
                NatTarget { ports: with_ports(rng, ip, &SERVICE_PORTS), random, ..NatTarget::default() };
            // With a port alone the address stays.
            let port_only = nat.ports.is_some() && rng.chance(15);
            nat.addrs = if port_only { None } else { addrs(rng, &pool) };
            nat.persistent = rng.chance(10);
            Target::Dnat(Box::new(nat))
        });
    }
    if masquerade && rng.chance(60) {
        let ports = with_ports(rng, ip, &[1024, 30000, 40000, 100]);
        return Some(Target::Masquerade(Box::new(NatTarget {
            ports,
            random,
            random_fully,
            ..NatTarget::default()
        })));
    }
    if source {
        let ports = with_ports(rng, ip, &[1024, 30000, 40000, 100]);
        let addrs = addrs(rng, &[NODE, NODE_SECOND, Ipv4Addr::new(192, 0, 2, 77)]);
        return Some(Target::Snat(Box::new(NatTarget {
            addrs,
            ports,
            random,
            random_fully,
            persistent: rng.chance(10),
            ..NatTarget::default()
        })));
    }
    None
}

fn reject(rng: &mut Rng, ip: &mut IpMatch) -> Target {
    let with = *rng.pick(&[
        RejectWith::IcmpPortUnreachable,
        RejectWith::IcmpPortUnreachable,
        RejectWith::IcmpNetUnreachable,
        RejectWith::IcmpHostUnreachable,
        RejectWith::IcmpProtoUnreachable,
        RejectWith::IcmpNetProhibited,
        RejectWith::IcmpHostProhibited,
        RejectWith::IcmpAdminProhibited,
        RejectWith::TcpReset,
        RejectWith::TcpReset,
    ]);
    if with == RejectWith::TcpReset {
        ip.protocol = Some(Neg::is(6));
    }
    Target::Reject(with)
}

fn tcpmss(rng: &mut Rng, place: Place, ip: &mut IpMatch) -> Option<Target> {
    ip.protocol = Some(Neg::is(6));
    let clamp = place.only(&[Hook::Forward, Hook::Output, Hook::Postrouting]) && rng.chance(50);
    Some(Target::Tcpmss(if clamp {
        TcpmssTarget::ClampToPmtu
    } else {
        TcpmssTarget::Set(*rng.pick(&[500u16, 1000, 1300, 1460]))
    }))
}

fn connmark(rng: &mut Rng) -> Target {
    let mask = *rng.pick(&MASKS);
    let how = match rng.below(3) {
        0 => ConnmarkTarget::Set(MarkMask { value: *rng.pick(&MARKS), mask }),
        1 => ConnmarkTarget::Save {
            nf_mask: mask,
            ct_mask: if rng.chance(70) { mask } else { *rng.pick(&MASKS) },
        },
        _ => ConnmarkTarget::Restore {
            nf_mask: mask,
            ct_mask: if rng.chance(70) { mask } else { *rng.pick(&MASKS) },
        },
    };
    let shift = match rng.below(10) {
        0 | 1 => MarkShift::Left(rng.between(1, 31) as u8),
        2 | 3 => MarkShift::Right(rng.between(1, 8) as u8),
        _ => MarkShift::None,
    };
    Target::Connmark(how, shift)
}

fn log(rng: &mut Rng) -> Target {
    Target::Log(Box::new(LogTarget {
        level: rng.between(3, 7) as u8,
        prefix: rng.maybe(50, |_| "seen: ".to_owned()),
        tcp_sequence: rng.chance(20),
        tcp_options: rng.chance(20),
        ip_options: rng.chance(20),
        uid: rng.chance(20),
        mac_decode: false,
    }))
}

/// Adds the match that the kernel asks of a rule with this target.
pub fn needs(target: &Target, ip: &mut IpMatch, matches: &mut Vec<Match>) {
    let protocol = match target {
        Target::Tcpmss(_) | Target::Reject(RejectWith::TcpReset) => Some(6),
        _ => None,
    };
    if let Some(protocol) = protocol {
        ip.protocol = Some(Neg::is(protocol));
        matches.retain(|m| !matches!(m, Match::Udp(_) | Match::Icmp(_)));
    }
    if matches!(target, Target::Tcpmss(_)) {
        // Only rules that ask for SYN may carry TCPMSS.
        let syn = Neg::is(TcpFlags { mask: 0x06, comp: 0x02 });
        match matches.iter_mut().find_map(|m| if let Match::Tcp(tcp) = m { Some(tcp) } else { None }) {
            Some(tcp) => tcp.flags = Some(syn),
            None => matches.insert(0, Match::Tcp(TcpMatch { flags: Some(syn), ..TcpMatch::default() })),
        }
    }
    // What the target asked for may contradict a protocol match that was drawn before.
    let protocol = ip.protocol;
    matches.retain(|m| match (m, protocol) {
        (Match::Tcp(_), Some(Neg { not: false, value })) => value == 6,
        (Match::Udp(_), Some(Neg { not: false, value })) => value == 17,
        (Match::Icmp(_), Some(Neg { not: false, value })) => value == 1,
        (Match::Multiport(_), Some(Neg { not: false, value })) => value == 6 || value == 17,
        (Match::Tcp(_) | Match::Udp(_) | Match::Icmp(_) | Match::Multiport(_), _) => false,
        _ => true,
    });
}
