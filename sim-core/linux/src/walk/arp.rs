//! ARP: answers for own and proxied addresses (`arp_rcv`, `arp_process`), and what it does to neighbours. Who is answered becomes one
//! (`neigh_event_ns`); what others say changes one that is there already, or makes one with `arp_accept`. Left out: that a neighbour's state grows
//! old, and `locktime` other than its default.

use pktwalk_packet::{EtherType, MacAddr, Packet};

use super::input::{Asks, Input};
use super::{Flight, Made, Next, Stage, input, output, skb_of};
use crate::config::NudState;
use crate::fib::{self, AddrType, FlowKey, scope};
use crate::ids::DevId;
use crate::iptables::ast::PktType;
use crate::netns::{Cx, NetNs};
use crate::reason::{Because, Disposition, DropCode, End, Locus};
use crate::skb::MadeBy;
use crate::trace::{RouteCause, RouteResult, Sink, Step};

/// The fields of ARP for IPv4 over Ethernet. Addresses in host order.
#[derive(Clone, Copy, Debug)]
struct Arp {
    request: bool,
    sender_mac: MacAddr,
    sender: u32,
    target_mac: MacAddr,
    target: u32,
}

/// A neighbour that the namespace asked for or heard of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// What it said of itself; none as long as it is only assumed to answer.
    pub mac: Option<MacAddr>,
    /// When that changed last.
    pub updated_ns: u64,
}

/// For how long what a neighbour said first stands against what is said after it (`locktime`).
const LOCKTIME_NS: u64 = 1_000_000_000;

impl Arp {
    fn parse(bytes: &[u8]) -> Option<Arp> {
        let bytes: &[u8; 28] = bytes.get(..28)?.try_into().ok()?;
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let addr = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        // Ethernet, or IEEE 802.
        if !matches!(word(0), 1 | 6) || word(2) != EtherType::IPV4.0 || bytes[4] != 6 || bytes[5] != 4 {
            return None;
        }
        let request = match word(6) {
            1 => true,
            2 => false,
            _ => return None,
        };
        let mac = |at: usize| {
            let mut mac = MacAddr::default();
            mac.0.copy_from_slice(&bytes[at..at + 6]);
            mac
        };
        Some(Arp { request, sender_mac: mac(8), sender: addr(14), target_mac: mac(18), target: addr(24) })
    }
}

/// Whether an ARP packet asks, and the hardware address that it says its sender has.
pub(super) fn sender(packet: &Packet) -> Option<(bool, MacAddr)> {
    let (ethertype, l3) = packet.behind_tags();
    let arp = (ethertype == EtherType::ARP).then(|| Arp::parse(l3)).flatten()?;
    Some((arp.request, arp.sender_mac))
}

fn ignored(what: &'static str) -> Next {
    Next::End(End::dropped(DropCode::ArpIgnored, Locus::Subsystem(what)))
}

/// `arp_ignore`.
fn ignores(ns: &NetNs, dev: DevId, sender: u32, target: u32) -> bool {
    match ns.sysctls.arp_ignore(dev) {
        1 => !ns.fib.confirm_address(Some(dev), 0, target, scope::HOST),
        2 => !ns.fib.confirm_address(Some(dev), sender, target, scope::HOST),
        3 => !ns.fib.confirm_address(None, 0, target, scope::LINK),
        8 => true,
        _ => false,
    }
}

/// An ARP packet.
pub(super) fn receive<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight) -> Next {
    let ns = cx.ns;
    let Some(dev) = flight.skb.in_dev else { return Next::not_modelled("a packet without a device") };
    let device = ns.device(dev);
    if device.no_arp || device.kind == crate::config::DeviceKind::Loopback {
        return ignored("arp_rcv");
    }
    if flight.skb.pkt_type == PktType::OtherHost {
        return Next::End(End::dropped(DropCode::OtherHost, Locus::Subsystem("arp_rcv")));
    }
    if flight.skb.packet.l3_wire_len() < 28 {
        return Next::End(End::dropped(DropCode::Truncated, Locus::Subsystem("arp_rcv")));
    }
    let Some(arp) = Arp::parse(flight.skb.packet.l3()) else {
        if flight.skb.packet.missing() > 0 {
            return Next::unknown(Because::CutPacket);
        }
        return ignored("arp_process");
    };
    let Arp { request, sender, target, .. } = arp;
    if fib::is_multicast(target) || input::is_loopback(target) && !ns.sysctls.route_localnet(dev) {
        return ignored("arp_process");
    }
    if sender == 0 {
        // Somebody asks whether an address is free.
        if request && ns.fib.addr_type(target, None) == AddrType::Local && !ignores(ns, dev, sender, target) {
            return answer(cx, flight, dev, arp);
        }
        return ignored("arp_process");
    }
    if !request {
        update(cx, dev, arp);
        return Next::End(End::plain(Disposition::Consumed));
    }
    let key = FlowKey { dst: target, src: sender, iif: Some(dev), ..FlowKey::default() };
    let found = match input::lookup(cx, &key, dev, Asks::Arp, 0) {
        Ok(found) => found,
        Err(because) => return Next::unknown(because),
    };
    let result = match found.input {
        Input::Local => RouteResult::Local,
        Input::Broadcast => RouteResult::Broadcast,
        Input::Forward(dst) => RouteResult::Unicast { dev: dst.dev, gateway: dst.gateway },
        Input::Error(code, _) | Input::Martian(code) => RouteResult::Error(code),
    };
    let (rule, route) = (found.rule, found.route);
    cx.sink.step(&flight.skb, Step::Route { cause: RouteCause::Input, rule, route, result });
    output::tell_choice(cx, &flight.skb, found.chosen);
    if let Some(check) = found.check {
        cx.sink.step(&flight.skb, check);
    }
    let answered = match found.input {
        Input::Local => {
            if ignores(ns, dev, sender, target) {
                return ignored("arp_ignore");
            }
            if ns.sysctls.arp_filter(dev) {
                let key = FlowKey { dst: sender, src: target, ..FlowKey::default() };
                match output::lookup(cx, key, false) {
                    Ok(routed) => {
                        output::tell_choice(cx, &flight.skb, routed.chosen);
                        if routed.dst.dev != dev {
                            return ignored("arp_filter");
                        }
                    }
                    Err(output::NoRoute::Failed { .. }) => return ignored("arp_filter"),
                    Err(output::NoRoute::Unknown(because)) => return Next::unknown(because),
                }
            }
            true
        }
        Input::Forward(dst) if ns.sysctls.forwarding(dev) => {
            if dst.dev == dev {
                ns.sysctls.proxy_arp_pvlan(dev) && sender != target
            } else {
                ns.sysctls.proxy_arp(dev) && ns.sysctls.other_medium(dev, dst.dev)
                    || ns.links.proxied(dev, target)
            }
        }
        Input::Forward(_) | Input::Broadcast | Input::Error(..) | Input::Martian(_) => false,
    };
    if answered {
        return answer(cx, flight, dev, arp);
    }
    update(cx, dev, arp);
    ignored("arp_process")
}

/// Whether somebody tells where he is without being asked (`arp_is_garp`).
fn is_gratuitous(ns: &NetNs, arp: &Arp) -> bool {
    arp.sender == arp.target
        && (arp.request || arp.target_mac == arp.sender_mac)
        && ns.fib.addr_type(arp.sender, None) == AddrType::Unicast
}

/// The end of `arp_process`: what is said of a neighbour that is there already is taken over, unless something else was said just before.
fn update<S: Sink>(cx: &mut Cx<'_, S>, dev: DevId, arp: Arp) {
    let ns = cx.ns;
    let given = ns.links.neighbour(dev, arp.sender);
    if given.is_some_and(|entry| matches!(entry.state, NudState::Permanent | NudState::NoArp)) {
        return;
    }
    let at = (dev, arp.sender);
    let heard = cx.state.stack.heard.get(&at).copied();
    let gratuitous = is_gratuitous(ns, &arp);
    let accepted = || {
        let unicast = || ns.fib.addr_type(arp.sender, None) == AddrType::Unicast;
        let on_link = || ns.fib.on_link(dev, arp.sender, 0);
        (gratuitous || !arp.request && unicast())
            && match ns.sysctls.arp_accept(dev) {
                0 => false,
                2 => on_link(),
                _ => true,
            }
    };
    if heard.is_none() && given.is_none() && !accepted() {
        return;
    }
    let now_ns = cx.state.now_ns;
    let locked = heard.is_some_and(|heard| now_ns.saturating_sub(heard.updated_ns) <= LOCKTIME_NS);
    if locked && !gratuitous {
        return;
    }
    if heard.and_then(|heard| heard.mac) != Some(arp.sender_mac) {
        cx.state.stack.heard.insert(at, Heard { mac: Some(arp.sender_mac), updated_ns: now_ns });
    }
}

/// Says that the target is here.
fn answer<S: Sink>(cx: &mut Cx<'_, S>, flight: &Flight, dev: DevId, arp: Arp) -> Next {
    let own = cx.ns.device(dev).mac.unwrap_or_default();
    let mut bytes = Vec::with_capacity(28);
    bytes.extend_from_slice(&[0, 1, 0x08, 0, 6, 4, 0, 2]);
    bytes.extend_from_slice(&own.0);
    bytes.extend_from_slice(&arp.target.to_be_bytes());
    bytes.extend_from_slice(&arp.sender_mac.0);
    bytes.extend_from_slice(&arp.sender.to_be_bytes());
    let mut packet = Packet::from_l3(EtherType::ARP, bytes);
    packet.set_mac_header(arp.sender_mac, own);
    let by = MadeBy::Arp;
    if arp.sender != 0 {
        let heard = Heard { mac: Some(arp.sender_mac), updated_ns: cx.state.now_ns };
        cx.state.stack.heard.insert((dev, arp.sender), heard);
    }
    cx.sink.step(&flight.skb, Step::Made { by });
    cx.made.push(Made {
        skb: skb_of(packet, by),
        stage: Stage::Transmit(dev),
        steps: Vec::new(),
        bridged: None,
    });
    Next::End(End::plain(Disposition::Consumed))
}
