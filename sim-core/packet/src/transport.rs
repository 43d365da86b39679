//! TCP, UDP and ICMP headers, read at their fixed places. Numbers in host byte order.
//!
//! These readers ask for nothing but that the fixed part is there: what the kernel does with a header whose length field lies is for the walk
//! to decide.

use std::fmt;

/// TCP flag bits: byte 13 of the header.
pub mod tcp_flag {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// PSH.
    pub const PSH: u8 = 0x08;
    /// ACK.
    pub const ACK: u8 = 0x10;
    /// URG.
    pub const URG: u8 = 0x20;
    /// ECE.
    pub const ECE: u8 = 0x40;
    /// CWR.
    pub const CWR: u8 = 0x80;
}

fn word(l4: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([l4[at], l4[at + 1]])
}

fn double(l4: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([l4[at], l4[at + 1], l4[at + 2], l4[at + 3]])
}

/// The fixed 20 bytes of a TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpFields {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number, whether or not ACK is set.
    pub ack: u32,
    /// Data offset in bytes, 0 to 60: may be below 20 or beyond the packet.
    pub header_len: u8,
    /// Byte 13, see [`tcp_flag`].
    pub flags: u8,
    /// Window, unscaled.
    pub window: u16,
    /// Checksum as it stands.
    pub checksum: u16,
    /// Urgent pointer.
    pub urgent: u16,
}

impl TcpFields {
    /// `None` if fewer than 20 bytes are there.
    pub fn parse(l4: &[u8]) -> Option<TcpFields> {
        (l4.len() >= 20).then(|| TcpFields {
            sport: word(l4, 0),
            dport: word(l4, 2),
            seq: double(l4, 4),
            ack: double(l4, 8),
            header_len: (l4[12] >> 4) * 4,
            flags: l4[13],
            window: word(l4, 14),
            checksum: word(l4, 16),
            urgent: word(l4, 18),
        })
    }
}

/// A UDP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpFields {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Length of header and data as it stands.
    pub len: u16,
    /// Checksum as it stands; 0 is none.
    pub checksum: u16,
}

impl UdpFields {
    /// `None` if fewer than 8 bytes are there.
    pub fn parse(l4: &[u8]) -> Option<UdpFields> {
        (l4.len() >= 8).then(|| UdpFields {
            sport: word(l4, 0),
            dport: word(l4, 2),
            len: word(l4, 4),
            checksum: word(l4, 6),
        })
    }
}

/// The fixed 8 bytes of an ICMP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpFields {
    /// Type.
    pub icmp_type: u8,
    /// Code.
    pub code: u8,
    /// Checksum as it stands.
    pub checksum: u16,
    /// Bytes 4 and 5: identifier of queries.
    pub id: u16,
    /// Bytes 6 and 7: sequence number of queries, next-hop MTU of 3/4.
    pub seq: u16,
}

impl IcmpFields {
    /// `None` if fewer than 8 bytes are there.
    pub fn parse(l4: &[u8]) -> Option<IcmpFields> {
        (l4.len() >= 8).then(|| IcmpFields {
            icmp_type: l4[0],
            code: l4[1],
            checksum: word(l4, 2),
            id: word(l4, 4),
            seq: word(l4, 6),
        })
    }
}

/// Originate, receive and transmit time of a timestamp request or reply, which follow its fixed 8 bytes (RFC 792).
pub(crate) fn icmp_times(bytes: &[u8; 12]) -> [u32; 3] {
    [0, 4, 8].map(|at| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]))
}

/// A time of an ICMP timestamp message, in milliseconds since midnight UTC: `09:30:00.000` on display, as tcpdump prints it. One that no day has is
/// printed alike, with as many hours as it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpTime(pub u32);

impl fmt::Display for IcmpTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        let (minutes, hours) = (seconds / 60, seconds / 3600);
        write!(f, "{hours:02}:{:02}:{:02}.{millis:03}", minutes % 60, seconds % 60)
    }
}
