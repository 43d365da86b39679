//! The choice of a translation (`get_unique_tuple`): an address and a port that no other connection uses.

use super::hash::{jhash2, scale};
use crate::choice::{Choice, ChoicePoint};
use crate::conntrack::tuple::{CtDirection, CtTuple, proto};
use crate::conntrack::{Conntrack, TcpState, allows_clash, status};
use crate::ids::CtId;
use crate::skb::CtZones;
use crate::trace::Manip;

/// How often a free port is looked for before the search starts over elsewhere (`NF_NAT_MAX_ATTEMPTS`).
const MAX_ATTEMPTS: u32 = 128;

/// With this many attempts left, closed connections are removed to make room (`NF_NAT_HARDER_THRESH`).
const HARDER: u32 = MAX_ATTEMPTS / 4;

/// What a translation may be (`struct nf_nat_range2`). Host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Range {
    /// First and last address; none keeps the address.
    pub addrs: Option<(u32, u32)>,
    /// First and last port or ICMP identifier.
    pub ports: Option<(u16, u16)>,
    /// Ports are shifted: this one becomes the first of the range.
    pub base: Option<u16>,
    /// `--random` or `--random-fully`.
    pub random: bool,
    /// `--persistent`.
    pub persistent: bool,
}

/// Chooses for one connection that is not in the table yet.
pub(super) struct Chooser<'a> {
    /// The other connections.
    pub table: &'a mut Conntrack,
    /// Random choices.
    pub choice: &'a mut dyn Choice,
    /// The connection.
    pub own: CtId,
    /// Its zones.
    pub zones: CtZones,
    /// Now.
    pub now_ns: u64,
    /// Whether a port was chosen at random.
    pub chose: bool,
}

impl Chooser<'_> {
    /// `get_unique_tuple`: `current` translated into `range`.
    pub fn unique(&mut self, current: &CtTuple, range: &Range, manip: Manip) -> CtTuple {
        if manip == Manip::Src && !range.random {
            if in_range(current, range) {
                if !self.used_as_is(current) {
                    return *current;
                }
            } else if let Some(tuple) = self.of_same_source(current, range)
                && !self.used(&tuple)
            {
                return tuple;
            }
        }
        let mut tuple = *current;
        choose_address(&mut tuple, range, manip, self.zones.zone_id());
        if !range.random {
            let keep = match range.ports {
                Some((lo, hi)) => {
                    range.base.is_none()
                        && part_in_range(&tuple, manip, (lo, hi))
                        && (lo == hi || !self.used(&tuple))
                }
                None => !self.used(&tuple),
            };
            if keep {
                return tuple;
            }
        }
        self.choose_part(&mut tuple, range, manip);
        tuple
    }

    /// `nf_nat_used_tuple`: whether replies to `tuple` would be taken for another connection's.
    fn used(&mut self, tuple: &CtTuple) -> bool {
        match tuple.invert() {
            Some(reply) => self.table.taken(&reply, self.own, self.now_ns).is_some(),
            None => false,
        }
    }

    /// `nf_nat_used_tuple_new`: as [`Chooser::used`], for a tuple that stays as it is. A connection the other way round, without
    /// translation on either side, is left to confirmation, where the two become one.
    fn used_as_is(&mut self, tuple: &CtTuple) -> bool {
        const TRANSLATED: u32 = status::SRC_NAT | status::DST_NAT | status::SEQ_ADJUST;
        if !self.used(tuple) {
            return false;
        }
        let Some(own) = self.table.get(self.own) else { return true };
        let (own_reply, own_status) = (own.reply, own.status);
        if !allows_clash(own.original.protocol) || own_status & TRANSLATED != 0 {
            return true;
        }
        let found = match self.table.lookup(tuple, self.zones, self.now_ns) {
            Some(found) => Some(found),
            None => tuple.invert().and_then(|reply| self.table.lookup(&reply, self.zones, self.now_ns)),
        };
        match found.and_then(|(id, _)| self.table.get(id)) {
            None => false,
            Some(other) => other.status & TRANSLATED != 0 || other.original != own_reply,
        }
    }

    /// `nf_nat_used_tuple_harder`: near the end of the search, a closed TCP connection makes room for a new one whose sequence numbers are
    /// ahead of its own.
    fn used_harder(&mut self, tuple: &CtTuple, attempts_left: u32) -> bool {
        let Some(own) = self.table.get(self.own) else { return true };
        if attempts_left > HARDER || tuple.protocol != proto::TCP || own.tcp != Some(TcpState::SynSent) {
            return self.used(tuple);
        }
        let own_end = own.tcp_original_end();
        let Some(reply) = tuple.invert() else { return false };
        let Some((id, direction)) = self.table.lookup(&reply, self.zones, self.now_ns) else { return false };
        let Some(other) = self.table.get(id) else { return false };
        let may_kill = other.tcp.is_some_and(|state| state >= TcpState::TimeWait)
            && other.status & (status::FIXED_TIMEOUT | status::DYING) == 0
            && other.status & status::SRC_NAT != 0;
        let advanced = match (own_end, other.tcp_original_end()) {
            (Some(own), Some(other)) => (own.wrapping_sub(other) as i32) > 0,
            _ => false,
        };
        if direction == CtDirection::Original || !may_kill || !advanced {
            return true;
        }
        self.table.kill(id);
        false
    }

    /// `find_appropriate_src`: how the same source is translated already.
    fn of_same_source(&self, current: &CtTuple, range: &Range) -> Option<CtTuple> {
        self.table.of_source(current, self.zones).find_map(|(_, entry)| {
            let mapped = entry.reply.invert()?;
            let mut tuple = CtTuple { src: mapped.src, ..*current };
            tuple.set_src_part(mapped.src_part());
            in_range(&tuple, range).then_some(tuple)
        })
    }

    /// `nf_nat_l4proto_unique_tuple`: looks for a port that is free. Keeps the last one that was tried if none is: confirmation will drop
    /// the packet then.
    fn choose_part(&mut self, tuple: &mut CtTuple, range: &Range, manip: Manip) {
        let part = match manip {
            Manip::Src => tuple.src_part(),
            Manip::Dst => tuple.dst_part(),
        };
        let (min, size) = match (tuple.protocol, range.ports) {
            (proto::ICMP, None) => (0, 65_536),
            (proto::TCP | proto::UDP | proto::UDPLITE | proto::SCTP, None) => match (manip, part) {
                // The destination port is never changed unasked.
                (Manip::Dst, _) => return,
                (Manip::Src, 0..512) => (1, 511),
                (Manip::Src, 512..1024) => (600, 424),
                (Manip::Src, 1024..) => (1024, 64_512),
            },
            (proto::ICMP | proto::TCP | proto::UDP | proto::UDPLITE | proto::SCTP, Some((a, b))) => {
                let (lo, hi) = (a.min(b), a.max(b));
                (lo, u32::from(hi - lo) + 1)
            }
            _ => return,
        };
        let mut offset = match range.base {
            Some(base) => part.wrapping_sub(base),
            None if size == 1 => 0,
            None if range.random || manip == Manip::Src => self.choose(tuple, manip, min, size),
            None => 0,
        };
        let mut attempts = size.min(MAX_ATTEMPTS);
        loop {
            for tried in 0..attempts {
                let value = (u32::from(min) + u32::from(offset) % size) as u16;
                match manip {
                    Manip::Src => tuple.set_src_part(value),
                    Manip::Dst => tuple.set_dst_part(value),
                }
                if !self.used_harder(tuple, attempts - tried) {
                    return;
                }
                offset = offset.wrapping_add(1);
            }
            if attempts >= size || attempts < 16 {
                return;
            }
            attempts /= 2;
            offset = self.choose(tuple, manip, min, size);
        }
    }

    /// Where the search for a port starts, counted from `min`.
    fn choose(&mut self, tuple: &CtTuple, manip: Manip, min: u16, size: u32) -> u16 {
        self.chose = true;
        let hi = (u32::from(min) + size - 1) as u16;
        let original = self.table.get(self.own).map_or(*tuple, |own| own.original);
        let (zone, tuple) = (self.zones.zone_original, *tuple);
        let answer = self.choice.choose(ChoicePoint::NatPort { original, zone, manip, tuple, lo: min, hi });
        (answer.wrapping_sub(u32::from(min)) % size) as u16
    }
}

/// `nf_in_range`: whether the source is one that `range` allows.
fn in_range(tuple: &CtTuple, range: &Range) -> bool {
    range.addrs.is_none_or(|(lo, hi)| (lo..=hi).contains(&tuple.src))
        && range.ports.is_none_or(|ports| part_in_range(tuple, Manip::Src, ports))
}

/// `l4proto_in_range`. Protocols without ports are in any range.
fn part_in_range(tuple: &CtTuple, manip: Manip, (lo, hi): (u16, u16)) -> bool {
    let part = match (tuple.protocol, manip) {
        (proto::ICMP, _)
        | (proto::GRE | proto::TCP | proto::UDP | proto::UDPLITE | proto::SCTP, Manip::Src) => {
            tuple.src_part()
        }
        (proto::GRE | proto::TCP | proto::UDP | proto::UDPLITE | proto::SCTP, Manip::Dst) => tuple.dst_part(),
        _ => return true,
    };
    (lo..=hi).contains(&part)
}

/// `find_best_ips_proto`: the address, from a hash of source and destination. The hash is over addresses as a little-endian machine holds
/// them.
fn choose_address(tuple: &mut CtTuple, range: &Range, manip: Manip, zone: u16) {
    let Some((lo, hi)) = range.addrs else { return };
    let address = if lo == hi {
        lo
    } else {
        let initval = if range.persistent { 0 } else { tuple.dst.swap_bytes() ^ u32::from(zone) };
        let hash = jhash2([tuple.src.swap_bytes(), 0, 0, 0], initval);
        lo.wrapping_add(scale(hash, hi.wrapping_sub(lo).wrapping_add(1)))
    };
    match manip {
        Manip::Src => tuple.src = address,
        Manip::Dst => tuple.dst = address,
    }
}
