//! The link-layer header that a neighbour would give a packet.

use std::net::{IpAddr, Ipv4Addr};

use pktwalk_linux::config::NetNsConfig;
use pktwalk_packet::{Ipv4Fields, MacAddr, Packet};

/// The packet as it comes in by `dev`. A header that is there stays; otherwise: to the bridge if the device is a port of one (or to the host behind
/// another port, if the destination is on the bridge's own link), else to the device; from the source's own address if it is a neighbour there, else the gateway's.
pub fn as_neighbour(config: &NetNsConfig, dev: &str, packet: &Packet) -> Packet {
    if packet.mac_header().is_some() {
        return packet.clone();
    }
    let mut framed = packet.clone();
    let device = config.devices.iter().find(|device| device.name == dev);
    let link = device.and_then(|device| device.master.as_deref()).unwrap_or(dev);
    let owner = config.devices.iter().find(|device| device.name == link);
    let mac_of = |addr: Ipv4Addr| {
        let here = config.neighbours.iter().filter(|n| n.dev == link || n.dev == dev);
        here.clone().find(|n| n.addr == IpAddr::V4(addr)).and_then(|n| n.mac)
    };
    let ip = Ipv4Fields::parse(packet.l3()).ok();
    let beside = ip.filter(|_| link != dev).and_then(|ip| mac_of(ip.dst.into()));
    let dst = match ip.map(|ip| Ipv4Addr::from(ip.dst)) {
        Some(addr) if addr.is_broadcast() => MacAddr::BROADCAST,
        Some(addr) if addr.is_multicast() => {
            let [_, b, c, d] = addr.octets();
            MacAddr([1, 0, 0x5e, b & 0x7f, c, d])
        }
        _ => beside.or(owner.and_then(|owner| owner.mac)).unwrap_or_default(),
    };
    let gateway = || {
        let hops = config.routes.iter().flat_map(|route| &route.nexthops);
        hops.filter(|hop| hop.dev.as_deref() == Some(link)).find_map(|hop| match hop.via {
            Some(IpAddr::V4(via)) => mac_of(via),
            _ => None,
        })
    };
    let unknown = MacAddr([2, 0, 0, 0, 1, device.map_or(0, |device| device.ifindex as u8)]);
    let src = ip.and_then(|ip| mac_of(ip.src.into())).or_else(gateway).unwrap_or(unknown);
    framed.set_mac_header(dst, src);
    framed
}
