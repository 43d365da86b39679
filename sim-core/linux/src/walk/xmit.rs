//! Sending: POSTROUTING, fragmentation, neighbours, devices (`ip_output`, `ip_do_fragment`, `ip_finish_output2`, `dev_queue_xmit`).

use pktwalk_packet::{EtherType, MacAddr, Packet, build};

use super::arp::Heard;
use super::{Flight, Made, Next, Stage, bridge, forward, icmp, rx};
use crate::config::{DeviceKind, NudState};
use crate::fib;
use crate::hook::Hook;
use crate::ids::DevId;
use crate::iptables::ast::PktType;
use crate::netfilter::{HookState, HookVerdict, run_hook};
use crate::netns::Cx;
use crate::reason::{Because, Disposition, DropCode, End, Locus};
use crate::skb::{Dst, MadeBy, Skb};
use crate::trace::{Assumption, NeighResult, Sink, Step};

/// POSTROUTING and what follows it.
pub(super) fn output<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight) -> Next {
    let Some(dst) = flight.skb.dst else { return Next::not_modelled("a packet without a route") };
    let silent = fib::is_multicast(flight.skb.ip.dst) && flight.skb.ip.ttl == 0;
    let heard =
        dst.broadcast && !dst.local && flight.skb.in_dev.is_none() && cx.ns.loopback() != Some(dst.dev);
    if heard && silent && !loops_back(flight) && cx.ns.links.sockets_may_join {
        // It leaves only if nobody here is in the group.
        return Next::not_modelled("multicast groups that sockets joined");
    }
    if heard && loops_back(flight) {
        let mut copy = flight.skb.clone();
        copy.made_by = MadeBy::Copy;
        // `skb_clone`.
        copy.sk = None;
        cx.sink.step(&flight.skb, Step::Made { by: MadeBy::Copy });
        copy.in_dev = None;
        let at_once = flight.skb.made_by == MadeBy::Injected;
        cx.made.push(Made {
            skb: copy,
            stage: Stage::LoopCopy { at_once },
            steps: Vec::new(),
            bridged: None,
        });
        if silent {
            return Next::End(End::dropped(DropCode::MulticastTtl, Locus::Subsystem("ip_mc_output")));
        }
        return Next::After(Stage::Postrouting);
    }
    last_hook(cx, flight)
}

/// POSTROUTING.
pub(super) fn last_hook<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight) -> Next {
    let Some(dst) = flight.skb.dst else { return Next::not_modelled("a packet without a route") };
    if let Err(end) = postrouting(cx, flight, dst) {
        return Next::End(end);
    }
    let Some(dst) = flight.skb.dst else { return Next::not_modelled("a packet without a route") };
    finish(cx, flight, dst)
}

/// Whether a broadcast or multicast made here is heard here as well (`ip_mc_output`).
fn loops_back(flight: &Flight) -> bool {
    let to = flight.skb.ip.dst;
    // 224.0.0.1 is the one group that every device is in.
    !fib::is_multicast(to) || to == 0xe000_0001
}

fn postrouting<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight, dst: Dst) -> Result<(), End> {
    let at = HookState {
        hook: Hook::Postrouting,
        in_dev: flight.skb.in_dev,
        out_dev: Some(dst.dev),
        phys_in: flight.bridged.map(|b| b.phys_in),
        phys_out: None,
    };
    match run_hook(cx, at, &mut flight.skb) {
        HookVerdict::End(end) => Err(end),
        HookVerdict::Accept => Ok(()),
    }
}

/// The copy of a broadcast that its sender hears itself: through POSTROUTING, then received by the device that it goes out by
/// (`dev_loopback_xmit`). If a process sent it that happens at once; if it is sent because of a packet that is received, it waits until that is
/// done with (`netif_rx`).
pub(super) fn loop_copy<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight, at_once: bool) -> Next {
    let Some(dst) = flight.skb.dst else { return Next::not_modelled("a packet without a route") };
    if let Err(end) = postrouting(cx, flight, dst) {
        return Next::End(end);
    }
    flight.skb.in_dev = Some(dst.dev);
    flight.skb.looped = true;
    flight.skb.pkt_type =
        if fib::is_multicast(flight.skb.ip.dst) { PktType::Multicast } else { PktType::Broadcast };
    let lo = cx.ns.loopback().unwrap_or(dst.dev);
    flight.skb.dst = Some(Dst { dev: lo, local: true, ..dst });
    flight.skb.packet.clear_mac_header();
    if at_once { Next::Go(Stage::Looped) } else { Next::Later(Stage::Looped) }
}

/// That copy, as it is received.
pub(super) fn looped<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight) -> Next {
    let Some(dev) = flight.skb.in_dev else { return Next::not_modelled("a packet without a device") };
    cx.sink.step(&flight.skb, Step::Rx { dev });
    Next::Go(Stage::Ip)
}

/// `ip_finish_output`: cut to the MTU where that is allowed, then the neighbour.
fn finish<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight, dst: Dst) -> Next {
    let len = flight.skb.packet.l3_wire_len() as u32;
    if len <= dst.mtu {
        return neighbour(cx, flight, dst, None);
    }
    if flight.skb.ip.dont_fragment {
        cx.sink.step(&flight.skb, Step::Mtu { len, mtu: dst.mtu, fragments: 0 });
        let locus = Locus::Subsystem("ip_fragment");
        return forward::refuse(cx, flight, icmp::Error::too_big(dst.mtu), DropCode::FragNeeded, locus);
    }
    if flight.skb.packet.missing() > 0 {
        return Next::unknown(Because::CutPacket);
    }
    let Ok(pieces) = build::fragment(flight.skb.packet.l3(), dst.mtu as usize, false) else {
        return Next::End(End::dropped(DropCode::FragNeeded, Locus::Subsystem("ip_do_fragment")));
    };
    let fragments = pieces.len().min(usize::from(u16::MAX)) as u16;
    cx.sink.step(&flight.skb, Step::Mtu { len, mtu: dst.mtu, fragments });
    neighbour(cx, flight, dst, Some(pieces))
}

/// `ip_finish_output2`: the hardware address of the next hop.
fn neighbour<S: Sink>(
    cx: &mut Cx<'_, S>,
    flight: &mut Flight,
    dst: Dst,
    pieces: Option<Vec<Vec<u8>>>,
) -> Next {
    let ns = cx.ns;
    let dev = dst.dev;
    let Some(device) = ns.config.devices.get(dev.index()) else {
        return Next::not_modelled("a device that is not there");
    };
    let addr = dst.gateway.unwrap_or(flight.skb.ip.dst);
    if let DeviceKind::Other(_) = device.kind {
        return Next::unknown(Because::Device(dev));
    }
    let own = device.mac.unwrap_or_default();
    // Where no ARP is spoken a neighbour needs none (`arp_constructor`), but for one that somebody made without an address.
    let entry = ns.links.neighbour(dev, addr).map(|entry| entry.state);
    let unknown = matches!(entry, Some(NudState::Failed | NudState::Incomplete | NudState::None));
    let silent = device.no_arp && !unknown;
    let mac = if device.kind == DeviceKind::Loopback {
        MacAddr::default()
    } else if fib::is_multicast(addr) {
        rx::multicast_mac(addr)
    } else if silent {
        // An entry that somebody made is taken all the same.
        ns.links.neighbour(dev, addr).and_then(|entry| entry.mac).unwrap_or(own)
    } else if ns.fib.is_broadcast(addr) && ns.links.neighbour(dev, addr).is_none_or(|n| n.mac.is_none()) {
        MacAddr::BROADCAST
    } else {
        match resolve(cx, &flight.skb, dev, addr) {
            Ok(mac) => mac,
            Err(next) => return fail(cx, flight, next),
        }
    };
    if device.kind == DeviceKind::Loopback || fib::is_multicast(addr) || silent {
        cx.sink.step(&flight.skb, Step::Neighbour { dev, addr, result: NeighResult::NotNeeded });
    }
    match pieces {
        None => {
            flight.skb.packet.set_mac_header(mac, own);
            Next::Go(Stage::Transmit(dev))
        }
        Some(pieces) => {
            for piece in pieces {
                let mut piece = Packet::from_l3(EtherType::IPV4, piece);
                piece.set_mac_header(mac, own);
                if let Some(next) = piece_out(cx, flight, dev, piece) {
                    return next;
                }
            }
            Next::End(End::plain(Disposition::Forwarded))
        }
    }
}

/// A piece goes out. A device that does not send frames away takes pieces as packets of their own.
pub(super) fn piece_out<S: Sink>(
    cx: &mut Cx<'_, S>,
    flight: &Flight,
    dev: DevId,
    piece: Packet,
) -> Option<Next> {
    match sends_away(cx, dev) {
        Sends::Away => {
            cx.sink.step(&flight.skb, Step::Xmit { dev });
            cx.sink.frame(dev, &piece);
            None
        }
        Sends::Ends(end) => {
            cx.sink.step(&flight.skb, Step::Xmit { dev });
            Some(Next::End(end))
        }
        Sends::Within => {
            let mut skb = flight.skb.clone();
            skb.packet = piece;
            skb.reparse();
            skb.made_by = MadeBy::Fragment;
            cx.sink.step(&flight.skb, Step::Made { by: MadeBy::Fragment });
            cx.made.push(Made { skb, stage: Stage::Transmit(dev), steps: Vec::new(), bridged: None });
            None
        }
    }
}

/// The neighbour table's answer. `Err`: nobody answers.
pub(super) fn resolve<S: Sink>(
    cx: &mut Cx<'_, S>,
    skb: &Skb,
    dev: DevId,
    addr: u32,
) -> Result<MacAddr, DropCode> {
    let entry = cx.ns.links.neighbour(dev, addr);
    // An entry that an administrator made is not overwritten (`__neigh_update`).
    let fixed = entry.is_some_and(|entry| matches!(entry.state, NudState::Permanent | NudState::NoArp));
    let heard = cx.state.stack.heard.get(&(dev, addr)).filter(|_| !fixed);
    // Whom nobody can ask does not answer, nor does one whose answer nobody hears: what a bridge port receives is the bridge's.
    let silent = cx.ns.config.devices.get(dev.index()).is_some_and(|device| !device.carrier || device.no_arp)
        || cx.ns.links.bridge_of(dev).is_some();
    let (result, mac) = match entry {
        _ if let Some(mac) = heard.and_then(|heard| heard.mac) => (NeighResult::Known(mac), mac),
        Some(entry) => match (entry.state, entry.mac) {
            (
                NudState::Permanent
                | NudState::NoArp
                | NudState::Reachable
                | NudState::Stale
                | NudState::Delay
                | NudState::Probe,
                Some(mac),
            ) => (NeighResult::Known(mac), mac),
            (NudState::Failed, _) => (NeighResult::Failed, MacAddr::default()),
            _ if silent => (NeighResult::Failed, MacAddr::default()),
            _ => (NeighResult::Assumed, assumed_mac(addr)),
        },
        None if cx.ns.fib.is_broadcast(addr) => (NeighResult::NotNeeded, MacAddr::BROADCAST),
        None if silent => (NeighResult::Failed, MacAddr::default()),
        None => (NeighResult::Assumed, assumed_mac(addr)),
    };
    cx.sink.step(skb, Step::Neighbour { dev, addr, result });
    if result == NeighResult::Failed {
        return Err(DropCode::NeighFailed);
    }
    if result == NeighResult::Assumed {
        let asked = Heard { mac: None, updated_ns: cx.state.now_ns };
        cx.state.stack.heard.entry((dev, addr)).or_insert(asked);
        cx.sink.step(skb, Step::Assumed(Assumption::NeighbourAnswers { dev, addr }));
    }
    Ok(mac)
}

/// The address of a neighbour that is assumed to answer: locally administered, made of its IP address.
pub fn assumed_mac(addr: u32) -> MacAddr {
    let [a, b, c, d] = addr.to_be_bytes();
    MacAddr([0x02, 0xfe, a, b, c, d])
}

/// Resolution failed: the sender is told that the host is unreachable (`arp_error_report`, `ipv4_link_failure`).
fn fail<S: Sink>(cx: &mut Cx<'_, S>, flight: &Flight, code: DropCode) -> Next {
    let locus = Locus::Subsystem("neigh_invalidate");
    forward::refuse(cx, flight, icmp::Error::no_neighbour(), code, locus)
}

/// What a device does with what it is given.
enum Sends {
    /// It leaves the namespace.
    Away,
    /// It comes to another device, or to ports.
    Within,
    /// The walk ends.
    Ends(End),
}

fn sends_away<S: Sink>(cx: &Cx<'_, S>, dev: DevId) -> Sends {
    let ns = cx.ns;
    let Some(device) = ns.config.devices.get(dev.index()) else {
        return Sends::Ends(End::unknown(Because::NotModelled("a device that is not there")));
    };
    if let Some(because) = ns.links.unmodelled_tx(dev) {
        return Sends::Ends(End::unknown(because));
    }
    let silent = !device.carrier && device.kind != DeviceKind::Loopback;
    match device.kind {
        DeviceKind::Other(_) => Sends::Ends(End::unknown(Because::Device(dev))),
        _ if !device.up => Sends::Ends(End::dropped(DropCode::DeviceDown, Locus::Device(dev))),
        _ if silent => Sends::Ends(End::dropped(DropCode::NoCarrier, Locus::Device(dev))),
        DeviceKind::Dummy => Sends::Ends(End::dropped(DropCode::DummyDevice, Locus::Device(dev))),
        DeviceKind::Bridge { vlan_filtering: true, .. } => {
            Sends::Ends(End::unknown(Because::NotModelled("a bridge with VLAN filtering")))
        }
        DeviceKind::Loopback | DeviceKind::Bridge { .. } => Sends::Within,
        DeviceKind::Veth { .. } if peer(cx, dev).is_some() => Sends::Within,
        DeviceKind::Physical | DeviceKind::Veth { .. } => Sends::Away,
    }
}

/// The other end of a veth, where it is in this namespace.
fn peer<S: Sink>(cx: &Cx<'_, S>, dev: DevId) -> Option<DevId> {
    match cx.ns.config.devices.get(dev.index())?.kind {
        DeviceKind::Veth { peer_ifindex: Some(peer), peer_netns: None } => {
            let peer = cx.ns.links.by_ifindex(peer)?;
            let back = &cx.ns.config.devices.get(peer.index())?.kind;
            matches!(back, DeviceKind::Veth { .. }).then_some(peer)
        }
        _ => None,
    }
}

/// A frame at a device (`dev_hard_start_xmit`).
pub(super) fn transmit<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight, dev: DevId) -> Next {
    cx.sink.step(&flight.skb, Step::Xmit { dev });
    match sends_away(cx, dev) {
        Sends::Ends(end) => Next::End(end),
        Sends::Away => {
            cx.sink.frame(dev, &flight.skb.packet);
            Next::End(End::plain(Disposition::Forwarded))
        }
        Sends::Within => match cx.ns.device(dev).kind {
            DeviceKind::Bridge { .. } => bridge::from_host(cx, flight, dev),
            DeviceKind::Loopback => {
                // The connection, the mark and the route stay; the socket does not.
                flight.skb.in_dev = Some(dev);
                flight.skb.pkt_type = PktType::Unicast;
                flight.skb.sk = None;
                Next::Go(Stage::Receive)
            }
            _ => {
                // `skb_scrub_packet` within one namespace: the mark stays.
                let Some(peer) = peer(cx, dev) else { return Next::not_modelled("a veth without a peer") };
                flight.skb.in_dev = Some(peer);
                flight.skb.in_port = None;
                flight.skb.ct = crate::skb::SkbCt::None;
                flight.skb.dst = None;
                flight.skb.sk = None;
                flight.bridged = None;
                // `netif_rx`.
                Next::Later(Stage::Receive)
            }
        },
    }
}
