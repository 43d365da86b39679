//! Writers of header fields that keep checksums as the kernel keeps them: updated by the difference, never computed anew, so that a wrong
//! checksum stays wrong by as much as before.
//!
//! All of them take the bytes from the IPv4 header on, write nothing that is not there, and return whether the field was there to be written.
//! In a later fragment there is no transport header and none is touched. A transport checksum is updated only if the whole fixed header is
//! there, as `tcp_manip_pkt` does for the few bytes that an ICMP error quotes.
//!
//! Seen on Linux 6.18, byte for byte: TCPMSS (lowered, inserted, at an odd place), DSCP, TTL, SNAT and DNAT of TCP, UDP, UDPlite, SCTP, ICMP, with
//! right, wrong and absent checksums; of UDPlite the addresses only, since iptables takes no ports for it. That kernel translates nothing of DCCP
//! but its addresses, and leaves its checksum alone.

mod mss;

use crate::checksum::{replace16, replace32};
use crate::names::{has_ports, is_icmp_query, proto};
use crate::sctp::crc32c;
use crate::{Ipv4Fields, build::never_zero};

pub use mss::{MssError, clamp_mss, set_mss};

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// Where the transport checksum stands if it covers the pseudo header and the whole fixed header is there.
fn pseudo_sum_place(protocol: u8, l4: &[u8]) -> Option<usize> {
    let (place, header_len) = match protocol {
        proto::TCP => (16, 20),
        proto::UDP | proto::UDPLITE => (6, 8),
        _ => return None,
    };
    (l4.len() >= header_len).then_some(place)
}

/// Applies `update` to the transport checksum; UDP's 0 (none) stays, and a result of 0 becomes 0xffff for UDP and UDPlite.
fn update_sum(protocol: u8, l4: &mut [u8], update: impl FnOnce(u16) -> u16) {
    let Some(place) = pseudo_sum_place(protocol, l4) else { return };
    let Some(old) = word(l4, place) else { return };
    if protocol == proto::UDP && old == 0 {
        return;
    }
    let new = update(old);
    let new = if matches!(protocol, proto::UDP | proto::UDPLITE) { never_zero(new) } else { new };
    put(l4, place, new);
}

/// SCTP's checksum is computed anew by `sctp_manip_pkt`, whatever stood there. Left alone if the packet is cut off or a first fragment: the
/// kernel translates whole packets.
fn redo_sctp(ip: &Ipv4Fields, l3: &mut [u8]) {
    let range = usize::from(ip.header_len)..usize::from(ip.total_len);
    if ip.is_fragment() {
        return;
    }
    if let Some(l4) = l3.get_mut(range)
        && l4.len() >= 12
    {
        let crc = crc32c(l4);
        l4[8..12].copy_from_slice(&crc.to_le_bytes());
    }
}

fn set_addr(l3: &mut [u8], at: usize, new: u32) -> bool {
    let Ok(ip) = Ipv4Fields::parse(l3) else { return false };
    let old = if at == 12 { ip.src } else { ip.dst };
    l3[at..at + 4].copy_from_slice(&new.to_be_bytes());
    let check = u16::from_be_bytes([l3[10], l3[11]]);
    put(l3, 10, replace32(check, old, new));
    if ip.frag_offset == 0 {
        if let Some(l4) = l3.get_mut(usize::from(ip.header_len)..) {
            update_sum(ip.protocol, l4, |check| replace32(check, old, new));
        }
        if ip.protocol == proto::SCTP {
            redo_sctp(&ip, l3);
        }
    }
    true
}

/// Writes the source address (host byte order), with the checksums of the IPv4 header and of a transport header whose pseudo header it is in
/// (`nf_nat_ipv4_manip_pkt`, `inet_proto_csum_replace4`).
pub fn set_src(l3: &mut [u8], new: u32) -> bool {
    set_addr(l3, 12, new)
}

/// As [`set_src`], the destination address.
pub fn set_dst(l3: &mut [u8], new: u32) -> bool {
    set_addr(l3, 16, new)
}

/// Writes the time to live (`ip_decrease_ttl`, the TTL target).
pub fn set_ttl(l3: &mut [u8], new: u8) -> bool {
    let Ok(ip) = Ipv4Fields::parse(l3) else { return false };
    let check = u16::from_be_bytes([l3[10], l3[11]]);
    l3[8] = new;
    put(l3, 10, replace16(check, u16::from(ip.ttl) << 8, u16::from(new) << 8));
    true
}

/// Writes the type of service: all eight bits (`ipv4_change_dsfield`).
pub fn set_tos(l3: &mut [u8], new: u8) -> bool {
    let Ok(ip) = Ipv4Fields::parse(l3) else { return false };
    let mut check = u32::from(u16::from_be_bytes([l3[10], l3[11]]));
    // The kernel's own arithmetic, which differs from `csum_replace2` in which of the two zeros comes out.
    check += u32::from(ip.tos);
    if (check + 1) >> 16 != 0 {
        check = (check + 1) & 0xffff;
    }
    check = check.wrapping_sub(u32::from(new));
    check = check.wrapping_add(check >> 16);
    l3[1] = new;
    put(l3, 10, check as u16);
    true
}

/// Writes the identification.
pub fn set_id(l3: &mut [u8], new: u16) -> bool {
    let Ok(ip) = Ipv4Fields::parse(l3) else { return false };
    let check = u16::from_be_bytes([l3[10], l3[11]]);
    put(l3, 4, new);
    put(l3, 10, replace16(check, ip.id, new));
    true
}

fn set_port(l3: &mut [u8], at: usize, new: u16) -> bool {
    let Ok(ip) = Ipv4Fields::parse(l3) else { return false };
    // DCCP has ports, but the kernel no longer translates it.
    if !has_ports(ip.protocol) || ip.protocol == proto::DCCP || ip.frag_offset != 0 {
        return false;
    }
    let Some(l4) = l3.get_mut(usize::from(ip.header_len)..) else { return false };
    let Some(old) = word(l4, at) else { return false };
    put(l4, at, new);
    update_sum(ip.protocol, l4, |check| replace16(check, old, new));
    if ip.protocol == proto::SCTP {
        redo_sctp(&ip, l3);
    }
    true
}

/// Writes the source port of TCP, UDP, UDPlite or SCTP (`tcp_manip_pkt` and its kin).
pub fn set_port_src(l3: &mut [u8], new: u16) -> bool {
    set_port(l3, 0, new)
}

/// As [`set_port_src`], the destination port.
pub fn set_port_dst(l3: &mut [u8], new: u16) -> bool {
    set_port(l3, 2, new)
}

/// Writes the identifier of an ICMP query (`icmp_manip_pkt`). False for other ICMP types.
pub fn set_icmp_id(l3: &mut [u8], new: u16) -> bool {
    let Ok(ip) = Ipv4Fields::parse(l3) else { return false };
    if ip.protocol != proto::ICMP || ip.frag_offset != 0 {
        return false;
    }
    let Some(l4) = l3.get_mut(usize::from(ip.header_len)..) else { return false };
    let (Some(check), Some(old)) = (word(l4, 2), word(l4, 4)) else { return false };
    if l4.len() < 8 || !is_icmp_query(l4[0]) {
        return false;
    }
    put(l4, 4, new);
    put(l4, 2, replace16(check, old, new));
    true
}

/// Computes the checksum of an ICMP message anew over all bytes of it that are there, as NAT does after it translated the packet that an error
/// quotes (`nf_nat_icmp_reply_translation`). False if there is no ICMP header, or bytes of the message are not there.
pub fn redo_icmp_checksum(l3: &mut [u8]) -> bool {
    let Ok(ip) = Ipv4Fields::parse(l3) else { return false };
    if ip.protocol != proto::ICMP || ip.is_fragment() {
        return false;
    }
    let Some(l4) = l3.get_mut(usize::from(ip.header_len)..usize::from(ip.total_len)) else { return false };
    if l4.len() < 8 {
        return false;
    }
    l4[2..4].fill(0);
    let check = crate::checksum::checksum(l4);
    put(l4, 2, check);
    true
}

#[cfg(test)]
mod tests;
