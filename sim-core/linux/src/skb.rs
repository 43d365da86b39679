//! [`Skb`]: a packet and what the kernel knows of it on its way (`struct sk_buff`).

use pktwalk_packet::verify::whole_sum_ok;
use pktwalk_packet::{Ipv4Fields, Packet};

use crate::ids::{CtId, DevId, RouteId, RuleId};
use crate::iptables::ast::PktType;

/// A packet under way. Marks and conntrack live here, not in the bytes.
#[derive(Clone, Debug)]
pub struct Skb {
    /// The bytes.
    pub packet: Packet,
    /// The IPv4 header of `packet`, read once; whoever writes the header calls [`Skb::reparse`].
    pub ip: Ipv4Fields,
    /// `skb->mark`.
    pub mark: u32,
    /// `skb->priority`.
    pub priority: u32,
    /// Device that it was received by: the `-i` of rules. None for packets made here until they come back by `lo`.
    pub in_dev: Option<DevId>,
    /// Bridge port that it was received by, while `in_dev` is the bridge.
    pub in_port: Option<DevId>,
    /// How its frame was addressed.
    pub pkt_type: PktType,
    /// It is the copy of a broadcast or multicast made here that the namespace hears itself (`PACKET_LOOPBACK`; `pkt_type` then is what rules
    /// take it for).
    pub looped: bool,
    /// Its connection.
    pub ct: SkbCt,
    /// What a `CT` rule asked for the connection that the packet may make. Taken by conntrack.
    pub ct_template: Option<CtTemplate>,
    /// Where it is routed to.
    pub dst: Option<Dst>,
    /// The socket that sent it, for packets made here.
    pub sk: Option<SkbSocket>,
    /// What is known of its checksum.
    pub summed: Summed,
    /// What it is a copy of or an answer to decides nothing, but it is said in traces.
    pub made_by: MadeBy,
}

/// What the last look at the whole checksum left with a packet (`__skb_checksum_complete`). What the kernel changes later is not summed again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Summed {
    /// It was right (`csum_valid`).
    pub valid: bool,
    /// The sum is at hand (`CHECKSUM_COMPLETE`): until the packet is forwarded.
    pub complete: bool,
}

/// Where packets come from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MadeBy {
    /// Given by the caller.
    Injected,
    /// An ICMP error of the stack.
    IcmpError,
    /// REJECT's ICMP error.
    RejectIcmp,
    /// REJECT's RST.
    RejectReset,
    /// The stack's RST for a segment without a socket.
    TcpReset,
    /// The stack's echo reply.
    EchoReply,
    /// The stack's timestamp reply.
    TimestampReply,
    /// ARP of the stack.
    Arp,
    /// A piece of a larger packet.
    Fragment,
    /// A copy: of a frame that a bridge floods, of a broadcast that its sender hears itself.
    Copy,
}

/// `skb->_nfct`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SkbCt {
    /// Not looked up yet, or INVALID: to a rule they are the same.
    None,
    /// Excused from tracking.
    Untracked,
    /// Attached to what an untracked packet has (`nf_conntrack_attach`): RELATED to no connection. To a rule that is INVALID, yet `CT` takes the
    /// packet for one that was seen before.
    Attached,
    /// Of a connection.
    Entry {
        /// Which.
        id: CtId,
        /// In which way.
        info: CtInfo,
    },
}

/// A conntrack template (`nf_ct_tmpl_alloc`), attached by `CT` in the raw table. Every packet of the rule has the same one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CtTemplate {
    /// Whose it is.
    pub rule: RuleId,
    /// The zone; `None`: what the packet's mark is when conntrack looks it up, whatever it was at the rule (`NF_CT_FLAG_MARK`).
    pub zone: Option<u16>,
    /// Whether the zone is for the original direction.
    pub original: bool,
    /// Whether it is for the reply direction.
    pub reply: bool,
}

impl CtTemplate {
    /// `nf_ct_zone_tmpl`.
    pub fn zones(self, mark: u32) -> CtZones {
        let zone = self.zone.unwrap_or(mark as u16);
        CtZones {
            zone_original: if self.original { zone } else { 0 },
            zone_reply: if self.reply { zone } else { 0 },
        }
    }
}

/// The zones of both directions of a connection (`struct nf_conntrack_zone`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct CtZones {
    /// Zone of the original direction.
    pub zone_original: u16,
    /// Zone of the reply direction.
    pub zone_reply: u16,
}

impl CtZones {
    /// The zone's number, whichever directions it is for (`nf_conntrack_zone.id`).
    pub fn zone_id(self) -> u16 {
        self.zone_original.max(self.zone_reply)
    }
}

/// `enum ip_conntrack_info`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CtInfo {
    /// Original direction, reply seen.
    Established,
    /// Original direction, related.
    Related,
    /// Original direction, no reply seen.
    New,
    /// Reply direction.
    EstablishedReply,
    /// Reply direction, related.
    RelatedReply,
}

impl CtInfo {
    /// Whether it is of the reply direction.
    pub fn is_reply(self) -> bool {
        matches!(self, CtInfo::EstablishedReply | CtInfo::RelatedReply)
    }
}

/// The result of routing, as the skb carries it (`skb_dst`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Dst {
    /// Device that it leaves by (`lo` for local delivery).
    pub dev: DevId,
    /// Whether it is delivered here.
    pub local: bool,
    /// Whether it was routed as broadcast or multicast.
    pub broadcast: bool,
    /// Gateway in host order; none if the destination is on-link.
    pub gateway: Option<u32>,
    /// The route, where there was one.
    pub route: Option<RouteId>,
    /// MTU of the path in bytes.
    pub mtu: u32,
    /// The forwarded packet goes back by the device it came from: a redirect would be sent.
    pub redirect: bool,
    /// Whether its route is of type local (`rt_type`). What a socket sends by `lo` because it is bound to it, and no route leads there, is
    /// delivered here by a route of type unicast.
    pub type_local: bool,
    /// The device that sockets here take it to have come in by, if not the one that received it: of what this namespace sends to itself, the
    /// one that has the address (`rt_iif`).
    pub iif: Option<DevId>,
}

/// Who sent it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SkbSocket {
    /// File owner's user id; none: a socket without a file (a kernel socket).
    pub uid: Option<u32>,
    /// Group id.
    pub gid: Option<u32>,
    /// `SO_BINDTODEVICE`.
    pub bound_dev: Option<DevId>,
    /// A raw socket that writes IP headers itself (`IP_HDRINCL`): its packets are routed as protocol 255 without ports and without the source
    /// that their header names, and nobody corrects their transport checksum for a source address that routing chose.
    pub raw: bool,
}

impl Skb {
    /// A packet that nobody has looked at yet, with its IPv4 header.
    pub fn new(packet: Packet, ip: Ipv4Fields) -> Skb {
        Skb {
            packet,
            ip,
            mark: 0,
            priority: 0,
            in_dev: None,
            in_port: None,
            pkt_type: PktType::Unicast,
            looped: false,
            ct: SkbCt::None,
            ct_template: None,
            dst: None,
            sk: None,
            summed: Summed::default(),
            made_by: MadeBy::Injected,
        }
    }

    /// Reads the IPv4 header again, after a change of the bytes. A header that no longer parses leaves the old fields (no change that the
    /// walk makes can do that).
    pub fn reparse(&mut self) {
        if let Ok(ip) = Ipv4Fields::parse(self.packet.l3()) {
            self.ip = ip;
        }
    }

    /// From the transport header on; empty when the header claims more than there is.
    pub fn l4(&self) -> &[u8] {
        self.packet.l3().get(usize::from(self.ip.header_len)..).unwrap_or(&[])
    }

    /// Whether the checksum of `l4`, what is behind the IP header, is right as netfilter and the sockets see it.
    pub fn sum_ok(&self, l4: &[u8]) -> bool {
        whole_sum_ok(self.ip.protocol, self.ip.src, self.ip.dst, l4)
    }
}
