//! Whether checksums are right.

use crate::build::udplite_covered;
use crate::checksum::{checksum, finish, pseudo_header, sum};
use crate::names::proto;
use crate::sctp::crc32c;
use crate::{EtherType, Ipv4Fields, Packet};

/// What can be said of a checksum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChecksumState {
    /// It is right.
    Ok,
    /// It is wrong, or the length that says what it is over makes no sense.
    Bad,
    /// There is none: UDP's 0, or a protocol in which we know of none.
    None,
    /// It cannot be told: bytes that it is over are not there (a fragment, a capture that cut the packet off), or the packet is no IPv4.
    NotKnown,
}

/// Whether the checksum of the IPv4 header at the start of `l3` is right (`ip_fast_csum`). False for bytes that are no header.
pub fn ip_header_ok(l3: &[u8]) -> bool {
    Ipv4Fields::parse(l3)
        .is_ok_and(|ip| l3.get(..usize::from(ip.header_len)).is_some_and(|header| checksum(header) == 0))
}

/// Whether netfilter and the sockets find the checksum of `l4` (everything behind the IPv4 header) right: that of TCP and UDP is summed with a
/// pseudo header, anything else without, and over all that is there, whatever UDP's length field says (`nf_ip_checksum`,
/// `skb_checksum_validate`). Addresses in host byte order.
pub fn whole_sum_ok(protocol: u8, src: u32, dst: u32, l4: &[u8]) -> bool {
    let start = match protocol {
        proto::TCP | proto::UDP => pseudo_header(src, dst, protocol, l4.len() as u32),
        _ => 0,
    };
    finish(sum(l4, start)) == 0
}

/// Checks the transport checksum of an IPv4 packet: TCP, UDP, UDPlite, ICMP, IGMP, SCTP (CRC32c). Bytes beyond the total length do not count.
/// A transport header that is too short to hold its checksum is [`ChecksumState::Bad`].
pub fn transport(packet: &Packet) -> ChecksumState {
    if packet.ethertype() != EtherType::IPV4 {
        return ChecksumState::NotKnown;
    }
    let l3 = packet.l3();
    let Ok(ip) = Ipv4Fields::parse(l3) else { return ChecksumState::NotKnown };
    if ip.is_fragment() {
        return ChecksumState::NotKnown;
    }
    let l4 = l3.get(usize::from(ip.header_len)..usize::from(ip.total_len));
    // What is cut off may still have been covered by no checksum at all.
    let there = l4.unwrap_or_else(|| l3.get(usize::from(ip.header_len)..).unwrap_or(&[]));
    let none = match ip.protocol {
        proto::UDP => there.get(6..8) == Some(&[0, 0]),
        proto::TCP | proto::UDPLITE | proto::ICMP | proto::IGMP | proto::SCTP => false,
        _ => true,
    };
    if none {
        return ChecksumState::None;
    }
    let Some(l4) = l4 else { return ChecksumState::NotKnown };
    let right = match ip.protocol {
        proto::SCTP => l4.get(8..12).is_some_and(|field| field == crc32c(l4).to_le_bytes()),
        protocol => {
            let field = |at: usize| Some(u16::from_be_bytes([*l4.get(at)?, *l4.get(at + 1)?]));
            let place = match protocol {
                proto::TCP => 16,
                proto::UDP | proto::UDPLITE => 6,
                _ => 2,
            };
            match (field(place), transport_sum(protocol, ip.src, ip.dst, l4)) {
                // 0 and 0xffff are the same number to the sum, but UDPlite must have a checksum.
                (Some(0), Some(_)) if protocol == proto::UDPLITE => false,
                (Some(there), Some(right)) => {
                    there == right || (there ^ right == 0xffff && matches!(right, 0 | 0xffff))
                }
                _ => false,
            }
        }
    };
    if right { ChecksumState::Ok } else { ChecksumState::Bad }
}

/// The checksum that should stand in the transport header `l4` (everything behind the IPv4 header), whatever stands there. Addresses in host
/// byte order. `None` if the header is too short, its length field makes no sense, or the protocol has no Internet checksum.
pub fn transport_sum(protocol: u8, src: u32, dst: u32, l4: &[u8]) -> Option<u16> {
    let (place, covered, len, pseudo) = match protocol {
        proto::TCP if l4.len() >= 20 => (16, l4.len(), l4.len(), true),
        proto::UDP if l4.len() >= 8 => {
            let len = usize::from(u16::from_be_bytes([l4[4], l4[5]]));
            if !(8..=l4.len()).contains(&len) {
                return None;
            }
            (6, len, len, true)
        }
        proto::UDPLITE if l4.len() >= 8 => {
            let covered = udplite_covered(u16::from_be_bytes([l4[4], l4[5]]), l4.len())?;
            (6, covered, l4.len(), true)
        }
        proto::ICMP | proto::IGMP if l4.len() >= 4 => (2, l4.len(), l4.len(), false),
        _ => return None,
    };
    let start = if pseudo { pseudo_header(src, dst, protocol, len as u32) } else { 0 };
    // The field itself counts as zero; it stands at an even place.
    let right = finish(sum(&l4[place + 2..covered], sum(&l4[..place], start)));
    Some(if right == 0 && matches!(protocol, proto::UDP | proto::UDPLITE) { 0xffff } else { right })
}
