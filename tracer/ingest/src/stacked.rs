//! Devices that stand on another one, and what they take of its frames: as `ip -d -j link` tells it, in this namespace or another one of the node.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use pktwalk_linux::config::{Device, DeviceKind, NetNsConfig, Takes, UnmodelledPoint, UnmodelledState};
use pktwalk_linux::ids::SourceLine;
use pktwalk_packet::MacAddr;

use crate::bundle::NetNsBundle;
use crate::devices::mac;
use crate::json::Object;
use crate::reader::Reader;

/// Kinds whose `link` is the other end, or the device that their packets leave by: what they receive comes by the IP layer.
const NOT_STACKED: [&str; 20] = [
    "veth",
    "netkit",
    "vxcan",
    "vxlan",
    "geneve",
    "bareudp",
    "amt",
    "gtp",
    "gre",
    "gretap",
    "erspan",
    "ip6gre",
    "ip6gretap",
    "ip6erspan",
    "ipip",
    "ip6tnl",
    "sit",
    "vti",
    "vti6",
    "xfrm",
];

/// What stands in the Ethernet header of a MACsec frame.
const MACSEC: u16 = 0x88e5;

/// Where the device below is.
enum Below {
    Here(String),
    /// Its number in another namespace.
    Elsewhere(u32),
}

/// How it takes frames. Addresses come from another file.
enum How {
    Vlan { protocol: Option<u16>, id: Option<u16> },
    Macvlan,
    Passthru,
    Source(Vec<MacAddr>),
    Ipvlan { l2: bool },
    Protocol(u16),
    Everything,
}

/// A device on another one.
pub(crate) struct Stacked {
    name: String,
    kind: String,
    below: Below,
    how: How,
    source: SourceLine,
}

/// What stands on what, of one object of `ip -d -j link`.
pub(crate) fn of(reader: &Reader<'_>, object: &Object, device: &Device) -> Vec<Stacked> {
    let info = object.object("linkinfo");
    let kind = info.as_ref().and_then(|info| info.text("info_kind"));
    let known = kind.as_deref();
    if known.is_some_and(|kind| NOT_STACKED.contains(&kind)) || matches!(device.kind, DeviceKind::Veth { .. })
    {
        return Vec::new();
    }
    let data = info.as_ref().and_then(|info| info.object("info_data"));
    let text = |key: &str| data.as_ref().and_then(|data| data.text(key));
    let mut below = Vec::new();
    // Those of a ring have no `link`.
    below.extend(["slave1", "slave2"].into_iter().filter_map(text).map(Below::Here));
    match (object.text("link"), object.number("link_index").and_then(|index| u32::try_from(index).ok())) {
        (Some(name), _) => below.push(Below::Here(name)),
        (None, Some(index)) if index != 0 => below.push(Below::Elsewhere(index)),
        _ => {}
    }
    let how = || match known {
        Some("vlan") => How::Vlan {
            protocol: match text("protocol").as_deref() {
                Some("802.1Q") => Some(0x8100),
                Some("802.1ad") => Some(0x88a8),
                _ => None,
            },
            id: data.as_ref().and_then(|data| data.number("id")).and_then(|id| u16::try_from(id).ok()),
        },
        Some("macvlan" | "macvtap") => match text("mode").as_deref() {
            Some("private" | "vepa" | "bridge") => How::Macvlan,
            Some("passthru") => How::Passthru,
            Some("source") => {
                let listed = data.as_ref().map(|data| data.strings("macaddr_data")).unwrap_or_default();
                How::Source(listed.into_iter().filter_map(mac).collect())
            }
            _ => How::Everything,
        },
        Some("ipvlan" | "ipvtap") => How::Ipvlan { l2: text("mode").as_deref() == Some("l2") },
        // Only what is encrypted, where it is strict and the card does nothing: all else is heard by both.
        Some("macsec")
            if text("validate").as_deref() == Some("strict")
                && matches!(text("offload").as_deref(), None | Some("off")) =>
        {
            How::Protocol(MACSEC)
        }
        _ => How::Everything,
    };
    below
        .into_iter()
        .map(|below| Stacked {
            name: device.name.clone(),
            kind: kind.clone().unwrap_or_else(|| "not told".to_owned()),
            below,
            how: how(),
            source: reader.at(object.line),
        })
        .collect()
}

impl Stacked {
    /// What it takes of the frames of `on`, in words, and in a form that a walk can ask. A device that is down takes less.
    fn takes(&self, device: Option<&Device>) -> Vec<(String, Takes)> {
        let up = device.is_some_and(|device| device.up);
        let addresses: Vec<Ipv4Addr> = device
            .into_iter()
            .flat_map(|device| &device.addresses)
            .filter_map(|address| match address.local {
                IpAddr::V4(addr) => Some(addr),
                IpAddr::V6(_) => None,
            })
            .collect();
        let fragments = ("puts fragments to many together".to_owned(), Takes::GroupFragments);
        match &self.how {
            How::Vlan { protocol, id } => {
                let vlan = id.map_or("VLANs".to_owned(), |id| format!("VLAN {id}"));
                vec![(format!("takes {vlan}"), Takes::Vlan { protocol: *protocol, id: *id })]
            }
            How::Macvlan => {
                let mut all = vec![fragments];
                match device.and_then(|device| device.mac).filter(|_| up) {
                    Some(mac) => {
                        all.push((format!("takes frames to {mac}"), Takes::To { mac, addresses }));
                    }
                    None if up => all.push(("may take any frame".to_owned(), Takes::Everything)),
                    None => {}
                }
                all
            }
            How::Passthru => vec![fragments, ("takes every frame to one host".to_owned(), Takes::Unicast)],
            How::Source(macs) => {
                let mut all = vec![fragments];
                if up {
                    all.push(("takes frames from those that it lists".to_owned(), Takes::From(macs.clone())));
                }
                all
            }
            How::Ipvlan { l2 } if up => vec![(
                "takes what is for its addresses".to_owned(),
                Takes::Addresses { addresses, unicast_only: *l2 },
            )],
            How::Ipvlan { .. } => Vec::new(),
            How::Protocol(protocol) => {
                vec![(format!("takes protocol {protocol:#06x}"), Takes::Protocol(*protocol))]
            }
            How::Everything => vec![("may take any frame".to_owned(), Takes::Everything)],
        }
    }

    fn say(&self, on: &str, takes: (String, Takes), from: &str, source: SourceLine) -> UnmodelledState {
        let what = format!("{}{from} (a device of kind {} on {on}), which {}", self.name, self.kind, takes.0);
        UnmodelledState {
            what,
            point: UnmodelledPoint::Stacked { on: on.to_owned(), takes: takes.1 },
            source,
        }
    }
}

/// Tells a namespace of what stands on its devices; what stands on those of others is left.
pub(crate) fn here(config: &mut NetNsConfig, stacked: Vec<Stacked>) -> Vec<Stacked> {
    let (mut left, mut found) = (Vec::new(), Vec::new());
    let devices = by_name(config);
    for one in stacked {
        let Below::Here(on) = &one.below else {
            left.push(one);
            continue;
        };
        let device = devices.get(one.name.as_str()).copied();
        for takes in one.takes(device) {
            found.push(one.say(on, takes, "", one.source));
        }
        let up = device.is_some_and(|device| device.up);
        if up && matches!(one.how, How::Macvlan | How::Passthru | How::Ipvlan { l2: true }) {
            let what =
                format!("{} (a device of kind {} on {on}), which hears frames to many", one.name, one.kind);
            let point = UnmodelledPoint::Copies { on: on.clone(), by: one.name.clone() };
            found.push(UnmodelledState { what, point, source: one.source });
        }
    }
    config.unmodelled.append(&mut found);
    left
}

fn by_name(config: &NetNsConfig) -> HashMap<&str, &Device> {
    config.devices.iter().map(|device| (device.name.as_str(), device)).collect()
}

/// Tells the other namespaces of the node of what of namespace `from` stands on a device with that number. Which of them it is, no file tells
/// for certain.
pub(crate) fn elsewhere(all: &mut [&mut NetNsBundle], from: usize, stacked: &[Stacked]) {
    let Some(own) = all.get(from).filter(|_| !stacked.is_empty()) else { return };
    let mut told = Vec::new();
    let devices = by_name(&own.config);
    for one in stacked {
        let Below::Elsewhere(index) = one.below else { continue };
        let name = &own.config.name;
        let from = if name.is_empty() { " of the node".to_owned() } else { format!(" of namespace {name}") };
        let file = own.config.files.get(one.source.file as usize).cloned().unwrap_or_default();
        told.push((index, one, one.takes(devices.get(one.name.as_str()).copied()), from, file));
    }
    for (_, ns) in all.iter_mut().enumerate().filter(|(position, _)| *position != from) {
        let config = &mut ns.config;
        let below = config.devices.iter().filter(|device| device.kind != DeviceKind::Loopback);
        let below: HashMap<u32, String> = below.map(|device| (device.ifindex, device.name.clone())).collect();
        for (index, one, takes, from, file) in &told {
            let Some(on) = below.get(index) else { continue };
            let number = config.files.iter().position(|known| known == file).unwrap_or(config.files.len());
            if number == config.files.len() {
                config.files.push(file.clone());
            }
            let source = SourceLine { file: number as u32, line: one.source.line };
            for takes in takes {
                config.unmodelled.push(one.say(on, takes.clone(), from, source));
            }
        }
    }
}
