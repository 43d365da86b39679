//! Connections that a configuration has before the first packet, made by netlink as `conntrack -I` makes them, but TCP ones so that segments are not held
//! against windows: a dump does not tell them, and the model takes every segment to be in its window. Every entry is told a translation, if only to what it has: then the kernel takes
//! both halves of it as decided, as they are for an entry that packets made.

use pktwalk_linux::config::Connection;
use pktwalk_linux::conntrack::tuple::{CtL4, CtTuple};
use pktwalk_linux::conntrack::{TcpState, status};
use pktwalk_scenario::confirm::is_made;
use pktwalk_scenario::engine::EngineError;

use crate::netlink::{Netfilter, ReadError, put};
use crate::ns::{failed, unsupported};

/// `IPCTNL_MSG_CT_NEW`.
const CT_NEW: u16 = 1 << 8;
/// `NLM_F_CREATE | NLM_F_EXCL`.
const NEW: u16 = 0x600;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// `IP_CT_TCP_FLAG_SACK_PERM`.
const SACK_PERM: u8 = 0x02;
/// `IP_CT_TCP_FLAG_CLOSE_INIT`.
const CLOSE_INIT: u8 = 0x04;
/// `IP_CT_TCP_FLAG_BE_LIBERAL`.
const BE_LIBERAL: u8 = 0x08;
/// Its keys stand where others have ports.
const GRE: u8 = 47;
/// No more of them are made.
const MOST: usize = 65_536;
/// Messages that are sent at once.
const BATCH: usize = 128;

/// Makes `connections`. Those that the model does not take packets of either are left out.
pub(crate) fn make(netfilter: &mut Netfilter, connections: &[Connection]) -> Result<(), EngineError> {
    if connections.len() > MOST {
        return Err(unsupported(format!("{} connections before the first packet", connections.len())));
    }
    let entries: Vec<Vec<u8>> = connections.iter().filter(|one| is_made(one)).filter_map(entry).collect();
    for batch in entries.chunks(BATCH) {
        netfilter.ask_all(CT_NEW, NEW, 2, batch).map_err(|error| match error {
            ReadError::Overrun => failed("netlink: no buffer space"),
            ReadError::Io(error) => failed(format!("connections of the bundle: {error}")),
        })?;
    }
    Ok(())
}

fn nest(to: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    fill(&mut inner);
    put(to, NESTED | kind, &inner);
}

fn tuple(to: &mut Vec<u8>, kind: u16, tuple: &CtTuple, zone: Option<u16>) {
    nest(to, kind, |to| {
        nest(to, 1, |to| {
            put(to, 1, &tuple.src.to_be_bytes());
            put(to, 2, &tuple.dst.to_be_bytes());
        });
        nest(to, 2, |to| {
            put(to, 1, &[tuple.protocol]);
            match tuple.l4 {
                CtL4::Ports { src, dst } => {
                    put(to, 2, &src.to_be_bytes());
                    put(to, 3, &dst.to_be_bytes());
                }
                CtL4::Icmp { id, icmp_type, code } => {
                    put(to, 4, &id.to_be_bytes());
                    put(to, 5, &[icmp_type]);
                    put(to, 6, &[code]);
                }
                // Without keys both are 0, and have to be said all the same (`nf_ct_port_nlattr_to_tuple`).
                CtL4::None if tuple.protocol == GRE => {
                    put(to, 2, &[0, 0]);
                    put(to, 3, &[0, 0]);
                }
                CtL4::None => {}
            }
        });
        if let Some(zone) = zone {
            put(to, 3, &zone.to_be_bytes());
        }
    });
}

/// `CTA_NAT_SRC` or `CTA_NAT_DST`: this address, and this port or identifier.
fn translation(to: &mut Vec<u8>, kind: u16, addr: u32, port: Option<u16>) {
    nest(to, kind, |to| {
        put(to, 1, &addr.to_be_bytes());
        put(to, 2, &addr.to_be_bytes());
        if let Some(port) = port {
            nest(to, 3, |to| {
                put(to, 1, &port.to_be_bytes());
                put(to, 2, &port.to_be_bytes());
            });
        }
    });
}

/// Source and destination, as a translation may change them.
fn ports(tuple: &CtTuple) -> (Option<u16>, Option<u16>) {
    match tuple.l4 {
        CtL4::Ports { src, dst } => (Some(src), Some(dst)),
        CtL4::Icmp { id, .. } => (Some(id), None),
        CtL4::None => (None, None),
    }
}

/// None where no connection begins so.
fn entry(one: &Connection) -> Option<Vec<u8>> {
    let inverse = one.original.invert()?;
    let (source, destination) = match one.reply.l4 {
        // The one identifier is changed with the source.
        CtL4::Icmp { id, .. } => (Some(id), None),
        CtL4::Ports { .. } | CtL4::None => {
            let (src, dst) = ports(&one.reply);
            (dst, src)
        }
    };
    let zones = (one.zone_original != one.zone_reply).then_some((one.zone_original, one.zone_reply));
    let mut bits = status::CONFIRMED;
    for (holds, bit) in [(!one.unreplied, status::SEEN_REPLY), (one.assured, status::ASSURED)] {
        bits |= if holds { bit } else { 0 };
    }
    let mut entry = Vec::new();
    tuple(&mut entry, 1, &one.original, zones.map(|zones| zones.0));
    tuple(&mut entry, 2, &inverse, zones.map(|zones| zones.1));
    put(&mut entry, 3, &bits.to_be_bytes());
    if let Some(state) = one.tcp {
        // `struct nf_ct_tcp_flags`: which bits, of these.
        let flags = SACK_PERM | BE_LIBERAL;
        let original = if state.follows_fin() { flags | CLOSE_INIT } else { flags };
        nest(&mut entry, 4, |to| {
            nest(to, 1, |to| {
                put(to, 1, &[number(state)]);
                put(to, 4, &[original, original]);
                put(to, 5, &[flags, flags]);
            });
        });
    }
    translation(&mut entry, 6, one.reply.dst, source);
    put(&mut entry, 7, &one.timeout.max(1).to_be_bytes());
    put(&mut entry, 8, &one.mark.to_be_bytes());
    translation(&mut entry, 13, one.reply.src, destination);
    if zones.is_none() && one.zone_original != 0 {
        put(&mut entry, 18, &one.zone_original.to_be_bytes());
    }
    Some(entry)
}

/// `enum tcp_conntrack`.
fn number(state: TcpState) -> u8 {
    match state {
        TcpState::None => 0,
        TcpState::SynSent => 1,
        TcpState::SynRecv => 2,
        TcpState::Established => 3,
        TcpState::FinWait => 4,
        TcpState::CloseWait => 5,
        TcpState::LastAck => 6,
        TcpState::TimeWait => 7,
        TcpState::Close => 8,
        TcpState::SynSent2 => 9,
    }
}
