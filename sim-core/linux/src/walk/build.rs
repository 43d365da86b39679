//! Building packets and changing headers.

use pktwalk_packet::{EtherType, Packet, checksum};

use crate::skb::Skb;

/// What an IPv4 header without options says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub src: u32,
    pub dst: u32,
    pub protocol: u8,
    pub tos: u8,
    pub ttl: u8,
    pub id: u16,
    pub dont_fragment: bool,
}

/// A packet of a header and what follows it.
pub(super) fn packet(header: Header, payload: &[u8]) -> Packet {
    let mut bytes = Vec::with_capacity(20 + payload.len());
    bytes.extend_from_slice(&[0x45, header.tos]);
    bytes.extend_from_slice(&((20 + payload.len()) as u16).to_be_bytes());
    bytes.extend_from_slice(&header.id.to_be_bytes());
    bytes.extend_from_slice(&[
        if header.dont_fragment { 0x40 } else { 0 },
        0,
        header.ttl,
        header.protocol,
        0,
        0,
    ]);
    bytes.extend_from_slice(&header.src.to_be_bytes());
    bytes.extend_from_slice(&header.dst.to_be_bytes());
    set_header_checksum(&mut bytes);
    bytes.extend_from_slice(payload);
    Packet::from_l3(EtherType::IPV4, bytes)
}

/// Writes the checksum of the IPv4 header at the start of `l3` (`ip_send_check`).
pub(super) fn set_header_checksum(l3: &mut [u8]) {
    let Some(&first) = l3.first() else { return };
    let len = usize::from(first & 0x0f) * 4;
    let Some(header) = l3.get_mut(..len).filter(|header| header.len() >= 20) else { return };
    header[10..12].fill(0);
    let sum = checksum::checksum(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Lowers the TTL by one and updates the checksum (`ip_decrease_ttl`). Gives the TTLs before and after.
pub(super) fn decrease_ttl(skb: &mut Skb) -> (u8, u8) {
    let old = skb.ip.ttl;
    let new = old.saturating_sub(1);
    if let Some(header) = skb.packet.l3_mut().get_mut(..20) {
        let before = u16::from_be_bytes([header[8], header[9]]);
        header[8] = new;
        let after = u16::from_be_bytes([header[8], header[9]]);
        let sum = u16::from_be_bytes([header[10], header[11]]);
        header[10..12].copy_from_slice(&checksum::replace16(sum, before, after).to_be_bytes());
    }
    skb.ip.ttl = new;
    (old, new)
}

/// Writes a checksum over `bytes` (on top of `start`) at `at`.
pub(super) fn put_checksum(bytes: &mut [u8], at: usize, start: u32) {
    if let Some(field) = bytes.get_mut(at..at + 2) {
        field.fill(0);
        let sum = checksum::finish(checksum::sum(bytes, start));
        if let Some(field) = bytes.get_mut(at..at + 2) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
    }
}

/// Whether the checksum of TCP or UDP is right; anything else is summed without a pseudo header (`nf_ip_checksum`, `skb_checksum_validate`).
pub(super) fn l4_checksum_ok(skb: &Skb, l4: &[u8]) -> bool {
    let start = match skb.ip.protocol {
        6 | 17 => checksum::pseudo_header(skb.ip.src, skb.ip.dst, skb.ip.protocol, l4.len() as u32),
        _ => 0,
    };
    checksum::finish(checksum::sum(l4, start)) == 0
}
