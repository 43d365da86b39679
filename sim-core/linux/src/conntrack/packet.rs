//! What trackers ask of a packet: its transport header, its length, and whether its checksum is right (`nf_ip_checksum`).

use std::cell::Cell;

use pktwalk_packet::checksum;
use pktwalk_packet::sctp::crc32c;
use pktwalk_packet::verify::whole_sum_ok;

use super::tuple::proto;
use crate::skb::{Skb, Summed};

/// The transport part of a packet.
#[derive(Clone, Copy)]
pub(super) struct Transport<'a> {
    /// Source address of the IP header.
    pub src: u32,
    /// Destination address of the IP header.
    pub dst: u32,
    /// IP protocol.
    pub protocol: u8,
    /// From the transport header on, as much as is there.
    pub bytes: &'a [u8],
    /// Its length, with what a capture cut off.
    pub len: usize,
    /// Whether trackers look at checksums here: in PREROUTING, unless `nf_conntrack_checksum` is 0.
    pub check: bool,
    /// What they saw of it.
    pub summed: &'a Cell<Summed>,
}

impl<'a> Transport<'a> {
    pub fn of(skb: &'a Skb, check: bool, summed: &'a Cell<Summed>) -> Transport<'a> {
        let header_len = usize::from(skb.ip.header_len);
        Transport {
            src: skb.ip.src,
            dst: skb.ip.dst,
            protocol: skb.ip.protocol,
            bytes: skb.l4(),
            len: skb.packet.l3_wire_len().saturating_sub(header_len),
            check,
            summed,
        }
    }

    /// Whether a capture cut bytes off.
    pub fn is_cut(&self) -> bool {
        self.bytes.len() < self.len
    }

    /// Whether the Internet checksum is wrong. That of a packet that was cut off counts as right. The kernel sums from the IP header on, which is
    /// right by now, so that a message of zeros is right too.
    pub fn bad_checksum(&self) -> bool {
        if !self.check {
            return false;
        }
        let zeros = || self.bytes.iter().all(|byte| *byte == 0);
        let valid = self.is_cut() || whole_sum_ok(self.protocol, self.src, self.dst, self.bytes) || zeros();
        self.summed.set(Summed { valid, complete: true });
        !valid
    }

    /// Whether the checksum of a UDPlite packet that covers `coverage` bytes is wrong. The kernel takes UDP's number in the pseudo header
    /// (`udplite_error`), so what real UDPlite senders write is wrong here.
    pub fn bad_partial_checksum(&self, coverage: usize) -> bool {
        if !self.check || self.is_cut() {
            return false;
        }
        let start = checksum::pseudo_header(self.src, self.dst, proto::UDP, self.len as u32);
        let covered = self.bytes.get(..coverage).unwrap_or(self.bytes);
        checksum::finish(checksum::sum(covered, start)) != 0
    }

    /// Whether the CRC32c of an SCTP packet is wrong.
    pub fn bad_crc(&self) -> bool {
        if !self.check || self.is_cut() {
            return false;
        }
        match self.bytes {
            &[_, _, _, _, _, _, _, _, a, b, c, d, ..] => {
                u32::from_le_bytes([a, b, c, d]) != crc32c(self.bytes)
            }
            _ => false,
        }
    }
}
