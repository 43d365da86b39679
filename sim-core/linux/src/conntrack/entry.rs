//! [`CtEntry`]: one connection.

use super::sctp::SctpTrack;
use super::tcp::TcpTrack;
use super::tuple::{CtDirection, CtTuple, proto};
use crate::config::Connection;
use crate::ids::DevId;
use crate::skb::CtZones;

/// `IPS_*` status bits.
pub mod status {
    /// Expected by another connection.
    pub const EXPECTED: u32 = 1;
    /// Packets in both directions.
    pub const SEEN_REPLY: u32 = 2;
    /// Never expired early.
    pub const ASSURED: u32 = 4;
    /// In the table.
    pub const CONFIRMED: u32 = 8;
    /// Source is translated.
    pub const SRC_NAT: u32 = 16;
    /// Destination is translated.
    pub const DST_NAT: u32 = 32;
    /// Sequence numbers are adjusted (by helpers, which are not modelled).
    pub const SEQ_ADJUST: u32 = 64;
    /// The source half of NAT is decided.
    pub const SRC_NAT_DONE: u32 = 128;
    /// The destination half of NAT is decided.
    pub const DST_NAT_DONE: u32 = 256;
    /// Taken out of the table.
    pub const DYING: u32 = 512;
    /// Its packets do not change when it expires.
    pub const FIXED_TIMEOUT: u32 = 1024;
    /// Its original tuple is another entry's; only replies find it.
    pub const NAT_CLASH: u32 = 4096;
}

/// TCP states of an entry (`enum tcp_conntrack`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TcpState {
    /// Nothing seen.
    None,
    /// SYN seen.
    SynSent,
    /// SYN and SYN/ACK seen.
    SynRecv,
    /// Open.
    Established,
    /// FIN seen.
    FinWait,
    /// FIN answered.
    CloseWait,
    /// Both FINs seen.
    LastAck,
    /// Closed, waiting.
    TimeWait,
    /// Reset.
    Close,
    /// SYNs in both directions.
    SynSent2,
}

impl TcpState {
    /// As `conntrack -L` prints it.
    pub fn name(self) -> &'static str {
        match self {
            TcpState::None => "NONE",
            TcpState::SynSent => "SYN_SENT",
            TcpState::SynRecv => "SYN_RECV",
            TcpState::Established => "ESTABLISHED",
            TcpState::FinWait => "FIN_WAIT",
            TcpState::CloseWait => "CLOSE_WAIT",
            TcpState::LastAck => "LAST_ACK",
            TcpState::TimeWait => "TIME_WAIT",
            TcpState::Close => "CLOSE",
            TcpState::SynSent2 => "SYN_SENT2",
        }
    }

    /// Whether nothing but a FIN leads there (`tcp_conntracks`).
    pub fn follows_fin(self) -> bool {
        matches!(self, TcpState::FinWait | TcpState::CloseWait | TcpState::LastAck | TcpState::TimeWait)
    }
}

/// What the tracker of the protocol remembers beside the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Track {
    /// Nothing.
    #[default]
    None,
    /// When a UDP connection counts as a stream: 2 seconds after its first packet, in nanoseconds on the virtual clock.
    Udp {
        /// Then.
        stream_from_ns: u64,
    },
    /// Windows and the last segment.
    Tcp(TcpTrack),
    /// State and tags.
    Sctp(SctpTrack),
}

/// A connection (`struct nf_conn`).
#[derive(Clone, Debug)]
pub struct CtEntry {
    /// Original direction.
    pub original: CtTuple,
    /// Reply direction: the inverse of the original one with the translations applied.
    pub reply: CtTuple,
    /// Zone of the original direction.
    pub zone_original: u16,
    /// Zone of the reply direction.
    pub zone_reply: u16,
    /// [`status`] bits.
    pub status: u32,
    /// Its mark.
    pub mark: u32,
    /// TCP state, for TCP.
    pub tcp: Option<TcpState>,
    /// When it expires, on the virtual clock of [`NetNsState::now_ns`](crate::netns::NetNsState), in nanoseconds. Before it is confirmed:
    /// how long it will live from then on.
    pub expires_ns: u64,
    /// Device that MASQUERADE took the address of.
    pub masquerade_dev: Option<DevId>,
    /// What of it is not modelled: its packets end `Unknown`.
    pub unmodelled: Option<&'static str>,
    pub(super) track: Track,
    /// In the table: when it is looked at for having expired, which is no later than it does.
    pub(super) due_ns: u64,
    /// In the table: counted among the ASSURED ones.
    pub(super) counted_assured: bool,
}

impl CtEntry {
    /// A connection of zone 0 of which nothing else is known. A TCP entry made like this takes the windows from the next packets, as one
    /// that was picked up in the middle.
    pub fn new(original: CtTuple, reply: CtTuple) -> CtEntry {
        CtEntry {
            original,
            reply,
            zone_original: 0,
            zone_reply: 0,
            status: 0,
            mark: 0,
            tcp: None,
            expires_ns: 0,
            masquerade_dev: None,
            unmodelled: None,
            track: Track::None,
            due_ns: 0,
            counted_assured: false,
        }
    }

    /// A connection of a dump, at the start of a run. Its halves of NAT are decided, whatever they came to.
    pub(crate) fn of_dump(known: &Connection) -> CtEntry {
        let inverse = known.original.invert();
        let source =
            inverse.is_none_or(|i| (i.dst, i.dst_part()) != (known.reply.dst, known.reply.dst_part()));
        let destination =
            inverse.is_none_or(|i| (i.src, i.src_part()) != (known.reply.src, known.reply.src_part()));
        // ICMP has one identifier, which a translation of the source changes.
        let icmp = known.original.protocol == proto::ICMP;
        let destination = if icmp { known.original.dst != known.reply.src } else { destination };
        let mut status = status::CONFIRMED | status::SRC_NAT_DONE | status::DST_NAT_DONE;
        for (holds, bit) in [
            (!known.unreplied, status::SEEN_REPLY),
            (known.assured, status::ASSURED),
            (source, status::SRC_NAT),
            (destination, status::DST_NAT),
        ] {
            status |= if holds { bit } else { 0 };
        }
        CtEntry {
            zone_original: known.zone_original,
            zone_reply: known.zone_reply,
            status,
            mark: known.mark,
            tcp: known.tcp,
            // The tool rounds down: what is printed with 0 seconds is there.
            expires_ns: u64::from(known.timeout).max(1).saturating_mul(1_000_000_000),
            unmodelled: known.unmodelled,
            ..CtEntry::new(known.original, known.reply)
        }
    }

    /// The tuple of one direction.
    pub fn tuple(&self, direction: CtDirection) -> &CtTuple {
        match direction {
            CtDirection::Original => &self.original,
            CtDirection::Reply => &self.reply,
        }
    }

    /// The zones of both directions.
    pub fn zones(&self) -> CtZones {
        CtZones { zone_original: self.zone_original, zone_reply: self.zone_reply }
    }

    /// The state of an SCTP connection as `conntrack -L` prints it.
    pub fn sctp_state(&self) -> Option<&'static str> {
        match &self.track {
            Track::Sctp(track) => Some(track.state.name()),
            Track::None | Track::Udp { .. } | Track::Tcp(_) => None,
        }
    }

    /// The end of what the original side of a TCP connection has sent.
    pub(crate) fn tcp_original_end(&self) -> Option<u32> {
        match &self.track {
            Track::Tcp(track) => Some(track.seen[0].end),
            Track::None | Track::Udp { .. } | Track::Sctp(_) => None,
        }
    }

    /// Whether it is a TCP connection of a dump, of whose windows nothing is told.
    pub(crate) fn is_untold(&self) -> bool {
        matches!(&self.track, Track::Tcp(track) if track.untold)
    }

    /// Whether packets can find it at `now_ns`.
    pub fn is_live(&self, now_ns: u64) -> bool {
        self.is_confirmed() && self.status & status::DYING == 0 && self.expires_ns > now_ns
    }

    /// Whether it stands in the table, or stood there.
    pub fn is_confirmed(&self) -> bool {
        self.status & status::CONFIRMED != 0
    }

    /// Lives `timeout_ns` from now on, or from its confirmation on (`nf_ct_refresh_acct`).
    pub(super) fn refresh(&mut self, timeout_ns: u64, now_ns: u64) {
        if self.status & status::FIXED_TIMEOUT != 0 {
            return;
        }
        let base = if self.is_confirmed() { now_ns } else { 0 };
        self.expires_ns = base.saturating_add(timeout_ns);
    }
}
