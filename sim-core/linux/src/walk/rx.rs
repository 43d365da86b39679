//! Receiving: from a device to the IP layer (`__netif_receive_skb_core`, `ip_rcv_core`, `ip_rcv_finish_core`).

use pktwalk_packet::{EtherType, Ipv4Fields, MacAddr, Packet, checksum};

use super::{Flight, Next, Stage, bridge, input, options, stacked};
use crate::config::DeviceKind;
use crate::fib::AddrType;
use crate::hook::Hook;
use crate::ids::DevId;
use crate::iptables::ast::PktType;
use crate::netfilter::{HookState, HookVerdict, run_hook};
use crate::netns::{Cx, NetNs};
use crate::reason::{Because, DropCode, End, Locus};
use crate::skb::Skb;
use crate::trace::{Sink, Step};

/// `packet` as it comes in by `dev`. One without a link-layer header gets the header that its neighbour on that link would give it: from the
/// address of the source if that is a neighbour, else of the link's gateway, else a made-up one; to the device, or behind a bridge port to the
/// bridge, or to the host beside it that has the destination, or to the macvlan on it that has it. ARP comes from the sender that it names, to everybody if it asks. VLAN tags
/// stand behind that header, and what is neither IPv4 nor ARP comes from the gateway. Devices that have no such header are left alone: what comes
/// by them counts as addressed to this host.
pub fn as_neighbour(ns: &NetNs, dev: DevId, packet: &mut Packet) {
    let Some(device) = ns.config.devices.get(dev.index()) else { return };
    let (Some(own), true) = (device.mac, packet.mac_header().is_none()) else { return };
    if device.kind == DeviceKind::Loopback {
        return;
    }
    let links = &ns.links;
    let l3_dev = links.bridge_of(dev).unwrap_or(dev);
    if let Some((request, sender)) = super::arp::sender(packet) {
        let to = if request { MacAddr::BROADCAST } else { ns.device(l3_dev).mac.unwrap_or(own) };
        packet.set_mac_header(to, sender);
        return;
    }
    let made_up = MacAddr([0x02, 0, 0, 0, 0xff, 0xfe]);
    let gateway = links.gateway_mac(l3_dev).unwrap_or(made_up);
    let (ethertype, l3) = packet.behind_tags();
    let ip = (ethertype == EtherType::IPV4).then(|| Ipv4Fields::parse(l3).ok()).flatten();
    let Some(ip) = ip else {
        packet.set_mac_header(ns.device(l3_dev).mac.unwrap_or(own), gateway);
        return;
    };
    let known = |addr: u32| links.neighbour(l3_dev, addr).and_then(|n| n.mac);
    let dst = match ip.dst {
        u32::MAX => MacAddr::BROADCAST,
        dst if crate::fib::is_multicast(dst) => multicast_mac(dst),
        // Directed broadcast of a subnet of ours.
        dst if ns.fib.addr_type(dst, Some(l3_dev)) == AddrType::Broadcast => MacAddr::BROADCAST,
        dst if l3_dev != dev => known(dst).or(ns.device(l3_dev).mac).unwrap_or(own),
        dst => links.stacked.mac_of(dev, dst).unwrap_or(own),
    };
    let src = known(ip.src).unwrap_or(gateway);
    packet.set_mac_header(dst, src);
}

/// 01:00:5e and the low 23 bits (`ip_eth_mc_map`).
pub(super) fn multicast_mac(addr: u32) -> MacAddr {
    let [_, b, c, d] = addr.to_be_bytes();
    MacAddr([0x01, 0x00, 0x5e, b & 0x7f, c, d])
}

/// `eth_type_trans`: how the frame is addressed.
fn pkt_type<S: Sink>(cx: &Cx<'_, S>, dev: DevId, packet: &Packet) -> PktType {
    match packet.mac_dst() {
        None => PktType::Unicast,
        Some(dst) if dst.is_broadcast() => PktType::Broadcast,
        Some(dst) if dst.is_multicast() => PktType::Multicast,
        Some(dst) => match cx.ns.device(dev).mac {
            Some(own) if own != dst => PktType::OtherHost,
            _ => PktType::Unicast,
        },
    }
}

/// Received by `skb.in_dev`.
pub(super) fn receive<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight) -> Next {
    let Some(dev) = flight.skb.in_dev else { return Next::not_modelled("a packet without a device") };
    if cx.ns.config.devices.get(dev.index()).is_none() {
        return Next::not_modelled("a device that is not there");
    }
    cx.sink.step(&flight.skb, Step::Rx { dev });
    let device = cx.ns.device(dev);
    if let Some(because) = cx.ns.links.unmodelled_rx(dev) {
        return Next::unknown(because);
    }
    match device.kind {
        DeviceKind::Other(_) => return Next::unknown(Because::Device(dev)),
        DeviceKind::Bridge { vlan_filtering: true, .. } => {
            return Next::not_modelled("a bridge with VLAN filtering");
        }
        DeviceKind::Bridge { .. }
        | DeviceKind::Loopback
        | DeviceKind::Physical
        | DeviceKind::Veth { .. }
        | DeviceKind::Dummy => {}
    }
    if !device.up {
        return Next::End(End::dropped(DropCode::DeviceDown, Locus::Device(dev)));
    }
    const VLAN_TAG: usize = 4;
    if matches!(device.kind, DeviceKind::Veth { .. })
        && flight.skb.packet.l3_wire_len() > device.mtu as usize + VLAN_TAG
    {
        return Next::End(End::dropped(DropCode::VethMtu, Locus::Device(dev)));
    }
    // What comes up from a port of a bridge keeps what the port made of it, and so does what was looped back.
    if flight.skb.in_port.is_none() && flight.skb.dst.is_none() {
        flight.skb.pkt_type = pkt_type(cx, dev, &flight.skb.packet);
    }
    if let Some(because) = cx.ns.links.stacked.takes(dev, &flight.skb.packet) {
        return Next::unknown(because);
    }
    stacked::copies(cx, flight, dev);
    if let Some(master) = cx.ns.links.other_master(dev) {
        return Next::unknown(Because::Device(master));
    }
    if let Some(bridge) = cx.ns.links.bridge_of(dev)
        && let Some(next) = bridge::from_port(cx, flight, bridge, dev)
    {
        return next;
    }
    to_protocol(flight, dev)
}

/// VLAN tags that no VLAN device took, and the choice of the protocol.
pub(super) fn to_protocol(flight: &mut Flight, dev: DevId) -> Next {
    let skb = &mut flight.skb;
    // The tag, and the type behind it.
    const TAG: usize = 6;
    let truncated = Next::End(End::dropped(DropCode::Truncated, Locus::Subsystem("skb_vlan_untag")));
    // The outermost tag, and those behind it as long as they say VLAN 0: `__netif_receive_skb_core` takes them off and, as there is no device for
    // its VLAN, a frame with a VLAN other than 0 is somebody else's from there on.
    while matches!(skb.packet.ethertype(), EtherType::VLAN | EtherType::SERVICE_VLAN)
        && skb.packet.mac_header().is_some()
    {
        let l3 = skb.packet.l3();
        let [first, second, ..] = *l3 else { return truncated };
        if l3.len() < TAG {
            return truncated;
        }
        let other = u16::from_be_bytes([first, second]) & 0x0fff != 0;
        let mut bytes = skb.packet.bytes().to_vec();
        bytes.drain(12..16);
        let missing = skb.packet.missing();
        let Some(untagged) = Packet::from_ethernet(bytes) else { return truncated };
        skb.packet = untagged.with_missing(missing);
        skb.reparse();
        if other {
            skb.pkt_type = PktType::OtherHost;
            break;
        }
    }
    match skb.packet.ethertype() {
        EtherType::IPV4 => Next::Go(Stage::Ip),
        EtherType::ARP => Next::Go(Stage::Arp),
        EtherType::IPV6 => Next::not_modelled("IPv6"),
        _ => Next::End(End::dropped(DropCode::UnhandledProtocol, Locus::Device(dev))),
    }
}

/// `ip_rcv_core`: whether this is an IPv4 packet for this host. Trims what the medium padded.
fn ip_core(skb: &mut Skb) -> Result<(), End> {
    if skb.pkt_type == PktType::OtherHost {
        return Err(End::dropped(DropCode::OtherHost, Locus::Subsystem("ip_rcv_core")));
    }
    check_header(skb).map_err(|code| match code {
        Some(code) => End::dropped(code, Locus::Subsystem("ip_rcv_core")),
        None => End::unknown(Because::CutPacket),
    })
}

/// The checks of an IPv4 header that `ip_rcv_core` and `br_validate_ipv4` share, and the trimming. `Err(None)`: a capture cut it off.
pub(super) fn check_header(skb: &mut Skb) -> Result<(), Option<DropCode>> {
    let cut = skb.packet.missing() > 0;
    let l3 = skb.packet.l3();
    let too_short = if cut { None } else { Some(DropCode::BadIpHeader) };
    let Some(&first) = l3.first() else { return Err(too_short) };
    if l3.len() < 20 {
        return Err(too_short);
    }
    let header_len = usize::from(first & 0x0f) * 4;
    if header_len < 20 || first >> 4 != 4 {
        return Err(Some(DropCode::BadIpHeader));
    }
    let Some(header) = l3.get(..header_len) else { return Err(too_short) };
    if checksum::checksum(header) != 0 {
        return Err(Some(DropCode::BadIpChecksum));
    }
    let Ok(ip) = Ipv4Fields::parse(l3) else { return Err(Some(DropCode::BadIpHeader)) };
    let total = usize::from(ip.total_len);
    if skb.packet.l3_wire_len() < total {
        return Err(Some(DropCode::Truncated));
    }
    if total < header_len {
        return Err(Some(DropCode::BadIpHeader));
    }
    skb.packet.trim_l3(total);
    skb.ip = ip;
    Ok(())
}

/// The IP layer: its checks, PREROUTING, routing.
pub(super) fn ip_receive<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight) -> Next {
    let Some(dev) = flight.skb.in_dev else { return Next::not_modelled("a packet without a device") };
    if let Err(end) = ip_core(&mut flight.skb) {
        return Next::End(end);
    }
    // A socket's packet that came back by `lo` is nobody's from here on.
    flight.skb.sk = None;
    flight.forwarded = false;
    flight.options = None;
    if flight.prerouted {
        // Bridge netfilter was here already (`ip_sabotage_in`).
        flight.prerouted = false;
    } else {
        let at = HookState {
            hook: Hook::Prerouting,
            in_dev: Some(dev),
            out_dev: None,
            phys_in: flight.bridged.map(|b| b.phys_in),
            phys_out: None,
        };
        let dst_before = flight.skb.ip.dst;
        if let HookVerdict::End(end) = run_hook(cx, at, &mut flight.skb) {
            return Next::End(end);
        }
        if flight.skb.ip.dst != dst_before {
            flight.skb.dst = None;
        }
    }
    let mut refused = None;
    // What `lo` gave back has the route that it was sent by.
    let kept = flight.skb.dst.is_some();
    if !kept {
        match input::route(cx, &mut flight.skb, dev) {
            Ok(error) => refused = error,
            Err(end) => return Next::End(end),
        }
    }
    if flight.skb.ip.header_len > 20
        && let Err(end) = options::receive(cx, flight, dev)
    {
        return Next::End(end);
    }
    let skb = &flight.skb;
    let Some(dst) = skb.dst else { return Next::not_modelled("a packet without a route") };
    if !dst.broadcast
        && matches!(skb.pkt_type, PktType::Broadcast | PktType::Multicast)
        && cx.ns.sysctls.drop_unicast_in_l2_multicast(dev)
    {
        return Next::End(End::dropped(
            DropCode::UnicastInL2Multicast,
            Locus::Subsystem("ip_rcv_finish_core"),
        ));
    }
    if let Some(refused) = refused {
        return Next::End(input::ip_error(cx, &flight.skb, dev, refused));
    }
    if kept && !dst.local {
        if cx.ns.links.sockets_may_join {
            return Next::not_modelled("multicast groups that sockets joined");
        }
        return Next::End(End::dropped(DropCode::NoMulticastMember, Locus::Subsystem("dst_discard")));
    }
    Next::Go(if dst.local { Stage::Deliver } else { Stage::Forward })
}

/// Whether the lengths of a header made here hold together; takes what is beyond its total length off.
pub(super) fn check_lengths(skb: &mut Skb) -> Result<(), DropCode> {
    let ip = Ipv4Fields::parse(skb.packet.l3()).map_err(|_| DropCode::BadIpHeader)?;
    let (total, have) = (usize::from(ip.total_len), skb.packet.l3_wire_len());
    if total > have || total < usize::from(ip.header_len) {
        return Err(DropCode::BadIpHeader);
    }
    skb.packet.trim_l3(total);
    skb.ip = ip;
    Ok(())
}
