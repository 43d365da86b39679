//! Confirmation (`nf_confirm`, `__nf_conntrack_confirm`): the entry of a packet that got through enters the table.

use super::entry::{CtEntry, status};
use super::table::Conntrack;
use super::tuple::proto;
use crate::ids::CtId;
use crate::netfilter::{HookState, HookVerdict};
use crate::netns::Cx;
use crate::reason::{DropCode, End, Locus};
use crate::skb::{Skb, SkbCt};
use crate::trace::{Sink, Step};

/// How long an entry lives whose original tuple is another's.
const CLASH_NS: u64 = 1_000_000_000;

/// What confirming came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Confirmed {
    /// It is in the table.
    Inserted,
    /// It is the flow of this other entry, which the packet belongs to from now on.
    Merged(CtId),
    /// Another entry has its tuple.
    Clash,
}

/// `nf_confirm`, last in INPUT and POSTROUTING.
pub(crate) fn confirm<S: Sink>(cx: &mut Cx<'_, S>, at: HookState, skb: &mut Skb) -> HookVerdict {
    let SkbCt::Entry { id, info } = skb.ct else { return HookVerdict::Accept };
    let now_ns = cx.state.now_ns;
    let Some(entry) = cx.state.ct.get(id) else { return HookVerdict::Accept };
    // What the stack makes because of a packet does not confirm the packet's connection.
    if entry.is_confirmed() || info.is_reply() {
        return HookVerdict::Accept;
    }
    match cx.state.ct.confirm(id, now_ns) {
        Confirmed::Inserted => cx.sink.step(skb, Step::CtConfirm { hook: at.hook, id }),
        Confirmed::Merged(other) => {
            skb.ct = SkbCt::Entry { id: other, info };
            cx.sink.step(skb, Step::CtConfirm { hook: at.hook, id: other });
        }
        Confirmed::Clash => {
            let locus = Locus::Conntrack { hook: at.hook };
            return HookVerdict::End(End::dropped(DropCode::CtClash, locus));
        }
    }
    HookVerdict::Accept
}

/// Whether two entries are one flow, in the same way or head to tail (`nf_ct_can_merge`).
fn can_merge(a: &CtEntry, b: &CtEntry) -> bool {
    let same = a.original == b.original && a.reply == b.reply && a.zones() == b.zones();
    let head_to_tail = a.original == b.reply
        && a.reply == b.original
        && a.zone_original == b.zone_reply
        && a.zone_reply == b.zone_original;
    same || head_to_tail
}

/// Protocols whose entries may be merged (`allow_clash`).
pub(crate) fn allows_clash(protocol: u8) -> bool {
    !matches!(protocol, proto::TCP | proto::SCTP | proto::ICMP)
}

impl Conntrack {
    /// Puts an unconfirmed entry into the table, or says why not.
    pub(super) fn confirm(&mut self, id: CtId, now_ns: u64) -> Confirmed {
        let Some(entry) = self.get(id) else { return Confirmed::Clash };
        if entry.status & status::DYING != 0 {
            return Confirmed::Clash;
        }
        let (original, reply, protocol) = (entry.original, entry.reply, entry.original.protocol);
        let zones = entry.zones();
        let clash = self
            .in_bucket(&original, zones.zone_original, zones, now_ns)
            .or_else(|| self.in_bucket(&reply, zones.zone_reply, zones, now_ns));
        let original_only = match clash {
            None => false,
            Some(_) if !allows_clash(protocol) => return Confirmed::Clash,
            Some(other) if self.mergeable(other, id) => return Confirmed::Merged(other),
            // The reply direction must be unique, or the other entry the same flow.
            Some(_) => match self.in_bucket(&reply, zones.zone_reply, zones, now_ns) {
                Some(other) if self.mergeable(other, id) => return Confirmed::Merged(other),
                Some(_) => return Confirmed::Clash,
                None => true,
            },
        };
        if let Some(entry) = self.get_mut(id) {
            if original_only {
                entry.expires_ns = CLASH_NS;
                entry.status |= status::FIXED_TIMEOUT | status::NAT_CLASH;
            }
            entry.expires_ns = entry.expires_ns.saturating_add(now_ns);
            entry.status |= status::CONFIRMED;
        }
        self.link(id, !original_only);
        Confirmed::Inserted
    }

    fn mergeable(&self, other: CtId, own: CtId) -> bool {
        match (self.get(other), self.get(own)) {
            (Some(other), Some(own)) => can_merge(other, own),
            _ => false,
        }
    }
}
