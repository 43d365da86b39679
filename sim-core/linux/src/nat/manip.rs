//! Rewriting of packets (`nf_nat_proto.c`), with checksums kept as the kernel keeps them: changed by what changed, so that a wrong one stays
//! as wrong as it was.

use pktwalk_packet::checksum::{put, replace16, replace32};
use pktwalk_packet::sctp::crc32c;

use crate::conntrack::tuple::{CtTuple, proto};
use crate::trace::Manip;

/// The packet is too short for what would have to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooShort;

/// The two bytes at `at`.
fn get16(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..at + 2) {
        Some(&[high, low]) => u16::from_be_bytes([high, low]),
        _ => 0,
    }
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// Writes the source or destination of `target` into the packet whose IP header starts `ip` (`nf_nat_ipv4_manip_pkt`). `len` is the length
/// with what a capture cut off.
pub(super) fn rewrite(ip: &mut [u8], len: usize, target: &CtTuple, manip: Manip) -> Result<(), TooShort> {
    let header_len = usize::from(ip.first().ok_or(TooShort)? & 0xf) * 4;
    let (header, transport) = ip.split_at_mut_checked(header_len.max(20)).ok_or(TooShort)?;
    let at = match manip {
        Manip::Src => 12,
        Manip::Dst => 16,
    };
    let old = u32::from(get16(header, at)) << 16 | u32::from(get16(header, at + 2));
    let new = match manip {
        Manip::Src => target.src,
        Manip::Dst => target.dst,
    };
    rewrite_transport(transport, len.saturating_sub(header_len), target, manip, (old, new))?;
    let sum = replace32(get16(header, 10), old, new);
    put16(header, 10, sum);
    put16(header, at, (new >> 16) as u16);
    put16(header, at + 2, new as u16);
    Ok(())
}

fn rewrite_transport(
    l4: &mut [u8],
    len: usize,
    target: &CtTuple,
    manip: Manip,
    (old, new): (u32, u32),
) -> Result<(), TooShort> {
    let (port_at, port) = match manip {
        Manip::Src => (0, target.src_part()),
        Manip::Dst => (2, target.dst_part()),
    };
    let need = |bytes: usize| if l4.len() < bytes { Err(TooShort) } else { Ok(()) };
    match target.protocol {
        proto::TCP => {
            // Inside an ICMP error there may be no more than 8 bytes, and the checksum is not among them.
            need(if len >= 20 { 20 } else { 8 })?;
            let old_port = get16(l4, port_at);
            put16(l4, port_at, port);
            if len >= 20 {
                let sum = replace16(replace32(get16(l4, 16), old, new), old_port, port);
                put16(l4, 16, sum);
            }
        }
        proto::UDP | proto::UDPLITE => {
            need(8)?;
            let old_port = get16(l4, port_at);
            let sum = get16(l4, 6);
            if sum != 0 || target.protocol == proto::UDPLITE {
                let sum = replace16(replace32(sum, old, new), old_port, port);
                put16(l4, 6, if sum == 0 { 0xffff } else { sum });
            }
            put16(l4, port_at, port);
        }
        proto::SCTP => {
            need(if len >= 12 { 12 } else { 8 })?;
            put16(l4, port_at, port);
            if len >= 12 && l4.len() >= len {
                let crc = crc32c(l4).to_le_bytes();
                if let Some(place) = l4.get_mut(8..12) {
                    place.copy_from_slice(&crc);
                }
            }
        }
        proto::ICMP => {
            need(8)?;
            if let [0 | 8 | 13..=18, ..] = l4 {
                // One identifier for both ways.
                let id = target.src_part();
                let sum = replace16(get16(l4, 2), get16(l4, 4), id);
                put16(l4, 2, sum);
                put16(l4, 4, id);
            }
        }
        proto::GRE => {
            need(8)?;
            match (l4[1] & 7, manip) {
                (0, _) | (_, Manip::Src) => {}
                (1, Manip::Dst) => put16(l4, 6, port),
                _ => return Err(TooShort),
            }
        }
        _ => {}
    }
    Ok(())
}

/// Writes the checksum of the ICMP message that `icmp` is.
pub(super) fn sum_icmp(icmp: &mut [u8]) {
    put(icmp, 2, 0);
}
