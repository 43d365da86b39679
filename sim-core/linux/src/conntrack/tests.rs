//! What the kernel (6.18) was seen to do with crafted packets in a namespace that forwards, and `conntrack` showed of it.

use pktwalk_packet::{EtherType, Ipv4Fields, Packet, checksum, tcp_flag};

use super::*;
use crate::choice::Seeded;
use crate::config::NetNsConfig;
use crate::ids::RuleId;
use crate::netns::{NetNs, NetNsState};
use crate::skb::CtTemplate;
use crate::trace::NullSink;

const CLIENT: u32 = 0x0a01_0002;
const SERVER: u32 = 0x0a02_0002;
const SECOND: u64 = 1_000_000_000;

/// An IPv4 packet of this protocol; the transport checksum at `sum_at` is filled in.
pub(crate) fn ipv4(src: u32, dst: u32, protocol: u8, mut l4: Vec<u8>, sum_at: Option<usize>) -> Skb {
    if let Some(at) = sum_at {
        let pseudo = if protocol == proto::ICMP {
            0
        } else {
            checksum::pseudo_header(src, dst, protocol, l4.len() as u32)
        };
        let sum = checksum::finish(checksum::sum(&l4, pseudo));
        l4[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    let mut bytes = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0];
    bytes.extend(src.to_be_bytes());
    bytes.extend(dst.to_be_bytes());
    bytes[2..4].copy_from_slice(&(20 + l4.len() as u16).to_be_bytes());
    let sum = checksum::checksum(&bytes);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend(l4);
    let packet = Packet::from_l3(EtherType::IPV4, bytes);
    let ip = Ipv4Fields::parse(packet.l3()).expect("a header");
    Skb::new(packet, ip)
}

fn tcp(reply: bool, flags: u8, seq: u32, ack: u32) -> Skb {
    let (src, dst, sport, dport) = ends(reply, 4000, 80);
    let mut l4 = Vec::new();
    l4.extend(sport.to_be_bytes());
    l4.extend(dport.to_be_bytes());
    l4.extend(seq.to_be_bytes());
    l4.extend(ack.to_be_bytes());
    l4.extend([0x50, flags, 0x03, 0xe8, 0, 0, 0, 0]);
    ipv4(src, dst, proto::TCP, l4, Some(16))
}

fn udp(reply: bool) -> Skb {
    let (src, dst, sport, dport) = ends(reply, 4000, 53);
    let mut l4 = Vec::new();
    l4.extend(sport.to_be_bytes());
    l4.extend(dport.to_be_bytes());
    l4.extend([0, 8, 0, 0]);
    ipv4(src, dst, proto::UDP, l4, Some(6))
}

fn icmp(src: u32, dst: u32, icmp_type: u8, data: &[u8]) -> Skb {
    let mut l4 = vec![icmp_type, 0, 0, 0, 0, 7, 0, 1];
    l4.extend(data);
    ipv4(src, dst, proto::ICMP, l4, Some(2))
}

fn ends(reply: bool, client: u16, server: u16) -> (u32, u32, u16, u16) {
    if reply { (SERVER, CLIENT, server, client) } else { (CLIENT, SERVER, client, server) }
}

struct World {
    ns: NetNs,
    state: NetNsState,
}

impl World {
    fn new(sysctls: &[(&str, &str)]) -> World {
        let mut config = NetNsConfig::default();
        for (key, value) in sysctls {
            config.sysctls.insert(format!("net.netfilter.nf_conntrack_{key}"), (*value).to_owned());
        }
        let (ns, _) = NetNs::compile(config);
        World { ns, state: NetNsState::default() }
    }

    fn hook(&mut self, hook: Hook, skb: &mut Skb) -> HookVerdict {
        let (mut choice, mut sink) = (Seeded::new(1), NullSink);
        let mut cx = Cx {
            ns: &self.ns,
            state: &mut self.state,
            choice: &mut choice,
            sink: &mut sink,
            made: Vec::new(),
            undecided: None,
            backend_untold: false,
        };
        let at = HookState { hook, in_dev: None, out_dev: None, phys_in: None, phys_out: None };
        match hook {
            Hook::Postrouting => confirm(&mut cx, at, skb),
            _ => conntrack_in(&mut cx, at, skb),
        }
    }

    /// Forwards a packet; what it is to rules, none for INVALID.
    fn pass(&mut self, mut skb: Skb) -> Option<CtInfo> {
        self.state.now_ns += 1_000;
        assert_eq!(self.hook(Hook::Prerouting, &mut skb), HookVerdict::Accept);
        assert_eq!(self.hook(Hook::Postrouting, &mut skb), HookVerdict::Accept);
        match skb.ct {
            SkbCt::Entry { info, .. } => Some(info),
            SkbCt::None | SkbCt::Untracked | SkbCt::Attached => None,
        }
    }

    /// Status, TCP state and seconds left of the only entry.
    fn only(&self) -> Option<(u32, Option<TcpState>, u64)> {
        let mut entries = self.state.ct.confirmed(self.state.now_ns);
        let (_, entry) = entries.next()?;
        assert!(entries.next().is_none(), "there is one entry");
        let left = entry.expires_ns - self.state.now_ns;
        Some((entry.status, entry.tcp, (left + SECOND / 2) / SECOND))
    }
}

const S: u8 = tcp_flag::SYN;
const A: u8 = tcp_flag::ACK;
const F: u8 = tcp_flag::FIN;
const R: u8 = tcp_flag::RST;

#[test]
fn first_segments_that_begin_a_connection() {
    // Every combination of the six flags was sent as the first packet of a flow.
    for flags in 0..64 {
        let mut world = World::new(&[]);
        let info = world.pass(tcp(false, flags, 1000, 0));
        let begins = match flags & !tcp_flag::PSH {
            flags if flags == S || flags == S | tcp_flag::URG => Some((TcpState::SynSent, 120)),
            flags if flags == A || flags == A | tcp_flag::URG => Some((TcpState::Established, 300)),
            _ => None,
        };
        assert_eq!(info, begins.map(|_| CtInfo::New), "flags {flags:#x}");
        let expected = begins.map(|(state, left)| (status::CONFIRMED, Some(state), left));
        assert_eq!(world.only(), expected, "flags {flags:#x}");
    }
    let mut strict = World::new(&[("tcp_loose", "0")]);
    assert_eq!(strict.pass(tcp(false, A, 1000, 1)), None, "not picked up in the middle");
}

#[test]
fn a_connection_opens_and_closes() {
    let mut world = World::new(&[]);
    let replied = status::CONFIRMED | status::SEEN_REPLY;
    let assured = replied | status::ASSURED;
    let steps = [
        (tcp(false, S, 1000, 0), CtInfo::New, status::CONFIRMED, TcpState::SynSent, 120),
        (tcp(true, S | A, 5000, 1001), CtInfo::EstablishedReply, replied, TcpState::SynRecv, 60),
        (tcp(false, A, 1001, 5001), CtInfo::Established, assured, TcpState::Established, 432_000),
        (tcp(false, F | A, 1001, 5001), CtInfo::Established, assured, TcpState::FinWait, 120),
        (tcp(true, A, 5001, 1002), CtInfo::EstablishedReply, assured, TcpState::CloseWait, 60),
        (tcp(true, F | A, 5001, 1002), CtInfo::EstablishedReply, assured, TcpState::LastAck, 30),
        (tcp(false, A, 1002, 5002), CtInfo::Established, assured, TcpState::TimeWait, 120),
        // The closed connection gives way to a new one of the same ports.
        (tcp(false, S, 9000, 0), CtInfo::New, status::CONFIRMED, TcpState::SynSent, 120),
    ];
    for (at, (skb, info, status, state, left)) in steps.into_iter().enumerate() {
        assert_eq!(world.pass(skb), Some(info), "packet {at}");
        assert_eq!(world.only(), Some((status, Some(state), left)), "packet {at}");
    }
}

#[test]
fn segments_out_of_the_window() {
    let mut world = World::new(&[]);
    for skb in [tcp(false, S, 1000, 0), tcp(true, S | A, 5000, 1001), tcp(false, A, 1001, 5001)] {
        assert!(world.pass(skb).is_some());
    }
    assert_eq!(world.pass(tcp(false, A, 1001 + 70_000, 5001)), None, "far ahead of the window");
    assert_eq!(world.pass(tcp(false, A, 1001, 5001 + 10)), None, "acknowledges what was not sent");
    assert_eq!(
        world.pass(tcp(false, A, 1, 5001)),
        Some(CtInfo::Established),
        "old data again is let through"
    );
    // A RST that is not exactly the next one may be answered by a challenge ACK: the state stays, for 10 seconds.
    assert_eq!(world.pass(tcp(false, R, 1005, 0)), Some(CtInfo::Established));
    assert_eq!(world.only().map(|(_, state, left)| (state, left)), Some((Some(TcpState::Established), 10)));
    assert_eq!(world.pass(tcp(false, R, 900, 0)), None, "a RST from before");
}

#[test]
fn a_reset_without_a_reply_removes_the_entry() {
    let mut world = World::new(&[]);
    assert_eq!(world.pass(tcp(false, S, 1000, 0)), Some(CtInfo::New));
    assert_eq!(world.pass(tcp(false, R, 1001, 0)), Some(CtInfo::New), "it belongs to the entry that it ends");
    assert_eq!(world.only(), None);
}

#[test]
fn udp_becomes_a_stream_after_two_seconds() {
    let mut world = World::new(&[]);
    assert_eq!(world.pass(udp(false)), Some(CtInfo::New));
    assert_eq!(world.pass(udp(false)), Some(CtInfo::New), "still NEW without a reply");
    assert_eq!(world.pass(udp(true)), Some(CtInfo::EstablishedReply));
    let replied = status::CONFIRMED | status::SEEN_REPLY;
    assert_eq!(world.only(), Some((replied, None, 30)));
    world.state.now_ns += 3 * SECOND;
    assert_eq!(world.pass(udp(false)), Some(CtInfo::Established));
    assert_eq!(world.only(), Some((replied | status::ASSURED, None, 120)));
    world.state.now_ns += 121 * SECOND;
    assert_eq!(world.only(), None, "expired");
    assert_eq!(world.pass(udp(true)), Some(CtInfo::New), "and made anew, the other way round");
}

#[test]
fn wrong_checksums_count_in_prerouting_only() {
    let broken = || {
        let mut skb = udp(false);
        skb.packet.l3_mut()[26] ^= 1;
        skb
    };
    let mut world = World::new(&[]);
    assert_eq!(world.pass(broken()), None);
    let mut skb = broken();
    assert_eq!(world.hook(Hook::Output, &mut skb), HookVerdict::Accept);
    assert!(matches!(skb.ct, SkbCt::Entry { .. }), "what is sent here is not checked");
    assert_eq!(World::new(&[("checksum", "0")]).pass(broken()), Some(CtInfo::New));
}

#[test]
fn icmp_errors_belong_to_the_connection_that_they_quote() {
    let mut world = World::new(&[]);
    let sent = udp(false);
    let quoted = sent.packet.l3().to_vec();
    assert_eq!(world.pass(sent), Some(CtInfo::New));
    let router = 0x0a02_0063;
    assert_eq!(world.pass(icmp(router, CLIENT, 3, &quoted)), Some(CtInfo::RelatedReply), "from any router");
    assert_eq!(world.pass(icmp(router, CLIENT + 1, 3, &quoted)), None, "must go to the one who sent");
    let unknown = tcp(false, S, 1, 0).packet.l3().to_vec();
    assert_eq!(world.pass(icmp(router, CLIENT, 3, &unknown)), None);
    assert_eq!(world.only(), Some((status::CONFIRMED, None, 30)), "errors are no replies");
}

#[test]
fn icmp_queries() {
    for icmp_type in 0..=30 {
        let begins = matches!(icmp_type, 8 | 13 | 15 | 17);
        let info = World::new(&[]).pass(icmp(CLIENT, SERVER, icmp_type, &[]));
        assert_eq!(info, begins.then_some(CtInfo::New), "type {icmp_type}");
    }
    let mut world = World::new(&[]);
    assert_eq!(world.pass(icmp(CLIENT, SERVER, 8, &[])), Some(CtInfo::New));
    assert_eq!(world.pass(icmp(SERVER, CLIENT, 0, &[])), Some(CtInfo::EstablishedReply));
}

#[test]
fn unconfirmed_entries_are_not_found() {
    let mut world = World::new(&[]);
    let (mut first, mut second) = (udp(false), udp(false));
    world.hook(Hook::Prerouting, &mut first);
    world.hook(Hook::Prerouting, &mut second);
    assert_ne!(first.ct, second.ct, "each packet made its own");
    assert_eq!(world.only(), None);
    world.hook(Hook::Postrouting, &mut first);
    world.hook(Hook::Postrouting, &mut second);
    assert_eq!(first.ct, second.ct, "of UDP, the second joins the first");
    let (mut first, mut second) = (tcp(false, S, 1, 0), tcp(false, S, 1, 0));
    world.hook(Hook::Prerouting, &mut first);
    world.hook(Hook::Prerouting, &mut second);
    assert_eq!(world.hook(Hook::Postrouting, &mut first), HookVerdict::Accept);
    let end = End::dropped(DropCode::CtClash, Locus::Conntrack { hook: Hook::Postrouting });
    assert_eq!(world.hook(Hook::Postrouting, &mut second), HookVerdict::End(end), "of TCP, it is dropped");
}

#[test]
fn zones_keep_connections_apart() {
    let mut world = World::new(&[]);
    let mut skb = udp(false);
    skb.ct_template = Some(CtTemplate { rule: RuleId(0), zone: Some(5), original: true, reply: false });
    assert_eq!(world.pass(skb), Some(CtInfo::New));
    assert_eq!(world.pass(udp(true)), Some(CtInfo::EstablishedReply), "the reply direction is in zone 0");
    let mut skb = udp(false);
    world.hook(Hook::Prerouting, &mut skb);
    assert!(matches!(skb.ct, SkbCt::Entry { info: CtInfo::New, .. }), "the original direction is not");
}

#[test]
fn a_full_table() {
    let mut world = World::new(&[("max", "1")]);
    assert_eq!(world.pass(udp(false)), Some(CtInfo::New));
    let mut skb = tcp(false, S, 1, 0);
    let end = world.hook(Hook::Prerouting, &mut skb);
    assert!(matches!(end, HookVerdict::End(end) if end.because.is_some()), "which one is dropped is random");
    world.state.now_ns += 3 * SECOND;
    for reply in [true, false] {
        assert!(world.pass(udp(reply)).is_some());
    }
    let end = End::dropped(DropCode::CtTableFull, Locus::Conntrack { hook: Hook::Prerouting });
    assert_eq!(world.hook(Hook::Prerouting, &mut skb), HookVerdict::End(end), "an ASSURED one is not");
}

#[test]
fn what_lives_longer_or_shorter_than_it_began_with_is_swept_in_time() {
    let mut world = World::new(&[("max", "1")]);
    assert_eq!(world.pass(udp(false)), Some(CtInfo::New));
    // 30 seconds from here on, not from the beginning.
    world.state.now_ns += 20 * SECOND;
    assert_eq!(world.pass(udp(false)), Some(CtInfo::New));
    world.state.now_ns += 20 * SECOND;
    let mut skb = tcp(false, S, 1, 0);
    let full = world.hook(Hook::Prerouting, &mut skb);
    assert!(matches!(full, HookVerdict::End(end) if end.because.is_some()));
    world.state.now_ns += 11 * SECOND;
    assert_eq!(world.hook(Hook::Prerouting, &mut skb), HookVerdict::Accept);
    assert_eq!(world.pass(tcp(false, S, 1, 0)), Some(CtInfo::New));
    // A SYN that is answered with a RST: 10 seconds are left of 120.
    assert!(world.pass(tcp(true, tcp_flag::RST | A, 0, 2)).is_some());
    world.state.now_ns += 11 * SECOND;
    assert_eq!(world.pass(udp(false)), Some(CtInfo::New));
}

#[test]
fn a_host_that_talks_to_itself_from_one_port() {
    // Seen: the second packet of 10.2.0.2:53 to 10.2.0.2:53 is of the reply direction.
    let mut l4 = vec![0, 53, 0, 53, 0, 8, 0, 0];
    l4.resize(8, 0);
    let packet = || ipv4(SERVER, SERVER, proto::UDP, l4.clone(), Some(6));
    let mut world = World::new(&[]);
    assert_eq!(world.pass(packet()), Some(CtInfo::New));
    assert_eq!(world.pass(packet()), Some(CtInfo::EstablishedReply));
}
