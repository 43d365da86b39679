//! Where a wire leads: the other end of a veth whose namespace is in the bundle too.

use std::collections::BTreeMap;

use pktwalk_linux::config::{Device, DeviceKind};

use crate::world::Place;

/// Ifindexes of both ends of a veth into another namespace, this one first.
fn ends(device: &Device) -> Option<(u32, u32)> {
    match device.kind {
        DeviceKind::Veth { peer_ifindex: Some(peer), peer_netns: Some(_) } => Some((device.ifindex, peer)),
        _ => None,
    }
}

/// Of each place of one node: its devices that lead to another place, and where, as `--at` takes it. Ends know each other by ifindex, which is
/// of one namespace: where several would do, nothing is said.
pub(crate) fn peers(places: &[Place], node: &str) -> Vec<BTreeMap<String, String>> {
    let node = if node.is_empty() { String::new() } else { format!("{node}/") };
    let of = |at: usize, place: &Place| {
        let mut peers = BTreeMap::new();
        for device in &place.config.devices {
            let Some((here, there)) = ends(device) else { continue };
            let mut found = Vec::new();
            for (_, other) in places.iter().enumerate().filter(|(other, _)| *other != at) {
                for peer in &other.config.devices {
                    if ends(peer) == Some((there, here)) {
                        let netns = &other.config.name;
                        let netns = if netns.is_empty() { String::new() } else { format!("{netns}:") };
                        found.push(format!("{node}{netns}{}", peer.name));
                    }
                }
            }
            if let [one] = found.as_slice() {
                peers.insert(device.name.clone(), one.clone());
            }
        }
        peers
    };
    places.iter().enumerate().map(|(at, place)| of(at, place)).collect()
}
