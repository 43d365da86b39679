//! The reply that the other end would give to a packet that arrived.
//!
//! It is the next packet of the opposite direction: a SYN/ACK to a SYN, an ACK to any other segment but a RST, an empty datagram to a datagram,
//! an echo reply to an echo request. It is made from the packet as it arrived, after every translation, and enters where the request left: at the
//! device it went out of, or from a socket of the namespace that took it.

use pktwalk_linux::reason::Disposition;
use pktwalk_linux::skb::{MadeBy, SkbSocket};
use pktwalk_linux::trace::PacketTrace;
use pktwalk_packet::checksum::{checksum, finish, pseudo_header, sum};
use pktwalk_packet::{EtherType, IcmpFields, Ipv4Fields, Packet, TcpFields, tcp_flag};
use pktwalk_report::flow::{Flow, L4};
use pktwalk_report::{Names, WalkRecord};

use crate::case::{CaseSend, Entry};

/// The sequence number that the other end starts with; any would do.
const THEIR_FIRST_SEQ: u32 = 1000;

/// The window that the other end announces.
const WINDOW: u16 = 65535;

/// The reply to the given packet of `walk`; none if it did not arrive, or nobody would answer, or the stack itself did.
pub fn reply_to(walk: &WalkRecord, names: &dyn Names) -> Option<CaseSend> {
    let given = walk.packets.first()?;
    if walk.children(0).any(|child| {
        walk.packets.get(child).is_some_and(|made| !matches!(made.made_by, MadeBy::Fragment | MadeBy::Arp))
    }) {
        return None;
    }
    let (arrived, entry) = match given.end.as_ref()?.disposition {
        Disposition::Forwarded => {
            let (dev, frame) = given.frames.first()?;
            (Flow::of(frame)?, Entry::Device(names.device(*dev)))
        }
        Disposition::Delivered => (delivered(given)?, Entry::Local(SkbSocket::default())),
        _ => return None,
    };
    Some(CaseSend { packet: answer(&arrived, &given.start)?, entry })
}

/// A delivered packet's headers at its end.
fn delivered(packet: &PacketTrace) -> Option<Flow> {
    let mut flow = Flow::of(&packet.start)?;
    for recorded in &packet.steps {
        flow.apply(&recorded.step);
    }
    Some(flow)
}

/// Whether an address belongs to one machine.
fn unicast(addr: u32) -> bool {
    let first = addr >> 24;
    addr != 0 && addr != u32::MAX && !(224..240).contains(&first)
}

fn answer(arrived: &Flow, sent: &Packet) -> Option<Packet> {
    if !unicast(arrived.src) || !unicast(arrived.dst) {
        return None;
    }
    let ip = Ipv4Fields::parse(sent.l3()).ok()?;
    let l4 = sent.l3().get(usize::from(ip.header_len)..)?;
    let data_len = usize::from(ip.total_len).saturating_sub(usize::from(ip.header_len));
    let (src, dst) = (arrived.dst, arrived.src);
    let body = match arrived.l4 {
        L4::Tcp { sport, dport, .. } => tcp_answer(l4, data_len, (src, dport), (dst, sport))?,
        L4::Ports { sport, dport } if arrived.protocol == 17 => {
            let mut body = Vec::with_capacity(8);
            for word in [dport, sport, 8, 0] {
                body.extend(word.to_be_bytes());
            }
            let sum = finish(sum(&body, pseudo_header(src, dst, 17, 8)));
            body[6..].copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
            body
        }
        L4::Icmp { icmp_type: 8, id, .. } => {
            let seq = IcmpFields::parse(l4)?.seq;
            let mut body = vec![0, 0, 0, 0];
            body.extend(id.to_be_bytes());
            body.extend(seq.to_be_bytes());
            body.extend(l4.get(8..data_len.min(l4.len())).unwrap_or(&[]));
            let sum = checksum(&body);
            body[2..4].copy_from_slice(&sum.to_be_bytes());
            body
        }
        _ => return None,
    };
    Some(ipv4(src, dst, arrived.protocol, &body))
}

fn tcp_answer(l4: &[u8], data_len: usize, from: (u32, u16), to: (u32, u16)) -> Option<Vec<u8>> {
    let tcp = TcpFields::parse(l4)?;
    if tcp.flags & tcp_flag::RST != 0 {
        return None;
    }
    let opening = tcp.flags & tcp_flag::SYN != 0;
    let data = data_len.saturating_sub(usize::from(tcp.header_len)) as u32;
    let consumed =
        data.wrapping_add(u32::from(opening)).wrapping_add(u32::from(tcp.flags & tcp_flag::FIN != 0));
    let acks = tcp.flags & tcp_flag::ACK != 0;
    let seq = if acks { tcp.ack } else { THEIR_FIRST_SEQ };
    let flags = if opening && !acks { tcp_flag::SYN | tcp_flag::ACK } else { tcp_flag::ACK };
    let mut body = Vec::with_capacity(20);
    body.extend(from.1.to_be_bytes());
    body.extend(to.1.to_be_bytes());
    body.extend(seq.to_be_bytes());
    body.extend(tcp.seq.wrapping_add(consumed).to_be_bytes());
    body.extend([0x50, flags]);
    body.extend(WINDOW.to_be_bytes());
    body.extend([0; 4]);
    let sum = finish(sum(&body, pseudo_header(from.0, to.0, 6, 20)));
    body[16..18].copy_from_slice(&sum.to_be_bytes());
    Some(body)
}

fn ipv4(src: u32, dst: u32, protocol: u8, body: &[u8]) -> Packet {
    let total = (20 + body.len()) as u16;
    let mut bytes = vec![0x45, 0];
    bytes.extend(total.to_be_bytes());
    bytes.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    bytes.extend(src.to_be_bytes());
    bytes.extend(dst.to_be_bytes());
    let sum = checksum(&bytes);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend(body);
    Packet::from_l3(EtherType::IPV4, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syn_gets_a_syn_ack() {
        let mut syn = vec![0x9c, 0x40, 0, 80];
        syn.extend(7u32.to_be_bytes());
        syn.extend([0, 0, 0, 0, 0x50, tcp_flag::SYN, 0xff, 0xff, 0, 0, 0, 0]);
        let sent = ipv4(0x0a00_0001, 0x0a00_0002, 6, &syn);
        let arrived = Flow::of(&sent).unwrap();
        let reply = answer(&arrived, &sent).unwrap();
        let ip = Ipv4Fields::parse(reply.l3()).unwrap();
        assert_eq!((ip.src, ip.dst, ip.total_len), (0x0a00_0002, 0x0a00_0001, 40));
        assert_eq!(checksum(&reply.l3()[..20]), 0);
        let tcp = TcpFields::parse(&reply.l3()[20..]).unwrap();
        assert_eq!((tcp.sport, tcp.dport, tcp.ack, tcp.flags), (80, 40000, 8, 0x12));
        assert_eq!(finish(sum(&reply.l3()[20..], pseudo_header(ip.src, ip.dst, 6, 20))), 0);
    }

    #[test]
    fn an_echo_request_gets_its_bytes_back() {
        let sent = ipv4(0x0a00_0001, 0x0a00_0002, 1, &[8, 0, 0, 0, 0, 9, 0, 1, 0xab, 0xcd, 0xef]);
        let reply = answer(&Flow::of(&sent).unwrap(), &sent).unwrap();
        assert_eq!(&reply.l3()[24..], &[0, 9, 0, 1, 0xab, 0xcd, 0xef]);
        assert_eq!(reply.l3()[20], 0);
        assert_eq!(checksum(&reply.l3()[20..]), 0);
    }

    #[test]
    fn nobody_answers_a_reset_or_a_broadcast() {
        let mut rst = vec![0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, tcp_flag::RST];
        rst.extend([0; 6]);
        let sent = ipv4(0x0a00_0001, 0x0a00_0002, 6, &rst);
        assert!(answer(&Flow::of(&sent).unwrap(), &sent).is_none());
        let sent = ipv4(0x0a00_0001, u32::MAX, 17, &[0, 68, 0, 67, 0, 8, 0, 0]);
        assert!(answer(&Flow::of(&sent).unwrap(), &sent).is_none());
    }
}
