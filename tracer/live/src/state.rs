//! The kernel's connection table.

use pktwalk_linux::conntrack::TcpState;
use pktwalk_linux::conntrack::tuple::{CtL4, CtTuple};
use pktwalk_scenario::event::{CT_STATUS_MASK, CtSnapshot};

use crate::fill;
use crate::netlink::{Attributes, Netfilter, ReadError, be16, be32};

/// `NFNL_SUBSYS_CTNETLINK`, `IPCTNL_MSG_CT_GET`.
const CT_GET: u16 = (1 << 8) | 1;
/// `IPCTNL_MSG_CT_DELETE`.
const CT_DELETE: u16 = (1 << 8) | 2;

/// Forgets every connection.
pub(crate) fn flush(netfilter: &mut Netfilter) -> Result<(), ReadError> {
    netfilter.ask(CT_DELETE, 2, 0, &[])
}

/// Confirmed connections, sorted; without those of [`fill`], where there are some.
pub(crate) fn connections(netfilter: &mut Netfilter, filled: bool) -> Result<Vec<CtSnapshot>, ReadError> {
    let filter = if filled { fill::without_ours() } else { Vec::new() };
    let mut found = Vec::new();
    while !netfilter.dump(CT_GET, 2, &filter, &mut |message| found.extend(connection(message.attributes)))? {
        found.clear();
    }
    found.retain(|connection| !filled || !fill::is_ours(connection));
    found.sort();
    // A dump may meet an entry twice while the table moves.
    found.dedup();
    Ok(found)
}

fn connection(attributes: &[u8]) -> Option<CtSnapshot> {
    let (mut original, mut reply) = (None, None);
    let (mut status, mut mark, mut zone, mut tcp_state) = (0, 0, 0, None);
    for (kind, value) in Attributes(attributes) {
        match kind {
            1 => {
                let (tuple, own_zone) = tuple(value)?;
                original = Some(tuple);
                zone = own_zone.unwrap_or(zone);
            }
            2 => reply = Some(tuple(value)?.0),
            3 => status = be32(value),
            4 => tcp_state = tcp(value),
            8 => mark = be32(value),
            18 => zone = be16(value),
            _ => {}
        }
    }
    Some(CtSnapshot {
        original: original?,
        reply: reply?,
        mark,
        status: status & CT_STATUS_MASK,
        tcp_state: tcp_state.map(|state: TcpState| state.name().to_owned()),
        zone,
    })
}

fn tcp(value: &[u8]) -> Option<TcpState> {
    let (_, tcp) = Attributes(value).find(|(kind, _)| *kind == 1)?;
    let (_, state) = Attributes(tcp).find(|(kind, _)| *kind == 1)?;
    [
        TcpState::None,
        TcpState::SynSent,
        TcpState::SynRecv,
        TcpState::Established,
        TcpState::FinWait,
        TcpState::CloseWait,
        TcpState::LastAck,
        TcpState::TimeWait,
        TcpState::Close,
        TcpState::SynSent2,
    ]
    .get(usize::from(*state.first()?))
    .copied()
}

fn tuple(value: &[u8]) -> Option<(CtTuple, Option<u16>)> {
    let (mut src, mut dst, mut protocol, mut zone) = (None, None, 0, None);
    let (mut ports, mut icmp) = ((None, None), (None, 0, 0));
    for (kind, value) in Attributes(value) {
        match kind {
            1 => {
                for (kind, value) in Attributes(value) {
                    match kind {
                        1 => src = Some(be32(value)),
                        2 => dst = Some(be32(value)),
                        _ => {}
                    }
                }
            }
            2 => {
                for (kind, value) in Attributes(value) {
                    match kind {
                        1 => protocol = *value.first()?,
                        2 => ports.0 = Some(be16(value)),
                        3 => ports.1 = Some(be16(value)),
                        4 => icmp.0 = Some(be16(value)),
                        5 => icmp.1 = *value.first()?,
                        6 => icmp.2 = *value.first()?,
                        _ => {}
                    }
                }
            }
            3 => zone = Some(be16(value)),
            _ => {}
        }
    }
    let l4 = match (ports, icmp) {
        ((Some(src), Some(dst)), _) => CtL4::Ports { src, dst },
        (_, (Some(id), icmp_type, code)) => CtL4::Icmp { id, icmp_type, code },
        _ => CtL4::None,
    };
    let l4 = match (protocol, l4) {
        (1 | 6 | 17 | 33 | 132 | 136, l4) => l4,
        // The keys of PPTP's GRE; 0 where there are none.
        (47, CtL4::Ports { src, dst }) if (src, dst) != (0, 0) => l4,
        // Generic protocols say ports that are no part of what the model calls their tuple.
        _ => CtL4::None,
    };
    Some((CtTuple { src: src?, dst: dst?, protocol, l4 }, zone))
}
