//! Rules as flat arrays: what the evaluation runs over.
//!
//! A rule is three things in three arrays: its [`Head`] (the IP part, 32 bytes, two to a cache line), its matches (a run of [`Matcher`]s, which
//! is not touched while the IP part fails), and its [`TargetOp`]. Rules of one chain are contiguous, and a rule's run of matches ends where
//! the next rule's begins. `comment` leaves nothing behind.

use smallvec::SmallVec;

use super::devs::{DevRow, DevTest, DevTests};
use crate::hook::{Backend, Hook, TableName};
use crate::ids::{ChainId, DevId, SetId};
use crate::iptables::ast::{
    AddrtypeMatch, ConnmarkTarget, ConntrackMatch, CtStateSet, HashlimitMatch, IprangeMatch, MarkShift,
    MultiportKind, NatTarget, OwnerMatch, PktType, Policy, RecentMatch, RejectWith, RpfilterMatch, SetMatch,
    TcpmssTarget,
};
use crate::nat::NatKind;
use crate::skb::Skb;
use pktwalk_packet::MacAddr;

/// Bits of [`Head::flags`]. The lowest three stand where [`Head::passes`] puts the outcome of the test that they invert.
pub(super) mod flag {
    pub const NOT_SRC: u8 = 1;
    pub const NOT_DST: u8 = 2;
    pub const NOT_PROTOCOL: u8 = 4;
    pub const NOT: u8 = 7;
    /// `-f`.
    pub const FRAGMENT: u8 = 8;
    /// `! -f`.
    pub const NO_FRAGMENT: u8 = 16;
    /// One of the devices is tested.
    pub const DEVICES: u8 = 32;
    /// Something beyond addresses and protocol is tested.
    pub const MORE: u8 = FRAGMENT | NO_FRAGMENT | DEVICES;
}

/// The IP part of a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub src: u32,
    pub src_mask: u32,
    pub dst: u32,
    pub dst_mask: u32,
    /// `-i` and `-o`; 0 is no test.
    pub in_test: DevTest,
    pub out_test: DevTest,
    /// Where its matches begin.
    pub matches: u32,
    pub protocol: u8,
    /// 0 when no protocol is tested, 255 otherwise.
    pub protocol_mask: u8,
    pub flags: u8,
}

/// What of a packet the IP parts are compared with.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    pub src: u32,
    pub dst: u32,
    pub protocol: u8,
    /// Second or later fragment.
    pub fragment: bool,
    pub in_row: DevRow<'a>,
    pub out_row: DevRow<'a>,
}

impl<'a> Key<'a> {
    pub fn new(tests: &'a DevTests, skb: &Skb, in_dev: Option<DevId>, out_dev: Option<DevId>) -> Key<'a> {
        Key {
            src: skb.ip.src,
            dst: skb.ip.dst,
            protocol: skb.ip.protocol,
            fragment: skb.ip.frag_offset != 0,
            in_row: tests.row(in_dev),
            out_row: tests.row(out_dev),
        }
    }
}

impl Head {
    /// `ip_packet_match`.
    #[inline(always)]
    pub fn passes(&self, key: &Key<'_>) -> bool {
        let src = u8::from(key.src & self.src_mask != self.src);
        let dst = u8::from(key.dst & self.dst_mask != self.dst);
        let protocol = u8::from(key.protocol & self.protocol_mask != self.protocol);
        if (src | dst << 1 | protocol << 2) != self.flags & flag::NOT {
            return false;
        }
        self.flags & flag::MORE == 0 || self.more_passes(key)
    }

    #[inline]
    fn more_passes(&self, key: &Key<'_>) -> bool {
        (self.flags & flag::DEVICES == 0
            || (key.in_row.passes(self.in_test) && key.out_row.passes(self.out_test)))
            && (self.flags & flag::FRAGMENT == 0 || key.fragment)
            && (self.flags & flag::NO_FRAGMENT == 0 || !key.fragment)
    }
}

/// Ports, both ends included, and inversion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub lo: u16,
    pub hi: u16,
    pub not: bool,
}

impl Ports {
    pub const ANY: Ports = Ports { lo: 0, hi: u16::MAX, not: false };

    #[inline]
    pub fn holds(self, port: u16) -> bool {
        (self.lo <= port && port <= self.hi) != self.not
    }
}

/// One match, compiled. Small ones stand here, larger ones in an array of their kind.
#[derive(Clone, Copy, Debug)]
pub(super) enum Matcher {
    /// `xt_tcp`, without an option.
    Tcp {
        sport: Ports,
        dport: Ports,
        flags: TcpFlagsTest,
    },
    /// `xt_tcp` that tests for an option (0: every packet has it).
    TcpOption {
        sport: Ports,
        dport: Ports,
        flags: TcpFlagsTest,
        option: u8,
        not: bool,
    },
    /// `xt_udp`.
    Udp {
        sport: Ports,
        dport: Ports,
    },
    /// The nft expressions that stand for ports and flags: bytes of the transport header, no match where they are missing.
    Payload {
        sport: Option<Ports>,
        dport: Option<Ports>,
        flags: Option<TcpFlagsTest>,
    },
    /// `icmp`.
    Icmp {
        not: bool,
        icmp_type: u8,
        code_lo: u8,
        code_hi: u8,
    },
    /// `xt_multiport`: a run of [`Program::ports`].
    Multiport {
        kind: MultiportKind,
        not: bool,
        first: u32,
        count: u8,
    },
    /// `-m state`.
    State {
        not: bool,
        states: CtStateSet,
    },
    Conntrack(u32),
    Mark {
        not: bool,
        value: u32,
        mask: u32,
    },
    Connmark {
        not: bool,
        value: u32,
        mask: u32,
    },
    Addrtype(u32),
    Iprange(u32),
    /// `xt_limit`: cost and capacity in the kernel's credits.
    Limit {
        slot: u32,
        cost: u32,
        cap: u32,
    },
    /// nft's `limit rate`: nanoseconds for a packet, and the largest number of them.
    NftLimit {
        slot: u32,
        cost: u64,
        max: u64,
    },
    Hashlimit {
        table: u32,
        rule: u32,
    },
    Recent {
        list: u32,
        rule: u32,
    },
    Mac {
        not: bool,
        addr: MacAddr,
    },
    Physdev(u32),
    Set {
        index: u32,
    },
    Owner(u32),
    Random {
        not: bool,
        threshold: u32,
    },
    Nth {
        not: bool,
        slot: u32,
        every: u32,
        packet: u32,
    },
    Rpfilter(RpfilterMatch),
    Pkttype {
        not: bool,
        pkt_type: PktType,
    },
    /// Not modelled.
    Unmodelled,
}

/// `--tcp-flags`.
#[derive(Clone, Copy, Debug)]
pub(super) struct TcpFlagsTest {
    pub mask: u8,
    pub comp: u8,
    pub not: bool,
}

impl TcpFlagsTest {
    pub const ANY: TcpFlagsTest = TcpFlagsTest { mask: 0, comp: 0, not: false };

    #[inline]
    pub fn holds(self, flags: u8) -> bool {
        (flags & self.mask == self.comp) != self.not
    }
}

/// One target, compiled.
#[derive(Clone, Copy, Debug)]
pub(super) enum TargetOp {
    /// Counts only.
    None,
    Accept,
    Drop,
    Return,
    Jump(ChainId),
    Goto(ChainId),
    Reject(RejectWith),
    /// LOG and NFLOG.
    Log,
    Mark {
        value: u32,
        mask: u32,
    },
    Connmark(ConnmarkTarget, MarkShift),
    Notrack,
    /// `CT` with a zone or nothing; `None` takes the packet's mark for the zone.
    Template {
        zone: Option<u16>,
        original: bool,
        reply: bool,
    },
    Nat {
        kind: NatKind,
        range: u32,
    },
    Tcpmss(TcpmssTarget),
    Checksum,
    Unmodelled,
}

/// A chain, compiled.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChainInfo {
    pub backend: Backend,
    pub table: TableName,
    pub ruleset: u32,
    pub table_index: u32,
    /// `u32::MAX` for a chain that stands in no file (a built-in chain that every table of x_tables has).
    pub chain_index: u32,
    pub first: u32,
    pub end: u32,
    /// Of a base chain.
    pub base: Option<(Hook, Policy)>,
}

/// A device test of `physdev`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PhysdevTest {
    /// Test of the name (not inverted) and whether `!` stands before it.
    pub in_dev: Option<(DevTest, bool)>,
    pub out_dev: Option<(DevTest, bool)>,
    /// The flag without `!`.
    pub is_in: Option<bool>,
    pub is_out: Option<bool>,
    pub is_bridged: Option<bool>,
}

/// A table of `hashlimit`, shared by rules that give the same name: the rule that was loaded first, in [`Program::hashlimit`].
#[derive(Clone, Copy, Debug)]
pub(super) struct HashlimitTable(pub u32);

/// A list of `recent`, shared by the rules that give its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecentList {
    /// That of the rule which was loaded first; none if it is of IPv6.
    pub mask: Option<u32>,
    /// How many stamps an entry keeps, less one: a power of two that holds the largest `--hitcount` of its rules, 32 for rules without.
    pub stamps_mask: usize,
}

/// Everything compiled.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    /// One more than there are rules: the last ends the last rule's matches.
    pub heads: Vec<Head>,
    pub targets: Vec<TargetOp>,
    pub matches: Vec<Matcher>,
    /// Position of each match among those of its rule as written.
    pub positions: Vec<u16>,
    pub chains: Vec<ChainInfo>,
    pub devs: DevTests,
    pub ports: Vec<(u16, u16)>,
    pub conntrack: Vec<ConntrackMatch>,
    pub addrtype: Vec<AddrtypeMatch>,
    pub iprange: Vec<IprangeMatch>,
    pub hashlimit: Vec<HashlimitMatch>,
    pub hashlimit_tables: Vec<HashlimitTable>,
    pub recent: Vec<RecentMatch>,
    pub recent_lists: Vec<RecentList>,
    pub physdev: Vec<PhysdevTest>,
    pub sets: Vec<(Option<SetId>, SetMatch)>,
    pub owner: Vec<OwnerMatch>,
    pub nat: Vec<NatTarget>,
    /// How many rules keep a number between packets.
    pub slots: u32,
}

impl Program {
    /// The chain of a rule.
    pub fn chain_of(&self, rule: u32) -> Option<ChainId> {
        let after = self.chains.partition_point(|chain| chain.first <= rule);
        let index = after.checked_sub(1)?;
        (rule < self.chains.get(index)?.end).then_some(ChainId(index as u32))
    }
}

/// Where to go on after a jump.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub chain: ChainId,
    /// The rule after the jump.
    pub next: u32,
}

/// The jump stack. Deeper ones than usual are kept outside of it.
pub(super) type Stack = SmallVec<[Frame; 16]>;
