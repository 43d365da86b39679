//! ARP: answers for own and proxied addresses (`arp_rcv`, `arp_process`). Who is answered becomes a neighbour (`neigh_event_ns`); replies are
//! taken and change nothing, as the neighbour table is given.

use pktwalk_packet::{EtherType, MacAddr, Packet};

use super::input::{Asks, Input};
use super::{Flight, Made, Next, Stage, input, output, skb_of};
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
    target: u32,
}

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
        let mut sender_mac = MacAddr::default();
        sender_mac.0.copy_from_slice(&bytes[8..14]);
        Some(Arp { request, sender_mac, sender: addr(14), target: addr(24) })
    }
}

/// Whether an ARP packet asks, and the hardware address that it says its sender has.
pub(super) fn sender(packet: &Packet) -> Option<(bool, MacAddr)> {
    let arp = (packet.ethertype() == EtherType::ARP).then(|| Arp::parse(packet.l3())).flatten()?;
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
    if let Some(check) = found.check {
        cx.sink.step(&flight.skb, check);
    }
    match found.input {
        Input::Local => {
            if ignores(ns, dev, sender, target) {
                return ignored("arp_ignore");
            }
            if ns.sysctls.arp_filter(dev) {
                let key = FlowKey { dst: sender, src: target, ..FlowKey::default() };
                match output::lookup(cx, key, false) {
                    Ok(routed) if routed.dst.dev == dev => {}
                    Ok(_) | Err(output::NoRoute::Failed { .. }) => return ignored("arp_filter"),
                    Err(output::NoRoute::Unknown(because)) => return Next::unknown(because),
                }
            }
            answer(cx, flight, dev, arp)
        }
        Input::Forward(dst) if ns.sysctls.forwarding(dev) => {
            let proxied = if dst.dev == dev {
                ns.sysctls.proxy_arp_pvlan(dev) && sender != target
            } else {
                ns.sysctls.proxy_arp(dev) || ns.links.proxied(dev, target)
            };
            if proxied { answer(cx, flight, dev, arp) } else { ignored("arp_process") }
        }
        Input::Forward(_) | Input::Broadcast | Input::Error(..) | Input::Martian(_) => ignored("arp_process"),
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
        cx.state.stack.learned.insert((dev, arp.sender), arp.sender_mac);
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
