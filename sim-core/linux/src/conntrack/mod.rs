//! Connection tracking, as Linux 6.18 does it for IPv4.
//!
//! Modelled: `nf_conntrack_in` with zones, TCP (state table, windows, reopening, resets, timeouts), UDP, UDPlite, SCTP, ICMP queries and
//! errors, GRE without helpers, all other protocols by their addresses; timeouts on the virtual clock; confirmation and what happens when
//! two flows want the same tuple.
//!
//! Left out: helpers and expectations, synproxy, accounting, labels, timeout policies, offloading. Which entry a full table drops early
//! depends on a random hash: the walk ends `Unknown` there unless no entry may be dropped. The kernel's clock ticks in jiffies (1 to 10
//! milliseconds); here an entry expires to the nanosecond. The checksum of a packet that a capture cut off counts as right.

mod confirm;
mod entry;
mod packet;
mod sctp;
mod settings;
mod table;
mod tcp;
#[cfg(test)]
mod tests;
mod track;
pub mod tuple;
mod window;

pub use entry::{CtEntry, TcpState, status};
pub use settings::CtSettings;
pub use table::{Conntrack, CtTaken};

pub(crate) use confirm::{allows_clash, confirm};

use std::cell::Cell;

use crate::hook::Hook;
use crate::ids::CtId;
use crate::netfilter::{HookState, HookVerdict};
use crate::netns::Cx;
use crate::reason::{Because, DropCode, End, Locus};
use crate::skb::{CtInfo, CtZones, Skb, SkbCt};
use crate::trace::{Assumption, CtResult, Sink, Step};
use packet::Transport;
use track::{Icmp, Tracked, invalid};
use tuple::{CtDirection, CtTuple, TupleError, proto};

/// What looking a packet up came to.
enum Outcome {
    /// It has this connection.
    Entry { id: CtId, info: CtInfo, created: bool },
    /// It has none.
    Invalid(&'static str),
    /// The walk ends.
    End(End),
}

/// `nf_conntrack_in`, at priority -200 in PREROUTING and OUTPUT.
pub(crate) fn conntrack_in<S: Sink>(cx: &mut Cx<'_, S>, at: HookState, skb: &mut Skb) -> HookVerdict {
    let hook = at.hook;
    let result = match skb.ct {
        // Second pass through `lo`, or made by the stack because of another packet.
        SkbCt::Entry { .. } => CtResult::Kept,
        SkbCt::Untracked => CtResult::Untracked,
        SkbCt::None | SkbCt::Attached => {
            let zones = skb.ct_template.take().map(|template| template.zones(skb.mark)).unwrap_or_default();
            let check = hook == Hook::Prerouting && cx.ns.ct.checksum;
            let summed = Cell::new(skb.summed);
            let transport = Transport::of(skb, check, &summed);
            let outcome = find(&mut cx.state.ct, &cx.ns.ct, skb, zones, &transport, cx.state.now_ns, hook);
            skb.summed = summed.get();
            match outcome {
                Outcome::Entry { id, info, created } => {
                    skb.ct = SkbCt::Entry { id, info };
                    CtResult::Entry { id, info, created }
                }
                Outcome::Invalid(why) => CtResult::Invalid(why),
                Outcome::End(end) => return HookVerdict::End(end),
            }
        }
    };
    cx.sink.step(skb, Step::CtLookup { hook, result });
    if cx.ns.connections_unknown && matches!(result, CtResult::Entry { created: true, .. }) {
        cx.sink.step(skb, Step::Assumed(Assumption::ConntrackEmpty));
    }
    if S::ENABLED
        && let CtResult::Entry { id, created: false, .. } = result
        && skb.ip.protocol == proto::TCP
        && cx.state.ct.get(id).is_some_and(CtEntry::is_untold)
    {
        cx.sink.step(skb, Step::Assumed(Assumption::TcpWindow));
    }
    HookVerdict::Accept
}

fn find(
    table: &mut Conntrack,
    settings: &CtSettings,
    skb: &Skb,
    zones: CtZones,
    transport: &Transport<'_>,
    now_ns: u64,
    hook: Hook,
) -> Outcome {
    if track::is_later_fragment(&skb.ip) {
        return Outcome::Invalid("a fragment without its transport header");
    }
    if transport.protocol == proto::ICMP {
        match track::icmp(table, transport, zones, now_ns) {
            Icmp::Query => {}
            Icmp::Related(id, info) => return Outcome::Entry { id, info, created: false },
            Icmp::Invalid(why) => return Outcome::Invalid(why),
            Icmp::Cut => return Outcome::End(End::unknown(Because::CutPacket)),
        }
    }
    let tuple = match CtTuple::of_packet(skb.ip.src, skb.ip.dst, skb.ip.protocol, transport.bytes) {
        Ok(tuple) => tuple,
        Err(TupleError::Short) if transport.is_cut() => {
            return Outcome::End(End::unknown(Because::CutPacket));
        }
        Err(TupleError::Short) => return Outcome::Invalid("the transport header is cut off"),
        Err(TupleError::Gre) => return Outcome::Invalid("GRE version 1 that does not carry PPP"),
    };
    if let Some((id, direction)) = table.lookup(&tuple, zones, now_ns)
        && let Some(outcome) = known(table, settings, id, direction, transport, now_ns)
    {
        return outcome;
    }
    create(table, settings, tuple, zones, transport, now_ns, hook)
}

/// A packet of an entry that is in the table. None if the entry gave way to a new connection.
fn known(
    table: &mut Conntrack,
    settings: &CtSettings,
    id: CtId,
    direction: CtDirection,
    transport: &Transport<'_>,
    now_ns: u64,
) -> Option<Outcome> {
    let entry = table.get_mut(id)?;
    if let Some(what) = entry.unmodelled {
        return Some(Outcome::End(End::unknown(Because::NotModelled(what))));
    }
    let info = match direction {
        CtDirection::Reply => CtInfo::EstablishedReply,
        CtDirection::Original if entry.status & status::SEEN_REPLY != 0 => CtInfo::Established,
        CtDirection::Original if entry.status & status::EXPECTED != 0 => CtInfo::Related,
        CtDirection::Original => CtInfo::New,
    };
    let tracked = track::packet(entry, settings, direction, transport, now_ns);
    table.touched(id);
    match tracked {
        Tracked::Accept => {}
        Tracked::Kill => table.kill(id),
        Tracked::Invalid(why) => return Some(Outcome::Invalid(why)),
        Tracked::Cut => return Some(Outcome::End(End::unknown(Because::CutPacket))),
        Tracked::Untold => {
            let what =
                "whether a SYN opens a connection of the dump again, which says CLOSE and not who closed it";
            return Some(Outcome::End(End::unknown(Because::NotModelled(what))));
        }
        Tracked::Reopen => {
            table.kill(id);
            return None;
        }
    }
    if info == CtInfo::EstablishedReply
        && let Some(entry) = table.get_mut(id)
    {
        entry.status |= status::SEEN_REPLY;
    }
    Some(Outcome::Entry { id, info, created: false })
}

/// `init_conntrack` and the tracker's word on the first packet.
fn create(
    table: &mut Conntrack,
    settings: &CtSettings,
    tuple: CtTuple,
    zones: CtZones,
    transport: &Transport<'_>,
    now_ns: u64,
    hook: Hook,
) -> Outcome {
    let Some(reply) = tuple.invert() else {
        return Outcome::Invalid("ICMP type that no connection begins with");
    };
    if let Err(end) = make_room(table, settings, now_ns, hook) {
        return Outcome::End(end);
    }
    let mut entry = CtEntry::new(tuple, reply);
    entry.zone_original = zones.zone_original;
    entry.zone_reply = zones.zone_reply;
    match track::packet(&mut entry, settings, CtDirection::Original, transport, now_ns) {
        Tracked::Accept | Tracked::Kill => {
            let id = table.push(entry);
            Outcome::Entry { id, info: CtInfo::New, created: true }
        }
        Tracked::Invalid(why) => Outcome::Invalid(why),
        Tracked::Reopen | Tracked::Untold => Outcome::Invalid("TCP segment that no connection begins with"),
        Tracked::Cut => Outcome::End(End::unknown(Because::CutPacket)),
    }
}

/// The bound on the number of entries (`__nf_conntrack_alloc`). The kernel looks for an entry to drop in eight buckets of its hash table;
/// only if every entry is ASSURED, it is certain that there is none.
fn make_room(table: &mut Conntrack, settings: &CtSettings, now_ns: u64, hook: Hook) -> Result<(), End> {
    let max = settings.max as usize;
    if max == 0 || table.len() < max {
        return Ok(());
    }
    table.sweep(now_ns);
    if table.len() < max {
        Ok(())
    } else if table.all_assured() {
        Err(End::dropped(DropCode::CtTableFull, Locus::Conntrack { hook }))
    } else {
        Err(End::unknown(Because::NotModelled("which connection a full conntrack table drops early")))
    }
}

/// `nf_ct_attach`: a packet that the stack makes because of `cause` belongs to the same connection, as RELATED. Without a connection there,
/// it is looked up like any other.
pub(crate) fn attach(made: &mut Skb, cause: &Skb) {
    made.ct = match cause.ct {
        SkbCt::Entry { id, info } => {
            let info = if info.is_reply() { CtInfo::Related } else { CtInfo::RelatedReply };
            SkbCt::Entry { id, info }
        }
        SkbCt::Untracked | SkbCt::Attached => SkbCt::Attached,
        SkbCt::None => SkbCt::None,
    };
}

/// `nf_ct_set_closing`: REJECT's RST closes the connection of `cause`, if that is in the table.
pub(crate) fn set_closing<S: Sink>(cx: &mut Cx<'_, S>, cause: &Skb) {
    let now_ns = cx.state.now_ns;
    if let SkbCt::Entry { id, .. } = cause.ct
        && let Some(entry) = cx.state.ct.get_mut(id)
        && entry.original.protocol == proto::TCP
    {
        tcp::set_closing(entry, &cx.ns.ct, now_ns);
        cx.state.ct.touched(id);
    }
}
