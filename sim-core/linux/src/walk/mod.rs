//! The walk of a packet through a namespace: receive, route, deliver, forward, send.

use crate::choice::Choice;
use crate::ids::DevId;
use crate::iptables::ast::RejectWith;
use crate::netfilter::HookState;
use crate::netns::{Cx, NetNs, NetNsState};
use crate::reason::{Because, DropCode, End};
use crate::skb::{Skb, SkbSocket};
use crate::trace::Sink;
use pktwalk_packet::Packet;

/// What the stack remembers between packets, apart from conntrack and rules.
#[derive(Clone, Debug, Default)]
pub struct StackState {}

/// Where a packet enters.
#[derive(Clone, Debug)]
pub enum Inject {
    /// A frame is received by a device. Without a link-layer header it gets the one that its neighbour would give it.
    Rx {
        /// The device.
        dev: DevId,
        /// The frame.
        packet: Packet,
    },
    /// A socket of the namespace sends it. The packet starts with its IPv4 header; a source address of 0.0.0.0 is chosen by routing.
    Local {
        /// The packet.
        packet: Packet,
        /// Who sends it.
        socket: SkbSocket,
    },
}

/// Walks one packet and everything that is made because of it. The end is the given packet's; those of the others go to the sink.
pub fn walk<S: Sink>(
    _ns: &NetNs,
    _state: &mut NetNsState,
    _inject: Inject,
    _choice: &mut dyn Choice,
    _sink: &mut S,
) -> End {
    End::unknown(Because::NotModelled("everything"))
}

/// `ip_route_me_harder`, in OUTPUT after mangle or nat changed what routing depends on. `at.out_dev` stays what it was; `skb.dst` changes.
pub(crate) fn reroute<S: Sink>(_cx: &mut Cx<'_, S>, _at: HookState, _skb: &mut Skb) -> Result<(), DropCode> {
    Ok(())
}

/// REJECT: makes the answer to `skb` (an ICMP error or a RST), to be walked after it. `false` if none may be sent (`nf_send_unreach`,
/// `nf_send_reset`).
pub(crate) fn reject<S: Sink>(_cx: &mut Cx<'_, S>, _at: HookState, _skb: &Skb, _with: RejectWith) -> bool {
    false
}
