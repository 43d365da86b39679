//! One line for any packet, in the manner of tcpdump.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::names::{
    has_ports, icmp_name, is_icmp_error, is_icmp_query, is_icmp_timestamp, proto, protocol_name,
};
use crate::transport::icmp_times;
use crate::{
    ArpFields, EtherType, IcmpFields, IcmpTime, Ipv4Fields, Ipv6Fields, Packet, TcpFields, TcpOption,
    TcpOptions, VlanTag, arp_op, tcp_flag,
};

/// One line that says what a packet is: `tcp 10.0.0.1:40000 > 10.0.0.2:80 SYN seq 0 win 64240 len 0 ttl 64`. For any bytes.
pub fn summary(packet: &Packet) -> Summary<'_> {
    Summary(packet)
}

/// What [`summary`] returns: formats on display, allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a>(&'a Packet);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packet = self.0;
        let (mut ethertype, mut l3) = (packet.ethertype(), packet.l3());
        if let Some(tag) = VlanTag::of(packet) {
            write!(f, "vlan {} ", tag.id)?;
            ethertype = tag.inner;
            l3 = l3.get(4..).unwrap_or(&[]);
        }
        match ethertype {
            EtherType::IPV4 => ipv4(f, l3, l3.len().saturating_add(packet.missing()), true)?,
            EtherType::ARP => arp(f, l3)?,
            EtherType::IPV6 => ipv6(f, l3)?,
            EtherType(other) => write!(f, "ethertype {other:#06x}, {} bytes", l3.len())?,
        }
        match packet.missing() {
            0 => Ok(()),
            missing => write!(f, " [{missing} bytes not captured]"),
        }
    }
}

fn protocol(f: &mut fmt::Formatter<'_>, number: u8) -> fmt::Result {
    match protocol_name(number) {
        Some(name) => f.write_str(name),
        None => write!(f, "proto {number}"),
    }
}

/// `wire` is the length with what a capture cut off; `full` is false for the packet that an ICMP error quotes.
fn ipv4(f: &mut fmt::Formatter<'_>, l3: &[u8], wire: usize, full: bool) -> fmt::Result {
    let ip = match Ipv4Fields::parse(l3) {
        Ok(ip) => ip,
        Err(error) => return write!(f, "ip, {} bytes, malformed: {error}", l3.len()),
    };
    let (header_len, total) = (usize::from(ip.header_len), usize::from(ip.total_len));
    let end = if total < header_len { l3.len() } else { total.min(l3.len()) };
    let l4 = l3.get(header_len..end).unwrap_or(&[]);
    let l4_len = total.saturating_sub(header_len);
    let word = |at: usize| Some(u16::from_be_bytes([*l4.get(at)?, *l4.get(at + 1)?]));
    let (src, dst) = (Ipv4Addr::from(ip.src), Ipv4Addr::from(ip.dst));
    protocol(f, ip.protocol)?;
    let ports = word(0).zip(word(2)).filter(|_| has_ports(ip.protocol) && ip.frag_offset == 0);
    match ports {
        Some((sport, dport)) => write!(f, " {src}:{sport} > {dst}:{dport}")?,
        None => write!(f, " {src} > {dst}")?,
    }
    if ip.frag_offset > 0 {
        write!(f, " fragment at {} len {l4_len}", u32::from(ip.frag_offset) * 8)?;
        if !ip.more_fragments {
            f.write_str(" (last)")?;
        }
    } else {
        let fixed = match ip.protocol {
            proto::TCP => tcp(f, l4, l4_len, full)?,
            proto::ICMP => icmp(f, l4, l4_len, full)?,
            proto::UDP | proto::UDPLITE if l4.len() >= 8 => len(f, l4_len.saturating_sub(8), full)?,
            proto::SCTP if l4.len() >= 12 => len(f, l4_len.saturating_sub(12), full)?,
            proto::UDP | proto::UDPLITE | proto::SCTP => false,
            _ => len(f, l4_len, full)?,
        };
        if !fixed && full {
            f.write_str(" [header cut off]")?;
        }
        if ip.more_fragments {
            f.write_str(" (first fragment)")?;
        }
    }
    if !full {
        return Ok(());
    }
    write!(f, " ttl {}", ip.ttl)?;
    if ip.tos != 0 {
        write!(f, " tos {:#04x}", ip.tos)?;
    }
    if ip.dont_fragment {
        f.write_str(" DF")?;
    }
    if header_len > 20 {
        write!(f, " options {}", header_len - 20)?;
    }
    if total < header_len || total > wire {
        write!(f, " [total length {total} of {wire}]")?;
    }
    Ok(())
}

fn len(f: &mut fmt::Formatter<'_>, len: usize, full: bool) -> Result<bool, fmt::Error> {
    if full {
        write!(f, " len {len}")?;
    }
    Ok(true)
}

/// Whether the fixed header was there.
fn tcp(f: &mut fmt::Formatter<'_>, l4: &[u8], l4_len: usize, full: bool) -> Result<bool, fmt::Error> {
    let Some(fields) = TcpFields::parse(l4) else { return Ok(false) };
    f.write_str(" ")?;
    tcp_flags(f, fields.flags)?;
    if !full {
        return Ok(true);
    }
    write!(f, " seq {}", fields.seq)?;
    if fields.flags & tcp_flag::ACK != 0 {
        write!(f, " ack {}", fields.ack)?;
    }
    write!(f, " win {}", fields.window)?;
    if fields.flags & tcp_flag::URG != 0 {
        write!(f, " urg {}", fields.urgent)?;
    }
    for option in TcpOptions::of(l4).into_iter().flatten() {
        match option {
            Ok(TcpOption::Mss(mss)) => write!(f, " mss {mss}")?,
            Ok(TcpOption::WindowScale(shift)) => write!(f, " wscale {shift}")?,
            Ok(_) => {}
            Err(_) => f.write_str(" [bad option]")?,
        }
    }
    if fields.header_len < 20 || usize::from(fields.header_len) > l4_len {
        write!(f, " [data offset {}]", fields.header_len)?;
    }
    write!(f, " len {}", l4_len.saturating_sub(usize::from(fields.header_len)))?;
    Ok(true)
}

fn tcp_flags(f: &mut fmt::Formatter<'_>, flags: u8) -> fmt::Result {
    const NAMES: [(u8, &str); 8] = [
        (tcp_flag::SYN, "SYN"),
        (tcp_flag::FIN, "FIN"),
        (tcp_flag::RST, "RST"),
        (tcp_flag::PSH, "PSH"),
        (tcp_flag::ACK, "ACK"),
        (tcp_flag::URG, "URG"),
        (tcp_flag::ECE, "ECE"),
        (tcp_flag::CWR, "CWR"),
    ];
    let mut first = true;
    for (_, name) in NAMES.iter().filter(|(bit, _)| flags & bit != 0) {
        if !first {
            f.write_str(",")?;
        }
        first = false;
        f.write_str(name)?;
    }
    if first { f.write_str("no flags") } else { Ok(()) }
}

fn icmp(f: &mut fmt::Formatter<'_>, l4: &[u8], l4_len: usize, full: bool) -> Result<bool, fmt::Error> {
    let Some(fields) = IcmpFields::parse(l4) else { return Ok(false) };
    let (icmp_type, code) = (fields.icmp_type, fields.code);
    match icmp_name(icmp_type, code) {
        Some(name) => write!(f, " {name}")?,
        None => write!(f, " type {icmp_type} code {code}")?,
    }
    if is_icmp_query(icmp_type) {
        write!(f, " id {} seq {}", fields.id, fields.seq)?;
    }
    match (icmp_type, code) {
        (3, 4) => write!(f, " mtu {}", fields.seq)?,
        (5, _) => write!(f, " to {}", Ipv4Addr::from((u32::from(fields.id) << 16) | u32::from(fields.seq)))?,
        (12, _) => write!(f, " pointer {}", fields.id >> 8)?,
        _ => {}
    }
    if is_icmp_error(icmp_type) && full && l4.len() > 8 {
        f.write_str(" about (")?;
        ipv4(f, &l4[8..], l4_len.saturating_sub(8), false)?;
        f.write_str(")")?;
    } else {
        // As in the mini-language, the length is of what stands behind the times.
        let times =
            l4.get(8..20).and_then(<[u8]>::first_chunk).filter(|_| full && is_icmp_timestamp(icmp_type));
        if let Some(times) = times {
            let [org, recv, xmit] = icmp_times(times).map(IcmpTime);
            write!(f, " org {org} recv {recv} xmit {xmit}")?;
        }
        len(f, l4_len.saturating_sub(if times.is_some() { 20 } else { 8 }), full)?;
    }
    Ok(true)
}

fn arp(f: &mut fmt::Formatter<'_>, l3: &[u8]) -> fmt::Result {
    let Some(arp) = ArpFields::parse(l3) else {
        return write!(f, "arp, {} bytes, malformed or not of IPv4 over Ethernet", l3.len());
    };
    let (sender, target) = (Ipv4Addr::from(arp.sender), Ipv4Addr::from(arp.target));
    match arp.operation {
        arp_op::REQUEST => write!(f, "arp who-has {target} tell {sender}"),
        arp_op::REPLY => write!(f, "arp reply {sender} is-at {}", arp.sender_mac),
        other => write!(f, "arp operation {other} {sender} > {target}"),
    }
}

fn ipv6(f: &mut fmt::Formatter<'_>, l3: &[u8]) -> fmt::Result {
    let ip = match Ipv6Fields::parse(l3) {
        Ok(ip) => ip,
        Err(error) => return write!(f, "ip6, {} bytes, malformed: {error}", l3.len()),
    };
    let (src, dst) = (Ipv6Addr::from(ip.src), Ipv6Addr::from(ip.dst));
    f.write_str("ip6 ")?;
    match ip.transport(l3) {
        Some(transport) => {
            match transport.protocol {
                58 => f.write_str("icmp6")?,
                number => protocol(f, number)?,
            }
            let l4 = l3.get(transport.offset..).unwrap_or(&[]);
            match l4.first_chunk::<4>() {
                Some([a, b, c, d]) if has_ports(transport.protocol) && transport.frag_offset == 0 => {
                    let (sport, dport) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
                    write!(f, " [{src}]:{sport} > [{dst}]:{dport}")?;
                }
                _ => write!(f, " {src} > {dst}")?,
            }
        }
        None => write!(f, "{src} > {dst}")?,
    }
    write!(f, " len {} hlim {}", ip.payload_len, ip.hop_limit)
}

#[cfg(test)]
mod tests {
    use super::summary;
    use crate::spec::parse;
    use crate::{EtherType, Packet};

    #[test]
    fn lines() {
        for (text, line) in [
            (
                "tcp 10.0.0.1:40000 > 10.0.0.2:80",
                "tcp 10.0.0.1:40000 > 10.0.0.2:80 SYN seq 0 win 64240 len 0 ttl 64",
            ),
            (
                "tcp 1.2.3.4:5 > 6.7.8.9:10 flags=SA ack=1 mss=1460 sack-perm wscale=7 df",
                "tcp 1.2.3.4:5 > 6.7.8.9:10 SYN,ACK seq 0 ack 1 win 64240 mss 1460 wscale 7 len 0 ttl 64 DF",
            ),
            (
                "udp 1.2.3.4:5 > 6.7.8.9:10 len=100 tos=16",
                "udp 1.2.3.4:5 > 6.7.8.9:10 len 100 ttl 64 tos 0x10",
            ),
            (
                "udp 1.2.3.4:5 > 6.7.8.9:10 len=100 cut=90",
                "udp 1.2.3.4:5 > 6.7.8.9:10 len 100 ttl 64 [90 bytes not captured]",
            ),
            (
                "udp 1.2.3.4 > 6.7.8.9 off=1480 len=20",
                "udp 1.2.3.4 > 6.7.8.9 fragment at 1480 len 20 (last) ttl 64",
            ),
            (
                "icmp 1.2.3.4 > 6.7.8.9 type=echo-request id=7 seq=1",
                "icmp 1.2.3.4 > 6.7.8.9 echo-request id 7 seq 1 len 0 ttl 64",
            ),
            (
                "icmp 1.2.3.4 > 6.7.8.9 type=timestamp-reply id=7 seq=1 org=86399999 recv=0x80000001 len=3",
                "icmp 1.2.3.4 > 6.7.8.9 timestamp-reply id 7 seq 1 org 23:59:59.999 recv 596:31:23.649 xmit 00:00:00.000 \
                 len 3 ttl 64",
            ),
            (
                "icmp 1.2.3.4 > 6.7.8.9 type=timestamp-request id=7 seq=1 len=11",
                "icmp 1.2.3.4 > 6.7.8.9 timestamp-request id 7 seq 1 len 11 ttl 64",
            ),
            (
                "icmp 1.2.3.4 > 6.7.8.9 type=fragmentation-needed mtu=1400 about (tcp 6.7.8.9:5 > 3.3.3.3:10 cut=12)",
                "icmp 1.2.3.4 > 6.7.8.9 fragmentation-needed mtu 1400 about (tcp 6.7.8.9:5 > 3.3.3.3:10) ttl 64",
            ),
            ("arp 1.2.3.4 > 1.2.3.5 op=request sha=02:00:00:00:00:01", "arp who-has 1.2.3.5 tell 1.2.3.4"),
            (
                "ip 1.2.3.4 > 6.7.8.9 proto=99 opts=94040000",
                "proto 99 1.2.3.4 > 6.7.8.9 len 0 ttl 64 options 4",
            ),
            ("raw ethertype=0x88cc len=3", "ethertype 0x88cc, 3 bytes"),
        ] {
            assert_eq!(summary(&parse(text).unwrap()).to_string(), line, "{text}");
        }
    }

    #[test]
    fn any_bytes_have_a_line() {
        for text in [
            "tcp 1.2.3.4:5 > 6.7.8.9:10 mss=1460 data=010203 opts=94040000",
            "icmp 1.2.3.4 > 6.7.8.9 type=3 about (tcp 6.7.8.9:5 > 3.3.3.3:10 mss=7)",
            "sctp 1.2.3.4:5 > 6.7.8.9:10 len=9 vlan=3",
        ] {
            let whole = parse(text).unwrap();
            for len in 0..=whole.l3().len() {
                for ethertype in [0x0800, 0x0806, 0x86dd, 0x8100, 0x1234] {
                    let cut = Packet::from_l3(EtherType(ethertype), whole.l3()[..len].to_vec());
                    assert!(!summary(&cut).to_string().is_empty());
                    assert!(!summary(&cut.with_missing(usize::MAX)).to_string().is_empty());
                }
            }
        }
    }
}
