//! One line for a packet: protocol, both ends, and what tells it from its neighbours.

use std::fmt;
use std::net::Ipv4Addr;

use pktwalk_linux::conntrack::tuple::{CtL4, CtTuple};
use pktwalk_linux::trace::{Manip, Step};
use pktwalk_packet::names::{self, is_icmp_query};
use pktwalk_packet::{EtherType, Ipv4Fields, Packet};

/// What a report shows of a packet's headers. Addresses in host byte order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flow {
    /// IP protocol number.
    pub protocol: u8,
    /// Source address.
    pub src: u32,
    /// Destination address.
    pub dst: u32,
    /// Time to live.
    pub ttl: u8,
    /// The protocol's part.
    pub l4: L4,
}

/// The protocol's part of a [`Flow`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum L4 {
    /// TCP: ports and flag byte.
    Tcp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
        /// Byte 13 of the header.
        flags: u8,
    },
    /// UDP, UDPlite, SCTP, DCCP.
    Ports {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
    },
    /// ICMP.
    Icmp {
        /// Type.
        icmp_type: u8,
        /// Code.
        code: u8,
        /// Identifier of queries.
        id: u16,
        /// The packet that an error is about.
        about: Option<Box<Flow>>,
    },
    /// A later fragment: bytes from this offset on.
    Fragment(u32),
    /// The header is cut off, or the protocol has none that is shown.
    None,
}

impl Flow {
    /// Reads an IPv4 packet; `None` for anything else.
    pub fn of(packet: &Packet) -> Option<Flow> {
        (packet.ethertype() == EtherType::IPV4).then(|| Flow::of_ipv4(packet.l3(), true)).flatten()
    }

    fn of_ipv4(l3: &[u8], may_quote: bool) -> Option<Flow> {
        let ip = Ipv4Fields::parse(l3).ok()?;
        let l4 = l3.get(usize::from(ip.header_len)..).unwrap_or(&[]);
        let word = |at: usize| Some(u16::from_be_bytes([*l4.get(at)?, *l4.get(at + 1)?]));
        let part = if ip.frag_offset > 0 {
            L4::Fragment(u32::from(ip.frag_offset) * 8)
        } else {
            match ip.protocol {
                6 => match (word(0), word(2), l4.get(13)) {
                    (Some(sport), Some(dport), Some(&flags)) => L4::Tcp { sport, dport, flags },
                    (Some(sport), Some(dport), None) => L4::Ports { sport, dport },
                    _ => L4::None,
                },
                protocol if names::has_ports(protocol) => match (word(0), word(2)) {
                    (Some(sport), Some(dport)) => L4::Ports { sport, dport },
                    _ => L4::None,
                },
                1 => match (l4.first(), l4.get(1)) {
                    (Some(&icmp_type), Some(&code)) => L4::Icmp {
                        icmp_type,
                        code,
                        id: if is_icmp_query(icmp_type) { word(4).unwrap_or(0) } else { 0 },
                        about: (may_quote && names::is_icmp_error(icmp_type))
                            .then(|| Flow::of_ipv4(l4.get(8..).unwrap_or(&[]), false))
                            .flatten()
                            .map(Box::new),
                    },
                    _ => L4::None,
                },
                _ => L4::None,
            }
        };
        Some(Flow { protocol: ip.protocol, src: ip.src, dst: ip.dst, ttl: ip.ttl, l4: part })
    }

    /// As the packet is after `step`.
    pub fn apply(&mut self, step: &Step) {
        match *step {
            Step::NatApply { manip, new: (addr, port), .. } => {
                match manip {
                    Manip::Src => self.src = addr,
                    Manip::Dst => self.dst = addr,
                }
                match (&mut self.l4, manip) {
                    (L4::Tcp { sport, .. } | L4::Ports { sport, .. }, Manip::Src) => *sport = port,
                    (L4::Tcp { dport, .. } | L4::Ports { dport, .. }, Manip::Dst) => *dport = port,
                    (L4::Icmp { icmp_type, id, .. }, _) if is_icmp_query(*icmp_type) => *id = port,
                    _ => {}
                }
            }
            Step::Ttl { new, .. } => self.ttl = new,
            _ => {}
        }
    }

    /// Both ends, without what comes after: `10.0.0.1:40000 > 10.0.0.2:80`.
    pub fn ends(&self) -> String {
        match self.l4 {
            L4::Tcp { sport, dport, .. } | L4::Ports { sport, dport } => {
                format!("{}:{sport} > {}:{dport}", Ipv4Addr::from(self.src), Ipv4Addr::from(self.dst))
            }
            _ => format!("{} > {}", Ipv4Addr::from(self.src), Ipv4Addr::from(self.dst)),
        }
    }

    /// The destination with its port: `10.0.0.2:80`.
    pub fn to(&self) -> String {
        match self.l4 {
            L4::Tcp { dport, .. } | L4::Ports { dport, .. } => endpoint(self.dst, Some(dport)),
            _ => endpoint(self.dst, None),
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", protocol(self.protocol), self.ends())?;
        match &self.l4 {
            L4::Tcp { flags, .. } => write!(f, " {}", tcp_flags(*flags)),
            L4::Icmp { icmp_type, code, id, about } => {
                write!(f, " {}", icmp_name(*icmp_type, *code))?;
                if is_icmp_query(*icmp_type) {
                    write!(f, " id {id}")?;
                }
                match about {
                    Some(about) => write!(f, " about {} {}", protocol(about.protocol), about.ends()),
                    None => Ok(()),
                }
            }
            L4::Fragment(offset) => write!(f, " fragment at {offset}"),
            L4::Ports { .. } | L4::None => Ok(()),
        }
    }
}

/// One line for any frame.
pub fn packet_line(packet: &Packet) -> String {
    if let Some(flow) = Flow::of(packet) {
        return flow.to_string();
    }
    let l3 = packet.l3();
    if packet.ethertype() == EtherType::ARP {
        return arp_line(l3).unwrap_or_else(|| format!("arp, {} bytes, malformed", l3.len()));
    }
    match packet.ethertype() {
        EtherType::IPV4 => format!("ip, {} bytes, malformed", l3.len()),
        EtherType::IPV6 => format!("ip6, {} bytes", l3.len()),
        EtherType(other) => format!("ethertype {other:#06x}, {} bytes", l3.len()),
    }
}

fn arp_line(l3: &[u8]) -> Option<String> {
    let addr =
        |at: usize| -> Option<Ipv4Addr> { Some(<[u8; 4]>::try_from(l3.get(at..at + 4)?).ok()?.into()) };
    let (sender, target) = (addr(14)?, addr(24)?);
    Some(match l3.get(7)? {
        1 => format!("arp who-has {target} tell {sender}"),
        2 => format!("arp reply {sender} is-at {}", pktwalk_packet::MacAddr(l3.get(8..14)?.try_into().ok()?)),
        other => format!("arp operation {other}"),
    })
}

/// `tcp`, `udp`, ..., or `proto 47`.
pub fn protocol(number: u8) -> String {
    names::protocol_name(number).map_or_else(|| format!("proto {number}"), str::to_owned)
}

/// `10.0.0.1:80`, or the address alone.
pub fn endpoint(addr: u32, port: Option<u16>) -> String {
    match port {
        Some(port) => format!("{}:{port}", Ipv4Addr::from(addr)),
        None => Ipv4Addr::from(addr).to_string(),
    }
}

/// `tcp 10.0.0.1:40000 > 10.0.0.2:80`.
pub fn tuple_line(tuple: &CtTuple) -> String {
    let protocol = protocol(tuple.protocol);
    match tuple.l4 {
        CtL4::Ports { src, dst } => {
            format!("{protocol} {}:{src} > {}:{dst}", tuple.src_addr(), tuple.dst_addr())
        }
        CtL4::Icmp { id, icmp_type, code } => {
            format!(
                "{protocol} {} > {} {} id {id}",
                tuple.src_addr(),
                tuple.dst_addr(),
                icmp_name(icmp_type, code)
            )
        }
        CtL4::None => format!("{protocol} {} > {}", tuple.src_addr(), tuple.dst_addr()),
    }
}

fn tcp_flags(flags: u8) -> String {
    const NAMES: [(u8, &str); 8] = [
        (0x02, "SYN"),
        (0x01, "FIN"),
        (0x04, "RST"),
        (0x08, "PSH"),
        (0x10, "ACK"),
        (0x20, "URG"),
        (0x40, "ECE"),
        (0x80, "CWR"),
    ];
    let names: Vec<&str> = NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    if names.is_empty() { "no flags".to_owned() } else { names.join(",") }
}

/// The name that iptables gives an ICMP type and code, or the numbers.
pub fn icmp_name(icmp_type: u8, code: u8) -> String {
    names::icmp_name(icmp_type, code).map_or_else(|| format!("type {icmp_type} code {code}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{icmp_unreachable, tcp_syn};

    #[test]
    fn tcp_and_what_icmp_says_about_it() {
        let syn = tcp_syn([10, 0, 0, 1], 40000, [10, 0, 0, 2], 80);
        assert_eq!(packet_line(&syn), "tcp 10.0.0.1:40000 > 10.0.0.2:80 SYN");
        let error = icmp_unreachable([10, 0, 0, 254], [10, 0, 0, 1], 1, &syn);
        assert_eq!(
            packet_line(&error),
            "icmp 10.0.0.254 > 10.0.0.1 host-unreachable about tcp 10.0.0.1:40000 > 10.0.0.2:80"
        );
    }

    #[test]
    fn any_bytes_have_a_line() {
        let syn = tcp_syn([10, 0, 0, 1], 40000, [10, 0, 0, 2], 80);
        for len in 0..syn.bytes().len() {
            for ethertype in [0x0800, 0x0806, 0x86dd, 0x1234] {
                let cut = Packet::from_l3(EtherType(ethertype), syn.l3()[..len.min(syn.l3().len())].to_vec());
                assert!(!packet_line(&cut).is_empty());
            }
        }
    }
}
