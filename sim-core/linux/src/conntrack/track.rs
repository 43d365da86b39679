//! The trackers of the protocols (`nf_conntrack_handle_packet`), and ICMP errors.

use pktwalk_packet::{IcmpFields, Ipv4Fields, TcpFields, UdpFields};

use super::entry::{CtEntry, Track, status};
use super::packet::Transport;
use super::settings::CtSettings;
use super::table::Conntrack;
use super::tuple::{CtDirection, CtTuple, proto};
use super::{sctp, tcp};
use crate::ids::CtId;
use crate::skb::{CtInfo, CtZones};

/// What a tracker makes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tracked {
    /// It belongs to the connection.
    Accept,
    /// It belongs to none.
    Invalid(&'static str),
    /// It opens a closed connection again: the old one is removed, and the lookup starts over.
    Reopen,
    /// What the connection was before the run decides, and the dump does not tell.
    Untold,
    /// It belongs to the connection and ends it.
    Kill,
    /// The bytes that decide are missing from the capture.
    Cut,
}

/// Short for [`Tracked::Invalid`].
pub(super) fn invalid(why: &'static str) -> Tracked {
    Tracked::Invalid(why)
}

/// What is missing when a header cannot be read: bytes of the packet, or of the capture.
fn short(transport: &Transport<'_>, why: &'static str) -> Tracked {
    if transport.is_cut() { Tracked::Cut } else { invalid(why) }
}

/// 2 seconds: how long it takes until a UDP connection can be a stream.
const STREAM_AFTER_NS: u64 = 2_000_000_000;

/// Gives a packet of `entry` to the tracker of its protocol.
pub(super) fn packet(
    entry: &mut CtEntry,
    settings: &CtSettings,
    direction: CtDirection,
    transport: &Transport<'_>,
    now_ns: u64,
) -> Tracked {
    match transport.protocol {
        proto::TCP => {
            let Some(header) = TcpFields::parse(transport.bytes) else {
                return short(transport, "TCP header is cut off");
            };
            if let Some(why) = tcp::malformed(&header, transport.len) {
                return invalid(why);
            }
            if transport.bad_checksum() {
                return invalid("TCP checksum is wrong");
            }
            if transport.bytes.len() < usize::from(header.header_len) {
                return Tracked::Cut;
            }
            tcp::packet(entry, settings, direction, &header, transport.bytes, transport.len, now_ns)
        }
        proto::UDP => udp(entry, settings, transport, now_ns),
        proto::UDPLITE => udplite(entry, settings, transport, now_ns),
        proto::ICMP => {
            // That the type may begin a connection is asked of the original tuple, so of every packet.
            match entry.original.l4 {
                super::tuple::CtL4::Icmp { icmp_type: 8 | 13 | 15 | 17, .. } => {
                    entry.refresh(settings.icmp_ns, now_ns);
                    Tracked::Accept
                }
                _ => invalid("ICMP type that no connection begins with"),
            }
        }
        proto::GRE => {
            let replied = entry.status & status::SEEN_REPLY != 0;
            entry.refresh(if replied { settings.gre_stream_ns } else { settings.gre_ns }, now_ns);
            if replied && entry.status & status::NAT_CLASH == 0 {
                entry.status |= status::ASSURED;
            }
            Tracked::Accept
        }
        proto::SCTP => {
            if transport.len < 12 {
                return invalid("SCTP header is cut off");
            }
            if transport.is_cut() {
                return Tracked::Cut;
            }
            if transport.bad_crc() {
                return invalid("SCTP checksum is wrong");
            }
            sctp::packet(entry, settings, direction, transport.bytes, now_ns)
        }
        _ => {
            entry.refresh(settings.generic_ns, now_ns);
            Tracked::Accept
        }
    }
}

/// `nf_conntrack_udp_packet`.
fn udp(entry: &mut CtEntry, settings: &CtSettings, transport: &Transport<'_>, now_ns: u64) -> Tracked {
    let Some(header) = UdpFields::parse(transport.bytes) else {
        return short(transport, "UDP header is cut off");
    };
    if usize::from(header.len) > transport.len || header.len < 8 {
        return invalid("UDP length is wrong");
    }
    if header.checksum != 0 && transport.bad_checksum() {
        return invalid("UDP checksum is wrong");
    }
    if !entry.is_confirmed() {
        entry.track = Track::Udp { stream_from_ns: now_ns.saturating_add(STREAM_AFTER_NS) };
    }
    if entry.status & status::SEEN_REPLY == 0 {
        entry.refresh(settings.udp_ns, now_ns);
        return Tracked::Accept;
    }
    let stream = match entry.track {
        Track::Udp { stream_from_ns } => now_ns > stream_from_ns,
        // Read from a namespace, so old enough.
        Track::None | Track::Tcp(_) | Track::Sctp(_) => true,
    };
    entry.refresh(if stream { settings.udp_stream_ns } else { settings.udp_ns }, now_ns);
    if stream && entry.status & status::NAT_CLASH == 0 {
        entry.status |= status::ASSURED;
    }
    Tracked::Accept
}

/// `nf_conntrack_udplite_packet`.
fn udplite(entry: &mut CtEntry, settings: &CtSettings, transport: &Transport<'_>, now_ns: u64) -> Tracked {
    let Some(header) = UdpFields::parse(transport.bytes) else {
        return short(transport, "UDPlite header is cut off");
    };
    let coverage = usize::from(header.len);
    if coverage != 0 && (coverage < 8 || coverage > transport.len) {
        return invalid("UDPlite checksum coverage is wrong");
    }
    if header.checksum == 0 {
        return invalid("UDPlite checksum is missing");
    }
    if transport.bad_partial_checksum(if coverage == 0 { transport.len } else { coverage }) {
        return invalid("UDPlite checksum is wrong");
    }
    let replied = entry.status & status::SEEN_REPLY != 0;
    entry.refresh(if replied { settings.udp_stream_ns } else { settings.udp_ns }, now_ns);
    if replied && entry.status & status::NAT_CLASH == 0 {
        entry.status |= status::ASSURED;
    }
    Tracked::Accept
}

/// What an ICMP packet is to conntrack before any lookup (`nf_conntrack_icmpv4_error`).
pub(super) enum Icmp {
    /// A query or an answer: looked up like any other packet.
    Query,
    /// An error about a packet of this connection.
    Related(CtId, CtInfo),
    /// Neither.
    Invalid(&'static str),
    /// The bytes that decide are missing from the capture.
    Cut,
}

/// Looks at an ICMP packet whose outer header `transport` was taken from.
pub(super) fn icmp(table: &mut Conntrack, transport: &Transport<'_>, zones: CtZones, now_ns: u64) -> Icmp {
    let Some(header) = IcmpFields::parse(transport.bytes) else {
        return if transport.is_cut() { Icmp::Cut } else { Icmp::Invalid("ICMP header is cut off") };
    };
    if transport.bad_checksum() {
        return Icmp::Invalid("ICMP checksum is wrong");
    }
    match header.icmp_type {
        3 | 4 | 5 | 11 | 12 => {}
        19.. => return Icmp::Invalid("ICMP type is unknown"),
        _ => return Icmp::Query,
    }
    let inner = transport.bytes.get(8..).unwrap_or(&[]);
    let inner_len = transport.len.saturating_sub(8);
    let Some(tuple) = inner_tuple(inner, inner_len) else {
        return if transport.is_cut() {
            Icmp::Cut
        } else {
            Icmp::Invalid("ICMP error about a packet that no connection has")
        };
    };
    let found = tuple.invert().and_then(|inverse| table.lookup(&inverse, zones, now_ns));
    let Some((id, direction)) = found else {
        return Icmp::Invalid("ICMP error about a connection that is not known");
    };
    // Whoever sends the error, it must go where the packet came from.
    if table.get(id).is_none_or(|entry| entry.tuple(direction).dst != transport.dst) {
        return Icmp::Invalid("ICMP error that does not go to the sender of the packet that it is about");
    }
    Icmp::Related(
        id,
        match direction {
            CtDirection::Original => CtInfo::Related,
            CtDirection::Reply => CtInfo::RelatedReply,
        },
    )
}

/// The tuple of the packet that an ICMP error quotes (`nf_ct_get_tuplepr`). Only its IP header must be whole. `len` is the length with what
/// a capture cut off.
fn inner_tuple(inner: &[u8], len: usize) -> Option<CtTuple> {
    let header: &[u8; 20] = inner.get(..20)?.try_into().ok()?;
    let header_len = usize::from(header[0] & 0xf) * 4;
    let offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    if offset != 0 || header_len > len {
        return None;
    }
    // Neither version nor header length is checked by the kernel; addresses stand where they stand.
    let src = u32::from_be_bytes([header[12], header[13], header[14], header[15]]);
    let dst = u32::from_be_bytes([header[16], header[17], header[18], header[19]]);
    CtTuple::of_packet(src, dst, header[9], inner.get(header_len..).unwrap_or(&[])).ok()
}

/// Whether a packet is a fragment other than the first, which has no transport header.
pub(super) fn is_later_fragment(ip: &Ipv4Fields) -> bool {
    ip.frag_offset != 0
}
