//! `ip -j neigh`, `ip neigh show proxy`, `bridge -j fdb`.

use pktwalk_linux::config::{FdbEntry, Neighbour, NudState, ProxyNeighbour};

use crate::devices::mac;
use crate::json;
use crate::keys;
use crate::reader::Reader;

/// `ip -j neigh`.
pub(crate) fn neighbours(reader: &mut Reader<'_>, text: &[u8]) {
    json::objects(reader, text, |reader, object| {
        keys::NEIGH.check(reader, &object.map, object.line);
        let (Some(dev), Some(addr)) = (object.text("dev"), object.read(reader, "dst", json::address)) else {
            reader.error(object.line, "a neighbour without dev or dst");
            return;
        };
        let lladdr = object.text("lladdr");
        let hardware = lladdr.as_deref().and_then(mac);
        if let (Some(text), None) = (&lladdr, hardware)
            // Tunnels have addresses of the outer network here.
            && text.contains(':')
        {
            reader.warning(object.line, format!("neighbour {addr}: '{text}' is no Ethernet address"));
        }
        let states = object.strings("state");
        let state = match states.first() {
            // The tool leaves it out where it is none.
            None => NudState::None,
            Some(text) => NudState::from_name(text).unwrap_or_else(|| {
                reader.error(
                    object.line,
                    format!("neighbour {addr}: state '{text}' is not known; none is taken"),
                );
                NudState::None
            }),
        };
        let source = reader.at(object.line);
        reader.config.neighbours.push(Neighbour { dev, addr, mac: hardware, state, source });
    });
}

/// `ip neigh show proxy`, as text or as JSON.
pub(crate) fn proxies(reader: &mut Reader<'_>, text: &[u8]) {
    if text.trim_ascii_start().starts_with(b"[") {
        json::objects(reader, text, |reader, object| {
            keys::NEIGH.check(reader, &object.map, object.line);
            let dev = object.text("dev");
            match object.read(reader, "dst", json::address) {
                Some(addr) => reader.config.proxy_neighbours.push(ProxyNeighbour { dev, addr }),
                None => reader.error(object.line, "a proxy entry without dst"),
            }
        });
        return;
    }
    reader.lines(text, |reader, number, line| {
        let mut words = line.split_whitespace();
        let Some(Ok(addr)) = words.next().map(str::parse) else {
            reader.error(number, "no address at the begin of the line");
            return;
        };
        let mut dev = None;
        while let Some(word) = words.next() {
            if word == "dev" {
                dev = words.next().map(str::to_owned);
            }
        }
        if dev.is_none() {
            reader.warning(number, "no device: the entry holds for all");
        }
        reader.config.proxy_neighbours.push(ProxyNeighbour { dev, addr });
    });
}

/// `bridge -j fdb`. Lists of addresses that devices receive (`self` without a bridge) are no forwarding entries and are left out.
pub(crate) fn fdb(reader: &mut Reader<'_>, text: &[u8]) {
    json::objects(reader, text, |reader, object| {
        keys::FDB.check(reader, &object.map, object.line);
        let (Some(mac_text), Some(dev)) = (object.text("mac"), object.text("ifname")) else {
            reader.error(object.line, "an entry without mac or ifname");
            return;
        };
        let Some(mac) = mac(&mac_text) else {
            reader.error(object.line, format!("'{mac_text}' is no hardware address"));
            return;
        };
        let remote = object.read(reader, "dst", json::address);
        if !object.has("master") && remote.is_none() {
            return;
        }
        if !object.has("state") {
            reader.error(object.line, format!("an entry for {mac_text} on {dev} without state"));
        }
        let vlan = object.read(reader, "vlan", |v| u16::try_from(json::number(v)?).ok());
        let local = matches!(object.text("state").as_deref(), Some("permanent")) && remote.is_none();
        let sticky = object.has("sticky") || object.strings("flags").contains(&"sticky");
        let source = reader.at(object.line);
        reader.config.fdb.push(FdbEntry { mac, dev, vlan, local, sticky, remote, source });
    });
}
