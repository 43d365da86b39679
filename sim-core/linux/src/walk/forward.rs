//! Forwarding (`ip_forward`, `ip_forward_finish`).

use pktwalk_packet::checksum::replace16;

use super::{Flight, Next, Stage, icmp, options};
use crate::hook::Hook;
use crate::iptables::ast::PktType;
use crate::netfilter::{HookState, HookVerdict, run_hook};
use crate::netns::Cx;
use crate::reason::{DropCode, End, Locus};
use crate::skb::{MadeBy, Skb};
use crate::trace::{Sink, Step};

/// Ends a packet about which its sender is told, if that is allowed.
pub(super) fn refuse<S: Sink>(
    cx: &mut Cx<'_, S>,
    flight: &Flight,
    error: icmp::Error,
    code: DropCode,
    locus: Locus,
) -> Next {
    Next::End(if icmp::send(cx, &flight.skb, error, MadeBy::IcmpError) {
        End::rejected(code, locus)
    } else {
        End::dropped(code, locus)
    })
}

/// Lowers the TTL by one and updates the checksum (`ip_decrease_ttl`). Gives the TTLs before and after.
fn decrease_ttl(skb: &mut Skb) -> (u8, u8) {
    let old = skb.ip.ttl;
    let new = old.saturating_sub(1);
    if let Some(header) = skb.packet.l3_mut().get_mut(..20) {
        let before = u16::from_be_bytes([header[8], header[9]]);
        header[8] = new;
        let after = u16::from_be_bytes([header[8], header[9]]);
        let sum = u16::from_be_bytes([header[10], header[11]]);
        header[10..12].copy_from_slice(&replace16(sum, before, after).to_be_bytes());
    }
    skb.ip.ttl = new;
    (old, new)
}

/// A packet that is routed through.
pub(super) fn forward<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight) -> Next {
    let locus = Locus::Subsystem("ip_forward");
    let Some(dst) = flight.skb.dst else { return Next::not_modelled("a packet without a route") };
    if flight.skb.pkt_type != PktType::Unicast {
        return Next::End(End::dropped(DropCode::LinkBroadcastForward, locus));
    }
    if flight.skb.ip.ttl <= 1 {
        return refuse(cx, flight, icmp::Error::ttl(), DropCode::TtlExpired, locus);
    }
    flight.forwarded = true;
    // `skb_forward_csum`.
    flight.skb.summed.complete = false;
    let len = flight.skb.packet.l3_wire_len() as u32;
    if len > dst.mtu && flight.skb.ip.dont_fragment {
        cx.sink.step(&flight.skb, Step::Mtu { len, mtu: dst.mtu, fragments: 0 });
        return refuse(cx, flight, icmp::Error::too_big(dst.mtu), DropCode::FragNeeded, locus);
    }
    let (old, new) = decrease_ttl(&mut flight.skb);
    cx.sink.step(&flight.skb, Step::Ttl { old, new });
    if dst.redirect && flight.options.is_none_or(|options| options.source_route == 0) {
        let gateway = dst.gateway.unwrap_or(flight.skb.ip.dst);
        if cx.state.stack.rates.redirect(flight.skb.ip.src, cx.state.now_ns) {
            let error = icmp::Error::new(5, 1, gateway);
            icmp::send(cx, &flight.skb, error, MadeBy::IcmpError);
            return Next::After(Stage::Forwarded);
        } else {
            cx.sink.step(&flight.skb, Step::NotAnswered { why: "the limit of redirects is reached" });
        }
    }
    forwarded(cx, flight)
}

/// FORWARD.
pub(super) fn forwarded<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight) -> Next {
    let (Some(dst), Some(dev)) = (flight.skb.dst, flight.skb.in_dev) else {
        return Next::not_modelled("a packet without a route");
    };
    let at = HookState {
        hook: Hook::Forward,
        in_dev: Some(dev),
        out_dev: Some(dst.dev),
        phys_in: flight.bridged.map(|b| b.phys_in),
        phys_out: None,
    };
    if let HookVerdict::End(end) = run_hook(cx, at, &mut flight.skb) {
        return Next::End(end);
    }
    if let Err(because) = options::forward(cx.ns, flight) {
        return Next::unknown(because);
    }
    Next::Go(Stage::Output)
}
