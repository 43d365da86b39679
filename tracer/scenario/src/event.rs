//! What an engine saw, in a form that does not depend on the engine: per packet the rules that matched, in order, and what came out.
//!
//! Normal form of the events of one packet, which every engine has to give:
//! * a matching rule is one event, whatever its target, with its 1-based position in its chain;
//! * running off the end of a user-defined chain is one event ([`At::End`]); running off the end of a built-in chain is none, for the policy
//!   follows and is one ([`At::Policy`]), also after a RETURN in a built-in chain;
//! * jumps and gotos carry the chain that they lead to; a REJECT is a drop; a NAT target is an accept (or a drop, where it failed).

use std::net::Ipv4Addr;

use pktwalk_linux::conntrack::status;
use pktwalk_linux::conntrack::tuple::CtTuple;
use pktwalk_linux::hook::{Backend, Hook, TableName};
use pktwalk_linux::reason::Disposition;
use pktwalk_packet::Packet;
use pktwalk_report::SendRecord;

/// One thing that happened to a packet in a ruleset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScenarioEvent {
    /// Where.
    pub hook: Hook,
    /// Whose rules.
    pub backend: Backend,
    /// Table.
    pub table: TableName,
    /// Chain.
    pub chain: String,
    /// Which place in it.
    pub at: At,
    /// What came of it.
    pub verdict: EventVerdict,
    /// `skb->mark` before the rule's target, where the engine knows it.
    pub mark_before: Option<u32>,
    /// `skb->mark` after it, where the engine knows it.
    pub mark: Option<u32>,
}

/// A place in a chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum At {
    /// A rule, by its 1-based position.
    Rule(u32),
    /// Past the last rule of a user-defined chain.
    End,
    /// The policy of a built-in chain.
    Policy,
}

/// What came of an event.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum EventVerdict {
    /// Done with this table at this hook.
    Accept,
    /// Freed.
    Drop,
    /// Back to the caller, or to the policy. Always the verdict of [`At::End`].
    Return,
    /// On with the next rule.
    Continue,
    /// Into a chain, to come back.
    Jump(String),
    /// Into a chain, not to come back here.
    Goto(String),
    /// To user space.
    Queue,
    /// Kept by the target.
    Stolen,
    /// The engine cannot say.
    Unknown,
}

/// A frame that left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrameOut {
    /// Name of the device.
    pub dev: String,
    /// Its bytes, link-layer header included if there was one.
    pub packet: Packet,
}

/// The `IPS_*` bits that are compared. Left out: SEQ_ADJUST, DYING, FIXED_TIMEOUT, TEMPLATE, NAT_CLASH, HELPER and the offload bits, which say how
/// the kernel keeps an entry and not what it is; the model has none of them.
pub const CT_STATUS_MASK: u32 = status::EXPECTED
    | status::SEEN_REPLY
    | status::ASSURED
    | status::CONFIRMED
    | status::SRC_NAT
    | status::DST_NAT
    | status::SRC_NAT_DONE
    | status::DST_NAT_DONE;

/// A connection, as `conntrack -L` would show it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CtSnapshot {
    /// Original direction.
    pub original: CtTuple,
    /// Reply direction.
    pub reply: CtTuple,
    /// `ct mark`.
    pub mark: u32,
    /// `IPS_*` bits, those of [`CT_STATUS_MASK`] only.
    pub status: u32,
    /// TCP state, as the tool prints it.
    pub tcp_state: Option<String>,
    /// Zone of the original direction.
    pub zone: u16,
}

/// What became of one packet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PacketRun {
    /// Position, among the packets of the same [`SendRun`], of the one that it was made because of.
    pub parent: Option<u32>,
    /// It is a copy of its parent (a flooded one), or a piece of it: engines that cannot tell a packet from its copies put everything under one.
    pub copy: bool,
    /// In order.
    pub events: Vec<ScenarioEvent>,
    /// Of each event its place among those of all packets of the send, where the engine can tell: a packet and its copies take turns.
    pub places: Vec<u32>,
    /// In order.
    pub frames: Vec<FrameOut>,
    /// Only a wire could have shown it (rules do not see ARP), and it came out of none: the kernel does not tell that it was there.
    pub unseen: bool,
    /// How it ended, where the engine can tell.
    pub disposition: Option<Disposition>,
    /// The stable code of the end ([`End::code`](pktwalk_linux::reason::End::code)), where the engine can tell.
    pub code: Option<&'static str>,
    /// The kernel's `SKB_DROP_REASON_*` without that prefix, where the engine can tell.
    pub kernel_reason: Option<String>,
    /// Who decided, where the engine can tell.
    pub decided: Decided,
}

/// Where it was decided, by names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Decided {
    /// Node; empty for a world of one unnamed node.
    pub node: String,
    /// Hook.
    pub hook: Option<Hook>,
    /// Table.
    pub table: Option<TableName>,
    /// Chain.
    pub chain: Option<String>,
    /// 1-based position of the rule.
    pub rule: Option<u32>,
}

/// `Who has TARGET?`
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Question {
    /// Name of the device that asks; a bridge for all its ports.
    pub dev: String,
    /// Whom it asks for.
    pub target: Ipv4Addr,
}

/// What became of one sent packet and of everything that was made because of it.
#[derive(Clone, Debug, Default)]
pub struct SendRun {
    /// The first is the one that was sent.
    pub packets: Vec<PacketRun>,
    /// Confirmed connections afterwards, sorted.
    pub conntrack: Vec<CtSnapshot>,
    /// Whom the namespace asked for by ARP because of it, sorted; questions that were answered before are not asked again. None from engines
    /// that cannot tell.
    pub questions: Option<Vec<Question>>,
    /// When it was sent, in nanoseconds from the first packet of the case on; none from engines without a clock.
    pub at_ns: Option<u64>,
    /// Every step, from engines that have them: for the golden text.
    pub record: Option<SendRecord>,
}

/// What an engine made of a case.
#[derive(Clone, Debug, Default)]
pub struct EngineRun {
    /// The engine's name.
    pub engine: String,
    /// `uname -r` of the kernel that did it, for engines that are a kernel.
    pub kernel: Option<String>,
    /// In the order of the case's packets.
    pub sends: Vec<SendRun>,
    /// What the engine could not bring about or could not see, a line each: so far nothing is confirmed.
    pub gaps: Vec<String>,
    /// Devices for which one of another kind stands on this engine: packets that meet them are not judged.
    pub stand_ins: Vec<String>,
}
