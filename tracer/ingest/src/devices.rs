//! `ip -d -j link` and `ip -j addr`.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use pktwalk_linux::config::{
    Address, BridgeOptions, BridgePort, Device, DeviceKind, NetNsConfig, UNTOLD_KIND, UnmodelledPoint,
};
use pktwalk_linux::diag::Remarks;
use pktwalk_packet::MacAddr;
use serde_json::Value;

use crate::json::{self, Object};
use crate::keys;
use crate::reader::Reader;
use crate::stacked::{self, Stacked};

/// `aa:bb:cc:dd:ee:ff`.
pub(crate) fn mac(text: &str) -> Option<MacAddr> {
    let mut bytes = [0u8; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next()?;
        *byte = (part.len() == 2).then(|| u8::from_str_radix(part, 16).ok()).flatten()?;
    }
    parts.next().is_none().then_some(MacAddr(bytes))
}

/// `RT_SCOPE_*` by name or number.
pub(crate) fn scope(text: &str) -> Option<u8> {
    match text {
        "global" | "universe" => Some(0),
        "site" => Some(200),
        "link" => Some(253),
        "host" => Some(254),
        "nowhere" => Some(255),
        other => other.parse().ok(),
    }
}

/// What `print_link_flags` of iproute2 prints.
const FLAGS: [&str; 20] = [
    "NO-CARRIER",
    "LOOPBACK",
    "BROADCAST",
    "POINTOPOINT",
    "MULTICAST",
    "NOARP",
    "ALLMULTI",
    "PROMISC",
    "MASTER",
    "SLAVE",
    "DEBUG",
    "DYNAMIC",
    "AUTOMEDIA",
    "PORTSEL",
    "NOTRAILERS",
    "UP",
    "LOWER_UP",
    "DORMANT",
    "ECHO",
    "M-DOWN",
];

/// Devices of one namespace: each has settings, and may have others on it.
const MOST_DEVICES: usize = 250_000;

/// Whether there is room for one more; says it once where there is none.
fn has_room(reader: &mut Reader<'_>, line: u32) -> bool {
    if reader.config.devices.len() < MOST_DEVICES {
        return true;
    }
    reader.error(line, format!("more than {MOST_DEVICES} devices: the rest is not read"));
    reader.given_up = true;
    false
}

/// Numbers of devices by name.
type Names = HashMap<String, u32>;

fn names(file: u32, text: &[u8]) -> Names {
    // Where no device is on another one nobody asks, and a file may be large.
    if !text.windows(7).any(|part| part == b"\"link\":") {
        return Names::new();
    }
    let (mut config, mut remarks, mut names) = (NetNsConfig::default(), Remarks::default(), Names::new());
    let mut quiet = Reader::new(&mut config, &mut remarks, file);
    json::objects(&mut quiet, text, |reader, object| {
        reader.given_up = names.len() >= MOST_DEVICES;
        if let (Some(name), Some(Ok(number))) =
            (object.text("ifname"), object.number("ifindex").map(u32::try_from))
        {
            names.entry(name).or_insert(number);
        }
    });
    names
}

/// Devices of `ip -d -j link`, and what stands on what.
pub(crate) fn links(reader: &mut Reader<'_>, text: &[u8]) -> Vec<Stacked> {
    let names = names(reader.file, text);
    let detailed = has_details(text);
    let mut seen = HashSet::new();
    let mut stacked = Vec::new();
    json::objects(reader, text, |reader, object| {
        let object = &object;
        if !has_room(reader, object.line) {
            return;
        }
        keys::LINK.check(reader, &object.map, object.line);
        details(reader, object);
        let Some(device) = device(reader, object, &names, detailed) else { return };
        if !seen.insert(device.name.clone()) {
            reader.error(
                object.line,
                format!("device {} stands here twice; the first one counts", device.name),
            );
            return;
        }
        if let Some(xdp) = object.object("xdp") {
            let id = xdp.object("prog").and_then(|prog| prog.number("id"));
            let what = match id {
                Some(id) => format!("XDP program {id} on {}", device.name),
                None => format!("XDP program on {}", device.name),
            };
            reader.unmodelled(object.line, what, UnmodelledPoint::Rx(device.name.clone()));
        }
        udp_tunnel(reader, object, &device);
        stacked.extend(stacked::of(reader, object, &device));
        reader.config.devices.push(device);
    });
    if !detailed && !reader.config.devices.is_empty() {
        reader
            .warning(0, format!("printed without -d, and does not tell of what kind devices are: {COLLECT}"));
        masters_of_no_kind(reader.config);
    }
    reader.config.devices.sort_by_key(|device| device.ifindex);
    stacked
}

/// What to do about devices of which nothing tells the kind.
const COLLECT: &str = "collect ip-link.json with `ip -d -j link`";

/// Whether a list of links has what `print_linkinfo` of iproute2 prints with `-d` only: `promiscuity` of every device, and kinds.
fn has_details(text: &[u8]) -> bool {
    let found = |key: &[u8]| text.windows(key.len()).any(|part| part == key);
    found(b"\"promiscuity\"") || found(b"\"linkinfo\"")
}

/// A device that others are ports of is none of hardware; what it is instead (a bridge, a bond, a VRF) nobody told.
fn masters_of_no_kind(config: &mut NetNsConfig) {
    let masters: HashSet<String> = config.devices.iter().filter_map(|device| device.master.clone()).collect();
    for device in config.devices.iter_mut().filter(|device| masters.contains(&device.name)) {
        if device.kind == DeviceKind::Physical {
            device.kind = DeviceKind::Other(UNTOLD_KIND.to_owned());
        }
    }
}

/// The kernel itself takes what comes to the UDP port of a tunnel, though `ss` lists a socket there.
fn udp_tunnel(reader: &mut Reader<'_>, object: &Object, device: &Device) {
    let DeviceKind::Other(kind) = &device.kind else { return };
    let data = object.object("linkinfo").and_then(|info| info.object("info_data"));
    let port = data.and_then(|data| data.number("port")).and_then(|port| u16::try_from(port).ok());
    if let (true, "vxlan" | "geneve" | "bareudp", Some(port)) = (device.up, kind.as_str(), port) {
        let what = format!("{} (a {kind} device), which takes UDP port {port}", device.name);
        reader.unmodelled(object.line, what, UnmodelledPoint::Udp(port));
    }
}

/// Addresses of `ip -j addr`; devices too, where `ip-link.json` was not there (`have_links` false).
pub(crate) fn addresses(reader: &mut Reader<'_>, text: &[u8], have_links: bool) -> Vec<Stacked> {
    let names = names(reader.file, text);
    let mut stacked = Vec::new();
    // Where each device stands.
    let devices = reader.config.devices.iter().enumerate();
    let mut places: HashMap<String, usize> = devices.map(|(at, device)| (device.name.clone(), at)).collect();
    json::objects(reader, text, |reader, object| {
        let object = &object;
        keys::LINK.check(reader, &object.map, object.line);
        details(reader, object);
        let Some(name) = object.text("ifname") else {
            reader.error(object.line, "a device without ifname");
            return;
        };
        if !object.has("addr_info") {
            reader.error(object.line, format!("{name} has no addr_info, as `ip -j addr` prints it"));
        }
        if !places.contains_key(&name) {
            if !has_room(reader, object.line) {
                return;
            }
            if have_links {
                reader.error(object.line, format!("device {name} does not stand in ip-link.json"));
            }
            // A plain `ip addr` does not say what kind a device is.
            let Some(device) = device(reader, object, &names, object.has("linkinfo")) else { return };
            places.insert(name.clone(), reader.config.devices.len());
            stacked.extend(stacked::of(reader, object, &device));
            reader.config.devices.push(device);
        }
        let mut found = Vec::new();
        for info in object.list("addr_info") {
            let Some(map) = info.as_object() else {
                reader.error(object.line, format!("{name}: an element of addr_info that is no object"));
                continue;
            };
            // The tool prints `{}` where it left one out.
            if map.is_empty() {
                continue;
            }
            keys::ADDRESS.check(reader, map, object.line);
            match address(reader, &Object { map: map.clone(), repeated: Vec::new(), line: object.line }) {
                Ok(address) => found.push(address),
                Err(message) => reader.error(object.line, format!("{name}: {message}")),
            }
        }
        if let Some(device) = places.get(&name).and_then(|at| reader.config.devices.get_mut(*at)) {
            device.addresses.extend(found);
        }
    });
    if !have_links {
        masters_of_no_kind(reader.config);
    }
    reader.config.devices.sort_by_key(|device| device.ifindex);
    stacked
}

/// Whether what `-d` adds is as the tool prints it.
fn details(reader: &mut Reader<'_>, object: &Object) {
    let Some(info) = object.object("linkinfo") else { return };
    keys::LINKINFO.check(reader, &info.map, object.line);
    for (key, keys) in [("info_data", &keys::INFO_DATA), ("info_slave_data", &keys::INFO_SLAVE_DATA)] {
        // Those of other kinds of ports are nothing that is read.
        let read = key == "info_data" || info.text("info_slave_kind").as_deref() == Some("bridge");
        if let Some(data) = info.map.get(key).and_then(Value::as_object).filter(|_| read) {
            keys.check(reader, data, object.line);
        }
    }
}

fn address(reader: &mut Reader<'_>, info: &Object) -> Result<Address, String> {
    let local = info.text("local").ok_or("an address without local")?;
    let local: IpAddr = local.parse().map_err(|_| format!("'{local}' is no address"))?;
    let bits = if local.is_ipv4() { 32 } else { 128 };
    let prefix_len = match info.number("prefixlen").and_then(|len| u8::try_from(len).ok()) {
        Some(len) if len <= bits => len,
        _ => return Err(format!("{local} has no prefix length of 0 to {bits}")),
    };
    let scope_text = info.text("scope").ok_or_else(|| format!("{local} has no scope"))?;
    let scope = scope(&scope_text).ok_or_else(|| format!("{local}: scope '{scope_text}' is not known"))?;
    // `address` is the other end of a point-to-point address.
    let peer = info.read(reader, "address", json::address);
    let broadcast = match info.read(reader, "broadcast", json::address) {
        Some(IpAddr::V4(broadcast)) => Some(broadcast),
        _ => None,
    };
    let secondary = info.map.get("secondary").is_some_and(|v| v.as_bool() != Some(false));
    Ok(Address { local, prefix_len, peer, broadcast, scope, secondary })
}

fn device(reader: &mut Reader<'_>, object: &Object, names: &Names, detailed: bool) -> Option<Device> {
    let Some(name) = object.text("ifname") else {
        reader.error(object.line, "a device without ifname");
        return None;
    };
    let Some(ifindex) = object.number("ifindex").and_then(|n| u32::try_from(n).ok()) else {
        reader.error(object.line, format!("device {name} has no ifindex"));
        return None;
    };
    let flags = object.strings("flags");
    let has = |flag: &str| flags.contains(&flag);
    for flag in flags.iter().filter(|flag| !FLAGS.contains(flag)) {
        reader.error(object.line, format!("device {name} has a flag that is not known: {flag}"));
    }
    if !object.has("flags") {
        reader.error(object.line, format!("device {name} has no flags: it is taken to be down"));
    }
    let link_type = object.text("link_type").unwrap_or_else(|| {
        reader.error(object.line, format!("device {name} has no link_type"));
        String::new()
    });
    let mac_text = object.text("address");
    let mac = match (link_type.as_str(), &mac_text) {
        ("ether", None) => {
            reader.error(object.line, format!("device {name} has no address"));
            None
        }
        ("ether" | "loopback", Some(text)) => {
            let read = mac(text);
            if read.is_none() {
                reader.error(object.line, format!("device {name}: '{text}' is no hardware address"));
            }
            read
        }
        _ => None,
    };
    let mtu = object.read(reader, "mtu", json::number_u32).unwrap_or_else(|| {
        reader.error(object.line, format!("device {name} has no mtu: 1500 is taken"));
        1500
    });
    let info = object.object("linkinfo");
    let info_kind = info.as_ref().and_then(|info| info.text("info_kind"));
    let kind = kind(reader, object, &name, &link_type, info_kind.as_deref(), names, detailed);
    let group = match object.text("group").as_deref() {
        None | Some("default") => 0,
        Some(text) => text.parse().unwrap_or_else(|_| {
            reader.warning(
                object.line,
                format!("device {name}: the number of group '{text}' is not known; 0 is taken"),
            );
            0
        }),
    };
    Some(Device {
        kind,
        ifindex,
        mac,
        mtu,
        up: has("UP"),
        carrier: has("LOWER_UP"),
        no_arp: has("NOARP"),
        promisc: has("PROMISC"),
        master: object.text("master"),
        port: port(reader, object, &name),
        bridge: bridge(reader, object, &name),
        group,
        addresses: Vec::new(),
        source: reader.at(object.line),
        name,
    })
}

fn kind(
    reader: &mut Reader<'_>,
    object: &Object,
    name: &str,
    link_type: &str,
    info_kind: Option<&str>,
    names: &Names,
    detailed: bool,
) -> DeviceKind {
    let peer_netns = object.number("link_netnsid").and_then(|id| i32::try_from(id).ok());
    let peer_ifindex = object.number("link_index").and_then(|n| u32::try_from(n).ok()).or_else(|| {
        let link = object.text("link")?;
        names.get(&link).copied()
    });
    match (link_type, info_kind) {
        ("loopback", _) => DeviceKind::Loopback,
        (_, Some("veth")) => DeviceKind::Veth { peer_ifindex, peer_netns },
        (_, Some("dummy")) => DeviceKind::Dummy,
        (_, Some("bridge")) => {
            let data = object.object("linkinfo").and_then(|info| info.object("info_data"));
            let on = |key: &str| data.as_ref().and_then(|data| data.number(key)).is_some_and(|n| n != 0);
            DeviceKind::Bridge {
                vlan_filtering: on("vlan_filtering"),
                nf_call_iptables: on("nf_call_iptables"),
            }
        }
        (_, Some(other)) => DeviceKind::Other(other.to_owned()),
        ("ether", None) if detailed && !object.has("link") && !object.has("link_index") => {
            DeviceKind::Physical
        }
        ("ether", None) => {
            // No `-d`, so no kind; a peer in another namespace is what a veth shows.
            if peer_netns.is_some() {
                DeviceKind::Veth { peer_ifindex, peer_netns }
            } else if object.has("link") || object.has("link_index") {
                DeviceKind::Other(UNTOLD_KIND.to_owned())
            } else {
                reader.warning(
                    object.line,
                    format!("nothing tells what kind of device {name} is (ip -d -j link does); a physical one is taken"),
                );
                DeviceKind::Physical
            }
        }
        (other, None) => {
            DeviceKind::Other(if other.is_empty() { "unknown".to_owned() } else { other.to_owned() })
        }
    }
}

/// Settings as a bridge port.
fn port(reader: &mut Reader<'_>, object: &Object, name: &str) -> BridgePort {
    let mut port = BridgePort::default();
    let Some(info) = object.object("linkinfo") else { return port };
    if info.text("info_slave_kind").as_deref() != Some("bridge") {
        return port;
    }
    let Some(data) = info.object("info_slave_data") else { return port };
    let flag = |key: &str, default: bool| {
        data.map.get(key).and_then(|v| v.as_bool().or_else(|| v.as_u64().map(|n| n != 0))).unwrap_or(default)
    };
    port.hairpin = flag("hairpin", false);
    port.isolated = flag("isolated", false);
    port.learning = flag("learning", true);
    port.flood = flag("flood", true);
    port.mcast_flood = flag("mcast_flood", true);
    port.bcast_flood = flag("bcast_flood", true);
    port.group_fwd_mask = group_mask(&data);
    port.learning_state = matches!(data.text("state").as_deref(), Some("learning" | "2"));
    port.forwarding = match data.text("state").as_deref() {
        Some("forwarding" | "3") | None => true,
        Some("disabled" | "listening" | "learning" | "blocking" | "0" | "1" | "2" | "4") => false,
        Some(other) => {
            reader.error(
                object.line,
                format!("{name}: bridge port state '{other}' is not known; forwarding is taken"),
            );
            true
        }
    };
    for (key, what) in [
        ("vlan_tunnel", "vlan_tunnel"),
        ("locked", "locked port"),
        ("neigh_suppress", "neigh_suppress"),
        ("proxy_arp", "proxy ARP of the bridge port"),
        ("proxy_arp_wifi", "proxy ARP of the bridge port"),
        ("mcast_to_unicast", "multicast to unicast"),
    ] {
        if flag(key, false) {
            reader.unmodelled(object.line, format!("{what} on {name}"), UnmodelledPoint::Rx(name.to_owned()));
        }
    }
    port.answers_arp = ["neigh_suppress", "neigh_vlan_suppress", "proxy_arp", "proxy_arp_wifi"]
        .iter()
        .any(|key| flag(key, false));
    // Nothing is flooded to it.
    if flag("proxy_arp", false) {
        let what = format!("proxy ARP of the bridge port on {name}");
        reader.unmodelled(object.line, what, UnmodelledPoint::Tx(name.to_owned()));
    }
    // A port that works has no use for it.
    let flags = object.strings("flags");
    let works = flags.contains(&"UP") && flags.contains(&"LOWER_UP");
    if let (Some(backup), false) = (data.text("backup_port"), works) {
        let what = format!("backup port {backup} of {name}, which has no carrier");
        reader.unmodelled(object.line, what, UnmodelledPoint::Tx(name.to_owned()));
    }
    port
}

/// `group_fwd_mask`, which the tool prints as a text such as `0x4000`, and beside it in words.
fn group_mask(data: &Object) -> u16 {
    let text = data.text("group_fwd_mask").unwrap_or_default();
    let number = match text.strip_prefix("0x") {
        Some(hex) => u16::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    number.unwrap_or_default()
}

/// Settings as a bridge.
fn bridge(reader: &mut Reader<'_>, object: &Object, name: &str) -> BridgeOptions {
    let mut options = BridgeOptions::default();
    let Some(info) = object.object("linkinfo") else { return options };
    if info.text("info_kind").as_deref() != Some("bridge") {
        return options;
    }
    let Some(data) = info.object("info_data") else { return options };
    let number =
        |key: &str| data.map.get(key).and_then(|v| v.as_bool().map(u64::from).or_else(|| v.as_u64()));
    let on = |key: &str| number(key).is_some_and(|value| value != 0);
    options.stp = on("stp_state");
    options.group_fwd_mask = group_mask(&data);
    options.no_linklocal_learn = on("no_linklocal_learn");
    options.no_learning = number("ageing_time") == Some(0);
    options.mcast_querier = on("mcast_querier");
    options.nf_call_ip6tables = on("nf_call_ip6tables");
    for key in ["mst_enabled", "fdb_max_learned"] {
        if on(key) {
            reader.unmodelled(object.line, format!("{key} of {name}"), UnmodelledPoint::Rx(name.to_owned()));
        }
    }
    options
}
