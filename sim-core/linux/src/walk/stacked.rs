//! Devices that stand on another one (VLAN, macvlan, ipvlan, MACsec): what they take of its frames before bridge, IP layer or anything else
//! sees them (`vlan_do_receive` and `rx_handler` in `__netif_receive_skb_core`). They are not modelled themselves: what one takes is not known
//! from there on, everything else goes on as if it were not there.

use std::net::Ipv4Addr;

use pktwalk_packet::{ArpFields, EtherType, Ipv4Fields, MacAddr, Packet};
use rustc_hash::FxHashMap;

use super::{Flight, Made, Stage};
use crate::config::Takes;
use crate::ids::DevId;
use crate::limits;
use crate::netns::Cx;
use crate::reason::Because;
use crate::skb::MadeBy;
use crate::trace::{Sink, Step};

/// What stands on each device.
#[derive(Clone, Debug, Default)]
pub(super) struct Stacked {
    /// Which frames are taken, and the position among the unmodelled state of the configuration.
    takes: FxHashMap<DevId, Vec<(u32, Takes)>>,
    /// Who hears copies of frames to many.
    copies: FxHashMap<DevId, Vec<DevId>>,
}

impl Stacked {
    pub(super) fn add(&mut self, on: DevId, position: u32, takes: Takes) {
        self.takes.entry(on).or_default().push((position, takes));
    }

    pub(super) fn add_copy(&mut self, on: DevId, by: DevId) {
        self.copies.entry(on).or_default().push(by);
    }

    /// Whether one of the devices on `on` takes a frame. VLAN devices are asked first, as in the kernel.
    pub(super) fn takes(&self, on: DevId, packet: &Packet) -> Option<Because> {
        let all = self.takes.get(&on)?;
        let frame = Frame::of(packet);
        let is_vlan = |takes: &Takes| matches!(takes, Takes::Vlan { .. });
        let first = all.iter().filter(|(_, takes)| is_vlan(takes));
        let then = all.iter().filter(|(_, takes)| !is_vlan(takes));
        first.chain(then).find(|(_, takes)| frame.taken(takes)).map(|&(position, _)| Because::State(position))
    }

    /// The hardware address that a neighbour on the link of `on` sends to for `addr`, where a macvlan has it.
    pub(super) fn mac_of(&self, on: DevId, addr: u32) -> Option<MacAddr> {
        self.takes.get(&on)?.iter().find_map(|(_, takes)| match takes {
            Takes::To { mac, addresses } if addresses.contains(&Ipv4Addr::from(addr)) => Some(*mac),
            _ => None,
        })
    }
}

/// What decides about a frame.
struct Frame {
    dst: Option<MacAddr>,
    src: Option<MacAddr>,
    /// Protocols and numbers of VLANs: the outermost, and those behind as long as they are 0.
    tags: Vec<(EtherType, u16)>,
    /// Behind those tags.
    ethertype: EtherType,
    /// The IPv4 address that it is for, or that it asks for.
    addr: Option<u32>,
    fragment: bool,
}

impl Frame {
    fn of(packet: &Packet) -> Frame {
        let (mut ethertype, mut l3, mut tags) = (packet.ethertype(), packet.l3(), Vec::new());
        while matches!(ethertype, EtherType::VLAN | EtherType::SERVICE_VLAN)
            && packet.mac_header().is_some()
            && tags.last().is_none_or(|&(_, id)| id == 0)
            && let [a, b, c, d, rest @ ..] = l3
        {
            tags.push((ethertype, u16::from_be_bytes([*a, *b]) & 0x0fff));
            (ethertype, l3) = (EtherType(u16::from_be_bytes([*c, *d])), rest);
        }
        let ip = if ethertype == EtherType::IPV4 { Ipv4Fields::parse(l3).ok() } else { None };
        let addr = match ethertype {
            EtherType::ARP => ArpFields::parse(l3).map(|arp| arp.target),
            _ => ip.map(|ip| ip.dst),
        };
        let fragment = ip.is_some_and(|ip| ip.more_fragments || ip.frag_offset != 0);
        Frame { dst: packet.mac_dst(), src: packet.mac_src(), tags, ethertype, addr, fragment }
    }

    fn to_many(&self) -> bool {
        self.dst.is_some_and(MacAddr::is_multicast)
    }

    fn taken(&self, takes: &Takes) -> bool {
        match takes {
            Takes::Vlan { protocol, id } => self.tags.iter().any(|&(ethertype, number)| {
                protocol.is_none_or(|protocol| protocol == ethertype.0) && id.is_none_or(|id| id == number)
            }),
            Takes::To { mac, .. } => self.dst == Some(*mac),
            Takes::From(macs) => self.src.is_some_and(|src| macs.contains(&src)),
            Takes::Unicast => !self.to_many(),
            Takes::GroupFragments => self.to_many() && self.fragment,
            Takes::Addresses { addresses, unicast_only } => {
                !(*unicast_only && self.to_many())
                    && self.addr.is_some_and(|addr| addresses.contains(&Ipv4Addr::from(addr)))
            }
            Takes::Protocol(protocol) => self.ethertype.0 == *protocol,
            Takes::Everything => true,
        }
    }
}

/// Copies of a frame to many for the devices on `on` that hear it (`macvlan_broadcast_enqueue`, `ipvlan_multicast_enqueue`): a queue of the kernel
/// hands them over after the frame itself.
pub(super) fn copies<S: Sink>(cx: &mut Cx<'_, S>, flight: &Flight, on: DevId) {
    let Some(hearers) = cx.ns.links.stacked.copies.get(&on) else { return };
    if !flight.skb.packet.mac_dst().is_some_and(MacAddr::is_multicast) {
        return;
    }
    // Each is received, which is bounded.
    for &by in hearers.iter().take(limits::VISITS as usize) {
        let mut copy = flight.skb.clone();
        copy.made_by = MadeBy::Copy;
        copy.in_dev = Some(by);
        cx.sink.step(&flight.skb, Step::Made { by: MadeBy::Copy });
        cx.made.push(Made { skb: copy, stage: Stage::Receive, steps: Vec::new(), bridged: None });
    }
}
