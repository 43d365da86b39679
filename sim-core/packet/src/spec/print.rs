//! [`Packet`] to [`Spec`], and [`Spec`] to text.

use std::fmt::{self, Write};
use std::net::Ipv4Addr;

use super::ast::{
    DEFAULT_TTL, DEFAULT_WINDOW, Data, Ip, L4, NamedTcpOptions, Net, Payload, Spec, Sum, Tcp, protocol_word,
};
use super::value::FLAGS;
use crate::names::{
    icmp_name, icmp_number, is_icmp_error, is_icmp_query, is_icmp_timestamp, proto, protocol_name,
};
use crate::transport::icmp_times;
use crate::{ArpFields, EtherType, IcmpFields, IcmpTime, Ipv4Fields, Packet, TcpFields, UdpFields, arp_op};

impl Spec {
    /// The packet in the words of its protocol, as far as that is possible; it need not build the same bytes.
    pub(super) fn of(packet: &Packet) -> Option<Spec> {
        let mac = packet.mac_dst().zip(packet.mac_src());
        let mut l3 = packet.l3();
        let mut ethertype = packet.ethertype();
        let mut vlan = None;
        if ethertype == EtherType::VLAN {
            let (tag, inner) = l3.split_first_chunk::<4>()?;
            vlan = Some(u16::from_be_bytes([tag[0], tag[1]]));
            ethertype = EtherType(u16::from_be_bytes([tag[2], tag[3]]));
            l3 = inner;
        }
        let spec = match ethertype {
            EtherType::IPV4 => Spec::of_ipv4(l3, packet.missing(), true)?,
            EtherType::ARP => Spec::of_arp(l3, packet.missing())?,
            _ => return None,
        };
        Some(Spec { mac, vlan, ..spec })
    }

    /// Puts zeros in the place of a payload that is longer than this. A checksum that was right is right for these, too.
    pub(super) fn shorten(&mut self, longest: usize) {
        let shorten = |data: &mut Data| {
            if data.bytes.len() > longest {
                *data = Data { bytes: Vec::new(), zeros: data.len() };
            }
        };
        match &mut self.net {
            Net::Ip(ip) => {
                if let Payload::Data(data) = &mut ip.payload {
                    shorten(data);
                }
            }
            Net::Raw { data, .. } => shorten(data),
            Net::Arp(_) => {}
        }
        shorten(&mut self.pad);
    }

    /// As it is, without looking into it.
    pub(super) fn raw(packet: &Packet) -> Spec {
        Spec {
            mac: packet.mac_dst().zip(packet.mac_src()),
            vlan: None,
            net: Net::Raw { ethertype: packet.ethertype().0, data: Data::of(packet.l3(), 16) },
            pad: Data::default(),
            cut: packet.missing(),
        }
    }

    fn of_arp(l3: &[u8], missing: usize) -> Option<Spec> {
        let pad = l3.get(28..)?;
        let mut pad = Data::of(pad, 1);
        pad.zeros = pad.zeros.checked_add(missing)?;
        let net = Net::Arp(ArpFields::parse(l3)?);
        Some(Spec { mac: None, vlan: None, net, pad, cut: missing })
    }

    fn of_ipv4(l3: &[u8], missing: usize, may_quote: bool) -> Option<Spec> {
        let fields = Ipv4Fields::parse(l3).ok()?;
        let header_len = usize::from(fields.header_len);
        let total = usize::from(fields.total_len);
        let wire = l3.len().checked_add(missing).filter(|wire| *wire <= 2 * 0xffff)?;
        // Where the packet ends: before padding, or with the last byte if its length is not true.
        let end = if total < header_len { wire } else { total.min(wire) };
        let mut filled = l3.to_vec();
        filled.resize(wire, 0);
        let pad = Data::of(filled.get(end..)?, 1);
        filled.truncate(end);
        // A TCP header that was cut off: what is not there is the shortest length and what a text need not say.
        if fields.protocol == proto::TCP && fields.frag_offset == 0 {
            let window = DEFAULT_WINDOW.to_be_bytes();
            for (at, value) in [(12, 0x50), (14, window[0]), (15, window[1])] {
                if let Some(byte) = filled.get_mut(header_len + at).filter(|_| l3.len() <= header_len + at) {
                    *byte = value;
                }
            }
        }
        let l4 = filled.get(header_len..)?;
        let (l4_spec, payload) = if fields.frag_offset > 0 {
            (L4::Bare, l4)
        } else {
            split_l4(fields.protocol, l4).unwrap_or((L4::Bare, l4))
        };
        let payload = match l4_spec {
            L4::Icmp { icmp_type, .. } if may_quote && is_icmp_error(icmp_type) => {
                quoted(payload).unwrap_or_else(|| Payload::Data(Data::of(payload, 16)))
            }
            _ => Payload::Data(Data::of(payload, 16)),
        };
        let mut ip = Ip {
            src: fields.src,
            dst: fields.dst,
            protocol: fields.protocol,
            tos: fields.tos,
            ttl: fields.ttl,
            id: fields.id,
            reserved: l3.get(6).is_some_and(|byte| byte & 0x80 != 0),
            df: fields.dont_fragment,
            mf: fields.more_fragments,
            off: fields.frag_offset,
            options: l3.get(20..header_len)?.to_vec(),
            totlen: (total != end).then_some(fields.total_len),
            ipsum: Sum::Auto,
            l4: l4_spec,
            sum: Sum::Auto,
            payload,
        };
        // Where a checksum is not the correct one, it must be said.
        let plain = Spec { mac: None, vlan: None, net: Net::Ip(Box::new(ip.clone())), pad, cut: missing };
        let built = plain.build().ok()?;
        if built.l3().get(10..12) != l3.get(10..12) {
            ip.ipsum = Sum::Value(u32::from(u16::from_be_bytes([*l3.get(10)?, *l3.get(11)?])));
        }
        if let Some((place, len)) = ip.sum_place() {
            let at = header_len + place;
            if let Some(field) = l3.get(at..at + len)
                && built.l3().get(at..at + len) != Some(field)
            {
                ip.sum = Sum::Value(field.iter().fold(0, |sum, byte| (sum << 8) | u32::from(*byte)));
            }
        }
        Some(Spec { net: Net::Ip(Box::new(ip)), ..plain })
    }
}

/// The packet that an ICMP error quotes.
fn quoted(payload: &[u8]) -> Option<Payload> {
    let total = usize::from(Ipv4Fields::parse(payload).ok()?.total_len);
    let missing = total.saturating_sub(payload.len());
    let inner = Spec::of_ipv4(payload, missing, false)?;
    // The quote of an error has nothing around it.
    (inner.pad.len() == 0 && inner.build().ok()?.l3() == payload).then(|| Payload::About(Box::new(inner)))
}

fn split_l4(protocol: u8, l4: &[u8]) -> Option<(L4, &[u8])> {
    let ports = || Some((word(l4, 0)?, word(l4, 2)?));
    Some(match protocol {
        proto::TCP => {
            let fields = TcpFields::parse(l4)?;
            let header_len = usize::from(fields.header_len);
            let truthful = (20..=l4.len()).contains(&header_len);
            let (options, payload) =
                if truthful { (&l4[20..header_len], &l4[header_len..]) } else { (&l4[..0], &l4[20..]) };
            let tcp = Tcp {
                ports: (fields.sport, fields.dport),
                seq: fields.seq,
                ack: fields.ack,
                flags: fields.flags,
                reserved: l4[12] & 0xf,
                window: fields.window,
                urgent: fields.urgent,
                options: options.to_vec(),
                doff: (!truthful).then_some(fields.header_len / 4),
            };
            (L4::Tcp(tcp), payload)
        }
        proto::UDP => {
            let fields = UdpFields::parse(l4)?;
            let ulen = (usize::from(fields.len) != l4.len()).then_some(fields.len);
            (L4::Udp { ports: ports()?, ulen }, &l4[8..])
        }
        proto::UDPLITE => {
            let fields = UdpFields::parse(l4)?;
            (L4::Udplite { ports: ports()?, coverage: fields.len }, &l4[8..])
        }
        proto::SCTP => {
            let tag = (u32::from(word(l4, 4)?) << 16) | u32::from(word(l4, 6)?);
            (L4::Sctp { ports: ports()?, tag }, l4.get(12..)?)
        }
        proto::ICMP => {
            let fields = IcmpFields::parse(l4)?;
            let rest = [l4[4], l4[5], l4[6], l4[7]];
            let (icmp_type, code) = (fields.icmp_type, fields.code);
            let held = l4[8..].split_first_chunk::<12>().filter(|_| is_icmp_timestamp(icmp_type));
            let times = held.map(|(times, _)| icmp_times(times));
            let payload = held.map_or(&l4[8..], |(_, behind)| behind);
            (L4::Icmp { icmp_type, code, rest, times }, payload)
        }
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printable = |byte: &u8| (0x20..0x7f).contains(byte) || matches!(byte, b'\n' | b'\r' | b'\t');
        if self.zeros == 0 && !self.bytes.is_empty() && self.bytes.iter().all(printable) {
            f.write_char('"')?;
            for byte in &self.bytes {
                match byte {
                    b'\n' => f.write_str("\\n")?,
                    b'\r' => f.write_str("\\r")?,
                    b'\t' => f.write_str("\\t")?,
                    b'"' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                    byte => f.write_char(char::from(*byte))?,
                }
            }
            return f.write_char('"');
        }
        write!(f, "{}", Hex(&self.bytes))?;
        if self.zeros > 0 { write!(f, "+{}", self.zeros) } else { Ok(()) }
    }
}

/// ` len=N` or ` data=...`; nothing for no bytes.
struct PayloadKey<'a>(&'a Data);

impl fmt::Display for PayloadKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Data { bytes, zeros } = self.0;
        match (bytes.iter().all(|byte| *byte == 0), bytes.len() + zeros) {
            (true, 0) => Ok(()),
            (true, len) => write!(f, " len={len}"),
            (false, _) => write!(f, " data={}", self.0),
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.net {
            Net::Ip(ip) => write!(f, "{ip}")?,
            Net::Arp(arp) => {
                write!(f, "arp {} > {} op=", Ipv4Addr::from(arp.sender), Ipv4Addr::from(arp.target))?;
                match arp.operation {
                    arp_op::REQUEST => f.write_str("request")?,
                    arp_op::REPLY => f.write_str("reply")?,
                    other => write!(f, "{other}")?,
                }
                write!(f, " sha={} tha={}", arp.sender_mac, arp.target_mac)?;
            }
            Net::Raw { ethertype, data } => write!(f, "raw ethertype={ethertype:#06x}{}", PayloadKey(data))?,
        }
        match (self.pad.bytes.is_empty(), self.pad.zeros) {
            (true, 0) => {}
            (true, zeros) => write!(f, " pad={zeros}")?,
            (false, 0) => write!(f, " pad=0x{}", Hex(&self.pad.bytes))?,
            (false, zeros) => write!(f, " pad=0x{}+{zeros}", Hex(&self.pad.bytes))?,
        }
        if self.cut > 0 {
            let key = if matches!(self.net, Net::Raw { .. }) { "missing" } else { "cut" };
            write!(f, " {key}={}", self.cut)?;
        }
        if let Some(tci) = self.vlan {
            write!(f, " vlan={}", tci & 0xfff)?;
            if tci >> 13 != 0 {
                write!(f, " pcp={}", tci >> 13)?;
            }
            if tci & 0x1000 != 0 {
                f.write_str(" dei")?;
            }
        }
        match self.mac {
            Some((dst, src)) => write!(f, " smac={src} dmac={dst}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (src, dst) = (Ipv4Addr::from(self.src), Ipv4Addr::from(self.dst));
        let own = protocol_word(self.protocol);
        match (&self.l4, own) {
            (
                L4::Tcp(Tcp { ports, .. })
                | L4::Udp { ports, .. }
                | L4::Udplite { ports, .. }
                | L4::Sctp { ports, .. },
                Some(word),
            ) => write!(f, "{word} {src}:{} > {dst}:{}", ports.0, ports.1)?,
            (L4::Icmp { .. }, Some(word)) => write!(f, "{word} {src} > {dst}")?,
            (L4::Bare, Some(word)) if self.off > 0 => write!(f, "{word} {src} > {dst}")?,
            _ => match protocol_name(self.protocol) {
                Some(name) => write!(f, "ip {src} > {dst} proto={name}")?,
                None => write!(f, "ip {src} > {dst} proto={}", self.protocol)?,
            },
        }
        match &self.l4 {
            L4::Tcp(tcp) => tcp.fmt_keys(f)?,
            L4::Udp { ulen: Some(ulen), .. } => write!(f, " ulen={ulen}")?,
            L4::Udplite { coverage, .. } if *coverage != 0 => write!(f, " cov={coverage}")?,
            L4::Sctp { tag, .. } if *tag != 0 => write!(f, " vtag={tag:#010x}")?,
            L4::Icmp { icmp_type, code, rest, times } => {
                fmt_icmp(f, *icmp_type, *code, *rest)?;
                match (times, &self.payload) {
                    (Some([org, recv, xmit]), _) => {
                        write!(
                            f,
                            " org={} recv={} xmit={}",
                            IcmpTime(*org),
                            IcmpTime(*recv),
                            IcmpTime(*xmit)
                        )?;
                    }
                    // Where nothing is said there are times.
                    (None, Payload::Data(data)) if is_icmp_timestamp(*icmp_type) && data.len() == 0 => {
                        f.write_str(" len=0")?;
                    }
                    _ => {}
                }
            }
            L4::Udp { .. } | L4::Udplite { .. } | L4::Sctp { .. } | L4::Bare => {}
        }
        match (self.sum, &self.l4) {
            (Sum::Auto, _) => {}
            (Sum::Bad, _) => f.write_str(" sum=bad")?,
            (Sum::Value(0), L4::Udp { .. }) => f.write_str(" sum=none")?,
            (Sum::Value(value), L4::Sctp { .. }) => write!(f, " sum={value:#010x}")?,
            (Sum::Value(value), _) => write!(f, " sum={value:#06x}")?,
        }
        match &self.payload {
            Payload::Data(data) => write!(f, "{}", PayloadKey(data))?,
            Payload::About(inner) => write!(f, " about ({inner})")?,
        }
        if self.ttl != DEFAULT_TTL {
            write!(f, " ttl={}", self.ttl)?;
        }
        if self.tos != 0 {
            write!(f, " tos={:#04x}", self.tos)?;
        }
        if self.id != 0 {
            write!(f, " {}={}", if matches!(self.l4, L4::Icmp { .. }) { "ipid" } else { "id" }, self.id)?;
        }
        for (set, key) in [(self.df, " df"), (self.mf, " mf"), (self.reserved, " rf")] {
            if set {
                f.write_str(key)?;
            }
        }
        if self.off > 0 {
            write!(f, " off={}", u32::from(self.off) * 8)?;
        }
        if !self.options.is_empty() {
            write!(f, " opts={}", Hex(&self.options))?;
        }
        if let Some(totlen) = self.totlen {
            write!(f, " totlen={totlen}")?;
        }
        match self.ipsum {
            Sum::Auto => Ok(()),
            Sum::Bad => f.write_str(" ipsum=bad"),
            Sum::Value(value) => write!(f, " ipsum={value:#06x}"),
        }
    }
}

impl Tcp {
    fn fmt_keys(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(" flags=")?;
        if self.flags == 0 {
            f.write_str("none")?;
        }
        for (_, letter) in FLAGS.iter().filter(|(bit, _)| self.flags & bit != 0) {
            f.write_char(*letter)?;
        }
        if self.seq != 0 {
            write!(f, " seq={}", self.seq)?;
        }
        if self.ack != 0 {
            write!(f, " ack={}", self.ack)?;
        }
        if self.window != DEFAULT_WINDOW {
            write!(f, " win={}", self.window)?;
        }
        if self.urgent != 0 {
            write!(f, " urg={}", self.urgent)?;
        }
        if self.reserved != 0 {
            write!(f, " reserved={}", self.reserved)?;
        }
        if let Some(doff) = self.doff {
            write!(f, " doff={doff}")?;
        }
        if self.options.is_empty() {
            return Ok(());
        }
        let Some(named) = NamedTcpOptions::decode(&self.options) else {
            return write!(f, " tcpopts={}", Hex(&self.options));
        };
        if let Some(mss) = named.mss {
            write!(f, " mss={mss}")?;
        }
        if named.sack_perm {
            f.write_str(" sack-perm")?;
        }
        if let Some((value, echo)) = named.ts {
            write!(f, " ts={value}:{echo}")?;
        }
        if let Some(shift) = named.wscale {
            write!(f, " wscale={shift}")?;
        }
        Ok(())
    }
}

fn fmt_icmp(f: &mut fmt::Formatter<'_>, icmp_type: u8, code: u8, rest: [u8; 4]) -> fmt::Result {
    match icmp_name(icmp_type, code) {
        Some(name) => {
            write!(f, " type={name}")?;
            // A name that says no code is written with it, except for the usual 0.
            if icmp_number(name).is_some_and(|(_, named)| named.unwrap_or(0) != code) {
                write!(f, " code={code}")?;
            }
        }
        None => {
            write!(f, " type={icmp_type}")?;
            if code != 0 {
                write!(f, " code={code}")?;
            }
        }
    }
    let [a, b, c, d] = rest;
    match (icmp_type, code, rest) {
        (t, _, _) if is_icmp_query(t) => {
            write!(f, " id={} seq={}", u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
        }
        (5, ..) => write!(f, " gateway={}", Ipv4Addr::from(rest)),
        (_, _, [0, 0, 0, 0]) => Ok(()),
        (3, 4, [0, 0, ..]) => write!(f, " mtu={}", u16::from_be_bytes([c, d])),
        (12, _, [_, 0, 0, 0]) => write!(f, " pointer={a}"),
        _ => write!(f, " rest={:#010x}", u32::from_be_bytes(rest)),
    }
}
