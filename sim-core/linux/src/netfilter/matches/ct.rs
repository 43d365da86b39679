//! `conntrack`, `state`, `connmark` (`xt_conntrack`, `xt_connmark`).

use std::net::IpAddr;

use crate::conntrack::tuple::{CtL4, CtTuple};
use crate::conntrack::{CtEntry, status};
use crate::iptables::ast::{AddrMask, ConntrackMatch, CtStateSet, Neg, PortRange};
use crate::netns::NetNsState;
use crate::skb::{CtInfo, Skb, SkbCt};

/// `nf_ct_get`: what a rule sees of the packet's connection.
enum View<'a> {
    Entry(&'a CtEntry, CtInfo),
    /// A template of `CT` that conntrack has not taken yet: a connection of nothing, in state NEW, of status CONFIRMED, with this mark.
    Template {
        mark: u32,
    },
    None,
    Untracked,
}

fn view<'a>(state: &'a NetNsState, skb: &Skb) -> View<'a> {
    match skb.ct {
        SkbCt::Entry { id, info } => state.ct.get(id).map_or(View::None, |entry| View::Entry(entry, info)),
        SkbCt::Untracked => View::Untracked,
        SkbCt::None => match skb.ct_template {
            Some(template) => View::Template { mark: state.rules.template_mark(template.rule) },
            None => View::None,
        },
        SkbCt::Attached => View::None,
    }
}

fn state_of(info: CtInfo) -> CtStateSet {
    match info {
        CtInfo::Established | CtInfo::EstablishedReply => CtStateSet::ESTABLISHED,
        CtInfo::Related | CtInfo::RelatedReply => CtStateSet::RELATED,
        CtInfo::New => CtStateSet::NEW,
    }
}

fn states(view: &View<'_>) -> CtStateSet {
    match view {
        View::Entry(entry, info) => {
            let mut states = state_of(*info);
            if entry.status & status::SRC_NAT != 0 {
                states = states.union(CtStateSet::SNAT);
            }
            if entry.status & status::DST_NAT != 0 {
                states = states.union(CtStateSet::DNAT);
            }
            states
        }
        View::Template { .. } => CtStateSet::NEW,
        View::None => CtStateSet::INVALID,
        View::Untracked => CtStateSet::UNTRACKED,
    }
}

/// `-m state`: `conntrack_mt` with nothing but a state.
pub(super) fn state(state: &NetNsState, skb: &Skb, wanted: CtStateSet, not: bool) -> bool {
    states(&view(state, skb)).intersects(wanted) != not
}

/// `connmark_mt`.
pub(super) fn connmark(state: &NetNsState, skb: &Skb, value: u32, mask: u32, not: bool) -> bool {
    match view(state, skb) {
        View::Entry(entry, _) => (entry.mark & mask == value) != not,
        View::Template { mark } => (mark & mask == value) != not,
        View::None | View::Untracked => false,
    }
}

/// Ports as the kernel reads them for every protocol alike (`src.u.all`, `dst.u.all`): ICMP has its id for the one, type and code for the
/// other.
fn ports(tuple: &CtTuple) -> (u16, u16) {
    match tuple.l4 {
        CtL4::Ports { src, dst } => (src, dst),
        CtL4::Icmp { id, icmp_type, code } => (id, u16::from_be_bytes([icmp_type, code])),
        CtL4::None => (0, 0),
    }
}

fn addr_holds(test: Option<Neg<AddrMask>>, addr: u32) -> bool {
    let Some(Neg { not, value }) = test else { return true };
    let within = match (value.addr, value.mask) {
        // `conntrack_addrcmp`: what is written may have bits beyond the mask.
        (IpAddr::V4(wanted), IpAddr::V4(mask)) => (addr ^ u32::from(wanted)) & u32::from(mask) == 0,
        _ => false,
    };
    within != not
}

fn port_holds(test: Option<Neg<PortRange>>, port: u16) -> bool {
    test.is_none_or(|test| (test.value.lo <= port && port <= test.value.hi) != test.not)
}

/// `conntrack_mt`. Without an entry a state condition that holds decides alone: every other condition is ignored.
pub(super) fn conntrack(state: &NetNsState, skb: &Skb, test: &ConntrackMatch) -> bool {
    let view = view(state, skb);
    if let Some(wanted) = test.state
        && states(&view).intersects(wanted.value) == wanted.not
    {
        return false;
    }
    let nothing = CtTuple { src: 0, dst: 0, protocol: 0, l4: CtL4::None };
    let (original, reply, status, expires_ns, is_reply) = match view {
        View::Entry(entry, info) => {
            // The timeout of an entry that is not in the table yet is not a point in time.
            let confirmed = entry.status & status::CONFIRMED != 0;
            let left = if confirmed { entry.expires_ns.saturating_sub(state.now_ns) } else { 0 };
            (entry.original, entry.reply, entry.status, left, info.is_reply())
        }
        View::Template { .. } => (nothing, nothing, status::CONFIRMED, 0, false),
        View::None | View::Untracked => return test.state.is_some(),
    };
    let (orig_src_port, orig_dst_port) = ports(&original);
    let (reply_src_port, reply_dst_port) = ports(&reply);
    let left = expires_ns / 1_000_000_000;
    test.direction_original.is_none_or(|wanted| wanted != is_reply)
        && addr_holds(test.orig_src, original.src)
        && addr_holds(test.orig_dst, original.dst)
        && addr_holds(test.reply_src, reply.src)
        && addr_holds(test.reply_dst, reply.dst)
        && test.protocol.is_none_or(|wanted| (wanted.value == original.protocol) != wanted.not)
        && port_holds(test.orig_src_port, orig_src_port)
        && port_holds(test.orig_dst_port, orig_dst_port)
        && port_holds(test.reply_src_port, reply_src_port)
        && port_holds(test.reply_dst_port, reply_dst_port)
        && test.status.is_none_or(|wanted| (status & wanted.value != 0) != wanted.not)
        && test.expire.is_none_or(|wanted| {
            let (lo, hi) = wanted.value;
            (u64::from(lo) <= left && left <= u64::from(hi)) != wanted.not
        })
}
