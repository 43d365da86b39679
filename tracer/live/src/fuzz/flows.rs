//! Generated packets: new flows, what follows in them, replies to what came out, errors about it, and rubbish.

use std::net::Ipv4Addr;

use pktwalk_linux::config::NetNsConfig;
use pktwalk_linux::skb::SkbSocket;
use pktwalk_packet::{EtherType, Ipv4Fields, MacAddr, Packet, TcpFields, checksum, tcp_flag};
use pktwalk_scenario::case::{CaseSend, Entry};
use pktwalk_scenario::event::{FrameOut, SendRun};

use super::pools::{self, CLIENT_PORTS, FAR_HOST, GATEWAY, NODE, NODE_SECOND, POD_A, POD_B, SERVICE_PORTS};
use super::rng::Rng;
use super::world::PORTS;
use crate::frame;

/// What a flow is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum L4 {
    Tcp { sport: u16, dport: u16, flags: u8, seq: u32, ack: u32 },
    Udp { sport: u16, dport: u16 },
    Icmp { kind: u8, code: u8, id: u16, seq: u16 },
    Other(u8),
}

/// An IPv4 packet in the making.
#[derive(Clone, Copy, Debug)]
struct Draft {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    l4: L4,
    tos: u8,
    ttl: u8,
    dont_fragment: bool,
    payload: usize,
    mss: bool,
}

impl Draft {
    fn bytes(&self, id: u16) -> Vec<u8> {
        let payload: Vec<u8> = (0..self.payload).map(|at| at as u8).collect();
        let (protocol, l4) = match self.l4 {
            L4::Tcp { sport, dport, flags, seq, ack } => {
                let options: &[u8] = if self.mss { &[2, 4, 5, 0xb4] } else { &[] };
                let mut l4 = Vec::new();
                l4.extend_from_slice(&sport.to_be_bytes());
                l4.extend_from_slice(&dport.to_be_bytes());
                l4.extend_from_slice(&seq.to_be_bytes());
                l4.extend_from_slice(&ack.to_be_bytes());
                l4.push(((20 + options.len()) as u8 / 4) << 4);
                l4.push(flags);
                l4.extend_from_slice(&29200u16.to_be_bytes());
                l4.extend_from_slice(&[0; 4]);
                l4.extend_from_slice(options);
                l4.extend_from_slice(&payload);
                (6, l4)
            }
            L4::Udp { sport, dport } => {
                let mut l4 = Vec::new();
                l4.extend_from_slice(&sport.to_be_bytes());
                l4.extend_from_slice(&dport.to_be_bytes());
                l4.extend_from_slice(&((8 + payload.len()) as u16).to_be_bytes());
                l4.extend_from_slice(&[0; 2]);
                l4.extend_from_slice(&payload);
                (17, l4)
            }
            L4::Icmp { kind, code, id, seq } => {
                let mut l4 = vec![kind, code, 0, 0];
                l4.extend_from_slice(&id.to_be_bytes());
                l4.extend_from_slice(&seq.to_be_bytes());
                l4.extend_from_slice(&payload);
                (1, l4)
            }
            L4::Other(protocol) => (protocol, payload),
        };
        ipv4(self, protocol, id, l4)
    }
}

/// Puts checksums into `l4` and a header before it.
fn ipv4(draft: &Draft, protocol: u8, id: u16, mut l4: Vec<u8>) -> Vec<u8> {
    let (src, dst) = (u32::from(draft.src), u32::from(draft.dst));
    let at = match protocol {
        6 => Some(16),
        17 => Some(6),
        1 => Some(2),
        _ => None,
    };
    if let Some(at) = at {
        let pseudo =
            if protocol == 1 { 0 } else { checksum::pseudo_header(src, dst, protocol, l4.len() as u32) };
        let value = match checksum::finish(checksum::sum(&l4, pseudo)) {
            0 if protocol == 17 => 0xffff,
            value => value,
        };
        l4[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }
    let mut bytes = vec![0x45, draft.tos];
    bytes.extend_from_slice(&((20 + l4.len()) as u16).to_be_bytes());
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&(u16::from(draft.dont_fragment) << 14).to_be_bytes());
    bytes.extend_from_slice(&[draft.ttl, protocol, 0, 0]);
    bytes.extend_from_slice(&src.to_be_bytes());
    bytes.extend_from_slice(&dst.to_be_bytes());
    let sum = checksum::checksum(&bytes);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend_from_slice(&l4);
    bytes
}

/// Makes the packets of one case.
pub struct Packets<'a> {
    config: &'a NetNsConfig,
    /// Never used twice in a case, for it tells packets apart.
    next_id: u16,
}

impl<'a> Packets<'a> {
    /// For this namespace.
    pub fn new(config: &'a NetNsConfig) -> Packets<'a> {
        Packets { config, next_id: 1000 }
    }

    fn id(&mut self) -> u16 {
        self.next_id = self.next_id.wrapping_add(7).max(1);
        self.next_id
    }

    fn by_device(&self, dev: &str, bytes: Vec<u8>) -> CaseSend {
        let packet = frame::as_neighbour(self.config, dev, &Packet::from_l3(EtherType::IPV4, bytes));
        CaseSend { packet, entry: Entry::Device(dev.to_owned()) }
    }

    /// `count` packets that start flows or go on with one of the packets before them.
    pub fn first(&mut self, rng: &mut Rng, count: usize) -> Vec<CaseSend> {
        let mut drafts: Vec<(Draft, Entry)> = Vec::new();
        let mut sends = Vec::new();
        while sends.len() < count {
            if !drafts.is_empty() && rng.chance(30) {
                let (draft, entry) = rng.pick(&drafts).clone();
                let later = self.later(rng, draft);
                sends.push(self.enter(later, &entry));
                continue;
            }
            let (draft, entry) = self.fresh(rng);
            if rng.chance(4) {
                sends.push(self.odd(rng, draft, &entry));
                continue;
            }
            sends.push(self.enter(draft, &entry));
            drafts.push((draft, entry));
        }
        sends
    }

    fn enter(&mut self, mut draft: Draft, entry: &Entry) -> CaseSend {
        if let Entry::Device(dev) = entry {
            // What is larger than the link never arrives.
            let mtu = self.config.devices.iter().find(|device| device.name == *dev).map_or(1500, |d| d.mtu);
            draft.payload = draft.payload.min((mtu as usize).saturating_sub(60));
        }
        let bytes = draft.bytes(self.id());
        match entry {
            Entry::Device(dev) => self.by_device(dev, bytes),
            Entry::Local(socket) => {
                CaseSend { packet: Packet::from_l3(EtherType::IPV4, bytes), entry: Entry::Local(*socket) }
            }
        }
    }

    fn fresh(&mut self, rng: &mut Rng) -> (Draft, Entry) {
        let local = rng.chance(20);
        let (src, entry) = if local {
            let src = *rng.pick(&[NODE, NODE, NODE_SECOND, pools::BRIDGE]);
            let known = self.config.devices.iter().flat_map(|d| &d.addresses).any(|a| a.local == src);
            let owner = *rng.pick(&[0u32, 1000, 500]);
            let socket = SkbSocket { uid: Some(owner), gid: Some(owner), bound_dev: None, raw: true };
            (if known { src } else { NODE }, Entry::Local(socket))
        } else {
            let (dev, _, hosts) = *rng.pick(&PORTS);
            let src = if rng.chance(6) { pools::addr(rng) } else { *rng.pick(hosts) };
            (src, Entry::Device(dev.to_owned()))
        };
        let mut dst = pools::addr(rng);
        if local && rng.chance(10) {
            dst = Ipv4Addr::LOCALHOST;
        }
        let (sport, dport) = (*rng.pick(&CLIENT_PORTS), *rng.pick(&SERVICE_PORTS));
        let l4 = match rng.below(20) {
            0..=8 => L4::Tcp { sport, dport, flags: tcp_flag::SYN, seq: 1000, ack: 0 },
            9 => L4::Tcp { sport, dport, flags: tcp_flag::ACK, seq: 5000, ack: 7000 },
            10..=15 => L4::Udp { sport, dport },
            16 | 17 => L4::Icmp { kind: 8, code: 0, id: sport, seq: 1 },
            18 => L4::Icmp { kind: *rng.pick(&[0, 17, 5, 3]), code: 0, id: sport, seq: 1 },
            _ => L4::Other(*rng.pick(&[47u8, 50, 132, 4, 255])),
        };
        let draft = Draft {
            src,
            dst,
            l4,
            tos: if rng.chance(15) { 0x10 } else { 0 },
            ttl: if rng.chance(6) { *rng.pick(&[1, 2]) } else { 64 },
            dont_fragment: rng.chance(50),
            payload: match rng.below(20) {
                0 => 1100,
                1 => 1300,
                2 => 0,
                _ => 8,
            },
            mss: rng.chance(70),
        };
        (draft, entry)
    }

    /// A later packet of the same flow and direction.
    fn later(&mut self, rng: &mut Rng, mut draft: Draft) -> Draft {
        if let L4::Tcp { flags, seq, ack, .. } = &mut draft.l4 {
            match rng.below(6) {
                // Once more.
                0 => {}
                1 => (*flags, *ack) = (tcp_flag::RST, 0),
                2 => (*flags, *seq, *ack) = (tcp_flag::FIN | tcp_flag::ACK, 1001, 2001),
                3 => (*flags, *seq, *ack) = (tcp_flag::ACK, 90_000, 2001),
                _ => (*flags, *seq, *ack) = (tcp_flag::ACK | tcp_flag::PSH, 1001, 2001),
            }
            draft.mss &= *flags & tcp_flag::SYN != 0;
        }
        if let L4::Icmp { seq, .. } = &mut draft.l4 {
            *seq += 1;
        }
        draft
    }

    /// A packet with something wrong about it.
    fn odd(&mut self, rng: &mut Rng, draft: Draft, entry: &Entry) -> CaseSend {
        let send = self.enter(draft, entry);
        let Entry::Device(dev) = entry else { return send };
        let mut packet = send.packet;
        match rng.below(7) {
            0 => {
                let len = packet.l3().len();
                let cut = rng.between(1, len as u32) as usize;
                packet = Packet::from_ethernet(packet.bytes()[..14 + cut].to_vec()).unwrap_or(packet);
            }
            1 => packet.l3_mut()[10] ^= 0x55,
            2 => {
                // A transport header that ends early, under a header that says so.
                let mut draft = draft;
                draft.payload = 0;
                let mut bytes = draft.bytes(self.id());
                bytes.truncate(20 + rng.below(8));
                let len = (bytes.len() as u16).to_be_bytes();
                bytes[2..4].copy_from_slice(&len);
                rewrite_checksum(&mut bytes);
                return self.by_device(dev, bytes);
            }
            3 => {
                let src = packet.mac_src().unwrap_or_default();
                packet.set_mac_header(MacAddr([2, 9, 9, 9, 9, 9]), src);
            }
            4 => {
                let src = packet.mac_src().unwrap_or_default();
                packet.set_mac_header(MacAddr::BROADCAST, src);
            }
            5 => {
                let at = 20 + rng.below(packet.l3().len().saturating_sub(20).max(1));
                if let Some(byte) = packet.l3_mut().get_mut(at) {
                    *byte ^= 0x40;
                }
            }
            _ => {
                let bytes = packet.l3_mut();
                bytes[12..16].copy_from_slice(&[127, 0, 0, 1]);
                rewrite_checksum(bytes);
            }
        }
        CaseSend { packet, entry: entry.clone() }
    }

    /// Packets that answer what came out in `runs`, `count` at most.
    pub fn answers(&mut self, rng: &mut Rng, runs: &[SendRun], count: usize) -> Vec<CaseSend> {
        let frames: Vec<&FrameOut> = runs
            .iter()
            .flat_map(|run| &run.packets)
            .flat_map(|packet| &packet.frames)
            .filter(|frame| frame.packet.ethertype() == EtherType::IPV4)
            .collect();
        let mut sends = Vec::new();
        for _ in 0..count * 2 {
            if frames.is_empty() || sends.len() >= count {
                break;
            }
            let frame = *rng.pick(&frames);
            let error = rng.chance(12);
            let bytes = if error { self.error_about(rng, frame) } else { self.reply_to(rng, frame) };
            if let Some(bytes) = bytes {
                // Sometimes by the wrong way.
                let dev = if rng.chance(5) { rng.pick(&PORTS).0.to_owned() } else { frame.dev.clone() };
                sends.push(self.by_device(&dev, bytes));
            }
        }
        sends
    }

    fn reply_to(&mut self, rng: &mut Rng, frame: &FrameOut) -> Option<Vec<u8>> {
        let l3 = frame.packet.l3();
        let ip = Ipv4Fields::parse(l3).ok()?;
        let l4 = l3.get(usize::from(ip.header_len)..)?;
        let port = |at: usize| Some(u16::from_be_bytes([*l4.get(at)?, *l4.get(at + 1)?]));
        let reply = match ip.protocol {
            _ if ip.is_fragment() => return None,
            6 => {
                let tcp = TcpFields::parse(l4)?;
                let syn = tcp.flags & tcp_flag::SYN != 0;
                let flags = match rng.below(10) {
                    0 => tcp_flag::RST | tcp_flag::ACK,
                    1 if !syn => tcp_flag::FIN | tcp_flag::ACK,
                    _ if syn => tcp_flag::SYN | tcp_flag::ACK,
                    _ => tcp_flag::ACK,
                };
                let ack = tcp.seq.wrapping_add(u32::from(syn));
                let seq = if syn { 2000 } else { tcp.ack };
                L4::Tcp { sport: tcp.dport, dport: tcp.sport, flags, seq, ack }
            }
            17 => L4::Udp { sport: port(2)?, dport: port(0)? },
            1 if *l4.first()? == 8 => L4::Icmp { kind: 0, code: 0, id: port(4)?, seq: port(6)? },
            _ => return None,
        };
        let draft = Draft {
            src: ip.dst.into(),
            dst: ip.src.into(),
            l4: reply,
            tos: 0,
            ttl: 64,
            dont_fragment: rng.chance(50),
            payload: 8,
            mss: matches!(reply, L4::Tcp { flags, .. } if flags & tcp_flag::SYN != 0),
        };
        Some(draft.bytes(self.id()))
    }

    /// An ICMP error about a packet that came out, by its destination or by a router on the way.
    fn error_about(&mut self, rng: &mut Rng, frame: &FrameOut) -> Option<Vec<u8>> {
        let l3 = frame.packet.l3();
        let ip = Ipv4Fields::parse(l3).ok()?;
        let (kind, code) = *rng.pick(&[(3u8, 3u8), (3, 1), (3, 4), (11, 0), (4, 0)]);
        let mut l4 = vec![kind, code, 0, 0, 0, 0];
        l4.extend_from_slice(&if code == 4 { 1200u16 } else { 0 }.to_be_bytes());
        l4.extend_from_slice(l3.get(..l3.len().min(if rng.chance(50) { 28 } else { 60 }))?);
        let src = if rng.chance(60) { ip.dst.into() } else { *rng.pick(&[GATEWAY, FAR_HOST, POD_A, POD_B]) };
        let draft = Draft {
            src,
            dst: ip.src.into(),
            l4: L4::Other(1),
            tos: 0,
            ttl: 64,
            dont_fragment: false,
            payload: 0,
            mss: false,
        };
        let id = self.id();
        Some(ipv4(&draft, 1, id, l4))
    }
}

fn rewrite_checksum(bytes: &mut [u8]) {
    if let Some(header) = bytes.get_mut(..20) {
        header[10..12].copy_from_slice(&[0, 0]);
        let sum = checksum::checksum(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}
