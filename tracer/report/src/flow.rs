//! One line for a packet: protocol, both ends, and what tells it from its neighbours.

use std::fmt;
use std::net::Ipv4Addr;

use pktwalk_linux::conntrack::tuple::{CtL4, CtTuple};
use pktwalk_linux::trace::{Manip, Step};
use pktwalk_packet::names::{self, is_icmp_query};
use pktwalk_packet::spec::print_short;
use pktwalk_packet::{ArpFields, EtherType, Ipv4Fields, Packet, VlanTag};

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
    /// Reads an IPv4 packet, behind whatever VLAN tags; `None` for anything else.
    pub fn of(packet: &Packet) -> Option<Flow> {
        let (ethertype, l3) = packet.behind_tags();
        (ethertype == EtherType::IPV4).then(|| Flow::of_ipv4(l3, true)).flatten()
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

impl Flow {
    /// Both addresses, without ports.
    fn addrs(&self) -> String {
        format!("{} > {}", Ipv4Addr::from(self.src), Ipv4Addr::from(self.dst))
    }

    /// In the packet mini-language. Of the packet that an error is about, only the ends and the type are told.
    fn write(&self, f: &mut impl fmt::Write, quoted: bool) -> fmt::Result {
        let word = names::protocol_name(self.protocol)
            .filter(|word| ["tcp", "udp", "udplite", "sctp", "icmp"].contains(word));
        let ends = match self.l4 {
            L4::Tcp { .. } | L4::Ports { .. } => Some(self.ends()),
            L4::Icmp { .. } | L4::Fragment(_) => Some(self.addrs()),
            L4::None => None,
        };
        match (word, ends) {
            (Some(word), Some(ends)) => write!(f, "{word} {ends}")?,
            _ => {
                write!(f, "ip {} proto=", self.addrs())?;
                match names::protocol_name(self.protocol) {
                    Some(name) => f.write_str(name)?,
                    None => write!(f, "{}", self.protocol)?,
                }
            }
        }
        match &self.l4 {
            L4::Tcp { .. } if quoted => Ok(()),
            L4::Tcp { flags, .. } => write!(f, " {}", tcp_flags(*flags)),
            // The flags were cut off.
            L4::Ports { .. } if self.protocol == 6 && !quoted => f.write_str(" cut=8"),
            L4::Icmp { icmp_type, code, id, about } => {
                match names::icmp_name(*icmp_type, *code) {
                    Some(name) => write!(f, " {name}")?,
                    None => write!(f, " type={icmp_type} code={code}")?,
                }
                if is_icmp_query(*icmp_type) && !quoted {
                    write!(f, " id={id}")?;
                }
                match about {
                    Some(about) => {
                        f.write_str(" about (")?;
                        about.write(f, true)?;
                        f.write_str(")")
                    }
                    None => Ok(()),
                }
            }
            L4::Fragment(offset) => write!(f, " off={offset}"),
            L4::Ports { .. } | L4::None => Ok(()),
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, false)
    }
}

/// One line for any frame, in the packet mini-language: `-p` reads it as a packet of the same line. What tells packets of one flow apart is left
/// out; [`packet_full`] tells it.
pub fn packet_line(packet: &Packet) -> String {
    if packet.ethertype() == EtherType::VLAN
        && let Some(tag) = VlanTag::of(packet)
    {
        let inner = Packet::from_l3(tag.inner, packet.l3().get(4..).unwrap_or(&[]).to_vec());
        if let Some(line) = untagged_line(&inner) {
            return format!("{line} vlan={}", tag.id);
        }
    }
    untagged_line(packet).unwrap_or_else(|| {
        let (ethertype, len) = (packet.ethertype().0, packet.l3().len());
        let len = if len == 0 { String::new() } else { format!(" len={len}") };
        format!("raw ethertype={ethertype:#06x}{len}")
    })
}

fn untagged_line(packet: &Packet) -> Option<String> {
    match packet.ethertype() {
        EtherType::ARP => arp_line(packet.l3()),
        EtherType::IPV4 => Flow::of(packet).map(|flow| flow.to_string()),
        _ => None,
    }
}

/// Everything about a frame, in the packet mini-language: `-p` reads it as the very same packet, but for a long payload, of which only the length
/// is told.
pub fn packet_full(packet: &Packet) -> String {
    print_short(packet)
}

fn arp_line(l3: &[u8]) -> Option<String> {
    let arp = ArpFields::parse(l3)?;
    let (sender, target) = (Ipv4Addr::from(arp.sender), Ipv4Addr::from(arp.target));
    let ends = format!("arp {sender} > {target}");
    let sha = arp.sender_mac;
    Some(match arp.operation {
        1 => format!("{ends} op=request sha={sha}"),
        2 => format!("{ends} op=reply sha={sha} tha={}", arp.target_mac),
        other => format!("{ends} op={other} sha={sha} tha={}", arp.target_mac),
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

pub(crate) fn tcp_flags(flags: u8) -> String {
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
    if names.is_empty() { "flags=none".to_owned() } else { names.join(",") }
}

/// The name that iptables gives an ICMP type and code, or the numbers.
pub fn icmp_name(icmp_type: u8, code: u8) -> String {
    names::icmp_name(icmp_type, code).map_or_else(|| format!("type {icmp_type} code {code}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{icmp_unreachable, tcp_syn};
    use pktwalk_packet::spec::parse;

    #[test]
    fn tcp_and_what_icmp_says_about_it() {
        let syn = tcp_syn([10, 0, 0, 1], 40000, [10, 0, 0, 2], 80);
        assert_eq!(packet_line(&syn), "tcp 10.0.0.1:40000 > 10.0.0.2:80 SYN");
        let error = icmp_unreachable([10, 0, 0, 254], [10, 0, 0, 1], 1, &syn);
        assert_eq!(
            packet_line(&error),
            "icmp 10.0.0.254 > 10.0.0.1 host-unreachable about (tcp 10.0.0.1:40000 > 10.0.0.2:80)"
        );
    }

    /// What is printed can be read again, and prints as itself.
    fn again(packet: &Packet) {
        for print in [packet_line, packet_full] {
            let line = print(packet);
            let read = parse(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(print(&read), line);
        }
    }

    #[test]
    fn lines_are_read_again() {
        for text in [
            "tcp 10.0.0.1:1 > 10.0.0.2:2 flags=SAE mss=1460 df len=3",
            "tcp 10.0.0.1:1 > 10.0.0.2:2 flags=none",
            "udp 10.0.0.1:1 > 10.0.0.2:2 vlan=5 smac=02:00:00:00:00:01 dmac=02:00:00:00:00:02",
            "udplite 10.0.0.1:1 > 10.0.0.2:2 len=1",
            "udp 10.0.0.1 > 10.0.0.2 off=1480 len=8",
            "ip 10.0.0.1 > 10.0.0.2 proto=gre off=8 len=8",
            "ip 10.0.0.1 > 10.0.0.2 proto=dccp len=16",
            "ip 10.0.0.1 > 10.0.0.2 proto=99",
            "icmp 10.0.0.1 > 10.0.0.2 type=echo-request id=7 seq=2 data=616263",
            "icmp 10.0.0.1 > 10.0.0.2 type=200 code=7",
            "icmp 10.0.0.1 > 10.0.0.2 type=3 about (icmp 10.0.0.2 > 10.0.0.1 type=echo-reply id=1 seq=1)",
            "icmp 10.0.0.1 > 10.0.0.2 type=11 about (udp 10.0.0.2 > 10.0.0.1 off=8 len=8)",
            "arp 10.0.0.1 > 10.0.0.2 sha=02:00:00:00:00:01",
            "arp 10.0.0.1 > 10.0.0.2 op=reply sha=02:00:00:00:00:01 tha=02:00:00:00:00:02",
            "raw ethertype=0x86dd len=40",
            "raw ethertype=0x88cc",
        ] {
            let packet = parse(text).unwrap();
            again(&packet);
            assert_eq!(parse(&packet_full(&packet)).unwrap(), packet, "{text}");
            for len in 0..packet.l3().len() {
                let mut cut = packet.clone();
                cut.set_l3(&packet.l3()[..len]);
                again(&cut);
                again(&cut.with_missing(packet.l3().len() - len));
            }
        }
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
