//! What the walk looks up outside of routing and rules, compiled: neighbours, bridge ports and their forwarding database, sockets, and the
//! state that is there but not modelled.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pktwalk_packet::MacAddr;
use rustc_hash::{FxHashMap, FxHashSet};

use super::stacked::Stacked;
use crate::config::{
    DeviceKind, MissingState, NetNsConfig, NudState, Socket, UnmodelledPoint, UnmodelledState,
};
use crate::diag::Diagnostic;
use crate::ids::DevId;
use crate::reason::Because;

const TCP: u8 = 6;

/// A neighbour entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NeighEntry {
    /// Hardware address, where known.
    pub mac: Option<MacAddr>,
    /// State.
    pub state: NudState,
}

/// A socket, its addresses as IPv4 sees them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SocketKey {
    /// Position in the configuration.
    pub index: u32,
    /// IP protocol.
    pub protocol: u8,
    /// Bound address, 0 for any.
    pub local: u32,
    /// Bound port.
    pub port: u16,
    /// Connected to.
    pub remote: Option<(u32, u16)>,
    /// Bound device: `Some(None)` is a device that is not here.
    pub dev: Option<Option<DevId>>,
    /// An IPv4 socket, not an IPv6 one that takes IPv4 too.
    pub v4: bool,
    /// TCP: in LISTEN.
    pub listening: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Links {
    rx_unmodelled: Vec<Option<u32>>,
    /// UDP ports that are not a process's.
    udp_unmodelled: BTreeMap<u16, u32>,
    tx_unmodelled: Vec<Option<u32>>,
    /// What stands on devices.
    pub(super) stacked: Stacked,
    everywhere: Option<u32>,
    neighbours: FxHashMap<(DevId, u32), NeighEntry>,
    /// For each device, the hardware address of the first gateway behind it that is a known neighbour.
    gateways: Vec<Option<MacAddr>>,
    /// (device or none for all, address).
    proxy_neighbours: Vec<(Option<DevId>, u32)>,
    /// For each device, the bridge that it is a port of.
    bridge_of: Vec<Option<DevId>>,
    /// For each device, whether its master is something else than a bridge.
    other_master: Vec<Option<DevId>>,
    /// Ports of each bridge, newest first: the order in which the kernel floods.
    ports: BTreeMap<DevId, Vec<DevId>>,
    /// (bridge, address) to port; none: the bridge's own address.
    fdb: FxHashMap<(DevId, MacAddr), Option<DevId>>,
    /// (bridge, address) of entries that stay at their port.
    sticky: FxHashSet<(DevId, MacAddr)>,
    /// Bridges with `nf_call_iptables` of their own.
    calls_iptables: Vec<DevId>,
    pub(super) sockets: Option<Vec<SocketKey>>,
    /// Connected sockets are not known.
    pub(super) connected_unknown: bool,
    /// Some of the sockets are not known.
    pub(super) sockets_lost: bool,
    /// There is, or may be, a socket that can have joined a multicast group: of any kind but TCP, whatever it is bound or connected to.
    pub(super) sockets_may_join: bool,
    by_ifindex: BTreeMap<u32, DevId>,

    missing_sysctls: bool,
    /// Whether there may be raw and ping sockets that nobody told of.
    pub(super) raw_sockets_unknown: bool,
}

fn v4(addr: IpAddr) -> Option<u32> {
    match addr {
        IpAddr::V4(addr) => Some(u32::from(addr)),
        IpAddr::V6(addr) => addr.to_ipv4_mapped().map(u32::from),
    }
}

fn socket(index: usize, socket: &Socket, devs: &BTreeMap<String, DevId>) -> Option<SocketKey> {
    let is_v4 = socket.local.is_ipv4();
    let local = match socket.local {
        IpAddr::V6(addr) if addr.is_unspecified() => {
            if socket.v6_only {
                return None;
            }
            0
        }
        addr => v4(addr)?,
    };
    let remote = match socket.remote {
        None => None,
        Some((addr, port)) => Some((v4(addr)?, port)),
    };
    Some(SocketKey {
        index: index as u32,
        protocol: socket.protocol,
        local,
        port: socket.port,
        remote,
        dev: socket.dev.as_ref().map(|name| devs.get(name).copied()),
        v4: is_v4,
        listening: socket.listening,
    })
}

fn not_known(state: &UnmodelledState) -> Diagnostic {
    Diagnostic::warning(state.source, format!("{} is at a device that is not known", state.what))
}

impl Links {
    pub(crate) fn compile(
        config: &NetNsConfig,
        devs: &BTreeMap<String, DevId>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Links {
        let count = config.devices.len();
        let mut links = Links {
            rx_unmodelled: vec![None; count],
            tx_unmodelled: vec![None; count],
            bridge_of: vec![None; count],
            other_master: vec![None; count],

            raw_sockets_unknown: config.missing.contains(&MissingState::RawSockets),
            missing_sysctls: config.missing.contains(&MissingState::Sysctls),
            ..Links::default()
        };
        for (index, device) in config.devices.iter().enumerate() {
            links.by_ifindex.entry(device.ifindex).or_insert(DevId(index as u32));
        }
        for (position, state) in config.unmodelled.iter().enumerate() {
            let position = position as u32;
            let slot = match &state.point {
                UnmodelledPoint::Udp(port) => {
                    links.udp_unmodelled.entry(*port).or_insert(position);
                    continue;
                }
                UnmodelledPoint::Stacked { on, takes } => {
                    match devs.get(on) {
                        Some(&dev) => links.stacked.add(dev, position, takes.clone()),
                        None => diagnostics.push(not_known(state)),
                    }
                    continue;
                }
                UnmodelledPoint::Copies { on, by } => {
                    match (devs.get(on), devs.get(by)) {
                        (Some(&dev), Some(&by)) => links.stacked.add_copy(dev, by),
                        _ => diagnostics.push(not_known(state)),
                    }
                    continue;
                }
                UnmodelledPoint::Everywhere => Some(&mut links.everywhere),
                UnmodelledPoint::Rx(name) => {
                    devs.get(name).and_then(|dev| links.rx_unmodelled.get_mut(dev.index()))
                }
                UnmodelledPoint::Tx(name) => {
                    devs.get(name).and_then(|dev| links.tx_unmodelled.get_mut(dev.index()))
                }
            };
            match slot {
                Some(slot) => *slot = slot.or(Some(position)),
                None => diagnostics.push(not_known(state)),
            }
        }
        links.compile_neighbours(config, devs, diagnostics);
        links.gateways = vec![None; count];
        for hop in config.routes.iter().flat_map(|route| &route.nexthops) {
            let (Some(IpAddr::V4(via)), Some(dev)) =
                (hop.via, hop.dev.as_ref().and_then(|dev| devs.get(dev)))
            else {
                continue;
            };
            let mac = links.neighbour(*dev, u32::from(via)).and_then(|neighbour| neighbour.mac);
            if let Some(slot) = links.gateways.get_mut(dev.index()) {
                *slot = slot.or(mac);
            }
        }
        links.compile_bridges(config, devs, diagnostics);
        links.connected_unknown = config.missing.contains(&MissingState::ConnectedSockets);
        links.sockets_lost = config.missing.contains(&MissingState::Sockets);
        links.sockets_may_join = links.sockets_lost
            || links.raw_sockets_unknown
            || config.sockets.as_ref().is_none_or(|all| all.iter().any(|socket| socket.protocol != TCP));
        links.sockets = config.sockets.as_ref().map(|sockets| {
            sockets.iter().enumerate().filter_map(|(index, s)| socket(index, s, devs)).collect()
        });
        links
    }

    fn compile_neighbours(
        &mut self,
        config: &NetNsConfig,
        devs: &BTreeMap<String, DevId>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        for neighbour in &config.neighbours {
            let (Some(&dev), IpAddr::V4(addr)) = (devs.get(&neighbour.dev), neighbour.addr) else {
                if neighbour.addr.is_ipv4() {
                    diagnostics.push(Diagnostic::note(
                        neighbour.source,
                        format!("a neighbour on {}, a device that is not known", neighbour.dev),
                    ));
                }
                continue;
            };
            self.neighbours
                .insert((dev, u32::from(addr)), NeighEntry { mac: neighbour.mac, state: neighbour.state });
        }
        for proxy in &config.proxy_neighbours {
            let IpAddr::V4(addr) = proxy.addr else { continue };
            let dev = match &proxy.dev {
                None => None,
                Some(name) => match devs.get(name) {
                    Some(&dev) => Some(dev),
                    None => continue,
                },
            };
            self.proxy_neighbours.push((dev, u32::from(addr)));
        }
    }

    fn compile_bridges(
        &mut self,
        config: &NetNsConfig,
        devs: &BTreeMap<String, DevId>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        for (index, device) in config.devices.iter().enumerate() {
            let Some(master) = &device.master else { continue };
            let port = DevId(index as u32);
            let Some(&master_id) = devs.get(master) else {
                diagnostics.push(Diagnostic::warning(
                    device.source,
                    format!("{} has master {master}, which is not known", device.name),
                ));
                self.other_master[index] = Some(port);
                continue;
            };
            match config.devices.get(master_id.index()).map(|d| &d.kind) {
                Some(DeviceKind::Bridge { .. }) => {
                    self.bridge_of[index] = Some(master_id);
                    self.ports.entry(master_id).or_default().insert(0, port);
                    if let Some(mac) = device.mac {
                        self.fdb.insert((master_id, mac), None);
                    }
                }
                _ => self.other_master[index] = Some(master_id),
            }
        }
        for (index, device) in config.devices.iter().enumerate() {
            if let (DeviceKind::Bridge { .. }, Some(mac)) = (&device.kind, device.mac) {
                self.fdb.insert((DevId(index as u32), mac), None);
            }
            if config.calls_iptables(device) {
                self.calls_iptables.push(DevId(index as u32));
            }
        }
        for entry in &config.fdb {
            let Some(&dev) = devs.get(&entry.dev) else {
                diagnostics.push(Diagnostic::note(
                    entry.source,
                    format!("an fdb entry on {}, a device that is not known", entry.dev),
                ));
                continue;
            };
            // Without VLAN filtering only the entries of no VLAN are looked at (`br_allowed_ingress`).
            if entry.mac.is_multicast() || entry.remote.is_some() || entry.vlan.is_some() {
                continue;
            }
            match self.bridge_of.get(dev.index()).copied().flatten() {
                Some(bridge) => {
                    let port = (!entry.local).then_some(dev);
                    if entry.sticky {
                        self.sticky.insert((bridge, entry.mac));
                    }
                    let slot = self.fdb.entry((bridge, entry.mac)).or_insert(port);
                    if entry.local {
                        *slot = None;
                    }
                }
                None => {
                    self.fdb.entry((dev, entry.mac)).or_insert(None);
                }
            }
        }
    }

    /// Whether something that is not modelled takes what is delivered to this UDP port.
    pub(super) fn udp_unknown(&self, port: u16) -> Option<Because> {
        self.udp_unmodelled.get(&port).copied().map(Because::State)
    }

    /// What is not modelled about receiving by `dev`.
    pub(super) fn unmodelled_rx(&self, dev: DevId) -> Option<Because> {
        self.everywhere.or(self.rx_unmodelled.get(dev.index()).copied().flatten()).map(Because::State)
    }

    /// What is not modelled about sending by `dev`.
    pub(super) fn unmodelled_tx(&self, dev: DevId) -> Option<Because> {
        self.tx_unmodelled.get(dev.index()).copied().flatten().map(Because::State)
    }

    /// What is not modelled, wherever a packet is.
    pub(super) fn unmodelled_everywhere(&self) -> Option<Because> {
        self.everywhere.map(Because::State)
    }

    /// The hardware address of the gateway on the link of `dev`, if one is known.
    pub(super) fn gateway_mac(&self, dev: DevId) -> Option<MacAddr> {
        self.gateways.get(dev.index()).copied().flatten()
    }

    /// The neighbour entry for an address.
    pub(crate) fn neighbour(&self, dev: DevId, addr: u32) -> Option<NeighEntry> {
        self.neighbours.get(&(dev, addr)).copied()
    }

    /// Whether `addr` is answered for on `dev` (`pneigh_lookup`).
    pub(super) fn proxied(&self, dev: DevId, addr: u32) -> bool {
        self.proxy_neighbours.iter().any(|&(d, a)| a == addr && d.is_none_or(|d| d == dev))
    }

    /// The bridge that `dev` is a port of.
    pub(super) fn bridge_of(&self, dev: DevId) -> Option<DevId> {
        self.bridge_of.get(dev.index()).copied().flatten()
    }

    /// The master of `dev`, where that is no bridge.
    pub(super) fn other_master(&self, dev: DevId) -> Option<DevId> {
        self.other_master.get(dev.index()).copied().flatten()
    }

    /// The ports of a bridge, newest first.
    pub(super) fn ports(&self, bridge: DevId) -> &[DevId] {
        self.ports.get(&bridge).map_or(&[], Vec::as_slice)
    }

    /// Whether a bridge has its IPv4 frames pass netfilter, whatever the setting of the namespace.
    pub(super) fn calls_iptables(&self, bridge: DevId) -> bool {
        self.calls_iptables.contains(&bridge)
    }

    /// Where the configured forwarding database says that an address is: `Some(None)` is the bridge itself.
    pub(super) fn fdb(&self, bridge: DevId, mac: MacAddr) -> Option<Option<DevId>> {
        self.fdb.get(&(bridge, mac)).copied()
    }

    /// Whether an address stays at its port, wherever it is seen.
    pub(super) fn is_sticky(&self, bridge: DevId, mac: MacAddr) -> bool {
        self.sticky.contains(&(bridge, mac))
    }

    pub(super) fn by_ifindex(&self, ifindex: u32) -> Option<DevId> {
        self.by_ifindex.get(&ifindex).copied()
    }

    pub(super) fn missing_sysctls(&self) -> bool {
        self.missing_sysctls
    }
}
