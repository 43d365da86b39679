//! Local delivery (`ip_local_deliver`, `ip_protocol_deliver_rcu`): INPUT, then the transport protocols up to the socket.

use pktwalk_packet::checksum::checksum;
use pktwalk_packet::{IcmpFields, TcpFields, UdpFields, tcp_flag};

use super::links::SocketKey;
use super::socket::{self, Arrival};
use super::{Flight, Next, forward, icmp, reject};
use crate::config::{DeviceKind, MissingState};
use crate::hook::Hook;
use crate::ids::DevId;
use crate::iptables::ast::PktType;
use crate::netfilter::{HookState, HookVerdict, run_hook};
use crate::netns::{Cx, NetNs};
use crate::reason::{Because, Disposition, DropCode, End, Locus};
use crate::skb::{Skb, SkbCt};
use crate::trace::{Assumption, Sink, Step};

const ICMP: u8 = 1;
const IGMP: u8 = 2;
const TCP: u8 = 6;
const UDP: u8 = 17;
const PIM: u8 = 103;

/// A packet for this namespace.
pub(super) fn deliver<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight) -> Next {
    let Some(dev) = flight.skb.in_dev else { return Next::not_modelled("a packet without a device") };
    if flight.skb.ip.is_fragment() {
        return Next::not_modelled("reassembly of fragments on delivery");
    }
    let at = HookState {
        hook: Hook::Input,
        in_dev: Some(dev),
        out_dev: None,
        phys_in: flight.bridged.map(|b| b.phys_in),
        phys_out: None,
    };
    if let HookVerdict::End(end) = run_hook(cx, at, &mut flight.skb) {
        return Next::End(end);
    }
    match flight.skb.ip.protocol {
        ICMP => icmp_in(cx, flight, dev),
        TCP => tcp_in(cx, flight, dev),
        UDP => udp_in(cx, flight, dev),
        IGMP => igmp_in(cx, &flight.skb, dev),
        // `CONFIG_IP_PIMSM_V2`, which distributions have. Without multicast routing `pim_rcv` takes nothing.
        PIM => heard_raw(cx, &flight.skb, dev, DropCode::PimIgnored, "pim_rcv"),
        protocol => other(cx, flight, dev, protocol),
    }
}

fn drop(code: DropCode, function: &'static str) -> Next {
    Next::End(End::dropped(code, Locus::Subsystem(function)))
}

/// Delivered.
fn taken<S: Sink>(cx: &mut Cx<'_, S>, skb: &Skb, port: u16, socket: Option<u32>) -> Next {
    cx.sink.step(skb, Step::Deliver { protocol: skb.ip.protocol, port, socket });
    Next::End(End::plain(Disposition::Delivered))
}

/// Delivered to a socket that nobody told of.
fn assumed<S: Sink>(cx: &mut Cx<'_, S>, skb: &Skb, port: u16) -> Next {
    let protocol = skb.ip.protocol;
    cx.sink.step(skb, Step::Assumed(Assumption::SocketListens { protocol, port }));
    taken(cx, skb, port, None)
}

/// Whether a socket that is not among the known ones may listen there all the same: the list is not whole.
fn may_listen(ns: &NetNs, protocol: u8, port: u16) -> bool {
    ns.links.sockets_lost && !closed(ns, protocol, port)
}

/// Nobody takes it, if there is no connected socket that does: where the list has none, that is an assumption.
fn none_connected<S: Sink>(cx: &mut Cx<'_, S>, skb: &Skb, port: u16) {
    if cx.ns.links.connected_unknown && !closed(cx.ns, skb.ip.protocol, port) {
        cx.sink.step(skb, Step::Assumed(Assumption::Default(MissingState::ConnectedSockets)));
    }
}

/// Whether the user says that nothing listens there.
fn closed(ns: &NetNs, protocol: u8, port: u16) -> bool {
    ns.config.closed.iter().any(|&(of, at)| of == protocol && (at == 0 || at == port))
}

/// The sockets that could take it; `None` where nobody said which there are.
fn sockets(ns: &NetNs, protocol: u8, port: u16) -> Option<&[SocketKey]> {
    match &ns.links.sockets {
        Some(sockets) => Some(sockets),
        None if closed(ns, protocol, port) => Some(&[]),
        None => None,
    }
}

fn arrival(skb: &Skb, dev: DevId, sport: u16, dport: u16) -> Arrival {
    Arrival {
        protocol: skb.ip.protocol,
        src: skb.ip.src,
        sport,
        dst: skb.ip.dst,
        dport,
        dev: skb.dst.and_then(|dst| dst.iif).unwrap_or(dev),
        broadcast: skb.dst.is_some_and(|dst| dst.broadcast),
    }
}

/// Where a capture cut the bytes off that the checksum covers it is taken to be right. Nobody sums again what conntrack found to be right.
fn checksum_ok(skb: &Skb, l4: &[u8]) -> bool {
    skb.packet.missing() > 0 || skb.summed.valid || skb.sum_ok(l4)
}

/// A header that is not whole: cut by a capture, or too short in truth.
fn short(skb: &Skb, code: DropCode, function: &'static str) -> Next {
    if skb.packet.missing() > 0 { Next::unknown(Because::CutPacket) } else { drop(code, function) }
}

/// `tcp_v4_rcv`.
fn tcp_in<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight, dev: DevId) -> Next {
    const FUNCTION: &str = "tcp_v4_rcv";
    let skb = &flight.skb;
    if skb.pkt_type != PktType::Unicast {
        return drop(DropCode::TcpLinkBroadcast, FUNCTION);
    }
    let Some(tcp) = TcpFields::parse(skb.l4()) else {
        return short(skb, DropCode::ShortTransportHeader, FUNCTION);
    };
    if tcp.header_len < 20 {
        return drop(DropCode::Truncated, FUNCTION);
    }
    if skb.l4().len() < usize::from(tcp.header_len) {
        return short(skb, DropCode::ShortTransportHeader, FUNCTION);
    }
    if !checksum_ok(skb, skb.l4()) {
        return drop(DropCode::TcpChecksum, FUNCTION);
    }
    let Some(sockets) = sockets(cx.ns, TCP, tcp.dport) else { return assumed(cx, skb, tcp.dport) };
    if let Some(found) = socket::tcp(sockets, &arrival(skb, dev, tcp.sport, tcp.dport)) {
        return match sockets.iter().find(|socket| socket.index == found && socket.listening) {
            // It drops a SYN without a reason (`tcp_v4_conn_request`; `ListenDrops` counts it).
            Some(_) if skb.dst.is_some_and(|dst| dst.broadcast) => {
                Next::not_modelled("a listening socket reached by a broadcast or multicast address")
            }
            Some(&SocketKey { dev, .. }) => listener(cx, skb, &tcp, found, dev.flatten()),
            None => taken(cx, skb, tcp.dport, Some(found)),
        };
    }
    if may_listen(cx.ns, TCP, tcp.dport) {
        return assumed(cx, skb, tcp.dport);
    }
    if tcp.flags & (tcp_flag::SYN | tcp_flag::ACK) != tcp_flag::SYN {
        none_connected(cx, skb, tcp.dport);
    }
    let (code, locus) = (DropCode::NoSocket, Locus::Subsystem(FUNCTION));
    Next::End(if reject::no_socket(cx, skb, &tcp, None) {
        End::rejected(code, locus)
    } else {
        End::dropped(code, locus)
    })
}

/// `tcp_v4_do_rcv` and `tcp_rcv_state_process` of a socket in LISTEN, bound to `dev`. What becomes of a connection that it let begin is not followed:
/// the socket is taken to have every later segment of it.
fn listener<S: Sink>(cx: &mut Cx<'_, S>, skb: &Skb, tcp: &TcpFields, index: u32, dev: Option<DevId>) -> Next {
    use tcp_flag::{ACK, FIN, RST, SYN};
    let connection = (skb.ip.src, tcp.sport, skb.ip.dst, tcp.dport);
    if tcp.flags & (SYN | ACK | RST | FIN) == SYN {
        cx.state.stack.begun.insert(connection);
        return taken(cx, skb, tcp.dport, Some(index));
    }
    if cx.state.stack.begun.contains(&connection) {
        return taken(cx, skb, tcp.dport, Some(index));
    }
    none_connected(cx, skb, tcp.dport);
    if tcp.flags & ACK != 0 {
        let (code, locus) = (DropCode::NotConnected, Locus::Subsystem("tcp_v4_do_rcv"));
        let answered = reject::no_socket(cx, skb, tcp, Some(dev));
        return Next::End(if answered { End::rejected(code, locus) } else { End::dropped(code, locus) });
    }
    let code = if tcp.flags & RST == 0 { DropCode::NotConnected } else { DropCode::ResetOfNothing };
    drop(code, "tcp_rcv_state_process")
}

/// `__udp4_lib_rcv`.
fn udp_in<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight, dev: DevId) -> Next {
    const FUNCTION: &str = "__udp4_lib_rcv";
    let skb = &flight.skb;
    let Some(udp) = UdpFields::parse(skb.l4()) else {
        return short(skb, DropCode::ShortTransportHeader, FUNCTION);
    };
    let len = usize::from(udp.len);
    if len < 8 || len > skb.l4().len() + skb.packet.missing() {
        return drop(DropCode::Truncated, FUNCTION);
    }
    let l4 = &skb.l4()[..len.min(skb.l4().len())];
    // The sum of a longer one is only looked at by who takes it (`CHECKSUM_BREAK`), and of a broadcast that nobody may.
    const LOOKED_AT_FIRST: usize = 76;
    let wrong = udp.checksum != 0 && !checksum_ok(skb, l4);
    let nobodys = wrong && len > LOOKED_AT_FIRST && skb.dst.is_some_and(|dst| dst.broadcast);
    if wrong && !nobodys {
        return drop(DropCode::UdpChecksum, FUNCTION);
    }
    if let Some(because) = cx.ns.links.udp_unknown(udp.dport) {
        return Next::unknown(because);
    }
    let to = arrival(skb, dev, udp.sport, udp.dport);
    let Some(sockets) = sockets(cx.ns, UDP, udp.dport) else {
        if wrong {
            return drop(DropCode::UdpChecksum, FUNCTION);
        }
        return assumed(cx, skb, udp.dport);
    };
    if let Some(found) = socket::udp(sockets, &to) {
        if wrong {
            return drop(DropCode::UdpChecksum, FUNCTION);
        }
        return taken(cx, skb, udp.dport, Some(found));
    }
    if may_listen(cx.ns, UDP, udp.dport) {
        return assumed(cx, skb, udp.dport);
    }
    none_connected(cx, skb, udp.dport);
    if to.broadcast {
        return drop(DropCode::NoSocketBroadcast, "__udp4_lib_mcast_deliver");
    }
    // What is beyond the length that UDP says is no part of it.
    flight.skb.packet.trim_l3(usize::from(flight.skb.ip.header_len) + len);
    // `nf_reset_ct`: the error that tells of it is of no connection.
    flight.skb.ct = SkbCt::None;
    forward::refuse(cx, flight, icmp::Error::unreachable(3), DropCode::NoSocket, Locus::Subsystem(FUNCTION))
}

/// `icmp_rcv`.
fn icmp_in<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight, dev: DevId) -> Next {
    const FUNCTION: &str = "icmp_rcv";
    let skb = &flight.skb;
    if !checksum_ok(skb, skb.l4()) {
        return drop(DropCode::IcmpChecksum, FUNCTION);
    }
    let Some(fields) = IcmpFields::parse(skb.l4()) else {
        return short(skb, DropCode::ShortTransportHeader, FUNCTION);
    };
    // Extended echo is asked for before anything else, even by a broadcast.
    if fields.icmp_type != 42 && skb.dst.is_some_and(|dst| dst.broadcast) {
        let asks = matches!(fields.icmp_type, 8 | 13);
        if asks && cx.ns.sysctls.icmp_echo_ignore_broadcasts || !asks && !matches!(fields.icmp_type, 17 | 18)
        {
            return drop(DropCode::IcmpBroadcast, FUNCTION);
        }
    }
    match fields.icmp_type {
        0 | 43 => {
            // `ping_rcv`: a ping socket, or a raw one that had its copy before.
            let Some(sockets) = sockets(cx.ns, ICMP, fields.id).filter(|_| !cx.ns.links.raw_sockets_unknown)
            else {
                return assumed(cx, skb, fields.id);
            };
            let to = arrival(skb, dev, 0, fields.id);
            return match socket::ping(sockets, &to) {
                Some(found) => taken(cx, skb, fields.id, Some(found)),
                None => drop(DropCode::NoPingSocket, "ping_rcv"),
            };
        }
        8 => {
            cx.sink.step(skb, Step::Deliver { protocol: ICMP, port: 0, socket: None });
            icmp::answer(cx, skb, dev, icmp::Query::Echo);
            return Next::End(End::plain(Disposition::Delivered));
        }
        13 if lacks(skb, 4) => return heard_raw(cx, skb, dev, DropCode::Truncated, "icmp_timestamp"),
        5 if lacks(skb, 20) => return heard_raw(cx, skb, dev, DropCode::Truncated, "icmp_redirect"),
        3 | 4 | 11 | 12 => {
            let code = match skb.l4().get(8) {
                _ if lacks(skb, 20) => Some(DropCode::ShortTransportHeader),
                Some(first) if first & 0x0f < 5 => Some(DropCode::BadIpHeader),
                _ => None,
            };
            if let Some(code) = code {
                return heard_raw(cx, skb, dev, code, "icmp_unreach");
            }
        }
        13 => {
            cx.sink.step(skb, Step::Deliver { protocol: ICMP, port: 0, socket: None });
            icmp::answer(cx, skb, dev, icmp::Query::Timestamp);
            return Next::End(End::plain(Disposition::Delivered));
        }
        42 => {
            let why = "extended echo (RFC 8335) is not modelled";
            cx.sink.step(skb, Step::NotAnswered { why });
        }
        19.. => return heard_raw(cx, skb, dev, DropCode::IcmpUnhandled, FUNCTION),
        _ => {}
    }
    taken(cx, &flight.skb, 0, None)
}

/// Whether fewer than `len` bytes follow an ICMP header, whatever a capture kept of them.
fn lacks(skb: &Skb, len: usize) -> bool {
    skb.l4().len() + skb.packet.missing() < 8 + len
}

/// What its protocol's handler frees for `code`. A raw socket had its copy before (`raw_local_deliver`).
fn heard_raw<S: Sink>(
    cx: &mut Cx<'_, S>,
    skb: &Skb,
    dev: DevId,
    code: DropCode,
    function: &'static str,
) -> Next {
    let sockets = cx.ns.links.sockets.as_deref().unwrap_or(&[]);
    if let Some(found) = socket::raw(sockets, &arrival(skb, dev, 0, 0)) {
        return taken(cx, skb, 0, Some(found));
    }
    if cx.ns.links.raw_sockets_unknown {
        cx.sink.step(skb, Step::Assumed(Assumption::Default(MissingState::RawSockets)));
    }
    drop(code, function)
}

/// `igmp_rcv`: queries, and other hosts' reports to groups, are for every host; the rest is for multicast routers.
fn igmp_in<S: Sink>(cx: &mut Cx<'_, S>, skb: &Skb, dev: DevId) -> Next {
    const FUNCTION: &str = "igmp_rcv";
    let l4 = skb.l4();
    let len = l4.len() + skb.packet.missing();
    let whole = skb.packet.missing() == 0;
    if l4.len() < len.min(12) {
        return Next::unknown(Because::CutPacket);
    }
    let ours = match l4 {
        _ if len < 8 => false,
        _ if whole && checksum(l4) != 0 => false,
        [0x11, ..] => heard_query(l4, len),
        [0x12 | 0x16, ..] => !skb.looped && matches!(skb.pkt_type, PktType::Broadcast | PktType::Multicast),
        _ => false,
    };
    if ours { taken(cx, skb, 0, None) } else { heard_raw(cx, skb, dev, DropCode::IgmpIgnored, FUNCTION) }
}

/// `igmp_heard_query`: of 8 bytes (versions 1 and 2), or with as many sources as it says, which a general query has none of.
fn heard_query(l4: &[u8], len: usize) -> bool {
    match len {
        8 => true,
        12.. => match l4.get(4..12) {
            Some(&[a, b, c, d, _, _, high, low]) => {
                let sources = usize::from(u16::from_be_bytes([high, low]));
                let general = [a, b, c, d] == [0; 4];
                len >= 12 + 4 * sources && !(general && sources > 0)
            }
            _ => true,
        },
        _ => false,
    }
}

/// Every other protocol: a raw socket, or nobody.
fn other<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight, dev: DevId, protocol: u8) -> Next {
    // IPIP, IPv6 in IP, GRE, ESP, AH: a device or a transformation could take them.
    if matches!(protocol, 4 | 41 | 47 | 50 | 51) {
        let tunnel = cx.ns.config.devices.iter().position(|d| matches!(d.kind, DeviceKind::Other(_)));
        if let Some(tunnel) = tunnel {
            return Next::unknown(Because::Device(DevId(tunnel as u32)));
        }
    }
    if protocol == 136 {
        return Next::not_modelled("UDP-Lite");
    }
    // SCTP, DCCP and L2TP.
    let brought_by_module = matches!(protocol, 33 | 115 | 132);
    match &cx.ns.links.sockets {
        Some(sockets) => {
            if let Some(found) = socket::raw(sockets, &arrival(&flight.skb, dev, 0, 0)) {
                return taken(cx, &flight.skb, 0, Some(found));
            }
        }
        None if brought_by_module && !closed(cx.ns, protocol, 0) => {
            return assumed(cx, &flight.skb, 0);
        }
        None => {}
    }
    if cx.ns.links.raw_sockets_unknown {
        cx.sink.step(&flight.skb, Step::Assumed(Assumption::Default(MissingState::RawSockets)));
    }
    // `ss` is not asked for sockets of these, and could not list those of all.
    if brought_by_module && !closed(cx.ns, protocol, 0) {
        cx.sink.step(&flight.skb, Step::Assumed(Assumption::NoModule { protocol }));
    }
    forward::refuse(
        cx,
        flight,
        icmp::Error::unreachable(2),
        DropCode::NoProtocol,
        Locus::Subsystem("ip_protocol_deliver_rcu"),
    )
}
