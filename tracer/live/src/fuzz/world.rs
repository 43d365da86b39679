//! Generated namespaces without rules: devices, addresses, routes, routing rules, neighbours, settings.
//!
//! The shape is always the same (an uplink, two pods on veths, a bridge with two ports), so that the value pools mean something; everything that
//! decides about packets varies.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use pktwalk_linux::config::{Address, Device, DeviceKind, Neighbour, NetNsConfig, NudState};
use pktwalk_linux::ids::SourceLine;

use super::pools::{
    BRIDGE, BRIDGE_HOST, BRIDGE_HOST_2, FAR_HOST, GATEWAY, NEAR_HOST, NODE, NODE_SECOND, POD_A, POD_B,
    dev_mac, neighbour_mac,
};
use super::rng::Rng;
use routes::{connected, route};

mod links;
mod routes;
mod settings;

/// Devices that packets can be given to, with the hosts that live behind each.
pub const PORTS: [(&str, u32, &[Ipv4Addr]); 5] = [
    ("eth0", 2, &[FAR_HOST, NEAR_HOST, GATEWAY]),
    ("vetha", 3, &[POD_A]),
    ("vethb", 4, &[POD_B]),
    ("brp0", 6, &[BRIDGE_HOST]),
    ("brp1", 7, &[BRIDGE_HOST_2]),
];

/// The bridge's ifindex.
pub const BRIDGE_IFINDEX: u32 = 5;

fn device(name: &str, ifindex: u32, kind: DeviceKind) -> Device {
    Device::new(name, ifindex, kind, dev_mac(ifindex))
}

fn address(local: Ipv4Addr, prefix_len: u8, secondary: bool) -> Address {
    let net = Ipv4Net::new(local, prefix_len).map(|net| net.broadcast()).ok().filter(|_| prefix_len < 31);
    Address { local: IpAddr::V4(local), prefix_len, peer: None, broadcast: net, scope: 0, secondary }
}

/// A namespace without rules and sets.
pub fn world(rng: &mut Rng) -> NetNsConfig {
    let mut lo = device("lo", 1, DeviceKind::Loopback);
    lo.addresses.push(Address { scope: 254, broadcast: None, ..address(Ipv4Addr::LOCALHOST, 8, false) });
    if rng.chance(5) {
        lo.mtu = 1000;
    }
    let mut eth0 = device("eth0", 2, DeviceKind::Physical);
    eth0.addresses.push(address(NODE, 24, false));
    if rng.chance(50) {
        eth0.addresses.push(address(NODE_SECOND, 24, true));
    }
    let veth = |name: &str, ifindex: u32, rng: &mut Rng| {
        let mut dev =
            device(name, ifindex, DeviceKind::Veth { peer_ifindex: None, peer_netns: Some(ifindex as i32) });
        if rng.chance(15) {
            dev.mtu = 1000;
        }
        dev
    };
    let mut veth_a = veth("vetha", 3, rng);
    let veth_b = veth("vethb", 4, rng);
    let mut routes =
        vec![connected("192.168.50.0/24", "eth0", NODE), connected("172.20.0.0/16", "br0", BRIDGE)];
    if rng.chance(30) {
        // A pod network with the node's own address on the pod's device, as a bridge-less plugin would do it.
        veth_a.addresses.push(address(Ipv4Addr::new(10, 0, 1, 1), 24, false));
        routes.push(connected("10.0.1.0/24", "vetha", Ipv4Addr::new(10, 0, 1, 1)));
    } else {
        routes.push(route("10.0.1.2/32", None, Some("vetha")));
    }
    routes.push(route("10.0.2.2/32", None, Some("vethb")));
    let mut bridge =
        device("br0", BRIDGE_IFINDEX, DeviceKind::Bridge { vlan_filtering: false, nf_call_iptables: false });
    bridge.addresses.push(address(BRIDGE, 16, false));
    let mut ports: Vec<Device> =
        [("brp0", 6), ("brp1", 7)].map(|(name, index)| veth(name, index, rng)).into();
    for port in &mut ports {
        port.master = Some("br0".to_owned());
        port.mtu = 1500;
        port.port.hairpin = rng.chance(30);
    }
    let mut devices = vec![lo, eth0, veth_a, veth_b, bridge];
    devices.extend(ports);

    if rng.chance(90) {
        routes.push(route("0.0.0.0/0", Some(GATEWAY), Some("eth0")));
    }
    routes::extra(rng, &mut routes);
    let neighbours = [
        ("eth0", GATEWAY),
        ("eth0", NEAR_HOST),
        ("vetha", POD_A),
        ("vethb", POD_B),
        ("br0", BRIDGE_HOST),
        ("br0", BRIDGE_HOST_2),
    ]
    .map(|(dev, addr)| Neighbour {
        dev: dev.to_owned(),
        addr: IpAddr::V4(addr),
        mac: Some(neighbour_mac(addr)),
        state: NudState::Permanent,
        source: SourceLine::default(),
    });
    let mut config = NetNsConfig {
        name: String::new(),
        devices,
        routes,
        routing_rules: routes::routing_rules(rng),
        neighbours: neighbours.into(),
        sysctls: settings::sysctls(rng),
        sockets: Some(Vec::new()),
        ..NetNsConfig::default()
    };
    links::specials(rng, &mut config);
    if rng.chance(15) {
        routes::tell_local(rng, &mut config);
    }
    config
}
