//! A packet as the text says it: between text and bytes.

use crate::build::{self, BuildError, Ipv4Header, TcpHeader};
use crate::checksum::finish;
use crate::names::proto;
use crate::verify::transport_sum;
use crate::{ArpFields, EtherType, MacAddr, Packet};

/// Bytes, followed by so many zeros.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Data {
    pub(super) bytes: Vec<u8>,
    pub(super) zeros: usize,
}

impl Data {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.zeros
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        bytes.extend_from_slice(&self.bytes);
        bytes.resize(self.len(), 0);
        bytes
    }

    /// The same bytes, with zeros at the end counted instead of held if there are at least `least` of them.
    pub(super) fn of(bytes: &[u8], least: usize) -> Data {
        let held = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if bytes.len() - held >= least {
            Data { bytes: bytes[..held].to_vec(), zeros: bytes.len() - held }
        } else {
            Data { bytes: bytes.to_vec(), zeros: 0 }
        }
    }
}

/// A checksum field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Sum {
    /// The correct one.
    #[default]
    Auto,
    /// A wrong one.
    Bad,
    /// This one.
    Value(u32),
}

impl Sum {
    fn of16(self, correct: u16) -> u16 {
        match self {
            Sum::Auto => correct,
            // Differs by one from the correct one, and 0 would mean "none" in UDP.
            Sum::Bad if correct == 1 => 2,
            Sum::Bad => correct ^ 1,
            Sum::Value(value) => value as u16,
        }
    }
}

/// A frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Spec {
    /// Destination and source.
    pub(super) mac: Option<(MacAddr, MacAddr)>,
    /// Tag control information.
    pub(super) vlan: Option<u16>,
    pub(super) net: Net,
    /// Bytes behind the packet.
    pub(super) pad: Data,
    /// How many of the last bytes a capture cut off.
    pub(super) cut: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Net {
    Ip(Box<Ip>),
    Arp(ArpFields),
    Raw { ethertype: u16, data: Data },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ip {
    pub(super) src: u32,
    pub(super) dst: u32,
    pub(super) protocol: u8,
    pub(super) tos: u8,
    pub(super) ttl: u8,
    pub(super) id: u16,
    pub(super) reserved: bool,
    pub(super) df: bool,
    pub(super) mf: bool,
    /// In units of 8 bytes.
    pub(super) off: u16,
    pub(super) options: Vec<u8>,
    /// A total length that is not the true one.
    pub(super) totlen: Option<u16>,
    pub(super) ipsum: Sum,
    pub(super) l4: L4,
    pub(super) sum: Sum,
    pub(super) payload: Payload,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum L4 {
    Tcp(Tcp),
    Udp {
        ports: (u16, u16),
        ulen: Option<u16>,
    },
    Udplite {
        ports: (u16, u16),
        coverage: u16,
    },
    Sctp {
        ports: (u16, u16),
        tag: u32,
    },
    Icmp {
        icmp_type: u8,
        code: u8,
        rest: [u8; 4],
        /// Of timestamp requests and replies: originate, receive and transmit time. None where the message is too short for them.
        times: Option<[u32; 3]>,
    },
    /// No header that is looked into: everything is payload.
    Bare,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tcp {
    pub(super) ports: (u16, u16),
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) reserved: u8,
    pub(super) window: u16,
    pub(super) urgent: u16,
    pub(super) options: Vec<u8>,
    /// A data offset (in words) that is not the true one.
    pub(super) doff: Option<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Payload {
    Data(Data),
    /// The packet that an ICMP error is about.
    About(Box<Spec>),
}

pub(super) const DEFAULT_WINDOW: u16 = 64240;
pub(super) const DEFAULT_TTL: u8 = 64;

impl Spec {
    /// The bytes. `cut` must not exceed the length.
    pub(super) fn build(&self) -> Result<Packet, BuildError> {
        let (ethertype, mut l3, missing) = match &self.net {
            Net::Ip(ip) => (EtherType::IPV4, ip.build()?, 0),
            Net::Arp(fields) => (EtherType::ARP, build::arp(fields), 0),
            Net::Raw { ethertype, data } => (EtherType(*ethertype), data.to_vec(), self.cut),
        };
        if self.pad.len() > 0xffff {
            return Err(BuildError::TooLong(l3.len() + self.pad.len()));
        }
        l3.extend_from_slice(&self.pad.to_vec());
        let mut outer = ethertype;
        if let Some(tci) = self.vlan {
            let mut tagged = Vec::with_capacity(l3.len() + 4);
            tagged.extend_from_slice(&tci.to_be_bytes());
            tagged.extend_from_slice(&ethertype.0.to_be_bytes());
            tagged.append(&mut l3);
            l3 = tagged;
            outer = EtherType::VLAN;
        }
        let missing = if matches!(self.net, Net::Raw { .. }) {
            missing
        } else {
            l3.truncate(l3.len().saturating_sub(self.cut));
            self.cut
        };
        let mut packet = Packet::from_l3(outer, l3);
        if let Some((dst, src)) = self.mac {
            packet.set_mac_header(dst, src);
        }
        Ok(packet.with_missing(missing))
    }
}

impl Ip {
    fn build(&self) -> Result<Vec<u8>, BuildError> {
        let header = Ipv4Header {
            src: self.src,
            dst: self.dst,
            tos: self.tos,
            ttl: self.ttl,
            id: self.id,
            reserved: self.reserved,
            dont_fragment: self.df,
            more_fragments: self.mf,
            frag_offset: self.off,
            options: &self.options,
        };
        let payload = match &self.payload {
            Payload::Data(data) if data.len() > 0xffff => return Err(BuildError::TooLong(data.len())),
            Payload::Data(data) => data.to_vec(),
            Payload::About(inner) => inner.build()?.l3().to_vec(),
        };
        let mut l3 = match &self.l4 {
            L4::Tcp(tcp) => {
                let fields = TcpHeader {
                    sport: tcp.ports.0,
                    dport: tcp.ports.1,
                    seq: tcp.seq,
                    ack: tcp.ack,
                    flags: tcp.flags,
                    reserved: tcp.reserved,
                    window: tcp.window,
                    urgent: tcp.urgent,
                    options: &tcp.options,
                };
                build::tcp(&header, &fields, &payload)?
            }
            L4::Udp { ports, .. } => build::udp(&header, ports.0, ports.1, &payload)?,
            L4::Udplite { ports, coverage } => {
                build::udplite(&header, ports.0, ports.1, *coverage, &payload)?
            }
            L4::Sctp { ports, tag } => build::sctp(&header, ports.0, ports.1, *tag, &payload)?,
            L4::Icmp { icmp_type, code, rest, times } => {
                let mut data: Vec<u8> =
                    times.iter().flatten().flat_map(|time: &u32| time.to_be_bytes()).collect();
                data.extend_from_slice(&payload);
                build::icmp(&header, *icmp_type, *code, *rest, &data)?
            }
            L4::Bare => build::ipv4(&header, self.protocol, &payload)?,
        };
        let at = 20 + self.options.len().next_multiple_of(4);
        match &self.l4 {
            L4::Tcp(Tcp { doff: Some(doff), .. }) => l3[at + 12] = (doff << 4) | (l3[at + 12] & 0xf),
            L4::Udp { ulen: Some(ulen), .. } => l3[at + 4..at + 6].copy_from_slice(&ulen.to_be_bytes()),
            _ => {}
        }
        if let Some(totlen) = self.totlen {
            l3[2..4].copy_from_slice(&totlen.to_be_bytes());
        }
        l3[10..12].fill(0);
        let ipsum = self.ipsum.of16(finish(crate::checksum::sum(&l3[..at], 0)));
        l3[10..12].copy_from_slice(&ipsum.to_be_bytes());
        self.put_sum(&mut l3, at);
        Ok(l3)
    }

    fn put_sum(&self, l3: &mut [u8], at: usize) {
        let end = self.totlen.map_or(l3.len(), |len| usize::from(len).clamp(at, l3.len()));
        let place = match &self.l4 {
            L4::Tcp(_) => at + 16,
            L4::Udp { .. } | L4::Udplite { .. } => at + 6,
            L4::Icmp { .. } => at + 2,
            L4::Sctp { .. } => {
                let sum = match self.sum {
                    Sum::Auto => crate::sctp::crc32c(&l3[at..end]),
                    Sum::Bad => !crate::sctp::crc32c(&l3[at..end]),
                    Sum::Value(value) => value.swap_bytes(),
                };
                l3[at + 8..at + 12].copy_from_slice(&sum.to_le_bytes());
                return;
            }
            L4::Bare => return,
        };
        let correct = transport_sum(self.protocol, self.src, self.dst, &l3[at..end]);
        let there = u16::from_be_bytes([l3[place], l3[place + 1]]);
        let sum = self.sum.of16(correct.unwrap_or(there));
        l3[place..place + 2].copy_from_slice(&sum.to_be_bytes());
    }

    /// Where the checksum of the transport header stands, behind the IPv4 header, and its length.
    pub(super) fn sum_place(&self) -> Option<(usize, usize)> {
        match &self.l4 {
            L4::Tcp(_) => Some((16, 2)),
            L4::Udp { .. } | L4::Udplite { .. } => Some((6, 2)),
            L4::Icmp { .. } => Some((2, 2)),
            L4::Sctp { .. } => Some((8, 4)),
            L4::Bare => None,
        }
    }
}

/// TCP options by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct NamedTcpOptions {
    pub(super) mss: Option<u16>,
    pub(super) sack_perm: bool,
    pub(super) ts: Option<(u32, u32)>,
    pub(super) wscale: Option<u8>,
}

impl NamedTcpOptions {
    /// The bytes, in the order and with the padding of `tcp_options_write`.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(mss) = self.mss {
            bytes.extend_from_slice(&[2, 4]);
            bytes.extend_from_slice(&mss.to_be_bytes());
        }
        if let Some((value, echo)) = self.ts {
            bytes.extend_from_slice(if self.sack_perm { &[4, 2, 8, 10] } else { &[1, 1, 8, 10] });
            bytes.extend_from_slice(&value.to_be_bytes());
            bytes.extend_from_slice(&echo.to_be_bytes());
        } else if self.sack_perm {
            bytes.extend_from_slice(&[1, 1, 4, 2]);
        }
        if let Some(shift) = self.wscale {
            bytes.extend_from_slice(&[1, 3, 3, shift]);
        }
        bytes
    }

    /// Reads options that [`NamedTcpOptions::encode`] could have written; `None` for any other.
    pub(super) fn decode(options: &[u8]) -> Option<NamedTcpOptions> {
        let mut named = NamedTcpOptions::default();
        let mut rest = options;
        let double = |b: &[u8], at: usize| u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        while !rest.is_empty() {
            let used = match rest {
                [1, ..] => 1,
                [2, 4, a, b, ..] => {
                    named.mss = Some(u16::from_be_bytes([*a, *b]));
                    4
                }
                [3, 3, shift, ..] => {
                    named.wscale = Some(*shift);
                    3
                }
                [4, 2, ..] => {
                    named.sack_perm = true;
                    2
                }
                [8, 10, ..] if rest.len() >= 10 => {
                    named.ts = Some((double(rest, 2), double(rest, 6)));
                    10
                }
                _ => return None,
            };
            rest = &rest[used..];
        }
        (named.encode() == options).then_some(named)
    }
}

/// Protocols with their own word.
pub(super) fn protocol_word(protocol: u8) -> Option<&'static str> {
    match protocol {
        proto::TCP => Some("tcp"),
        proto::UDP => Some("udp"),
        proto::ICMP => Some("icmp"),
        proto::SCTP => Some("sctp"),
        proto::UDPLITE => Some("udplite"),
        _ => None,
    }
}
