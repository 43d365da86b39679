//! The connections of a namespace: an arena, and what finds an entry in it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::tuple::{CtDirection, CtL4, CtTuple};
use super::{CtEntry, CtZones, status};
use crate::config::Connection;
use crate::diag::Diagnostic;
use crate::ids::CtId;

/// What finds one direction of a confirmed entry: tuple, direction and zone, packed. The protocol says which kind of [`CtL4`] it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key {
    addresses: u64,
    rest: u64,
}

impl Key {
    fn new(tuple: &CtTuple, direction: CtDirection, zone: u16) -> Key {
        let l4 = match tuple.l4 {
            CtL4::Ports { src, dst } => u32::from(src) << 16 | u32::from(dst),
            CtL4::Icmp { id, icmp_type, code } => {
                u32::from(id) << 16 | u32::from(icmp_type) << 8 | u32::from(code)
            }
            CtL4::None => 0,
        };
        Key {
            addresses: u64::from(tuple.src) << 32 | u64::from(tuple.dst),
            rest: u64::from(l4) << 32
                | u64::from(zone) << 16
                | u64::from(tuple.protocol) << 8
                | direction.index() as u64,
        }
    }
}

/// What finds the entries of one source: its address, protocol and port before translation, and the zone (`hash_by_src`, `same_src`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct SourceKey {
    src: u32,
    part: u16,
    protocol: u8,
    zone: u16,
    /// Whether the zone is of both directions: such an entry is not found by one whose zone is of the original direction only.
    both: bool,
}

impl SourceKey {
    fn new(tuple: &CtTuple, zones: CtZones) -> SourceKey {
        SourceKey {
            src: tuple.src,
            part: tuple.src_part(),
            protocol: tuple.protocol,
            zone: zones.zone_original,
            both: zones.zone_original == zones.zone_reply,
        }
    }
}

/// The connections of one namespace.
///
/// An entry lives with its first packet until that is confirmed; from then on lookups find it. What was removed or has expired is no longer
/// found, but a packet that still refers to it can look at it: ids are not used twice.
#[derive(Clone, Debug, Default)]
pub struct Conntrack {
    entries: Vec<CtEntry>,
    by_tuple: FxHashMap<Key, CtId>,
    by_source: FxHashMap<SourceKey, SmallVec<[CtId; 1]>>,
    live: u32,
    /// How many of them are ASSURED.
    assured: u32,
    /// When entries are to be looked at for having expired, soonest first. One that lives longer by then is put back.
    due: BinaryHeap<Reverse<(u64, CtId)>>,
}

/// Why an entry cannot be inserted: another one has a tuple of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("another connection has the same tuple")]
pub struct CtTaken(pub CtId);

impl Conntrack {
    /// An entry, confirmed or still on its way with its first packet.
    pub fn get(&self, id: CtId) -> Option<&CtEntry> {
        self.entries.get(id.index())
    }

    /// As [`Conntrack::get`], to be changed. Tuples and zones of a confirmed entry must stay as they are.
    pub fn get_mut(&mut self, id: CtId) -> Option<&mut CtEntry> {
        self.entries.get_mut(id.index())
    }

    /// Confirmed entries that have not expired at `now_ns`, in order of their creation. Entries that only their replies find
    /// (`NAT_CLASH`) are left out, as `conntrack -L` leaves them out.
    pub fn confirmed(&self, now_ns: u64) -> impl Iterator<Item = (CtId, &CtEntry)> {
        self.entries.iter().enumerate().filter_map(move |(index, entry)| {
            let shown = entry.is_live(now_ns) && entry.status & status::NAT_CLASH == 0;
            shown.then_some((CtId(index as u32), entry))
        })
    }

    /// How many confirmed entries there are, expired ones included that nobody has met since.
    pub fn len(&self) -> usize {
        self.live as usize
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Puts an entry into the table as if a packet had made it: for tables that were read from a namespace. It becomes confirmed;
    /// [`CtEntry::expires_ns`] stays as it is.
    pub fn insert(&mut self, mut entry: CtEntry) -> Result<CtId, CtTaken> {
        let zones = entry.zones();
        let clash = [&entry.original, &entry.reply].into_iter().find_map(|t| self.find(t, zones));
        if let Some((id, _)) = clash {
            return Err(CtTaken(id));
        }
        entry.status |= status::CONFIRMED;
        let id = self.push(entry);
        self.link(id, true);
        Ok(id)
    }

    /// The table that a run starts with. Of two connections that have a tuple in common the first counts.
    pub(crate) fn of_dump(known: &[Connection], diagnostics: &mut Vec<Diagnostic>) -> Conntrack {
        let mut table = Conntrack::default();
        for connection in known {
            if table.insert(CtEntry::of_dump(connection)).is_err() {
                let message = "another connection before it has the same tuple: left out";
                diagnostics.push(Diagnostic::warning(connection.source, message));
            }
        }
        table
    }

    /// A new entry that nothing finds yet.
    pub(super) fn push(&mut self, entry: CtEntry) -> CtId {
        let id = CtId(self.entries.len() as u32);
        self.entries.push(entry);
        id
    }

    /// As [`Conntrack::push`], for tests of translation.
    #[cfg(test)]
    pub(crate) fn push_unconfirmed(&mut self, entry: CtEntry) -> CtId {
        self.push(entry)
    }

    /// Makes lookups find an entry; by its reply tuple only, unless `original`.
    pub(super) fn link(&mut self, id: CtId, original: bool) {
        let Some(entry) = self.entries.get(id.index()) else { return };
        if original {
            let key = Key::new(&entry.original, CtDirection::Original, entry.zone_original);
            self.by_tuple.insert(key, id);
        }
        self.by_tuple.insert(Key::new(&entry.reply, CtDirection::Reply, entry.zone_reply), id);
        let source = SourceKey::new(&entry.original, entry.zones());
        self.by_source.entry(source).or_default().push(id);
        self.live += 1;
        if let Some(entry) = self.entries.get_mut(id.index()) {
            entry.due_ns = entry.expires_ns;
            self.due.push(Reverse((entry.due_ns, id)));
        }
        self.touched(id);
    }

    /// A tracker changed an entry: its time, its status.
    pub(super) fn touched(&mut self, id: CtId) {
        let Some(entry) = self.entries.get_mut(id.index()) else { return };
        if entry.status & (status::CONFIRMED | status::DYING) != status::CONFIRMED {
            return;
        }
        if entry.expires_ns < entry.due_ns {
            entry.due_ns = entry.expires_ns;
            self.due.push(Reverse((entry.due_ns, id)));
        }
        if entry.status & status::ASSURED != 0 && !entry.counted_assured {
            entry.counted_assured = true;
            self.assured += 1;
        }
    }

    /// Takes an entry out of the table (`nf_ct_delete`). Packets that refer to it keep it.
    pub(crate) fn kill(&mut self, id: CtId) {
        let Some(entry) = self.entries.get_mut(id.index()) else { return };
        let linked = entry.status & (status::CONFIRMED | status::DYING) == status::CONFIRMED;
        entry.status |= status::DYING;
        if !linked {
            return;
        }
        let counted = std::mem::take(&mut entry.counted_assured);
        let original = Key::new(&entry.original, CtDirection::Original, entry.zone_original);
        let reply = Key::new(&entry.reply, CtDirection::Reply, entry.zone_reply);
        let source = SourceKey::new(&entry.original, entry.zones());
        for key in [original, reply] {
            if self.by_tuple.get(&key) == Some(&id) {
                self.by_tuple.remove(&key);
            }
        }
        if let Some(same) = self.by_source.get_mut(&source) {
            same.retain(|other| *other != id);
            if same.is_empty() {
                self.by_source.remove(&source);
            }
        }
        self.live = self.live.saturating_sub(1);
        if counted {
            self.assured = self.assured.saturating_sub(1);
        }
    }

    /// The confirmed entry that a packet of this tuple belongs to, expired or not, and the direction (`__nf_conntrack_find_get`).
    fn find(&self, tuple: &CtTuple, zones: CtZones) -> Option<(CtId, CtDirection)> {
        let original = Key::new(tuple, CtDirection::Original, zones.zone_original);
        if let Some(id) = self.by_tuple.get(&original) {
            // Of a host that talks to itself from and to one port, both directions are the same. The reply direction was put into the
            // kernel's hash table last, so it is found first.
            let both =
                |entry: &CtEntry| entry.original == entry.reply && entry.zone_original == entry.zone_reply;
            let reply = self.entries.get(id.index()).is_some_and(both);
            return Some((*id, if reply { CtDirection::Reply } else { CtDirection::Original }));
        }
        let reply = Key::new(tuple, CtDirection::Reply, zones.zone_reply);
        self.by_tuple.get(&reply).map(|id| (*id, CtDirection::Reply))
    }

    /// As [`Conntrack::find`], of those that have not expired. Expired ones that it meets are removed.
    pub(crate) fn lookup(
        &mut self,
        tuple: &CtTuple,
        zones: CtZones,
        now_ns: u64,
    ) -> Option<(CtId, CtDirection)> {
        loop {
            let (id, direction) = self.find(tuple, zones)?;
            if self.entries.get(id.index()).is_some_and(|entry| entry.is_live(now_ns)) {
                return Some((id, direction));
            }
            self.kill(id);
        }
    }

    /// An entry that stands in the way of one that wants `tuple` as its reply tuple (`nf_conntrack_tuple_taken`). One whose original tuple
    /// is that of `own` does not count: the two are one flow.
    pub(crate) fn taken(&mut self, tuple: &CtTuple, own: CtId, now_ns: u64) -> Option<(CtId, CtDirection)> {
        let (own_original, zones) = self.entries.get(own.index()).map(|own| (own.original, own.zones()))?;
        for direction in [CtDirection::Original, CtDirection::Reply] {
            // The kernel walks the bucket of the reply zone: original directions stand in it only if their zone is the same.
            if direction == CtDirection::Original && zones.zone_original != zones.zone_reply {
                continue;
            }
            let Some(id) = self.by_tuple.get(&Key::new(tuple, direction, zones.zone_reply)).copied() else {
                continue;
            };
            let Some(other) = self.entries.get(id.index()) else { continue };
            if !other.is_live(now_ns) {
                self.kill(id);
                continue;
            }
            let same_flow = other.original == own_original && other.zone_original == zones.zone_original;
            if id != own && !same_flow {
                return Some((id, direction));
            }
        }
        None
    }

    /// The entry that has `tuple` in the hash bucket of `zone`, for an entry of `zones` that is to be confirmed. Both directions of entries
    /// stand in a bucket.
    pub(super) fn in_bucket(
        &mut self,
        tuple: &CtTuple,
        zone: u16,
        zones: CtZones,
        now_ns: u64,
    ) -> Option<CtId> {
        let directions =
            [(CtDirection::Original, zones.zone_original), (CtDirection::Reply, zones.zone_reply)];
        for (direction, own_zone) in directions {
            if own_zone != zone {
                continue;
            }
            let Some(id) = self.by_tuple.get(&Key::new(tuple, direction, zone)).copied() else { continue };
            if self.entries.get(id.index()).is_some_and(|entry| entry.is_live(now_ns)) {
                return Some(id);
            }
            self.kill(id);
        }
        None
    }

    /// Entries of the same source (address, protocol, port before translation) and zone, newest first.
    pub(crate) fn of_source(
        &self,
        tuple: &CtTuple,
        zones: CtZones,
    ) -> impl Iterator<Item = (CtId, &CtEntry)> {
        let ids = self.by_source.get(&SourceKey::new(tuple, zones)).map_or(&[][..], |ids| ids);
        ids.iter().rev().filter_map(|id| Some((*id, self.entries.get(id.index())?)))
    }

    /// Removes what has expired.
    pub(super) fn sweep(&mut self, now_ns: u64) {
        while let Some(&Reverse((due_ns, id))) = self.due.peek() {
            if due_ns > now_ns {
                return;
            }
            self.due.pop();
            let Some(entry) = self.entries.get_mut(id.index()) else { continue };
            let linked = entry.status & (status::CONFIRMED | status::DYING) == status::CONFIRMED;
            // Looked at earlier, or to be looked at earlier.
            if !linked || entry.due_ns != due_ns {
                continue;
            }
            if entry.expires_ns > now_ns {
                entry.due_ns = entry.expires_ns;
                self.due.push(Reverse((entry.due_ns, id)));
            } else {
                self.kill(id);
            }
        }
    }

    /// Whether every entry is ASSURED, so that none can be dropped early. Expired ones were swept away before.
    pub(super) fn all_assured(&self) -> bool {
        self.assured == self.live
    }
}
