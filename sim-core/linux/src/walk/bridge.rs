//! Bridges (`br_handle_frame`, `br_handle_frame_finish`, `br_dev_xmit`, `__br_forward`) and what bridge netfilter adds for IPv4
//! (`br_nf_pre_routing`, `br_nf_forward`, `br_nf_post_routing`).
//!
//! Modelled: local delivery, forwarding by the forwarding database (configured and learned), flooding, hairpin, isolation, port states, the
//! group addresses that stay on the link. Left out: VLAN filtering (`Unknown`), IGMP snooping (multicast is flooded, as without a querier; `Unknown`
//! where the bridge is one), neighbour suppression, STP's own frames (`Unknown`).

use pktwalk_packet::{EtherType, MacAddr, Packet, build, checksum};

use super::input::{Asks, Input};
use super::{Bridged, Flight, Made, Next, Stage, input, output, rx, xmit};
use crate::config::DeviceKind;
use crate::conntrack::confirm;
use crate::hook::Hook;
use crate::ids::DevId;
use crate::iptables::ast::PktType;
use crate::netfilter::{HookState, HookVerdict, run_hook};
use crate::netns::{Cx, NetNs};
use crate::reason::{Because, Disposition, DropCode, End, Locus};
use crate::skb::{MadeBy, Skb, SkbCt};
use crate::trace::{BridgeDecision, RouteCause, RouteResult, Sink, Step};

/// 01:80:c2:00:00:00 to 0f.
fn is_link_local(mac: MacAddr) -> bool {
    matches!(mac.0, [0x01, 0x80, 0xc2, 0, 0, last] if last < 16)
}

fn is_valid_source(mac: MacAddr) -> bool {
    !mac.is_multicast() && mac != MacAddr::default()
}

/// IEEE 802.3 lengths end where EtherTypes begin: STP's frames are LLC.
const FIRST_ETHERTYPE: u16 = 0x0600;

/// PPPoE session frames.
const PPPOE: EtherType = EtherType(0x8864);

/// Whether a port learns, whatever comes of the frame (`nbp_state_should_learn`).
fn learns(ns: &NetNs, port: DevId) -> bool {
    let device = ns.device(port);
    device.up && device.carrier && (device.port.forwarding || device.port.learning_state)
}

/// `br_fdb_update`: the source is behind this port from now on.
fn learn<S: Sink>(cx: &mut Cx<'_, S>, bridge: DevId, port: DevId, src: MacAddr) {
    let ns = cx.ns;
    let kept = ns.links.fdb(bridge, src) == Some(None) || ns.links.is_sticky(bridge, src);
    if ns.device(port).port.learning && !ns.device(bridge).bridge.no_learning && !kept {
        cx.state.stack.fdb.insert((bridge, src), port);
    }
}

/// What bridge netfilter does to frames that are not plain IPv4 and not modelled: it looks into those with a tag (`is_vlan_ip`, `is_pppoe_ip`) only if
/// told so.
fn other_netfilter(ns: &NetNs, bridge: DevId, packet: &Packet) -> Option<&'static str> {
    let settings = &ns.sysctls;
    let called = settings.bridge_nf_call_iptables || ns.links.calls_iptables(bridge);
    let called6 = settings.bridge_nf_call_ip6tables || ns.device(bridge).bridge.nf_call_ip6tables;
    let inner = |at: usize| match *packet.l3().get(at..at + 2)? {
        [a, b] => Some(EtherType(u16::from_be_bytes([a, b]))),
        _ => None,
    };
    let passes = |inner: Option<EtherType>| match inner {
        Some(EtherType::IPV4) => called,
        Some(EtherType::IPV6) => called6,
        _ => false,
    };
    match packet.ethertype() {
        EtherType::IPV6 if called6 => Some("IPv6"),
        EtherType::VLAN | EtherType::SERVICE_VLAN
            if settings.bridge_nf_filter_vlan_tagged && passes(inner(2)) =>
        {
            Some("bridge netfilter of VLAN-tagged frames (bridge-nf-filter-vlan-tagged)")
        }
        PPPOE if settings.bridge_nf_filter_pppoe_tagged && (called || called6) => {
            Some("bridge netfilter of PPPoE frames (bridge-nf-filter-pppoe-tagged)")
        }
        _ => None,
    }
}

/// Whether a port takes part at all.
fn forwards(ns: &NetNs, bridge: DevId, port: DevId) -> bool {
    let (device, bridge) = (ns.device(port), ns.device(bridge));
    device.up && device.carrier && device.port.forwarding && bridge.up
}

/// `should_deliver`: whether a frame may go out of a port. `from` is none for frames that the namespace itself sends.
fn may_leave(ns: &NetNs, bridge: DevId, port: DevId, from: Option<DevId>) -> bool {
    let to = &ns.device(port).port;
    let isolated = from.is_some_and(|from| ns.device(from).port.isolated && to.isolated);
    (to.hairpin || from != Some(port)) && forwards(ns, bridge, port) && !isolated
}

/// Whether the bridge may answer an ARP frame itself (`br_do_proxy_suppress_arp`), which depends on the ports that its neighbours are behind.
fn answered_here(ns: &NetNs, bridge: DevId, packet: &Packet) -> Option<Next> {
    let answers = || ns.links.ports(bridge).iter().any(|&port| ns.device(port).port.answers_arp);
    (packet.ethertype() == EtherType::ARP && answers()).then(|| {
        Next::not_modelled("ARP at a bridge that answers for neighbours (neigh_suppress, proxy_arp)")
    })
}

/// What is not modelled of a port that takes no frames: another one may stand in for it (`br_forward`, `backup_port`).
fn replaced(ns: &NetNs, port: DevId) -> Option<Because> {
    let device = ns.device(port);
    if device.up && device.carrier { None } else { ns.links.unmodelled_tx(port) }
}

/// The port that the forwarding database gives; `Some(None)`: the bridge's own.
fn find<S: Sink>(cx: &Cx<'_, S>, bridge: DevId, mac: MacAddr) -> Option<Option<DevId>> {
    let configured = cx.ns.links.fdb(bridge, mac);
    if configured == Some(None) {
        return configured;
    }
    cx.state.stack.fdb.get(&(bridge, mac)).map(|&port| Some(port)).or(configured)
}

/// A frame received by a port. `None`: not the bridge's business, on with the port's own protocols.
pub(super) fn from_port<S: Sink>(
    cx: &mut Cx<'_, S>,
    flight: &mut Flight,
    bridge: DevId,
    port: DevId,
) -> Option<Next> {
    let ns = cx.ns;
    if let DeviceKind::Bridge { vlan_filtering: true, .. } = ns.device(bridge).kind {
        return Some(Next::not_modelled("a bridge with VLAN filtering"));
    }
    if let Some(because) = ns.links.unmodelled_rx(bridge) {
        return Some(Next::unknown(because));
    }
    // Frames without a link-layer header (of IPv4, they got one) have no place in a bridge.
    let (Some(dst), Some(src)) = (flight.skb.packet.mac_dst(), flight.skb.packet.mac_src()) else {
        return Some(Next::not_modelled("a bridged packet without a link-layer header"));
    };
    let locus = Locus::Device(port);
    if !is_valid_source(src) {
        return Some(Next::End(End::dropped(DropCode::BadMacSource, locus)));
    }
    if is_link_local(dst) {
        let options = &ns.device(bridge).bridge;
        let group = dst.0[5];
        let mask = ns.device(port).port.group_fwd_mask | if group == 0 { 0 } else { options.group_fwd_mask };
        if group == 1 {
            return Some(Next::End(End::dropped(DropCode::MacControl, locus)));
        }
        if mask & (1 << group) == 0 && (group != 0 || options.stp) {
            if group == 0 && flight.skb.packet.ethertype().0 < FIRST_ETHERTYPE {
                return Some(Next::not_modelled("STP"));
            }
            // `br_handle_local_finish`: it goes on as any other that the port received.
            if !options.no_linklocal_learn && learns(ns, port) {
                learn(cx, bridge, port, src);
            }
            return None;
        }
    }
    if !learns(ns, port) || !ns.device(bridge).up {
        return Some(Next::End(End::dropped(DropCode::BridgePortState, locus)));
    }
    if let Some(what) = other_netfilter(ns, bridge, &flight.skb.packet) {
        return Some(Next::not_modelled(what));
    }
    if ns.device(bridge).mac == Some(dst) {
        flight.skb.pkt_type = PktType::Unicast;
    }
    if (ns.sysctls.bridge_nf_call_iptables || ns.links.calls_iptables(bridge))
        && flight.skb.packet.ethertype() == EtherType::IPV4
        && let Err(end) = pre_routing(cx, flight, bridge, port)
    {
        return Some(Next::End(end));
    }
    let dst = flight.skb.packet.mac_dst().unwrap_or(dst);
    Some(decide(cx, flight, bridge, port, src, dst))
}

/// `br_handle_frame_finish`.
fn decide<S: Sink>(
    cx: &mut Cx<'_, S>,
    flight: &mut Flight,
    bridge: DevId,
    port: DevId,
    src: MacAddr,
    dst: MacAddr,
) -> Next {
    let ns = cx.ns;
    learn(cx, bridge, port, src);
    if !ns.device(port).port.forwarding {
        // Learning is all that a port does in this state.
        return Next::End(End::dropped(DropCode::BridgePortState, Locus::Device(port)));
    }
    if let Some(next) = answered_here(ns, bridge, &flight.skb.packet) {
        return next;
    }
    let tell = |cx: &mut Cx<'_, S>, flight: &Flight, decision| {
        cx.sink.step(&flight.skb, Step::Bridge { bridge, from: Some(port), decision });
    };
    let promisc = ns.device(bridge).promisc;
    if !dst.is_multicast() {
        return match find(cx, bridge, dst) {
            Some(None) => {
                tell(cx, flight, BridgeDecision::Local);
                up(flight, bridge, port)
            }
            Some(Some(to)) if replaced(ns, to).is_some() => {
                replaced(ns, to).map_or_else(|| Next::not_modelled("a backup port"), Next::unknown)
            }
            Some(Some(to)) if may_leave(ns, bridge, to, Some(port)) => {
                tell(cx, flight, BridgeDecision::Forward(to));
                if promisc {
                    hear(cx, flight, bridge, port);
                }
                Next::Go(Stage::BridgePort { bridge, port: to, local: false })
            }
            Some(Some(_)) if promisc => {
                tell(cx, flight, BridgeDecision::Local);
                pass_up(cx, flight, bridge, port)
            }
            Some(Some(_)) => {
                tell(cx, flight, BridgeDecision::Drop);
                Next::End(End::dropped(DropCode::BridgeNoPort, Locus::Device(bridge)))
            }
            None => flood(cx, flight, bridge, Some(port), promisc),
        };
    }
    if ns.device(bridge).bridge.mcast_querier && !dst.is_broadcast() {
        return Next::not_modelled("IGMP snooping where there is a querier");
    }
    flight.skb.pkt_type = if dst.is_broadcast() { PktType::Broadcast } else { PktType::Multicast };
    flood(cx, flight, bridge, Some(port), true)
}

/// What a bridge takes itself of what it flooded, after that.
pub(super) fn pass_up<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight, bridge: DevId, port: DevId) -> Next {
    heard(cx, &mut flight.skb, bridge).map_or_else(|| up(flight, bridge, port), Next::End)
}

/// `br_pass_frame_up`: received once more, by the bridge.
fn up(flight: &mut Flight, bridge: DevId, port: DevId) -> Next {
    flight.skb.in_dev = Some(bridge);
    flight.skb.in_port = Some(port);
    Next::Go(Stage::Receive)
}

/// What a promiscuous bridge takes of frames for others, after they left by their ports. It is a copy here; in the kernel it is the frame
/// itself, and every port gets a copy.
fn hear<S: Sink>(cx: &mut Cx<'_, S>, flight: &Flight, bridge: DevId, port: DevId) {
    let mut copy = flight.skb.clone();
    copy.made_by = MadeBy::Copy;
    (copy.in_dev, copy.in_port) = (Some(bridge), Some(port));
    // A promiscuous bridge: see [`heard`].
    copy.ct = SkbCt::None;
    cx.sink.step(&flight.skb, Step::Made { by: MadeBy::Copy });
    cx.made.push(Made { skb: copy, stage: Stage::Receive, steps: Vec::new(), bridged: flight.bridged });
}

/// Bridge netfilter before a frame for many, or one that a promiscuous bridge hears, goes up the stack (`br_nf_local_in`): the connection is confirmed
/// before INPUT sees it, as copies may have left for it; in a promiscuous bridge the packet loses its connection.
fn heard<S: Sink>(cx: &mut Cx<'_, S>, skb: &mut Skb, bridge: DevId) -> Option<End> {
    if cx.ns.device(bridge).promisc {
        skb.ct = SkbCt::None;
        return None;
    }
    let at =
        HookState { hook: Hook::Input, in_dev: Some(bridge), out_dev: None, phys_in: None, phys_out: None };
    match confirm(cx, at, skb) {
        HookVerdict::End(end) => Some(end),
        HookVerdict::Accept => None,
    }
}

/// `br_flood`: a copy for every port but the last, which gets the frame itself unless the namespace takes it.
fn flood<S: Sink>(
    cx: &mut Cx<'_, S>,
    flight: &mut Flight,
    bridge: DevId,
    from: Option<DevId>,
    local: bool,
) -> Next {
    let ns = cx.ns;
    let dst = flight.skb.packet.mac_dst().unwrap_or_default();
    let unicast = !dst.is_multicast();
    // What the namespace itself sends to many goes out of every port.
    let may_have = |port: DevId| {
        let port = &ns.device(port).port;
        match (unicast, dst.is_broadcast()) {
            (true, _) => port.flood,
            (false, true) => port.bcast_flood || from.is_none(),
            (false, false) => port.mcast_flood || from.is_none(),
        }
    };
    let ports: Vec<DevId> = ns
        .links
        .ports(bridge)
        .iter()
        .copied()
        .filter(|&port| may_have(port) && may_leave(ns, bridge, port, from))
        .collect();
    let decision = match (ports.is_empty(), local) {
        (true, false) => BridgeDecision::Drop,
        (true, true) => BridgeDecision::Local,
        (false, false) => BridgeDecision::Flood,
        (false, true) => BridgeDecision::LocalAndFlood,
    };
    cx.sink.step(&flight.skb, Step::Bridge { bridge, from, decision });
    let (copies, own) = match (ports.split_last(), local && !unicast) {
        (Some((last, others)), false) => (others, Some(*last)),
        _ => (ports.as_slice(), None),
    };
    let sent_here = from.is_none();
    for &port in copies {
        let mut copy = flight.skb.clone();
        copy.made_by = MadeBy::Copy;
        cx.sink.step(&flight.skb, Step::Made { by: MadeBy::Copy });
        cx.made.push(Made {
            skb: copy,
            stage: Stage::BridgePort { bridge, port, local: sent_here },
            steps: Vec::new(),
            bridged: flight.bridged,
        });
    }
    let hearer = from.filter(|_| own.is_some() && local);
    if let Some(port) = hearer {
        hear(cx, flight, bridge, port);
    }
    match (own, local, from) {
        (Some(port), _, _) => {
            let stage = Stage::BridgePort { bridge, port, local: sent_here };
            if copies.is_empty() || hearer.is_some() { Next::Go(stage) } else { Next::After(stage) }
        }
        (None, true, Some(port)) if copies.is_empty() => pass_up(cx, flight, bridge, port),
        (None, true, Some(port)) => Next::After(Stage::BridgeUp { bridge, port }),
        (None, ..) => Next::End(End::dropped(DropCode::BridgeNoFlood, Locus::Device(bridge))),
    }
}

/// A frame that the namespace sends by the bridge (`br_dev_xmit`).
pub(super) fn from_host<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight, bridge: DevId) -> Next {
    let Some(dst) = flight.skb.packet.mac_dst() else {
        return Next::not_modelled("a bridged packet without a link-layer header");
    };
    if let Some(next) = answered_here(cx.ns, bridge, &flight.skb.packet) {
        return next;
    }
    if dst.is_multicast() {
        if cx.ns.device(bridge).bridge.mcast_querier && !dst.is_broadcast() {
            return Next::not_modelled("IGMP snooping where there is a querier");
        }
        return flood(cx, flight, bridge, None, false);
    }
    match find(cx, bridge, dst) {
        Some(Some(port)) if replaced(cx.ns, port).is_some() => {
            replaced(cx.ns, port).map_or_else(|| Next::not_modelled("a backup port"), Next::unknown)
        }
        Some(Some(port)) if may_leave(cx.ns, bridge, port, None) => {
            let decision = BridgeDecision::Forward(port);
            cx.sink.step(&flight.skb, Step::Bridge { bridge, from: None, decision });
            Next::Go(Stage::BridgePort { bridge, port, local: true })
        }
        Some(_) => {
            let decision = BridgeDecision::Drop;
            cx.sink.step(&flight.skb, Step::Bridge { bridge, from: None, decision });
            Next::End(End::dropped(DropCode::BridgeNoPort, Locus::Device(bridge)))
        }
        None => flood(cx, flight, bridge, None, false),
    }
}

/// `__br_forward` and `br_dev_queue_push_xmit`: out of one port.
pub(super) fn port_send<S: Sink>(
    cx: &mut Cx<'_, S>,
    flight: &mut Flight,
    bridge: DevId,
    port: DevId,
    local: bool,
) -> Next {
    if let (Some(bridged), false) = (flight.bridged, local)
        && let Err(end) = bridged_hooks(cx, flight, bridge, port, bridged)
    {
        return Next::End(end);
    }
    if let (Some(bridged), false) = (flight.bridged, local)
        && let Some(next) = cut(cx, flight, port, bridged)
    {
        return next;
    }
    if flight.skb.packet.l3_wire_len() > most(cx.ns, port, &flight.skb.packet) {
        return Next::End(End::dropped(DropCode::BridgePortMtu, Locus::Device(port)));
    }
    xmit::transmit(cx, flight, port)
}

/// What a port may be given behind the Ethernet header (`is_skb_forwardable`): its MTU, and room for one VLAN tag. A tag that the frame has is kept
/// beside it, and does not count.
fn most(ns: &NetNs, port: DevId, packet: &Packet) -> usize {
    const TAG: usize = 4;
    let tagged = matches!(packet.ethertype(), EtherType::VLAN | EtherType::SERVICE_VLAN);
    ns.device(port).mtu as usize + TAG + if tagged { TAG } else { 0 }
}

/// `br_nf_dev_queue_xmit` and `br_nf_ip_fragment`: where bridge netfilter saw an IPv4 packet that is longer than the MTU of its port, it is cut to
/// the MTU of its route, or dropped if it may not be.
fn cut<S: Sink>(cx: &mut Cx<'_, S>, flight: &Flight, port: DevId, bridged: Bridged) -> Option<Next> {
    let skb = &flight.skb;
    let len = skb.packet.l3_wire_len();
    if len <= cx.ns.device(port).mtu as usize {
        return None;
    }
    let dropped = Next::End(End::dropped(DropCode::BridgePortMtu, Locus::Device(port)));
    let (wire_len, mtu) = (len as u32, bridged.mtu);
    if skb.ip.dont_fragment {
        cx.sink.step(skb, Step::Mtu { len: wire_len, mtu, fragments: 0 });
        return Some(dropped);
    }
    if skb.packet.missing() > 0 {
        return Some(Next::unknown(Because::CutPacket));
    }
    let (Some((dst, src)), Ok(pieces)) = (
        skb.packet.mac_dst().zip(skb.packet.mac_src()),
        build::fragment(skb.packet.l3(), mtu as usize, false),
    ) else {
        return Some(dropped);
    };
    let fragments = pieces.len().min(usize::from(u16::MAX)) as u16;
    cx.sink.step(skb, Step::Mtu { len: wire_len, mtu, fragments });
    let options = skb.packet.l3().get(20..usize::from(skb.ip.header_len)).unwrap_or_default().to_vec();
    let pieces: Vec<Packet> = pieces
        .into_iter()
        .map(|mut piece| {
            // Nobody read the options (`br_validate_ipv4`), so that all of them are in every piece.
            if let Some(own) = piece.get_mut(20..20 + options.len()) {
                own.copy_from_slice(&options);
                checksum::put_ipv4(&mut piece);
            }
            let mut piece = Packet::from_l3(EtherType::IPV4, piece);
            piece.set_mac_header(dst, src);
            piece
        })
        .collect();
    // Each goes by what a port may be given. The route may have a larger MTU than the port.
    let too_long = pieces.iter().filter(|piece| piece.l3_wire_len() > most(cx.ns, port, piece)).count();
    if too_long == pieces.len() {
        return Some(dropped);
    }
    if too_long > 0 {
        return Some(Next::not_modelled(
            "pieces of a bridged packet that are longer than the MTU of its port",
        ));
    }
    for piece in pieces {
        if let Some(next) = xmit::piece_out(cx, flight, port, piece) {
            return Some(next);
        }
    }
    Some(Next::End(End::plain(Disposition::Forwarded)))
}

/// FORWARD and POSTROUTING of a bridged IPv4 frame.
fn bridged_hooks<S: Sink>(
    cx: &mut Cx<'_, S>,
    flight: &mut Flight,
    bridge: DevId,
    port: DevId,
    bridged: Bridged,
) -> Result<(), End> {
    let addressed = flight.skb.pkt_type;
    if addressed == PktType::OtherHost {
        flight.skb.pkt_type = PktType::Unicast;
    }
    for (hook, in_dev) in [(Hook::Forward, Some(bridge)), (Hook::Postrouting, None)] {
        let at = HookState {
            hook,
            in_dev,
            out_dev: Some(bridge),
            phys_in: Some(bridged.phys_in),
            phys_out: Some(port),
        };
        if let HookVerdict::End(end) = run_hook(cx, at, &mut flight.skb) {
            return Err(end);
        }
    }
    flight.skb.pkt_type = addressed;
    Ok(())
}

/// `br_nf_pre_routing` and `br_nf_pre_routing_finish`: PREROUTING for a frame that may never reach the IP layer, and where DNAT sends it.
fn pre_routing<S: Sink>(
    cx: &mut Cx<'_, S>,
    flight: &mut Flight,
    bridge: DevId,
    port: DevId,
) -> Result<(), End> {
    let locus = Locus::Subsystem("br_nf_pre_routing");
    // The bridge tells all that is wrong with a header by one reason.
    rx::check_header(&mut flight.skb).map_err(|code| match code {
        Some(_) => End::dropped(DropCode::BadIpHeader, locus),
        None => End::unknown(Because::CutPacket),
    })?;
    let other_host = flight.skb.pkt_type == PktType::OtherHost;
    if other_host {
        flight.skb.pkt_type = PktType::Unicast;
    }
    let mtu = cx.ns.device(bridge).mtu;
    flight.bridged = Some(Bridged { phys_in: port, other_host, mtu });
    flight.prerouted = true;
    flight.skb.in_dev = Some(bridge);
    flight.skb.in_port = Some(port);
    let at = HookState {
        hook: Hook::Prerouting,
        in_dev: Some(bridge),
        out_dev: None,
        phys_in: Some(port),
        phys_out: None,
    };
    let before = flight.skb.ip.dst;
    if let HookVerdict::End(end) = run_hook(cx, at, &mut flight.skb) {
        return Err(end);
    }
    if other_host {
        flight.skb.pkt_type = PktType::OtherHost;
    }
    if flight.skb.ip.dst != before {
        translated(cx, flight, bridge, locus)?;
    }
    Ok(())
}

/// After DNAT: to a host behind the same bridge the frame is bridged on, with that host's hardware address; otherwise it goes up to be
/// routed.
fn translated<S: Sink>(
    cx: &mut Cx<'_, S>,
    flight: &mut Flight,
    bridge: DevId,
    locus: Locus,
) -> Result<(), End> {
    let ip = flight.skb.ip;
    let key = input::key(cx.ns, &flight.skb, bridge);
    let found = input::lookup(cx, &key, bridge, Asks::Ip, ip.protocol).map_err(End::unknown)?;
    let (rule, route) = (found.rule, found.route);
    let tell = |cx: &mut Cx<'_, S>, flight: &Flight, result| {
        cx.sink.step(&flight.skb, Step::Route { cause: RouteCause::Input, rule, route, result });
    };
    let chosen = found.chosen;
    let bridged_to = match found.input {
        Input::Forward(dst) if dst.dev == bridge => {
            tell(cx, flight, RouteResult::Unicast { dev: dst.dev, gateway: dst.gateway });
            Some(dst)
        }
        // An error route is a route as well: `ip_error` comes when the packet is up.
        Input::Forward(_) | Input::Local | Input::Broadcast | Input::Error(..) => None,
        Input::Martian(code) => {
            tell(cx, flight, RouteResult::Error(code));
            return Err(End::dropped(code, locus));
        }
    };
    // The choice decides even where the packet goes up, to be routed once more.
    output::tell_choice(cx, &flight.skb, chosen);
    match bridged_to {
        Some(dst) => {
            let addr = dst.gateway.unwrap_or(ip.dst);
            let mac = xmit::resolve(cx, &flight.skb, bridge, addr)
                .map_err(|code| End::dropped(code, Locus::Subsystem("neigh_invalidate")))?;
            let own = cx.ns.device(bridge).mac.unwrap_or_default();
            let src = flight.skb.packet.mac_src().unwrap_or(own);
            flight.skb.packet.set_mac_header(mac, src);
            flight.skb.pkt_type = PktType::Unicast;
            if let Some(bridged) = &mut flight.bridged {
                bridged.mtu = dst.mtu;
            }
        }
        None => {
            let src = flight.skb.packet.mac_src().unwrap_or_default();
            if let Some(own) = cx.ns.device(bridge).mac {
                flight.skb.packet.set_mac_header(own, src);
            }
            flight.skb.pkt_type = PktType::Unicast;
        }
    }
    Ok(())
}
