//! Builders: packets from their header fields, with correct checksums, allocated once.
//!
//! All of them return the bytes from the IPv4 (or ARP) header on, for [`crate::Packet::from_l3`].

mod fragment;
mod reply;

use thiserror::Error;

use crate::checksum::{finish, pseudo_header, put, sum};
use crate::names::proto;
use crate::sctp::crc32c;

pub use fragment::{FragmentError, fragment};
pub use reply::{IcmpErrorHeader, ReplyHeader, echo_reply, icmp_error, tcp_reset, timestamp_reply};

/// Why a packet cannot be built.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum BuildError {
    /// More than 40 bytes of options.
    #[error("the options take {0} bytes, a header has room for 40")]
    OptionsTooLong(usize),
    /// The packet would be longer than its length field can say.
    #[error("the packet would have {0} bytes, an IPv4 packet has at most 65535")]
    TooLong(usize),
}

/// Fields of an IPv4 header to be built. Numbers in host byte order. Header length, total length and checksum are computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv4Header<'a> {
    /// Source address.
    pub src: u32,
    /// Destination address.
    pub dst: u32,
    /// Type of service.
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
    /// Identification.
    pub id: u16,
    /// The bit before DF, which must be zero.
    pub reserved: bool,
    /// DF.
    pub dont_fragment: bool,
    /// MF.
    pub more_fragments: bool,
    /// Fragment offset in units of 8 bytes; the upper three bits are ignored.
    pub frag_offset: u16,
    /// Options; filled up with zeros (EOL) to a multiple of four bytes.
    pub options: &'a [u8],
}

impl Ipv4Header<'_> {
    /// A header between two addresses (host byte order): TTL 64, everything else zero.
    pub fn new(src: u32, dst: u32) -> Ipv4Header<'static> {
        Ipv4Header {
            src,
            dst,
            tos: 0,
            ttl: 64,
            id: 0,
            reserved: false,
            dont_fragment: false,
            more_fragments: false,
            frag_offset: 0,
            options: &[],
        }
    }

    /// The header for `protocol`, with room for `l4_len` more bytes allocated.
    fn start(&self, protocol: u8, l4_len: usize) -> Result<Vec<u8>, BuildError> {
        let options_len = padded(self.options)?;
        let header_len = 20 + options_len;
        let total = header_len + l4_len;
        let total_len = u16::try_from(total).map_err(|_| BuildError::TooLong(total))?;
        let mut bytes = Vec::with_capacity(total);
        bytes.extend_from_slice(&[0x40 | (header_len / 4) as u8, self.tos]);
        bytes.extend_from_slice(&total_len.to_be_bytes());
        bytes.extend_from_slice(&self.id.to_be_bytes());
        let frag = (u16::from(self.reserved) << 15)
            | (u16::from(self.dont_fragment) << 14)
            | (u16::from(self.more_fragments) << 13)
            | (self.frag_offset & 0x1fff);
        bytes.extend_from_slice(&frag.to_be_bytes());
        bytes.extend_from_slice(&[self.ttl, protocol, 0, 0]);
        bytes.extend_from_slice(&self.src.to_be_bytes());
        bytes.extend_from_slice(&self.dst.to_be_bytes());
        bytes.extend_from_slice(self.options);
        bytes.resize(header_len, 0);
        put(&mut bytes, 10, 0);
        Ok(bytes)
    }

    fn pseudo(&self, protocol: u8, len: usize) -> u32 {
        pseudo_header(self.src, self.dst, protocol, len as u32)
    }
}

/// Length of options once filled up to a multiple of four.
fn padded(options: &[u8]) -> Result<usize, BuildError> {
    let len = options.len().next_multiple_of(4);
    if len > 40 { Err(BuildError::OptionsTooLong(options.len())) } else { Ok(len) }
}

/// An IPv4 packet of any protocol. `payload` is everything behind the IPv4 header.
pub fn ipv4(ip: &Ipv4Header<'_>, protocol: u8, payload: &[u8]) -> Result<Vec<u8>, BuildError> {
    let mut bytes = ip.start(protocol, payload.len())?;
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

/// Fields of a TCP header to be built. Numbers in host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpHeader<'a> {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Byte 13, see [`crate::tcp_flag`].
    pub flags: u8,
    /// Lower half of byte 12 (reserved bits, accurate ECN).
    pub reserved: u8,
    /// Window.
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options; filled up with zeros (EOL) to a multiple of four bytes.
    pub options: &'a [u8],
}

/// A TCP segment.
pub fn tcp(ip: &Ipv4Header<'_>, tcp: &TcpHeader<'_>, payload: &[u8]) -> Result<Vec<u8>, BuildError> {
    let header_len = 20 + padded(tcp.options)?;
    let len = header_len + payload.len();
    let mut bytes = ip.start(proto::TCP, len)?;
    let at = bytes.len();
    bytes.extend_from_slice(&tcp.sport.to_be_bytes());
    bytes.extend_from_slice(&tcp.dport.to_be_bytes());
    bytes.extend_from_slice(&tcp.seq.to_be_bytes());
    bytes.extend_from_slice(&tcp.ack.to_be_bytes());
    bytes.extend_from_slice(&[((header_len / 4) as u8) << 4 | (tcp.reserved & 0xf), tcp.flags]);
    bytes.extend_from_slice(&tcp.window.to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&tcp.urgent.to_be_bytes());
    bytes.extend_from_slice(tcp.options);
    bytes.resize(at + header_len, 0);
    bytes.extend_from_slice(payload);
    put(&mut bytes[at..], 16, ip.pseudo(proto::TCP, len));
    Ok(bytes)
}

/// A UDP datagram with its checksum. Ports in host byte order.
pub fn udp(ip: &Ipv4Header<'_>, sport: u16, dport: u16, payload: &[u8]) -> Result<Vec<u8>, BuildError> {
    let len = 8 + payload.len();
    let mut bytes = ip.start(proto::UDP, len)?;
    let at = bytes.len();
    bytes.extend_from_slice(&sport.to_be_bytes());
    bytes.extend_from_slice(&dport.to_be_bytes());
    bytes.extend_from_slice(&(len as u16).to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(payload);
    let check = never_zero(finish(sum(&bytes[at..], ip.pseudo(proto::UDP, len))));
    bytes[at + 6..at + 8].copy_from_slice(&check.to_be_bytes());
    Ok(bytes)
}

/// A UDPlite datagram. `coverage` stands in the header: how many bytes the checksum is over (0: all of them); a value that is too small or
/// beyond the datagram is written as it is, with the checksum over everything.
pub fn udplite(
    ip: &Ipv4Header<'_>,
    sport: u16,
    dport: u16,
    coverage: u16,
    payload: &[u8],
) -> Result<Vec<u8>, BuildError> {
    let len = 8 + payload.len();
    let mut bytes = ip.start(proto::UDPLITE, len)?;
    let at = bytes.len();
    bytes.extend_from_slice(&sport.to_be_bytes());
    bytes.extend_from_slice(&dport.to_be_bytes());
    bytes.extend_from_slice(&coverage.to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(payload);
    let covered = udplite_covered(coverage, len).unwrap_or(len);
    let check = never_zero(finish(sum(&bytes[at..at + covered], ip.pseudo(proto::UDPLITE, len))));
    bytes[at + 6..at + 8].copy_from_slice(&check.to_be_bytes());
    Ok(bytes)
}

/// How many bytes of a UDPlite datagram of `len` bytes its checksum is over; `None` if the coverage field is invalid (RFC 3828).
pub(crate) fn udplite_covered(coverage: u16, len: usize) -> Option<usize> {
    match usize::from(coverage) {
        0 => Some(len),
        covered if (8..=len).contains(&covered) => Some(covered),
        _ => None,
    }
}

/// An SCTP packet: common header with its CRC32c, then `chunks`. Ports and tag in host byte order.
pub fn sctp(
    ip: &Ipv4Header<'_>,
    sport: u16,
    dport: u16,
    tag: u32,
    chunks: &[u8],
) -> Result<Vec<u8>, BuildError> {
    let mut bytes = ip.start(proto::SCTP, 12 + chunks.len())?;
    let at = bytes.len();
    bytes.extend_from_slice(&sport.to_be_bytes());
    bytes.extend_from_slice(&dport.to_be_bytes());
    bytes.extend_from_slice(&tag.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(chunks);
    let crc = crc32c(&bytes[at..]);
    bytes[at + 8..at + 12].copy_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

/// An ICMP message. `rest` is bytes 4 to 7 of its header in transmission order (identifier and sequence number, gateway, MTU, ...).
pub fn icmp(
    ip: &Ipv4Header<'_>,
    icmp_type: u8,
    code: u8,
    rest: [u8; 4],
    payload: &[u8],
) -> Result<Vec<u8>, BuildError> {
    let mut bytes = ip.start(proto::ICMP, 8 + payload.len())?;
    let at = bytes.len();
    bytes.extend_from_slice(&[icmp_type, code, 0, 0]);
    bytes.extend_from_slice(&rest);
    bytes.extend_from_slice(payload);
    put(&mut bytes[at..], 2, 0);
    Ok(bytes)
}

/// An ARP packet for IPv4 over Ethernet: 28 bytes.
pub fn arp(fields: &crate::ArpFields) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(28);
    bytes.extend_from_slice(&[0, 1, 8, 0, 6, 4]);
    bytes.extend_from_slice(&fields.operation.to_be_bytes());
    bytes.extend_from_slice(&fields.sender_mac.0);
    bytes.extend_from_slice(&fields.sender.to_be_bytes());
    bytes.extend_from_slice(&fields.target_mac.0);
    bytes.extend_from_slice(&fields.target.to_be_bytes());
    bytes
}

/// A UDP checksum that came out as 0 is sent as 0xffff: 0 means that there is none.
fn never_zero(check: u16) -> u16 {
    if check == 0 { 0xffff } else { check }
}
