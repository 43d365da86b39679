//! Matches (`-m`), with their options as written.

use std::net::IpAddr;

use pktwalk_packet::MacAddr;

use super::{AddrMask, DevPattern, MarkMask, Neg, PortRange, Unmodelled};

/// One `-m` with its options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Match {
    /// `-m tcp`.
    Tcp(TcpMatch),
    /// `-m udp`.
    Udp(UdpMatch),
    /// `-m icmp`.
    Icmp(IcmpMatch),
    /// `-m multiport`.
    Multiport(MultiportMatch),
    /// `-m conntrack`.
    Conntrack(Box<ConntrackMatch>),
    /// `-m state`.
    State(Neg<CtStateSet>),
    /// `-m mark`.
    Mark(Neg<MarkMask>),
    /// `-m connmark`.
    Connmark(Neg<MarkMask>),
    /// `-m comment`.
    Comment(String),
    /// `-m addrtype`.
    Addrtype(AddrtypeMatch),
    /// `-m limit`.
    Limit(LimitMatch),
    /// `-m hashlimit`.
    Hashlimit(Box<HashlimitMatch>),
    /// `-m recent`.
    Recent(Box<RecentMatch>),
    /// `-m mac`.
    Mac(Neg<MacAddr>),
    /// `-m physdev`.
    Physdev(Box<PhysdevMatch>),
    /// `-m iprange`.
    Iprange(Box<IprangeMatch>),
    /// `-m set`.
    Set(Box<SetMatch>),
    /// `-m owner`.
    Owner(OwnerMatch),
    /// `-m statistic`.
    Statistic(StatisticMatch),
    /// `-m rpfilter`.
    Rpfilter(RpfilterMatch),
    /// `-m pkttype`.
    Pkttype(Neg<PktType>),
    /// Parsed into words, printed back, not evaluated: a walk that would have to decide it ends `Unknown`.
    Unmodelled(Unmodelled),
}

impl Match {
    /// Its name, as after `-m` (`icmp` also for ICMPv6); none for one that is not modelled.
    pub fn name(&self) -> Option<&'static str> {
        Some(match self {
            Match::Tcp(_) => "tcp",
            Match::Udp(_) => "udp",
            Match::Icmp(_) => "icmp",
            Match::Multiport(_) => "multiport",
            Match::Conntrack(_) => "conntrack",
            Match::State(_) => "state",
            Match::Mark(_) => "mark",
            Match::Connmark(_) => "connmark",
            Match::Comment(_) => "comment",
            Match::Addrtype(_) => "addrtype",
            Match::Limit(_) => "limit",
            Match::Hashlimit(_) => "hashlimit",
            Match::Recent(_) => "recent",
            Match::Mac(_) => "mac",
            Match::Physdev(_) => "physdev",
            Match::Iprange(_) => "iprange",
            Match::Set(_) => "set",
            Match::Owner(_) => "owner",
            Match::Statistic(_) => "statistic",
            Match::Rpfilter(_) => "rpfilter",
            Match::Pkttype(_) => "pkttype",
            Match::Unmodelled(_) => return None,
        })
    }
}

/// TCP ports, flags and options.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TcpMatch {
    /// `--sport`.
    pub sport: Option<Neg<PortRange>>,
    /// `--dport`.
    pub dport: Option<Neg<PortRange>>,
    /// `--tcp-flags MASK COMP` (header byte 13).
    pub flags: Option<Neg<TcpFlags>>,
    /// `--tcp-option`.
    pub option: Option<Neg<u8>>,
}

/// `(flags & mask) == comp`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TcpFlags {
    /// Which flags are looked at.
    pub mask: u8,
    /// Which of them must be set.
    pub comp: u8,
}

/// UDP ports.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UdpMatch {
    /// `--sport`.
    pub sport: Option<Neg<PortRange>>,
    /// `--dport`.
    pub dport: Option<Neg<PortRange>>,
}

/// ICMP type and code (of ICMPv6, `-m icmp6`, in a [`Family::V6`] file). Type 255 with codes 0 to 255 is `any`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct IcmpMatch {
    /// `!`.
    pub not: bool,
    /// Type; 255 matches every type.
    pub icmp_type: u8,
    /// Lowest code.
    pub code_lo: u8,
    /// Highest code.
    pub code_hi: u8,
}

/// Which ports `-m multiport` looks at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MultiportKind {
    /// `--sports`.
    Source,
    /// `--dports`.
    Destination,
    /// `--ports`: either.
    Either,
}

/// A list of at most 15 ports, a range counting two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MultiportMatch {
    /// Which ports.
    pub kind: MultiportKind,
    /// `!`.
    pub not: bool,
    /// In order. A single port has `lo == hi`; a written range of one port keeps `is_range`.
    pub ports: Vec<MultiportEntry>,
}

/// One entry of a multiport list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MultiportEntry {
    /// Ports.
    pub range: PortRange,
    /// Whether it was written `a:b` (printed so again even when equal).
    pub is_range: bool,
}

/// A set of conntrack states: bits in the kernel's `XT_CONNTRACK_STATE_*` sense.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct CtStateSet(pub u8);

impl CtStateSet {
    /// No entry and not untracked.
    pub const INVALID: CtStateSet = CtStateSet(1);
    /// Either direction of a connection that has seen a reply.
    pub const ESTABLISHED: CtStateSet = CtStateSet(2);
    /// ICMP errors of, and connections expected by, another connection.
    pub const RELATED: CtStateSet = CtStateSet(4);
    /// No reply seen yet.
    pub const NEW: CtStateSet = CtStateSet(8);
    /// Source is translated (virtual; `-m conntrack` only).
    pub const SNAT: CtStateSet = CtStateSet(16);
    /// Destination is translated (virtual; `-m conntrack` only).
    pub const DNAT: CtStateSet = CtStateSet(32);
    /// Excused from tracking.
    pub const UNTRACKED: CtStateSet = CtStateSet(64);

    /// Whether the two sets share a state.
    pub fn intersects(self, other: CtStateSet) -> bool {
        self.0 & other.0 != 0
    }

    /// Both.
    #[must_use]
    pub fn union(self, other: CtStateSet) -> CtStateSet {
        CtStateSet(self.0 | other.0)
    }
}

/// `-m conntrack`: every condition present must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConntrackMatch {
    /// `--ctstate`.
    pub state: Option<Neg<CtStateSet>>,
    /// `--ctproto`.
    pub protocol: Option<Neg<u8>>,
    /// `--ctorigsrc`.
    pub orig_src: Option<Neg<AddrMask>>,
    /// `--ctorigdst`.
    pub orig_dst: Option<Neg<AddrMask>>,
    /// `--ctreplsrc`.
    pub reply_src: Option<Neg<AddrMask>>,
    /// `--ctrepldst`.
    pub reply_dst: Option<Neg<AddrMask>>,
    /// `--ctorigsrcport`.
    pub orig_src_port: Option<Neg<PortRange>>,
    /// `--ctorigdstport`.
    pub orig_dst_port: Option<Neg<PortRange>>,
    /// `--ctreplsrcport`.
    pub reply_src_port: Option<Neg<PortRange>>,
    /// `--ctrepldstport`.
    pub reply_dst_port: Option<Neg<PortRange>>,
    /// `--ctstatus`: bits as in the kernel's `IPS_*` (EXPECTED 1, SEEN_REPLY 2, ASSURED 4, CONFIRMED 8; NONE is 0).
    pub status: Option<Neg<u32>>,
    /// `--ctexpire`: remaining seconds, both ends included.
    pub expire: Option<Neg<(u32, u32)>>,
    /// `--ctdir`: `true` is ORIGINAL.
    pub direction_original: Option<bool>,
}

/// A set of address types: bit `1 << RTN_*` as in the kernel (UNSPEC 0, UNICAST 1, LOCAL 2, BROADCAST 3, ANYCAST 4, MULTICAST 5, BLACKHOLE 6,
/// UNREACHABLE 7, PROHIBIT 8, THROW 9, NAT 10, XRESOLVE 11).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct AddrTypeSet(pub u16);

/// `-m addrtype`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AddrtypeMatch {
    /// `--src-type`.
    pub src: Option<Neg<AddrTypeSet>>,
    /// `--dst-type`.
    pub dst: Option<Neg<AddrTypeSet>>,
    /// `--limit-iface-in`.
    pub limit_iface_in: bool,
    /// `--limit-iface-out`.
    pub limit_iface_out: bool,
}

/// `-m limit`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LimitMatch {
    /// The kernel's `avg`: 10000 times seconds between packets (`10/sec` is 1000).
    pub avg: u32,
    /// `--limit-burst`, 5 when not written.
    pub burst: u32,
}

/// Keys of `-m hashlimit` and `--hashlimit-mode`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct HashlimitMode {
    /// `srcip`.
    pub src_ip: bool,
    /// `srcport`.
    pub src_port: bool,
    /// `dstip`.
    pub dst_ip: bool,
    /// `dstport`.
    pub dst_port: bool,
}

/// `-m hashlimit`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HashlimitMatch {
    /// `--hashlimit-name`.
    pub name: String,
    /// `--hashlimit-above` rather than `--hashlimit-upto`.
    pub above: bool,
    /// The rate in its unit.
    pub rate: HashlimitRate,
    /// `--hashlimit-burst`: packets, or bytes with a rate of bytes. `None` leaves the tool's default (5 packets, or no burst beyond the rate).
    pub burst: Option<u32>,
    /// `--hashlimit-mode`.
    pub mode: HashlimitMode,
    /// `--hashlimit-srcmask`.
    pub src_mask: u8,
    /// `--hashlimit-dstmask`.
    pub dst_mask: u8,
    /// `--hashlimit-htable-size`.
    pub size: Option<u32>,
    /// `--hashlimit-htable-max`.
    pub max: Option<u32>,
    /// `--hashlimit-htable-gcinterval`, milliseconds.
    pub gc_interval: Option<u32>,
    /// `--hashlimit-htable-expire`, milliseconds; `None` is one unit of the rate as it is printed (15 seconds with bytes).
    pub expire: Option<u32>,
    /// `--hashlimit-rate-match`.
    pub rate_match: bool,
    /// `--hashlimit-rate-interval`, seconds.
    pub rate_interval: Option<u32>,
}

/// A hashlimit rate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HashlimitRate {
    /// The kernel's `avg` of revision 2 and later: 1000000 times seconds between packets.
    Packets(u64),
    /// Bytes a second.
    Bytes(u64),
}

/// What `-m recent` does with its list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RecentAction {
    /// `--set`.
    Set,
    /// `--rcheck`.
    Rcheck,
    /// `--update`.
    Update,
    /// `--remove`.
    Remove,
}

/// `-m recent`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecentMatch {
    /// `!` before the action.
    pub not: bool,
    /// Which.
    pub action: RecentAction,
    /// `--seconds`, 0 when not written.
    pub seconds: u32,
    /// `--reap`.
    pub reap: bool,
    /// `--hitcount`, 0 when not written.
    pub hitcount: u32,
    /// `--rttl`.
    pub rttl: bool,
    /// `--name`, `DEFAULT` when not written.
    pub name: String,
    /// `--mask`, all ones when not written.
    pub mask: IpAddr,
    /// `--rdest` rather than `--rsource`.
    pub dest: bool,
}

/// `-m physdev`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PhysdevMatch {
    /// `--physdev-in`.
    pub in_dev: Option<Neg<DevPattern>>,
    /// `--physdev-out`.
    pub out_dev: Option<Neg<DevPattern>>,
    /// `--physdev-is-in` (`true`) or `! --physdev-is-in`.
    pub is_in: Option<bool>,
    /// `--physdev-is-out`.
    pub is_out: Option<bool>,
    /// `--physdev-is-bridged`.
    pub is_bridged: Option<bool>,
}

/// `-m iprange`: both ends included.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IprangeMatch {
    /// `--src-range`.
    pub src: Option<Neg<(IpAddr, IpAddr)>>,
    /// `--dst-range`.
    pub dst: Option<Neg<(IpAddr, IpAddr)>>,
}

/// Which side of the packet a set's dimension is taken from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SetDir {
    /// `src`.
    Src,
    /// `dst`.
    Dst,
}

/// How a set's counter is compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CounterTest {
    /// `--packets-eq`, `--bytes-eq`; inverted by `!`.
    Eq(u64),
    /// `! --packets-eq`.
    Ne(u64),
    /// `--packets-lt`.
    Lt(u64),
    /// `--packets-gt`.
    Gt(u64),
}

/// `-m set`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetMatch {
    /// `!` before `--match-set`.
    pub not: bool,
    /// The set.
    pub name: String,
    /// One per dimension, at most six.
    pub dirs: Vec<SetDir>,
    /// `--return-nomatch`.
    pub return_nomatch: bool,
    /// `! --update-counters`.
    pub no_update_counters: bool,
    /// `! --update-subcounters`.
    pub no_update_subcounters: bool,
    /// `--packets-*`.
    pub packets: Option<CounterTest>,
    /// `--bytes-*`.
    pub bytes: Option<CounterTest>,
}

/// `-m owner`: ids, both ends included. Names are not resolved (the file that maps them is not at hand): a rule with one is unmodelled.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OwnerMatch {
    /// `--uid-owner`.
    pub uid: Option<Neg<(u32, u32)>>,
    /// `--gid-owner`.
    pub gid: Option<Neg<(u32, u32)>>,
    /// `--socket-exists` (`true`) or `! --socket-exists`.
    pub socket_exists: Option<bool>,
    /// `--suppl-groups`.
    pub suppl_groups: bool,
}

/// `-m statistic`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StatisticMatch {
    /// `--mode random --probability`: true for a 31-bit random number below `threshold` (probability times 2^31, rounded).
    Random {
        /// `!`.
        not: bool,
        /// 0 to 2^31.
        threshold: u32,
    },
    /// `--mode nth --every N --packet P`.
    Nth {
        /// `!`.
        not: bool,
        /// N, at least 1.
        every: u32,
        /// P, below N.
        packet: u32,
    },
}

/// `-m rpfilter`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct RpfilterMatch {
    /// `--loose`.
    pub loose: bool,
    /// `--validmark`.
    pub valid_mark: bool,
    /// `--accept-local`.
    pub accept_local: bool,
    /// `--invert`.
    pub invert: bool,
}

/// How a frame was addressed on its link (`skb->pkt_type`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PktType {
    /// To the receiving device.
    Unicast,
    /// To everyone.
    Broadcast,
    /// To a group.
    Multicast,
    /// To another device on the link; the IP layer drops these.
    OtherHost,
}
