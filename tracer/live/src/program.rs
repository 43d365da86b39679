//! A [`NetNsConfig`] as commands of `ip -batch`, and its settings.

use std::fmt::Write;
use std::net::IpAddr;

use pktwalk_linux::config::{Address, Device, DeviceKind, FdbEntry, Neighbour, NetNsConfig, NudState, Route};
use pktwalk_linux::sysctl;
use pktwalk_scenario::engine::EngineError;

use crate::dummy;
use crate::ns::unsupported;

mod policy;
mod routes;

pub(crate) use policy::has_custom_rules;

/// Whether a device is one end of a veth here, whose other end the engine holds. A kind that is not modelled is there for its name, addresses and
/// routes: of a packet that reaches it the model does not know what becomes. So is a dummy device where the kernel has none.
pub(crate) fn has_peer(config: &NetNsConfig, device: &Device) -> bool {
    let wire = match device.kind {
        DeviceKind::Physical | DeviceKind::Veth { .. } | DeviceKind::Other(_) => true,
        DeviceKind::Dummy => dummy::is_missing(),
        DeviceKind::Loopback | DeviceKind::Bridge { .. } => false,
    };
    wire && other_end(config, device).is_none()
}

/// The other end of a veth, where both are in this namespace: then both are made as they are.
pub(crate) fn other_end<'a>(config: &'a NetNsConfig, device: &Device) -> Option<&'a Device> {
    let DeviceKind::Veth { peer_ifindex: Some(peer), peer_netns: None } = device.kind else { return None };
    let other = config.devices.iter().find(|other| other.ifindex == peer)?;
    let back = DeviceKind::Veth { peer_ifindex: Some(device.ifindex), peer_netns: None };
    (other.kind == back && peer != device.ifindex).then_some(other)
}

/// Devices with a route by an IPv6 gateway: IPv6 has to be on there while such a route is made.
pub(crate) fn by_ipv6(config: &NetNsConfig) -> Vec<&str> {
    let hops =
        config.routes.iter().filter(|route| route.dst.addr().is_ipv4()).flat_map(|route| &route.nexthops);
    let mut devices: Vec<&str> = hops
        .filter(|hop| hop.via.is_some_and(|via| via.is_ipv6()))
        .filter_map(|hop| hop.dev.as_deref())
        .collect();
    devices.sort_unstable();
    devices.dedup();
    devices
}

/// Name of the other end of the veth of this ifindex.
pub(crate) fn peer_name(ifindex: u32) -> String {
    format!("p{ifindex}")
}

/// Commands that make the devices; `peer` is where the other ends go.
pub(crate) fn make_devices(config: &NetNsConfig, peer: &str) -> Result<String, EngineError> {
    let mut text = String::new();
    for device in &config.devices {
        let mac = device.mac.map(|mac| format!("address {mac}")).unwrap_or_default();
        let (name, index) = (&device.name, device.ifindex);
        if let Some(other) = other_end(config, device) {
            // Once for both.
            if index < other.ifindex {
                let other_mac = other.mac.map(|mac| format!("address {mac}")).unwrap_or_default();
                let _ = writeln!(
                    text,
                    "link add {name} index {index} {mac} type veth peer name {} index {} {other_mac}",
                    other.name, other.ifindex
                );
            }
            continue;
        }
        match &device.kind {
            DeviceKind::Loopback => {}
            _ if has_peer(config, device) => {
                let other = peer_name(index);
                let _ = writeln!(
                    text,
                    "link add {name} index {index} {mac} type veth peer name {other} netns {peer}"
                );
            }
            DeviceKind::Bridge { vlan_filtering: false, .. } => {
                // Ports forward at once, and the bridge says nothing of its own.
                let netfilter = u8::from(config.calls_iptables(device));
                let _ = writeln!(
                    text,
                    "link add {name} index {index} {mac} type bridge forward_delay 0 mcast_snooping 0 \
                     nf_call_iptables {netfilter} group_fwd_mask {:#x} no_linklocal_learn {}{}",
                    device.bridge.group_fwd_mask,
                    u8::from(device.bridge.no_linklocal_learn),
                    if device.bridge.no_learning { " ageing_time 0" } else { "" }
                );
            }
            DeviceKind::Dummy => {
                let _ = writeln!(text, "link add {name} index {index} {mac} type dummy");
            }
            DeviceKind::Physical | DeviceKind::Veth { .. } | DeviceKind::Other(_) => {}
            DeviceKind::Bridge { vlan_filtering: true, .. } => {
                return Err(unsupported(format!("bridge {name} filters VLANs")));
            }
        }
    }
    for device in &config.devices {
        if let Some(master) = &device.master {
            let _ = writeln!(text, "link set {} master {master}", device.name);
        }
    }
    Ok(text)
}

/// Whether nothing that is heard changes the neighbour.
pub(crate) fn is_fixed(neighbour: &Neighbour) -> bool {
    matches!(neighbour.state, NudState::Permanent | NudState::NoArp)
}

/// Commands for the neighbours that what is heard may change. Those with an address are all reachable: none is asked while a case runs.
pub(crate) fn changing_neighbours(config: &NetNsConfig) -> String {
    let mut text = String::new();
    for neighbour in config.neighbours.iter().filter(|neighbour| !is_fixed(neighbour)) {
        let Neighbour { addr, dev, .. } = neighbour;
        let device = config.devices.iter().find(|device| device.name == *dev);
        match (neighbour.state, neighbour.mac) {
            // Without ARP there is nobody to ask: what is not known has failed.
            (NudState::Incomplete | NudState::None, _) if device.is_some_and(|device| device.no_arp) => {
                let _ = writeln!(text, "neigh replace {addr} dev {dev} nud failed");
            }
            (NudState::Failed, _) => {
                let _ = writeln!(text, "neigh replace {addr} dev {dev} nud failed");
            }
            (NudState::Incomplete | NudState::None, _) | (_, None) => {}
            (_, Some(mac)) => {
                let _ = writeln!(text, "neigh replace {addr} lladdr {mac} dev {dev} nud reachable");
            }
        }
    }
    text
}

/// Commands that take away what [`configure`] set for `config`; some of them may fail.
pub(crate) fn unconfigure(config: &NetNsConfig) -> String {
    let mut text = String::new();
    for proxy in &config.proxy_neighbours {
        if let Some(dev) = &proxy.dev {
            let _ = writeln!(text, "neigh del proxy {} dev {dev}", proxy.addr);
        }
    }
    text.push_str("neigh flush nud permanent\nneigh flush all\n");
    for table in tables(&config.routes) {
        let _ = writeln!(text, "route flush table {table}");
    }
    if config.routes.iter().any(|route| route.by_object) {
        text.push_str("nexthop flush\n");
    }
    for device in &config.devices {
        let _ = writeln!(text, "addr flush dev {}", device.name);
        if matches!(device.kind, DeviceKind::Bridge { .. }) {
            let _ = writeln!(text, "link set {} type bridge fdb_flush", device.name);
        }
    }
    if has_custom_rules(config) {
        policy::default_rules(&mut text, config);
    }
    text
}

fn tables(routes: &[Route]) -> Vec<u32> {
    let mut tables: Vec<u32> = routes.iter().map(|route| route.table).collect();
    tables.sort_unstable();
    tables.dedup();
    tables
}

/// Commands that set everything but the devices themselves.
pub(crate) fn configure(config: &NetNsConfig) -> Result<String, EngineError> {
    let mut text = String::new();
    let down = routes::down_with_legs(config);
    for device in &config.devices {
        // For a while, see below.
        let up = device.up || down.iter().any(|other| other.name == device.name);
        link(&mut text, device, up);
    }
    // Setting `lo` up gives it an address.
    for device in config.devices.iter().filter(|device| device.kind == DeviceKind::Loopback) {
        let _ = writeln!(text, "addr flush dev {}", device.name);
    }
    for device in &config.devices {
        for address in &device.addresses {
            add_address(&mut text, config, device, address);
        }
    }
    routes::without_own(&mut text, config);
    routes::routes(&mut text, config)?;
    for device in down {
        let _ = writeln!(text, "link set {} down", device.name);
    }
    routes::without_lost(&mut text, config);
    if has_custom_rules(config) {
        policy::routing_rules(&mut text, config)?;
    }
    for neighbour in &config.neighbours {
        if let (true, Some(mac)) = (is_fixed(neighbour), neighbour.mac) {
            let Neighbour { addr, dev, .. } = neighbour;
            let _ = writeln!(text, "neigh replace {addr} lladdr {mac} dev {dev} nud permanent");
        }
    }
    for proxy in &config.proxy_neighbours {
        let dev = proxy.dev.as_deref().ok_or_else(|| unsupported("a proxy neighbour without a device"))?;
        let _ = writeln!(text, "neigh replace proxy {} dev {dev}", proxy.addr);
    }
    Ok(text)
}

fn on(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}

fn link(text: &mut String, device: &Device, up: bool) {
    let Device { name, mtu, group, .. } = device;
    let state = if up { "up" } else { "down" };
    // Nobody speaks ARP on `lo`.
    let loopback = device.kind == DeviceKind::Loopback;
    let arp = if loopback { String::new() } else { format!("arp {}", on(!device.no_arp)) };
    let promisc = on(device.promisc);
    let _ = writeln!(text, "link set {name} mtu {mtu} {arp} promisc {promisc} group {group} {state}");
    if device.master.is_some() {
        let port = &device.port;
        // A port that is down, or has no carrier, has no state to be set.
        let state = match (device.up && device.carrier, port.forwarding) {
            (false, _) => "",
            (true, true) => "state 3",
            (true, false) if port.learning_state => "state 2",
            (true, false) => "state 0",
        };
        let _ = writeln!(
            text,
            "link set {name} type bridge_slave hairpin {} isolated {} learning {} flood {} mcast_flood {} \
             bcast_flood {} group_fwd_mask {:#x} {state}",
            on(port.hairpin),
            on(port.isolated),
            on(port.learning),
            on(port.flood),
            on(port.mcast_flood),
            on(port.bcast_flood),
            port.group_fwd_mask
        );
    }
}

fn add_address(text: &mut String, config: &NetNsConfig, device: &Device, address: &Address) {
    let IpAddr::V4(local) = address.local else { return };
    let len = address.prefix_len;
    let _ = match address.peer {
        Some(peer) => write!(text, "addr add {local} peer {peer}/{len}"),
        None => write!(text, "addr add {local}/{len}"),
    };
    if let Some(broadcast) = address.broadcast {
        let _ = write!(text, " broadcast {broadcast}");
    }
    let _ = write!(text, " scope {} dev {}", address.scope, device.name);
    // An address whose subnet has no route was given without one.
    let net = ipnet::IpNet::new(address.peer.unwrap_or(address.local), len).map(|net| net.trunc());
    let connected = config.routes.iter().any(|route| {
        Ok(route.dst) == net
            && route.table == 254
            && route.nexthops.iter().any(|hop| hop.dev.as_deref() == Some(&device.name))
    });
    let brings_one = len < 32 || address.peer.is_some();
    if !connected && device.kind != DeviceKind::Loopback && brings_one && !config.routes.is_empty() {
        text.push_str(" noprefixroute");
    }
    text.push('\n');
}

/// Whether an entry is the kernel's own: the address of a device.
fn is_own(config: &NetNsConfig, entry: &FdbEntry) -> bool {
    entry.local && config.devices.iter().any(|device| device.mac == Some(entry.mac))
}

/// Commands of `bridge -batch` that take the FDB's entries away, most of which fail: flushing a bridge leaves static ones, and those may have moved
/// to another port.
pub(crate) fn without_fdb(config: &NetNsConfig) -> String {
    let mut text = String::new();
    for entry in config.fdb.iter().filter(|entry| !is_own(config, entry)) {
        for port in config.devices.iter().filter(|device| device.master.is_some()) {
            let _ = writeln!(text, "fdb del {} dev {} master", entry.mac, port.name);
        }
        if entry.local {
            let _ = writeln!(text, "fdb del {} dev {} self", entry.mac, entry.dev);
        }
    }
    text
}

/// Commands of `bridge -batch` for the FDB.
pub(crate) fn fdb(config: &NetNsConfig) -> String {
    let mut text = String::new();
    for entry in &config.fdb {
        if is_own(config, entry) || entry.vlan.is_some() || entry.remote.is_some() || entry.mac.is_multicast()
        {
            // The bridge's own addresses are there by themselves; VLANs are not filtered here; other ends of a tunnel are in a table of its device.
            continue;
        }
        let of_port = config.devices.iter().any(|device| device.name == entry.dev && device.master.is_some());
        let table = if of_port { "master" } else { "self" };
        let state = if entry.local { "permanent" } else { "static" };
        let sticky = if entry.sticky { " sticky" } else { "" };
        let _ = writeln!(text, "fdb replace {} dev {} {table} {state}{sticky}", entry.mac, entry.dev);
    }
    text
}

/// `a.b/c` to `a/b.c` below /proc/sys.
fn path(key: &str) -> String {
    let swapped: String = key
        .chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        })
        .collect();
    format!("/proc/sys/{swapped}")
}

/// How many connections there may be is a setting of the whole machine: see [`fill`](crate::fill).
const OF_THE_MACHINE: &str = "net.netfilter.nf_conntrack_max";

/// Gives the calling thread's namespace every setting that the model reads, with the value that the model takes it to have: a new namespace takes
/// over some of the machine's. Nothing else that a bundle says is written. What could not be set is told, a line each.
pub(crate) fn settings(config: &NetNsConfig) -> Vec<String> {
    let mut unset = Vec::new();
    // With STP the kernel sets the states of ports itself, and sends frames of its own.
    for device in config.devices.iter().filter(|device| device.bridge.stp) {
        unset.push(format!("stp_state of {}: ports forward at once here", device.name));
    }
    let mut written = Vec::new();
    let number = |file: &str| {
        let text = std::fs::read_to_string(file).ok()?;
        text.trim().parse::<i64>().ok()
    };
    for setting in sysctl::settings(config).into_iter().filter(|setting| setting.key != OF_THE_MACHINE) {
        let file = path(&setting.key);
        let Some(now) = number(&file) else {
            // What this kernel cannot be told it does as it always does.
            if setting.value != setting.default {
                unset.push(format!("{} = {}: there is no such setting here", setting.key, setting.value));
            }
            continue;
        };
        if now != setting.value {
            match std::fs::write(&file, setting.value.to_string()) {
                Ok(()) => written.push((file, setting)),
                Err(error) => unset.push(format!("{} = {}: {error}", setting.key, setting.value)),
            }
        }
    }
    for (file, setting) in written {
        if let Some(now) = number(&file).filter(|now| *now != setting.value) {
            unset.push(format!("{} = {}: it became {now}", setting.key, setting.value));
        }
    }
    unset
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ns::Namespace;

    /// What is looked at, in a thread and a namespace of their own; none where the machine cannot make one.
    fn within<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let thread = std::thread::spawn(|| Namespace::new().ok().map(|_namespace| look()));
        thread.join().expect("no panic")
    }

    fn read(key: &str) -> String {
        std::fs::read_to_string(path(key)).unwrap_or_default().trim().to_owned()
    }

    #[test]
    fn only_what_the_model_reads_is_written_and_all_of_that() {
        let config = NetNsConfig {
            sysctls: [
                ("net.ipv4.ip_default_ttl", "77"),
                // Out of its range.
                ("net.ipv4.conf.all.arp_ignore", "99999999999"),
                ("net.ipv4.icmp_echo_ignore_all", "300"),
                // Of other things, or of nothing.
                ("net.ipv4.neigh.default.retrans_time_ms", "4321"),
                ("net.ipv4.tcp_syncookies", "0"),
                ("net.ipv4.no_such_thing", "1"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
            ..NetNsConfig::default()
        };
        let seen = within(move || {
            // As if the machine handed something down.
            std::fs::write(path("net.ipv4.conf.all.rp_filter"), "2").expect("written");
            let unset = settings(&config);
            let keys = ["net.ipv4.ip_default_ttl", "net.ipv4.conf.all.rp_filter", "net.ipv4.tcp_syncookies"];
            (unset, keys.map(read), read("net.ipv4.neigh.default.retrans_time_ms"))
        });
        let Some((unset, values, retrans)) = seen else {
            let test = "only_what_the_model_reads_is_written_and_all_of_that";
            return pktwalk_skip::skip(test, "cannot make a network namespace (needs root)");
        };
        assert_eq!(values, ["77", "0", "1"]);
        assert_ne!(retrans, "4321");
        let told = |key: &str| unset.iter().any(|line| line.starts_with(&format!("{key} = ")));
        assert!(told("net.ipv4.icmp_echo_ignore_all"), "{unset:?}");
        assert!(
            !unset.iter().any(|line| line.contains("no_such_thing") || line.contains("neigh")),
            "{unset:?}"
        );
    }
}
