//! From the command line to a case.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use pktwalk_linux::config::{MissingState, NetNsConfig};
use pktwalk_linux::diag::Severity;
use pktwalk_linux::netns::NetNs;
use pktwalk_packet::{MacAddr, Packet};
use pktwalk_report::Remark;
use pktwalk_report::assume::{Assumed, defaulted};
use pktwalk_scenario::assume::assume;
use pktwalk_scenario::case::{Case, CaseSend, Entry};
use pktwalk_scenario::file::{EntryAt, SocketIds, pcap_source};
use pktwalk_scenario::offload::cut_merged;
use pktwalk_scenario::packets::{self, Direction, Given, Read};
use pktwalk_scenario::world::{Place, World};

use crate::args::{Packets, Source};
use crate::output::Out;

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
        | MissingState::Rulesets
        | MissingState::OtherRules
        | MissingState::NftRules => true,
        MissingState::Devices
        | MissingState::Backend
        | MissingState::Neighbours
        | MissingState::Sets
        | MissingState::Conntrack
        | MissingState::Sockets
        | MissingState::ConnectedSockets
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
        let Ok(id) = value.parse::<u32>() else {
            bail!("--socket {part}: a number is expected (`id {value}` prints those of a user)");
        };
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

/// Where a socket says no source.
const NO_SOURCE: &str = "0.0.0.0";

/// The packets that the user names.
fn given(packets: &Packets) -> anyhow::Result<Read> {
    let all = |packets: Vec<Packet>| Read {
        packets: packets.into_iter().map(Given::from).collect(),
        remarks: Vec::new(),
    };
    if let Some(pcap) = &packets.pcap {
        let source = pcap_source(pcap).map_err(anyhow::Error::msg)?;
        let direction = if packets.from_local.is_some() { Direction::Sent } else { Direction::Received };
        return Ok(packets::read(&source, Path::new(""), direction)?);
    }
    match (&packets.from, &packets.to) {
        (Some(from), Some(to)) => return Ok(all(vec![packets::between(from, to)?])),
        // The source is chosen when the node is known.
        (None, Some(to)) if packets.from_local.is_some() => {
            return Ok(all(vec![packets::between(NO_SOURCE, to)?]));
        }
        (None, Some(_)) => {
            bail!("-d needs -s: only for a packet that is made here (--from-local) the source can be chosen")
        }
        (_, None) => {}
    }
    if packets.packet.is_empty() {
        bail!(
            "say which packet: -p 'tcp 10.0.0.5:40000 > 10.0.0.1:80 flags=S', or -s ADDRESS -d ADDRESS:PORT, or --pcap FILE"
        );
    }
    let packets: Result<Vec<Packet>, _> = packets.packet.iter().map(|text| packets::spec(text)).collect();
    Ok(all(packets?))
}

/// Where each packet enters: as the user says, or at the interface that a capture names for it.
fn entries(
    packets: &Packets,
    given: &mut [Given],
    world: &World,
    node: &str,
) -> anyhow::Result<Vec<EntryAt>> {
    let entry = match (&packets.at, &packets.from_local) {
        (Some(at), _) => Some(EntryAt::device(at).map_err(anyhow::Error::msg)?),
        (None, Some(local)) => Some(EntryAt::local(local, socket(packets.socket.as_deref())?)),
        (None, None) => None,
    };
    // A number of an interface is one of the namespace that the packets enter.
    if given.iter().any(|given| given.ifindex.is_some() && given.dev.is_none()) {
        let devices = &world.place(node, entry.as_slice())?.0.config.devices;
        for given in &mut *given {
            let Some(ifindex) = given.ifindex.filter(|_| given.dev.is_none()) else { continue };
            let device = devices.iter().find(|device| device.ifindex == ifindex);
            given.dev = device.map(|device| device.name.clone());
        }
    }
    given
        .iter()
        .map(|given| match (&entry, &given.dev, given.number) {
            (Some(entry), _, _) => Ok(entry.clone()),
            (None, Some(dev), _) => {
                Ok(EntryAt::Device { node: String::new(), netns: String::new(), dev: dev.clone() })
            }
            (None, None, Some(number)) => match given.ifindex {
                Some(ifindex) => bail!(
                    "packet {number} was captured on interface {ifindex}, which the node does not have: say where it enters, --at DEV"
                ),
                None => bail!("the capture names no device for packet {number}: say where it enters, --at DEV"),
            },
            (None, None, None) => bail!("say where the packet enters: --at DEV, or --from-local"),
        })
        .collect()
}

/// A capture of several interfaces, one of which is the device where its packets are to enter: only what that one captured does.
fn leave_out_elsewhere(at: &str, sends: &mut Vec<(CaseSend, Option<String>)>) -> Vec<Remark> {
    let elsewhere = |dev: &Option<String>| dev.as_ref().is_some_and(|dev| dev != at);
    let named = sends.iter().any(|(_, dev)| dev.as_deref() == Some(at));
    let other = sends.iter().find_map(|(_, dev)| dev.clone().filter(|dev| dev != at));
    let Some(other) = other else { return Vec::new() };
    let all = sends.len();
    let message = if named {
        sends.retain(|(_, dev)| !elsewhere(dev));
        let out = all - sends.len();
        let (what, are) = if out == 1 { ("packet", "is") } else { ("packets", "are") };
        format!(
            "{out} {what} of the capture {are} left out: captured on {other} or another device, not on {at}"
        )
    } else {
        format!("the capture is of {other}; its packets enter at {at}, as told")
    };
    vec![Remark { severity: Severity::Note, message, location: None }]
}

/// A capture at a device holds both directions. What has the device's own address as its source was sent by it, not received.
fn leave_out_sent(
    sends: &mut Vec<(CaseSend, Option<String>)>,
    config: &NetNsConfig,
) -> anyhow::Result<Option<Remark>> {
    let all = sends.len();
    sends.retain(|(send, _)| {
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

/// Everything read: what an engine runs. What was said of the input until something went wrong is said all the same.
pub fn case(out: &Out, source: &Source, packets: &Packets) -> anyhow::Result<Case> {
    let mut remarks = Vec::new();
    let case = read(source, packets, &mut remarks);
    if case.is_err() {
        out.remarks(&remarks);
    }
    case
}

fn read(source: &Source, packets: &Packets, said: &mut Vec<Remark>) -> anyhow::Result<Case> {
    let Read { packets: mut given, remarks } = given(packets)?;
    said.extend(remarks);
    let world = world(source)?;
    let node = source.node.as_deref().unwrap_or_default();
    let entries = entries(packets, &mut given, &world, node)?;
    let (place, entries) = world.place(node, &entries)?;
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
    if let (Some(to), None, [given], [Entry::Local(socket)]) =
        (&packets.to, &packets.from, given.as_mut_slice(), entries.as_slice())
    {
        let (ns, _) = NetNs::compile(place.config.clone());
        given.packet = packets::made_here(to, &ns, SocketIds { uid: socket.uid, gid: socket.gid })?;
    }
    let defaults = defaults(&place.config.missing);
    let mut sends: Vec<(CaseSend, Option<String>)> = given
        .into_iter()
        .zip(entries)
        .map(|(given, entry)| (CaseSend { packet: given.packet, entry, number: given.number }, given.dev))
        .collect();
    if packets.pcap.is_some() {
        if let (Some(_), Some((CaseSend { entry: Entry::Device(at), .. }, _))) = (&packets.at, sends.first())
        {
            let at = at.clone();
            said.extend(leave_out_elsewhere(&at, &mut sends));
        }
        said.extend(leave_out_sent(&mut sends, &place.config)?);
        let (cut, merged) = cut_merged(sends, &place.config);
        said.extend(merged);
        sends = cut;
    }
    Ok(Case {
        name: source.bundle.join(" "),
        node: place.node,
        config: place.config,
        peers: place.peers,
        remarks: place.remarks.into_iter().chain(defaults).chain(std::mem::take(said)).collect(),
        sends: sends.into_iter().map(|(send, _)| send).collect(),
        seed: packets.seed,
        replies: !packets.no_reply,
        ..Case::default()
    })
}
