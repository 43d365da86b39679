//! From the command line to a case.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use pktwalk_linux::config::{MissingState, NetNsConfig};
use pktwalk_linux::diag::Severity;
use pktwalk_packet::{MacAddr, Packet};
use pktwalk_report::Remark;
use pktwalk_report::assume::{Assumed, defaulted};
use pktwalk_scenario::assume::assume;
use pktwalk_scenario::case::{Case, CaseSend, Entry};
use pktwalk_scenario::file::{EntryAt, PacketSource, SocketIds, pcap_source};
use pktwalk_scenario::packets::{self, Given, Read};
use pktwalk_scenario::world::{Place, World};

use crate::args::{Packets, Source};

/// Opens the bundles.
pub fn world(source: &Source) -> anyhow::Result<World> {
    if source.bundle.is_empty() {
        bail!("say which node: --bundle DIR (pktwalk alone shows a node that is built in)");
    }
    let sources: Vec<(Option<String>, PathBuf)> = source
        .bundle
        .iter()
        .map(|text| match text.split_once('=') {
            // A folder may have an equals sign in its name.
            Some((node, path)) if !node.is_empty() && !node.contains('/') && !Path::new(text).exists() => {
                (Some(node.to_owned()), PathBuf::from(path))
            }
            _ => (None, PathBuf::from(text)),
        })
        .collect();
    Ok(World::open(&sources)?)
}

/// The namespace with what the user assumes.
pub fn assumed(place: &Place, source: &Source) -> anyhow::Result<Place> {
    let mut place = place.clone();
    for text in &source.assume {
        let remark = assume(&mut place.config, text)?;
        place.remarks.push(remark);
    }
    Ok(place)
}

/// What stands in for files that the bundle does not have, where a walk does not say so itself: sockets, neighbours and the like are told
/// where they decided, sets end `Unknown`.
fn defaults(missing: &[MissingState]) -> Vec<Remark> {
    let told = |missing: &&MissingState| match missing {
        MissingState::RoutingRules
        | MissingState::Routes
        | MissingState::Sysctls
        | MissingState::Rulesets => true,
        MissingState::Devices
        | MissingState::Backend
        | MissingState::Neighbours
        | MissingState::Sets
        | MissingState::Conntrack
        | MissingState::Sockets
        | MissingState::RawSockets
        | MissingState::RegistrationOrder => false,
    };
    let remark = |missing: &MissingState| {
        let Assumed { text, instead, .. } = defaulted(*missing);
        let message = format!("assumed: {text} (otherwise: {instead})");
        Remark { severity: Severity::Note, message, location: None }
    };
    missing.iter().filter(told).map(remark).collect()
}

fn socket(text: Option<&str>) -> anyhow::Result<SocketIds> {
    let mut ids = SocketIds::default();
    for part in text.unwrap_or_default().split(',').filter(|part| !part.is_empty()) {
        let (key, value) =
            part.split_once('=').with_context(|| format!("--socket {part}: uid=N,gid=N is expected"))?;
        let id: u32 = value.parse().with_context(|| format!("--socket {part}: a number is expected"))?;
        let slot = match key {
            "uid" => &mut ids.uid,
            "gid" => &mut ids.gid,
            _ => bail!("--socket {part}: uid and gid are the keys"),
        };
        if slot.replace(id).is_some() {
            bail!("--socket: {key} stands twice");
        }
    }
    Ok(ids)
}

/// The packets that the user names.
fn given(packets: &Packets) -> anyhow::Result<Read> {
    let all = |packets: Vec<Packet>| Read {
        packets: packets.into_iter().map(|packet| Given { packet, dev: None }).collect(),
        remarks: Vec::new(),
    };
    if let Some(pcap) = &packets.pcap {
        let source = pcap_source(pcap).map_err(anyhow::Error::msg)?;
        return Ok(packets::read(&source, Path::new(""))?);
    }
    if let (Some(from), Some(to)) = (&packets.from, &packets.to) {
        return Ok(all(vec![packets::between(from, to)?]));
    }
    if packets.packet.is_empty() {
        bail!(
            "say which packet: -p 'tcp 10.0.0.5:40000 > 10.0.0.1:80 flags=S', or -s ADDRESS -d ADDRESS:PORT, or --pcap FILE"
        );
    }
    let packets: Result<Vec<Packet>, _> = packets.packet.iter().map(|text| packets::spec(text)).collect();
    Ok(all(packets?))
}

/// The number of the one packet of a capture that the user asks for.
fn numbered(packets: &Packets) -> Option<u32> {
    match pcap_source(packets.pcap.as_deref()?) {
        Ok(PacketSource::Pcap { number, .. }) => number,
        Ok(PacketSource::Spec(_) | PacketSource::Ends { .. }) | Err(_) => None,
    }
}

/// A capture at a device holds both directions. What has the device's own address as its source was sent by it, not received.
fn leave_out_sent(sends: &mut Vec<CaseSend>, config: &NetNsConfig) -> anyhow::Result<Option<Remark>> {
    let all = sends.len();
    sends.retain(|send| {
        let Entry::Device(name) = &send.entry else { return true };
        let own = config.devices.iter().find(|device| device.name == *name).and_then(|device| device.mac);
        own.is_none_or(|own| own == MacAddr::default() || send.packet.mac_src() != Some(own))
    });
    let sent = all - sends.len();
    if sends.is_empty() {
        bail!(
            "the capture holds nothing that the device received: it sent all of it itself (--from-local walks packets that are made here)"
        );
    }
    let (what, are) = if sent == 1 { ("packet", "is") } else { ("packets", "are") };
    let message = format!(
        "{sent} {what} of the capture {are} left out: sent by the device itself, whose address is the source"
    );
    Ok((sent > 0).then_some(Remark { severity: Severity::Note, message, location: None }))
}

/// Everything read: what an engine runs.
pub fn case(source: &Source, packets: &Packets) -> anyhow::Result<Case> {
    let Read { packets: given, remarks } = given(packets)?;
    let entry = match (&packets.at, &packets.from_local) {
        (Some(at), _) => Some(EntryAt::device(at).map_err(anyhow::Error::msg)?),
        (None, Some(local)) => Some(EntryAt::local(local, socket(packets.socket.as_deref())?)),
        (None, None) => None,
    };
    let mut entries = Vec::with_capacity(given.len());
    for (at, given) in given.iter().enumerate() {
        entries.push(match (&entry, &given.dev) {
            (Some(entry), _) => entry.clone(),
            (None, Some(dev)) => {
                EntryAt::Device { node: String::new(), netns: String::new(), dev: dev.clone() }
            }
            (None, None) if packets.pcap.is_some() => {
                let number = numbered(packets).unwrap_or(1) as usize + at;
                bail!("the capture names no device for packet {number}: say where it enters, --at DEV")
            }
            (None, None) => bail!("say where the packet enters: --at DEV, or --from-local"),
        });
    }
    let world = world(source)?;
    let (place, entries) = world.place(source.node.as_deref().unwrap_or_default(), &entries)?;
    let place = assumed(place, source)?;
    for entry in &entries {
        if let Entry::Device(dev) = entry
            && !place.config.devices.iter().any(|device| device.name == *dev)
        {
            let there: Vec<&str> = place.config.devices.iter().map(|device| device.name.as_str()).collect();
            if there.is_empty() {
                bail!("there is no device {dev}: no device is known (ip-link.json, ip-addr.json)");
            }
            bail!("there is no device {dev}; there is {}", there.join(", "));
        }
    }
    let defaults = defaults(&place.config.missing);
    let mut sends: Vec<CaseSend> = given
        .into_iter()
        .zip(entries)
        .map(|(given, entry)| CaseSend { packet: given.packet, entry })
        .collect();
    let mut remarks = remarks;
    if packets.pcap.is_some() {
        remarks.extend(leave_out_sent(&mut sends, &place.config)?);
    }
    Ok(Case {
        name: source.bundle.join(" "),
        node: place.node,
        config: place.config,
        remarks: place.remarks.into_iter().chain(defaults).chain(remarks).collect(),
        sends,
        seed: packets.seed,
        replies: !packets.no_reply,
    })
}
