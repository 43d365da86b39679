//! The reply that the other end would give to a packet that arrived.
//!
//! It is the next packet of the opposite direction: a SYN/ACK to a SYN, an ACK to any other segment but a RST, an empty datagram to a datagram,
//! an echo reply to an echo request, a timestamp reply to a timestamp request (from a host that needs no time and whose clock is that of who asks).
//! It is made from the packet as it arrived, after every translation, and enters where the request left: at the
//! device it went out of, or from a socket of the namespace that took it.

use pktwalk_linux::reason::Disposition;
use pktwalk_linux::skb::{MadeBy, SkbSocket};
use pktwalk_linux::trace::PacketTrace;
use pktwalk_packet::build::{self, Ipv4Header, TcpHeader};
use pktwalk_packet::names::proto;
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
            // A bridge sends tags on as they are: who is behind them is no host of this link.
            let flow = (frame.ethertype() == EtherType::IPV4).then(|| Flow::of(frame)).flatten()?;
            (flow, Entry::Device(names.device(*dev)))
        }
        Disposition::Delivered => (delivered(given)?, Entry::Local(SkbSocket::default())),
        _ => return None,
    };
    Some(CaseSend::new(answer(&arrived, &given.start)?, entry))
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
    let (_, l3) = sent.behind_tags();
    let ip = Ipv4Fields::parse(l3).ok()?;
    let l4 = l3.get(usize::from(ip.header_len)..)?;
    let data_len = usize::from(ip.total_len).saturating_sub(usize::from(ip.header_len));
    // As the stack sends them: unfragmented, with DF.
    let ip = Ipv4Header { dont_fragment: true, ..Ipv4Header::new(arrived.dst, arrived.src) };
    let bytes = match arrived.l4 {
        L4::Tcp { sport, dport, .. } => build::tcp(&ip, &tcp_answer(l4, data_len, dport, sport)?, &[]),
        L4::Ports { sport, dport } if arrived.protocol == proto::UDP => build::udp(&ip, dport, sport, &[]),
        L4::Icmp { icmp_type: 8, id, .. } => {
            let ([id_high, id_low], [seq_high, seq_low]) =
                (id.to_be_bytes(), IcmpFields::parse(l4)?.seq.to_be_bytes());
            let data = l4.get(8..data_len.min(l4.len())).unwrap_or(&[]);
            build::icmp(&ip, 0, 0, [id_high, id_low, seq_high, seq_low], data)
        }
        L4::Icmp { icmp_type: 13, id, .. } => {
            let ([id_high, id_low], [seq_high, seq_low]) =
                (id.to_be_bytes(), IcmpFields::parse(l4)?.seq.to_be_bytes());
            let time = l4.get(8..12.min(data_len))?.first_chunk::<4>()?;
            build::icmp(&ip, 14, 0, [id_high, id_low, seq_high, seq_low], &[*time; 3].concat())
        }
        _ => return None,
    };
    Some(Packet::from_l3(EtherType::IPV4, bytes.ok()?))
}

/// The segment that answers the one at the start of `l4`; none to a RST.
fn tcp_answer(l4: &[u8], data_len: usize, sport: u16, dport: u16) -> Option<TcpHeader<'static>> {
    let tcp = TcpFields::parse(l4)?;
    if tcp.flags & tcp_flag::RST != 0 {
        return None;
    }
    let opening = tcp.flags & tcp_flag::SYN != 0;
    let data = data_len.saturating_sub(usize::from(tcp.header_len)) as u32;
    let consumed =
        data.wrapping_add(u32::from(opening)).wrapping_add(u32::from(tcp.flags & tcp_flag::FIN != 0));
    let acks = tcp.flags & tcp_flag::ACK != 0;
    Some(TcpHeader {
        sport,
        dport,
        seq: if acks { tcp.ack } else { THEIR_FIRST_SEQ },
        ack: tcp.seq.wrapping_add(consumed),
        flags: if opening && !acks { tcp_flag::SYN | tcp_flag::ACK } else { tcp_flag::ACK },
        window: WINDOW,
        ..TcpHeader::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(text: &str) -> Packet {
        pktwalk_packet::spec::parse(text).unwrap()
    }

    fn answered(text: &str) -> Option<Packet> {
        let sent = sent(text);
        answer(&Flow::of(&sent).unwrap(), &sent)
    }

    #[test]
    fn a_syn_gets_a_syn_ack() {
        let reply = answered("tcp 10.0.0.1:40000 > 10.0.0.2:80 flags=S seq=7").unwrap();
        assert_eq!(reply, sent("tcp 10.0.0.2:80 > 10.0.0.1:40000 flags=SA seq=1000 ack=8 win=65535 df"));
    }

    #[test]
    fn data_and_a_fin_are_acknowledged() {
        let reply = answered("tcp 10.0.0.1:40000 > 10.0.0.2:80 flags=FA seq=7 ack=1001 len=10").unwrap();
        assert_eq!(reply, sent("tcp 10.0.0.2:80 > 10.0.0.1:40000 flags=A seq=1001 ack=18 win=65535 df"));
    }

    #[test]
    fn a_datagram_gets_an_empty_one() {
        let reply = answered("udp 10.0.0.1:40000 > 10.0.0.2:53 len=10").unwrap();
        assert_eq!(reply, sent("udp 10.0.0.2:53 > 10.0.0.1:40000 df"));
    }

    #[test]
    fn an_echo_request_gets_its_bytes_back() {
        let reply = answered("icmp 10.0.0.1 > 10.0.0.2 type=8 id=9 seq=1 data=abcdef").unwrap();
        assert_eq!(reply, sent("icmp 10.0.0.2 > 10.0.0.1 type=0 id=9 seq=1 data=abcdef df"));
    }

    #[test]
    fn a_timestamp_request_gets_its_time_back() {
        let reply = answered("icmp 10.0.0.1 > 10.0.0.2 type=13 id=9 seq=1 org=5 recv=6 len=3").unwrap();
        assert_eq!(reply, sent("icmp 10.0.0.2 > 10.0.0.1 type=14 id=9 seq=1 org=5 recv=5 xmit=5 df"));
        assert!(answered("icmp 10.0.0.1 > 10.0.0.2 type=13 id=9 seq=1 len=3").is_none());
    }

    #[test]
    fn nobody_answers_a_reset_or_a_broadcast() {
        assert!(answered("tcp 10.0.0.1:40000 > 10.0.0.2:80 flags=R").is_none());
        assert!(answered("udp 10.0.0.1:68 > 255.255.255.255:67").is_none());
    }
}
