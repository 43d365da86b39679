//! One captured frame, and the packet in it.

use pktwalk_packet::{EtherType, MacAddr, Packet};
use thiserror::Error;

use crate::LinkType;

/// One frame of a capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CapturedFrame {
    /// Its place in the capture, counted from 1, as Wireshark counts: frames that could not be read count too.
    pub number: u64,
    /// What [`CapturedFrame::data`] starts with.
    pub link_type: LinkType,
    /// Nanoseconds since 1970-01-01 UTC; 0 where the file has no time (simple packet blocks).
    pub timestamp_ns: u64,
    /// Length on the wire in bytes: `data` and what was cut off.
    pub orig_len: u32,
    /// What was captured.
    pub data: Vec<u8>,
    /// The name of its interface block, where the file has one (pcapng `if_name`).
    pub interface: Option<String>,
    /// Comments on the frame (pcapng).
    pub comments: Vec<String>,
    /// Its flags word (pcapng `epb_flags`); 0 where the file has none.
    pub flags: u32,
}

/// How a frame came by the interface that captured it, where the capture says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passage {
    /// Received.
    Received,
    /// Received, by a frame to everybody.
    Broadcast,
    /// Received, by a frame to a group.
    Multicast,
    /// Received, by a frame to another host.
    OtherHost,
    /// Sent.
    Sent,
}

/// Why a frame holds no packet that can be walked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FrameError {
    /// A link type that is not read.
    #[error("link type {0} is not read; Ethernet, raw IP, Linux cooked captures and loopback are")]
    LinkType(LinkType),
    /// The link-layer header is cut off.
    #[error("the frame has {there} bytes, its link-layer header needs {needed}")]
    TooShort {
        /// Length of the header.
        needed: usize,
        /// Bytes there.
        there: usize,
    },
    /// Neither IPv4 nor IPv6.
    #[error("the packet starts with {0:#04x}, which is neither IPv4 nor IPv6")]
    NotIp(u8),
    /// The address family of a loopback header is neither.
    #[error("address family {0} is neither IPv4 nor IPv6")]
    Family(u32),
    /// A cooked header without an EtherType.
    #[error(
        "the cooked header has protocol {protocol:#06x} on hardware type {hardware}, which is no EtherType"
    )]
    NoEtherType {
        /// Protocol field.
        protocol: u16,
        /// ARPHRD type.
        hardware: u16,
    },
}

/// What a Linux cooked header says beside the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cooked {
    /// 0: to us; 1: broadcast; 2: multicast; 3: to somebody else; 4: sent by us.
    pub packet_type: u16,
    /// Index of the interface (version 2 only).
    pub ifindex: Option<u32>,
    /// Hardware address of the sender, where it has six bytes.
    pub source: Option<MacAddr>,
}

struct CookedHeader {
    len: usize,
    protocol: u16,
    hardware: u16,
    cooked: Cooked,
}

impl CapturedFrame {
    /// A frame of `packet`: Ethernet if it has such a header, else raw IP, else (ARP and others) a Linux cooked frame that was addressed to us.
    pub fn of(packet: &Packet, timestamp_ns: u64, interface: Option<String>) -> CapturedFrame {
        let ip = matches!(packet.ethertype(), EtherType::IPV4 | EtherType::IPV6);
        let version = packet.l3().first().map(|byte| byte >> 4);
        let says_so = version == Some(if packet.ethertype() == EtherType::IPV4 { 4 } else { 6 });
        let (link_type, data) = if packet.mac_header().is_some() {
            (LinkType::ETHERNET, packet.bytes().to_vec())
        } else if ip && says_so {
            (LinkType::RAW, packet.bytes().to_vec())
        } else {
            let mut data = vec![0; 16];
            // Hardware type Ethernet, no address.
            data[3] = 1;
            data[14..16].copy_from_slice(&packet.ethertype().0.to_be_bytes());
            data.extend_from_slice(packet.bytes());
            (LinkType::LINUX_SLL, data)
        };
        let orig_len = u32::try_from(data.len().saturating_add(packet.missing())).unwrap_or(u32::MAX);
        CapturedFrame {
            number: 0,
            link_type,
            timestamp_ns,
            orig_len,
            data,
            interface,
            comments: Vec::new(),
            flags: 0,
        }
    }

    /// How many bytes were cut off.
    pub fn missing(&self) -> usize {
        (self.orig_len as usize).saturating_sub(self.data.len())
    }

    /// The packet in the frame. Cooked and loopback headers are taken off: such a packet has no link-layer header.
    pub fn packet(&self) -> Result<Packet, FrameError> {
        let data = &self.data;
        let packet = match self.link_type {
            LinkType::ETHERNET => Packet::from_ethernet(data.clone())
                .ok_or(FrameError::TooShort { needed: 14, there: data.len() })?,
            LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 => raw(data)?,
            LinkType::NULL | LinkType::LOOP => self.loopback()?,
            LinkType::LINUX_SLL | LinkType::LINUX_SLL2 => {
                let header = self.cooked_header()?;
                // Below 0x600 it is a length or a number of Linux's own; 778 (GRE) and 824 (netlink) mean something else by it.
                if header.protocol < 0x600 || matches!(header.hardware, 778 | 824) {
                    let CookedHeader { protocol, hardware, .. } = header;
                    return Err(FrameError::NoEtherType { protocol, hardware });
                }
                let l3 = data.get(header.len..).unwrap_or(&[]).to_vec();
                Packet::from_l3(EtherType(header.protocol), l3)
            }
            other => return Err(FrameError::LinkType(other)),
        };
        Ok(packet.with_missing(self.missing()))
    }

    /// What a Linux cooked header says beside the protocol; `None` for other link types and cut headers.
    pub fn cooked(&self) -> Option<Cooked> {
        matches!(self.link_type, LinkType::LINUX_SLL | LinkType::LINUX_SLL2)
            .then(|| self.cooked_header().ok())
            .flatten()
            .map(|header| header.cooked)
    }

    /// How the frame came by: what a cooked header says, or the direction in the flags of pcapng.
    pub fn passage(&self) -> Option<Passage> {
        match (self.cooked().map(|cooked| cooked.packet_type), self.flags & 3) {
            (Some(0), _) | (None, 1) => Some(Passage::Received),
            (Some(1), _) => Some(Passage::Broadcast),
            (Some(2), _) => Some(Passage::Multicast),
            (Some(3), _) => Some(Passage::OtherHost),
            (Some(4), _) | (None, 2) => Some(Passage::Sent),
            _ => None,
        }
    }

    /// Whether a cooked header has taken the place of an Ethernet header.
    pub fn was_ethernet(&self) -> bool {
        matches!(self.link_type, LinkType::LINUX_SLL | LinkType::LINUX_SLL2)
            && self.cooked_header().is_ok_and(|header| header.hardware == 1)
    }

    fn cooked_header(&self) -> Result<CookedHeader, FrameError> {
        let there = self.data.len();
        let word = |b: &[u8], at: usize| u16::from_be_bytes([b[at], b[at + 1]]);
        let mac = |b: &[u8], at: usize, len: usize| {
            (len == 6).then(|| MacAddr([b[at], b[at + 1], b[at + 2], b[at + 3], b[at + 4], b[at + 5]]))
        };
        if self.link_type == LinkType::LINUX_SLL {
            let bytes: &[u8; 16] =
                self.data.first_chunk().ok_or(FrameError::TooShort { needed: 16, there })?;
            let source = mac(bytes, 6, usize::from(word(bytes, 4)));
            Ok(CookedHeader {
                len: 16,
                protocol: word(bytes, 14),
                hardware: word(bytes, 2),
                cooked: Cooked { packet_type: word(bytes, 0), ifindex: None, source },
            })
        } else {
            let bytes: &[u8; 20] =
                self.data.first_chunk().ok_or(FrameError::TooShort { needed: 20, there })?;
            let ifindex = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            let source = mac(bytes, 12, usize::from(bytes[11]));
            Ok(CookedHeader {
                len: 20,
                protocol: word(bytes, 0),
                hardware: word(bytes, 8),
                cooked: Cooked { packet_type: u16::from(bytes[10]), ifindex: Some(ifindex), source },
            })
        }
    }

    fn loopback(&self) -> Result<Packet, FrameError> {
        let there = self.data.len();
        let (family, l3) =
            self.data.split_first_chunk::<4>().ok_or(FrameError::TooShort { needed: 4, there })?;
        // The capturing machine's byte order is not known; no family is above 255.
        let big = u32::from_be_bytes(*family);
        let family = if big > 0xff && self.link_type == LinkType::NULL { big.swap_bytes() } else { big };
        let ethertype = match family {
            2 => EtherType::IPV4,
            // Linux, and the three BSDs with macOS.
            10 | 24 | 28 | 30 => EtherType::IPV6,
            other => return Err(FrameError::Family(other)),
        };
        Ok(Packet::from_l3(ethertype, l3.to_vec()))
    }
}

fn raw(data: &[u8]) -> Result<Packet, FrameError> {
    let &first = data.first().ok_or(FrameError::TooShort { needed: 1, there: 0 })?;
    let ethertype = match first >> 4 {
        4 => EtherType::IPV4,
        6 => EtherType::IPV6,
        _ => return Err(FrameError::NotIp(first)),
    };
    Ok(Packet::from_l3(ethertype, data.to_vec()))
}
