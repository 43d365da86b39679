//! REJECT's answers (`nf_send_unreach`, `nf_send_reset`), and the stack's own RST (`tcp_v4_send_reset`).

use pktwalk_packet::build::{ReplyHeader, tcp_reset};
use pktwalk_packet::checksum::{finish, pseudo_header, sum};
use pktwalk_packet::{EtherType, Packet, TcpFields, tcp_flag};

use super::{Made, Stage, icmp, options, output, skb_of};
use crate::conntrack;
use crate::fib::FlowKey;
use crate::hook::Hook;
use crate::ids::DevId;
use crate::iptables::ast::RejectWith;
use crate::netfilter::HookState;
use crate::netns::Cx;
use crate::reason::Because;
use crate::skb::{Dst, MadeBy, Skb};
use crate::trace::{Sink, Step};

/// REJECT: makes the answer to `skb` (an ICMP error or a RST), to be walked after it. `false` if none may be sent (`nf_send_unreach`,
/// `nf_send_reset`).
pub(crate) fn reject<S: Sink>(cx: &mut Cx<'_, S>, at: HookState, skb: &Skb, with: RejectWith) -> bool {
    let code = match with {
        RejectWith::IcmpNetUnreachable => 0,
        RejectWith::IcmpHostUnreachable => 1,
        RejectWith::IcmpProtoUnreachable => 2,
        RejectWith::IcmpPortUnreachable => 3,
        RejectWith::IcmpNetProhibited => 9,
        RejectWith::IcmpHostProhibited => 10,
        RejectWith::IcmpAdminProhibited => 13,
        RejectWith::TcpReset => {
            return match reset(cx, at, skb) {
                Ok(made) => {
                    cx.sink.step(skb, Step::Made { by: MadeBy::RejectReset });
                    cx.made.push(made);
                    true
                }
                Err(why) => {
                    cx.sink.step(skb, Step::NotAnswered { why });
                    false
                }
            };
        }
        RejectWith::Icmp6NoRoute
        | RejectWith::Icmp6AdmProhibited
        | RejectWith::Icmp6AddrUnreachable
        | RejectWith::Icmp6PortUnreachable
        | RejectWith::Icmp6PolicyFail
        | RejectWith::Icmp6RejectRoute => {
            cx.sink.step(skb, Step::NotAnswered { why: "it is not IPv6" });
            return false;
        }
    };
    let refused = if skb.ip.frag_offset != 0 {
        Some("it is a fragment other than the first")
    } else if !skb.summed.valid && verifies(skb) && !sum_ok(at, skb) {
        Some("its checksum is wrong")
    } else {
        None
    };
    if let Some(why) = refused {
        cx.sink.step(skb, Step::NotAnswered { why });
        return false;
    }
    let bridged = on_bridge(cx, at, skb);
    icmp::send(cx, bridged.as_ref().unwrap_or(skb), icmp::Error::unreachable(code), MadeBy::RejectIcmp)
}

/// A bridged packet in FORWARD has no route but one of the bridge (`bridge_parent_rtable`). In the other hooks of REJECT every packet has its own.
fn on_bridge<S: Sink>(cx: &Cx<'_, S>, at: HookState, skb: &Skb) -> Option<Skb> {
    let (Hook::Forward, Some(_), Some(bridge), None) = (at.hook, at.phys_in, at.out_dev, skb.dst) else {
        return None;
    };
    let dst = Dst {
        dev: bridge,
        local: false,
        broadcast: false,
        gateway: None,
        route: None,
        mtu: cx.ns.device(bridge).mtu,
        redirect: false,
        type_local: false,
        iif: None,
    };
    Some(Skb { dst: Some(dst), ..skb.clone() })
}

/// `nf_ip_checksum`, which sums from the IP header on: that of a packet whose options the stack has just changed does not hold before it is sent,
/// but where a sum is at hand it was taken earlier, and where the packet is only bridged nobody looks at it.
fn sum_ok(at: HookState, skb: &Skb) -> bool {
    let at_hand = skb.summed.complete && (skb.summed.valid || at.hook != Hook::Input);
    if at_hand || skb.packet.missing() > 0 {
        return true;
    }
    let start = match skb.ip.protocol {
        protocol @ (6 | 17) => pseudo_header(skb.ip.src, skb.ip.dst, protocol, skb.l4().len() as u32),
        _ => 0,
    };
    finish(sum(skb.packet.l3(), start)) == 0
}

/// Whether REJECT looks at the checksum of this packet (`nf_reject_verify_csum`, and UDP without one).
fn verifies(skb: &Skb) -> bool {
    match skb.ip.protocol {
        // GRE, ESP, AH, SCTP, UDP-Lite.
        47 | 50 | 51 | 132 | 136 => false,
        // One that is too short to have a checksum fails the check.
        17 => skb.l4().get(6..8).is_none_or(|sum| sum != [0, 0]),
        _ => true,
    }
}

/// The RST that answers `skb`.
fn reset_packet(skb: &Skb, tos: u8, ttl: u8) -> Result<Packet, &'static str> {
    let header = ReplyHeader { ttl, tos, id: 0, dont_fragment: true };
    let bytes = tcp_reset(skb.packet.l3(), header).ok_or("it has no whole TCP header")?;
    Ok(Packet::from_l3(EtherType::IPV4, bytes))
}

/// `nf_send_reset`.
fn reset<S: Sink>(cx: &mut Cx<'_, S>, at: HookState, skb: &Skb) -> Result<Made, &'static str> {
    if skb.ip.frag_offset != 0 {
        return Err("it is a fragment other than the first");
    }
    let tcp = match TcpFields::parse(skb.l4()) {
        Some(tcp) if skb.ip.protocol == 6 => tcp,
        _ => return Err("it has no whole TCP header"),
    };
    if tcp.flags & tcp_flag::RST != 0 {
        return Err("it is a RST itself");
    }
    if !sum_ok(at, skb) {
        return Err("its checksum is wrong");
    }
    if skb.dst.is_some_and(|dst| dst.broadcast) {
        return Err("it is a broadcast or multicast");
    }
    let by = MadeBy::RejectReset;
    // The TTL is taken before the way back is looked up: it is that of the route of the packet that is answered.
    let mut made = skb_of(reset_packet(skb, 0, output::ttl(cx.ns, skb.dst.as_ref()))?, by);
    made.mark = icmp::reply_mark(cx, skb);
    let sender = skb.sk.filter(|_| at.hook == Hook::Output);
    let bound = sender.and_then(|sk| sk.bound_dev);
    let routed = output::harder_answer(cx, &made, bound).map_err(|error| output::no_way_back(cx, error))?;
    made.dst = Some(routed.dst);
    conntrack::attach(&mut made, skb);
    conntrack::set_closing(cx, skb);
    if let Some(port) = at.phys_in {
        // Bridged traffic is answered through the port that it came by, in the name of the host that it was for.
        if let (Some(src), Some(dst)) = (skb.packet.mac_src(), skb.packet.mac_dst()) {
            made.packet.set_mac_header(src, dst);
        }
        return Ok(Made { skb: made, stage: Stage::Transmit(port), steps: Vec::new(), bridged: None });
    }
    let steps = output::steps(&routed);
    Ok(Made { skb: made, stage: Stage::LocalOut, steps, bridged: None })
}

/// `tcp_v4_send_reset` for a segment of no connection, that no socket takes, or by a listening one with the device that it is bound to. `false` if
/// none is sent.
pub(super) fn no_socket<S: Sink>(
    cx: &mut Cx<'_, S>,
    skb: &Skb,
    tcp: &TcpFields,
    listener: Option<Option<DevId>>,
) -> bool {
    let not = |cx: &mut Cx<'_, S>, why| {
        cx.sink.step(skb, Step::NotAnswered { why });
        false
    };
    if tcp.flags & tcp_flag::RST != 0 {
        return not(cx, "it is a RST itself");
    }
    if listener.is_none() && skb.dst.is_some_and(|dst| !dst.type_local) {
        return not(cx, "no route of type local brought it here");
    }
    if options::echoed(skb) {
        cx.undecided = Some(Because::NotModelled(options::ECHOED));
        return not(cx, options::ECHOED);
    }
    let mark = icmp::reply_mark(cx, skb);
    // Without the ECN bits, seen on 6.18.
    let tos = skb.ip.tos & 0xfc;
    let key = FlowKey {
        dst: skb.ip.src,
        src: skb.ip.dst,
        mark,
        tos,
        protocol: 6,
        sport: tcp.dport,
        dport: tcp.sport,
        oif: listener.flatten(),
        ..FlowKey::default()
    };
    let routed = match output::lookup_answer(cx, key) {
        Ok(routed) => routed,
        Err(error) => {
            let why = output::no_way_back(cx, error);
            return not(cx, why);
        }
    };
    let by = MadeBy::TcpReset;
    let reset = match reset_packet(skb, tos, output::answer_ttl(cx.ns, &routed.dst, skb.ip.src)) {
        Ok(reset) => reset,
        Err(why) => return not(cx, why),
    };
    let mut made = skb_of(reset, by);
    made.mark = mark;
    made.dst = Some(routed.dst);
    cx.sink.step(skb, Step::Made { by });
    let steps = output::steps(&routed);
    cx.made.push(Made { skb: made, stage: Stage::LocalOut, steps, bridged: None });
    true
}
