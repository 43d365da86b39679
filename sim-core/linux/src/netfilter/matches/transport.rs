//! `tcp`, `udp`, `icmp`, `multiport`: ports, flags and types of the transport header (`xt_tcpudp`, `xt_multiport`, `ip_tables`).
//!
//! None of them holds for second and later fragments, whatever is inverted; but see [`payload`].

use std::ops::RangeInclusive;

use super::{Outcome, transport};
use crate::iptables::ast::MultiportKind;
use crate::netfilter::program::{Ports, TcpFlagsTest};
use crate::skb::Skb;

fn port(l4: &[u8], at: usize) -> u16 {
    l4.get(at..at + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// `tcp_mt`. `option`: the kind to be found in the header, and whether `!` stands before it.
pub(super) fn tcp(
    skb: &Skb,
    sport: Ports,
    dport: Ports,
    flags: TcpFlagsTest,
    option: Option<(u8, bool)>,
) -> Outcome {
    match skb.ip.frag_offset {
        0 => {}
        // Would overwrite ports or flags of the first fragment.
        1 => return Outcome::Hotdrop,
        _ => return Outcome::No,
    }
    let l4 = match transport(skb, 20) {
        Ok(l4) => l4,
        Err(outcome) => return outcome,
    };
    if !sport.holds(port(l4, 0)) || !dport.holds(port(l4, 2)) || !flags.holds(l4[13]) {
        return Outcome::No;
    }
    let Some((kind, not)) = option else { return Outcome::Yes };
    let header_len = usize::from(l4[12] >> 4) * 4;
    if header_len < 20 {
        return Outcome::Hotdrop;
    }
    match transport(skb, header_len) {
        Ok(l4) => (has_option(&l4[20..header_len], kind) != not).into(),
        // Without options the header is whole already.
        Err(outcome) => outcome,
    }
}

/// `tcp_find_option`.
fn has_option(options: &[u8], kind: u8) -> bool {
    let mut at = 0;
    while let Some(&here) = options.get(at) {
        if here == kind {
            return true;
        }
        at += match here {
            0 | 1 => 1,
            _ => options.get(at + 1).map_or(1, |&len| usize::from(len).max(1)),
        };
    }
    false
}

/// `udp_mt`.
pub(super) fn udp(skb: &Skb, sport: Ports, dport: Ports) -> Outcome {
    if skb.ip.frag_offset != 0 {
        return Outcome::No;
    }
    match transport(skb, 8) {
        Ok(l4) => (sport.holds(port(l4, 0)) && dport.holds(port(l4, 2))).into(),
        Err(outcome) => outcome,
    }
}

/// The `payload` expressions of nf_tables: bytes that are not there end the rule, they do not drop the packet. What follows the IP header of a
/// later fragment is read as if it were a transport header (`nft_payload_fast_eval` of 6.18 does not ask; seen on the kernel), as long as it
/// lies in the linear part of the buffer, which is taken to be all of it.
pub(super) fn payload(
    skb: &Skb,
    sport: Option<Ports>,
    dport: Option<Ports>,
    flags: Option<TcpFlagsTest>,
) -> Outcome {
    // iptables-nft writes two single ports that are both inverted as one comparison of both: either may be what is excluded (seen in what
    // `nft --debug=netlink` shows of such a rule, and on the kernel).
    if let (Some(sport), Some(dport)) = (sport, dport)
        && [sport, dport].iter().all(|test| test.not && test.lo == test.hi && test.lo != 0)
    {
        match transport(skb, 4) {
            Ok(l4) if sport.holds(port(l4, 0)) || dport.holds(port(l4, 2)) => {}
            Ok(_) | Err(Outcome::Hotdrop) => return Outcome::No,
            Err(outcome) => return outcome,
        }
    } else {
        for (test, at) in [(sport, 0), (dport, 2)] {
            let Some(test) = test else { continue };
            match transport(skb, at + 2) {
                Ok(l4) if test.holds(port(l4, at)) => {}
                Ok(_) | Err(Outcome::Hotdrop) => return Outcome::No,
                Err(outcome) => return outcome,
            }
        }
    }
    let Some(test) = flags else { return Outcome::Yes };
    match transport(skb, 14) {
        Ok(l4) => test.holds(l4[13]).into(),
        Err(Outcome::Hotdrop) => Outcome::No,
        Err(outcome) => outcome,
    }
}

/// `icmp_match`. Type 255 stands for any.
pub(super) fn icmp(skb: &Skb, not: bool, icmp_type: u8, codes: RangeInclusive<u8>) -> Outcome {
    if skb.ip.frag_offset != 0 {
        return Outcome::No;
    }
    match transport(skb, 8) {
        Ok(l4) => ((icmp_type == 255 || (l4[0] == icmp_type && codes.contains(&l4[1]))) != not).into(),
        Err(outcome) => outcome,
    }
}

/// `multiport_mt`.
pub(super) fn multiport(skb: &Skb, kind: MultiportKind, not: bool, ports: &[(u16, u16)]) -> Outcome {
    if skb.ip.frag_offset != 0 {
        return Outcome::No;
    }
    let l4 = match transport(skb, 4) {
        Ok(l4) => l4,
        Err(outcome) => return outcome,
    };
    let (sport, dport) = (port(l4, 0), port(l4, 2));
    let within = |port: u16| ports.iter().any(|&(lo, hi)| lo <= port && port <= hi);
    let holds = match kind {
        MultiportKind::Source => within(sport),
        MultiportKind::Destination => within(dport),
        MultiportKind::Either => within(sport) || within(dport),
    };
    (holds != not).into()
}
