//! What few worlds have on their links: neighbours that do not answer, devices that are down, bridges that filter, sockets that listen.
//!
//! Left out: a bridge's own switch for iptables (the one of all bridges is drawn), bridge ARP tables, VLAN filtering.

use std::net::{IpAddr, Ipv4Addr};

use pktwalk_linux::config::{FdbEntry, NetNsConfig, NudState, ProxyNeighbour, Socket};
use pktwalk_linux::ids::SourceLine;

use super::super::pools::{
    BRIDGE, BRIDGE_HOST, BRIDGE_HOST_2, GATEWAY, NODE, POD_A, POD_B, VIPS, neighbour_mac,
};
use super::super::rng::Rng;
use super::address;
use super::routes::connected;

/// Gives a world its oddities.
pub fn specials(rng: &mut Rng, config: &mut NetNsConfig) {
    if rng.chance(30) {
        bridge(rng, config);
    }
    if rng.chance(25) {
        sockets(rng, config);
    }
    if rng.chance(15) {
        neighbours(rng, config);
    }
    if rng.chance(15) {
        addresses(rng, config);
    }
    if rng.chance(12) {
        device(rng, config);
    }
}

fn bridge(rng: &mut Rng, config: &mut NetNsConfig) {
    if rng.chance(50) {
        config.sysctls.insert("net.bridge.bridge-nf-call-iptables".to_owned(), "1".to_owned());
    }
    let entry = |dev: &str, mac| FdbEntry {
        sticky: false,
        mac,
        dev: dev.to_owned(),
        vlan: None,
        local: false,
        remote: None,
        source: SourceLine::default(),
    };
    if rng.chance(30) {
        config.fdb.push(entry(if rng.chance(50) { "brp0" } else { "brp1" }, neighbour_mac(BRIDGE_HOST)));
    }
    if rng.chance(30) {
        config.fdb.push(entry("brp1", neighbour_mac(BRIDGE_HOST_2)));
    }
    let isolated = rng.chance(20);
    let mut ports: Vec<_> = config.devices.iter_mut().filter(|device| device.master.is_some()).collect();
    for port in &mut ports {
        port.port.isolated = isolated;
        port.port.flood = !rng.chance(20);
        port.port.learning = !rng.chance(20);
        port.port.mcast_flood = !rng.chance(15);
        port.port.bcast_flood = !rng.chance(15);
    }
    if rng.chance(15)
        && let Some(port) = ports.last_mut()
    {
        port.port.forwarding = false;
        port.port.learning_state = rng.chance(40);
    }
    // A bridge is as wide as its narrowest port.
    let narrow = rng.chance(40);
    if narrow && let Some(port) = ports.last_mut() {
        port.mtu = 1000;
    }
    if narrow && let Some(bridge) = config.devices.iter_mut().find(|device| device.name == "br0") {
        bridge.mtu = 1000;
    }
    if rng.chance(15)
        && let Some(bridge) = config.devices.iter_mut().find(|device| device.name == "br0")
    {
        bridge.promisc = true;
    }
}

fn sockets(rng: &mut Rng, config: &mut NetNsConfig) {
    let mut list = Vec::new();
    for _ in 0..rng.between(1, 4) {
        let protocol = *rng.pick(&[6u8, 17]);
        let local =
            *rng.pick(&[Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED, NODE, BRIDGE, Ipv4Addr::LOCALHOST]);
        let socket = Socket {
            protocol,
            local: IpAddr::V4(local),
            port: *rng.pick(&[53u16, 80, 443, 8080, 100]),
            remote: None,
            dev: rng.maybe(20, |rng| rng.pick(&["eth0", "vetha", "br0", "lo"]).to_string()),
            v6_only: false,
            listening: protocol == 6,
            owner: None,
            uid: Some(0),
        };
        if !list.contains(&socket) {
            list.push(socket);
        }
    }
    config.sockets = Some(list);
}

fn neighbours(rng: &mut Rng, config: &mut NetNsConfig) {
    let addr = IpAddr::V4(*rng.pick(&[POD_A, POD_B, GATEWAY, BRIDGE_HOST, BRIDGE_HOST_2]));
    let mut with_state = |state| {
        for neighbour in config.neighbours.iter_mut().filter(|neighbour| neighbour.addr == addr) {
            neighbour.state = state;
        }
    };
    match rng.below(4) {
        // Nothing is known of it: it answers when asked.
        0 => config.neighbours.retain(|neighbour| neighbour.addr != addr),
        1 => {
            with_state(NudState::Failed);
            config
                .neighbours
                .iter_mut()
                .filter(|n| n.addr == addr)
                .for_each(|neighbour| neighbour.mac = None);
        }
        2 => with_state(*rng.pick(&[NudState::Reachable, NudState::Stale])),
        _ => config.proxy_neighbours.push(ProxyNeighbour {
            dev: Some(rng.pick(&["vetha", "eth0", "br0"]).to_string()),
            addr: IpAddr::V4(*rng.pick(&[POD_A, POD_B, BRIDGE_HOST])),
        }),
    }
}

fn addresses(rng: &mut Rng, config: &mut NetNsConfig) {
    let mut give = |dev: &str, address| {
        if let Some(device) = config.devices.iter_mut().find(|device| device.name == dev) {
            device.addresses.push(address);
        }
    };
    match rng.below(4) {
        // An address with another end, which brings a route to that.
        0 => {
            let mut own = address(Ipv4Addr::new(10, 0, 2, 1), 32, false);
            own.peer = Some(IpAddr::V4(POD_B));
            give("vethb", own);
            config.routes.retain(|route| route.dst.addr() != IpAddr::V4(POD_B) || route.table != 254);
            config.routes.push(connected("10.0.2.2/32", "vethb", Ipv4Addr::new(10, 0, 2, 1)));
        }
        1 => give("vethb", address(Ipv4Addr::new(169, 254, 1, 1), 32, false)),
        2 => give("lo", address(VIPS[0], 32, false)),
        // The same subnet on two devices.
        _ => give("br0", address(Ipv4Addr::new(192, 168, 50, 4), 24, false)),
    }
}

fn device(rng: &mut Rng, config: &mut NetNsConfig) {
    let name = *rng.pick(&["eth0", "vetha", "vethb", "brp0", "brp1"]);
    let kind = rng.below(5);
    let Some(device) = config.devices.iter_mut().find(|device| device.name == name) else { return };
    match kind {
        0 => {
            device.up = false;
            // The kernel takes routes through a device away with it.
            let through = |route: &pktwalk_linux::config::Route| {
                route.nexthops.iter().any(|hop| hop.dev.as_deref() == Some(name))
            };
            config.routes.retain(|route| !through(route));
        }
        1 => {
            device.carrier = false;
            let hops = config.routes.iter_mut().flat_map(|route| &mut route.nexthops);
            hops.filter(|hop| hop.dev.as_deref() == Some(name)).for_each(|hop| hop.linkdown = true);
        }
        2 => device.no_arp = true,
        3 => device.promisc = true,
        _ => device.group = 7,
    }
}
