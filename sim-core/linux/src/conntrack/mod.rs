//! Connection tracking.

pub mod tuple;

use crate::ids::{CtId, DevId};
use crate::netfilter::{HookState, HookVerdict};
use crate::netns::Cx;
use crate::skb::Skb;
use crate::trace::Sink;
use tuple::CtTuple;

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
    /// The source half of NAT is decided.
    pub const SRC_NAT_DONE: u32 = 128;
    /// The destination half of NAT is decided.
    pub const DST_NAT_DONE: u32 = 256;
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
    /// When it expires, on the virtual clock of [`NetNsState::now_ns`](crate::netns::NetNsState); meaningful once confirmed.
    pub expires_ns: u64,
    /// Device that MASQUERADE took the address of.
    pub masquerade_dev: Option<DevId>,
}

/// The connections of one namespace.
#[derive(Clone, Debug, Default)]
pub struct Conntrack {}

impl Conntrack {
    /// An entry, confirmed or still on its way with its first packet.
    pub fn get(&self, _id: CtId) -> Option<&CtEntry> {
        None
    }

    /// As [`Conntrack::get`], to be changed.
    pub fn get_mut(&mut self, _id: CtId) -> Option<&mut CtEntry> {
        None
    }

    /// Confirmed entries that have not expired at `now_ns`, in order of their creation.
    pub fn confirmed(&self, _now_ns: u64) -> impl Iterator<Item = (CtId, &CtEntry)> {
        std::iter::empty()
    }
}

/// `nf_conntrack_in`, at priority -200 in PREROUTING and OUTPUT.
pub(crate) fn conntrack_in<S: Sink>(_cx: &mut Cx<'_, S>, _at: HookState, _skb: &mut Skb) -> HookVerdict {
    HookVerdict::Accept
}

/// `nf_confirm`, last in INPUT and POSTROUTING.
pub(crate) fn confirm<S: Sink>(_cx: &mut Cx<'_, S>, _at: HookState, _skb: &mut Skb) -> HookVerdict {
    HookVerdict::Accept
}

/// `nf_ct_attach`: a packet that the stack makes because of `cause` belongs to the same connection, as RELATED.
pub(crate) fn attach<S: Sink>(_cx: &mut Cx<'_, S>, _made: &mut Skb, _cause: &Skb) {}

/// `nf_ct_set_closing`: REJECT's RST closes the connection of `cause`.
pub(crate) fn set_closing<S: Sink>(_cx: &mut Cx<'_, S>, _cause: &Skb) {}
