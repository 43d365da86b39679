//! What a walk tells while it goes: steps, and the sinks that take them.
//!
//! A step holds ids and numbers; names are looked up when it is printed. Misses are not steps: a step says how many rules were passed over
//! before it, and a report recomputes why from the packet.

use pktwalk_packet::{EtherType, Ipv4Fields, MacAddr, Packet, TcpOption, TcpOptions};

use crate::conntrack::tuple::CtTuple;
use crate::hook::Hook;
use crate::ids::{ChainId, CtId, DevId, RouteId, RoutingRuleId, RuleId};
use crate::iptables::ast::Policy;
use crate::netfilter::NearMiss;
use crate::reason::{Because, DropCode, End};
use crate::skb::{CtInfo, MadeBy, Skb};

/// What a matching rule's target did.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RuleVerdict {
    /// Ends this table at this hook; the packet goes on.
    Accept,
    /// Freed.
    Drop,
    /// Back to the calling chain, or the policy.
    Return,
    /// On with the next rule (targets such as MARK and LOG, and rules without a target).
    Continue,
    /// Into a chain, to come back.
    Jump(ChainId),
    /// Into a chain, not to come back here.
    Goto(ChainId),
    /// Taken to user space or by the target.
    Stolen,
    /// The walk cannot say.
    Unknown,
}

/// Which half of a connection's address translation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Manip {
    /// Source.
    Src,
    /// Destination.
    Dst,
}

/// What conntrack said of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CtResult {
    /// No connection made of it: INVALID.
    Invalid(&'static str),
    /// Excused.
    Untracked,
    /// It has its connection already (second pass through `lo`, or attached by REJECT).
    Kept,
    /// Of this connection; `created` when the packet made it.
    Entry {
        /// Which.
        id: CtId,
        /// In which way.
        info: CtInfo,
        /// Whether this packet made it.
        created: bool,
    },
}

/// What routing decided.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RouteResult {
    /// Sent on by a device.
    Unicast {
        /// Device.
        dev: DevId,
        /// Gateway, host order.
        gateway: Option<u32>,
    },
    /// Delivered here.
    Local,
    /// Delivered here as broadcast.
    Broadcast,
    /// Refused.
    Error(DropCode),
    /// The walk cannot say.
    Unknown(Because),
}

/// One step of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// Received by a device.
    Rx {
        /// Which.
        dev: DevId,
    },
    /// The bridge took it from one of its ports and decided.
    Bridge {
        /// The bridge.
        bridge: DevId,
        /// The port it came in by; none when sent by the namespace itself.
        from: Option<DevId>,
        /// What the bridge does with it.
        decision: BridgeDecision,
    },
    /// A base chain begins.
    ChainEnter {
        /// Where.
        hook: Hook,
        /// Which.
        chain: ChainId,
    },
    /// A rule matched.
    Rule {
        /// Where.
        hook: Hook,
        /// Which.
        rule: RuleId,
        /// Rules of the same chain passed over since the last step in it.
        passed: u32,
        /// What it did.
        verdict: RuleVerdict,
        /// `skb->mark` before its target.
        mark_before: u32,
        /// `skb->mark` after its target.
        mark: u32,
    },
    /// A connection's mark changed by the rule of the step before.
    CtMark {
        /// Before.
        old: u32,
        /// After.
        new: u32,
    },
    /// A user-defined chain ran off its end.
    ChainEnd {
        /// Where.
        hook: Hook,
        /// Which.
        chain: ChainId,
        /// Rules passed over since the last step in it.
        passed: u32,
    },
    /// A built-in chain's policy decided.
    ChainPolicy {
        /// Where.
        hook: Hook,
        /// Which.
        chain: ChainId,
        /// Rules passed over since the last step in it.
        passed: u32,
        /// The policy.
        policy: Policy,
    },
    /// Conntrack looked the packet up.
    CtLookup {
        /// Where.
        hook: Hook,
        /// What it found.
        result: CtResult,
    },
    /// The entry is in the table from here on.
    CtConfirm {
        /// Where.
        hook: Hook,
        /// Which.
        id: CtId,
    },
    /// A translation was chosen for a connection. `rule` is none for the binding that the kernel makes when no rule did.
    NatSetup {
        /// Where.
        hook: Hook,
        /// Which half.
        manip: Manip,
        /// The rule that chose it.
        rule: Option<RuleId>,
        /// The reply tuple before.
        old_reply: CtTuple,
        /// The reply tuple after.
        new_reply: CtTuple,
    },
    /// The packet was rewritten.
    NatApply {
        /// Where.
        hook: Hook,
        /// Which half of this packet.
        manip: Manip,
        /// Address and port (ICMP id) before, host order.
        old: (u32, u16),
        /// Address and port after.
        new: (u32, u16),
    },
    /// A routing decision.
    Route {
        /// Why it was asked.
        cause: RouteCause,
        /// The routing rule that led to the table.
        rule: Option<RoutingRuleId>,
        /// The route.
        route: Option<RouteId>,
        /// What came of it.
        result: RouteResult,
    },
    /// The route back to the source was asked (rp_filter, or because of other settings).
    SourceCheck {
        /// Effective rp_filter: 0, 1 strict, 2 loose.
        rp_filter: u8,
        /// The reverse route.
        route: Option<RouteId>,
        /// None if it passed.
        failed: Option<DropCode>,
    },
    /// TTL was lowered.
    Ttl {
        /// Before.
        old: u8,
        /// After.
        new: u8,
    },
    /// Compared with the MTU of the way out.
    Mtu {
        /// Bytes of the packet.
        len: u32,
        /// Bytes that fit.
        mtu: u32,
        /// Cut into this many pieces, 1 if it fits, 0 if refused.
        fragments: u16,
    },
    /// The next hop's hardware address.
    Neighbour {
        /// Device.
        dev: DevId,
        /// Next hop, host order.
        addr: u32,
        /// Resolved to.
        result: NeighResult,
    },
    /// Handed to a device for sending.
    Xmit {
        /// Which.
        dev: DevId,
    },
    /// Given to the transport layer.
    Deliver {
        /// IP protocol.
        protocol: u8,
        /// Local port, for protocols that have ports.
        port: u16,
        /// Position in the namespace's sockets; none when the stack itself takes it, or the socket is an assumption.
        socket: Option<u32>,
    },
    /// The stack made another packet because of this one; it is walked as a child.
    Made {
        /// What.
        by: MadeBy,
    },
    /// The stack would have answered, but may not (RFC 1122 rules: broadcast, ICMP error, fragment, ...).
    NotAnswered {
        /// Why.
        why: &'static str,
    },
    /// Something was not known and taken for granted.
    Assumed(Assumption),
}

/// Why routing was asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RouteCause {
    /// A received packet.
    Input,
    /// A packet made here.
    Output,
    /// A packet made here whose mark, TOS or address changed in OUTPUT (`ip_route_me_harder`).
    Reroute,
}

/// What a bridge does with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BridgeDecision {
    /// Up the stack, as received by the bridge itself.
    Local,
    /// Out of one port.
    Forward(DevId),
    /// Out of every other port.
    Flood,
    /// Local and flooded.
    LocalAndFlood,
    /// No port may have it.
    Drop,
}

/// What the neighbour table says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NeighResult {
    /// Address known.
    Known(MacAddr),
    /// Not in the table: resolution would be tried, and is assumed to succeed.
    Assumed,
    /// Resolution has failed or nobody answers.
    Failed,
    /// The device needs none.
    NotNeeded,
}

/// What is taken for granted because nothing says otherwise. Each names the flag that overrides it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Assumption {
    /// A socket takes what is delivered (no `ss` was given).
    SocketListens {
        /// IP protocol.
        protocol: u8,
        /// Port.
        port: u16,
    },
    /// No module of the kernel takes this IP protocol, of whose sockets no list tells.
    NoModule {
        /// IP protocol.
        protocol: u8,
    },
    /// The neighbour answers.
    NeighbourAnswers {
        /// Device.
        dev: DevId,
        /// Address, host order.
        addr: u32,
    },
    /// The conntrack table was empty at the start.
    ConntrackEmpty,
    /// The segment is in the window of its connection, of which a dump tells neither windows nor sequence numbers.
    TcpWindow,
    /// Something of [`MissingState`](crate::config::MissingState) stood at its default.
    Default(crate::config::MissingState),
    /// A choice that the kernel makes at random was made by the walk's choice source.
    Choice(&'static str),
    /// What a rule remembers (`limit`, `hashlimit`, `recent`) is as if it had just been loaded, but for the packets of this run.
    AsLoaded {
        /// The rule.
        rule: RuleId,
        /// The match.
        what: &'static str,
    },
    /// The time of day, which a timestamp reply tells, was made by the walk's choice source.
    TimeOfDay,
}

/// Takes the steps of a walk.
///
/// [`Sink::begin`] and [`Sink::end`] enclose the steps of one packet. Packets that the stack makes because of it name it as their parent. They
/// begin after it has ended, or, where the kernel sends them before it goes on, in between: then [`Sink::resume`] comes back to it.
pub trait Sink {
    /// Whether anybody looks: what is costly to say is left out otherwise.
    const ENABLED: bool;

    /// A packet starts. `parent` is the number (in order of `begin`, from 0) of the packet that it was made because of.
    fn begin(&mut self, parent: Option<u32>, skb: &Skb);

    /// What follows is of this packet again, in the numbers of [`Sink::begin`].
    fn resume(&mut self, _number: u32) {}

    /// It did this. `skb` is as it is after the step.
    fn step(&mut self, skb: &Skb, step: Step);

    /// The place of the next step: for one that is known only after those that it leads to.
    fn here(&self) -> usize {
        0
    }

    /// As [`Sink::step`], before whatever was told since `place`.
    fn step_at(&mut self, _place: usize, skb: &Skb, step: Step) {
        self.step(skb, step);
    }

    /// A rule that would have accepted the packet which is dropped next, but for one test.
    fn near_miss(&mut self, _near: &NearMiss) {}

    /// A frame left by a device.
    fn frame(&mut self, dev: DevId, packet: &Packet);

    /// The packet ended, as `skb` is.
    fn end(&mut self, skb: &Skb, end: &End);
}

/// Takes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullSink;

impl Sink for NullSink {
    const ENABLED: bool = false;

    #[inline]
    fn begin(&mut self, _: Option<u32>, _: &Skb) {}

    #[inline]
    fn step(&mut self, _: &Skb, _: Step) {}

    #[inline]
    fn frame(&mut self, _: DevId, _: &Packet) {}

    #[inline]
    fn end(&mut self, _: &Skb, _: &End) {}
}

/// A step, and what of the packet a reader wants to see beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordedStep {
    /// The step.
    pub step: Step,
    /// `skb->mark` after it.
    pub mark: u32,
    /// The maximum segment size that a TCP packet announces, where the rule of the step changed it.
    pub mss: Option<MssChange>,
    /// Its place among the steps of all packets of the walk, one after the other as it went.
    pub place: u32,
}

impl From<Step> for RecordedStep {
    fn from(step: Step) -> RecordedStep {
        RecordedStep { step, mark: 0, mss: None, place: 0 }
    }
}

/// A maximum segment size that a rule changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MssChange {
    /// Before; none if the packet had none.
    pub old: Option<u16>,
    /// After.
    pub new: u16,
}

/// The maximum segment size that a TCP packet announces.
fn mss_of(packet: &Packet) -> Option<u16> {
    let ip = Ipv4Fields::parse(packet.l3()).ok().filter(|ip| ip.protocol == 6 && ip.frag_offset == 0)?;
    let l4 = packet.l3().get(usize::from(ip.header_len)..)?;
    TcpOptions::of(l4)?.find_map(|option| match option {
        Ok(TcpOption::Mss(mss)) => Some(mss),
        _ => None,
    })
}

/// One packet's recorded walk.
#[derive(Clone, Debug)]
pub struct PacketTrace {
    /// Number of the packet that it was made because of.
    pub parent: Option<u32>,
    /// What made it.
    pub made_by: MadeBy,
    /// The packet as it began.
    pub start: Packet,
    /// The link-layer address that its frame was for when it ended: another than that of `start` once it went on between devices.
    pub mac_dst: Option<MacAddr>,
    /// What its frame held when it ended, behind the VLAN tags that were taken off.
    pub ethertype: EtherType,
    /// The device that it was received by, if it was.
    pub in_dev: Option<DevId>,
    /// Steps in order.
    pub steps: Vec<RecordedStep>,
    /// Frames that left.
    pub frames: Vec<(DevId, Packet)>,
    /// How it ended.
    pub end: Option<End>,
    /// `skb->mark` at the end.
    pub mark: u32,
    /// Conntrack at the end.
    pub ct: crate::skb::SkbCt,
    /// Of a packet that a chain dropped: the rule that would have accepted it but for one test, if there was one.
    pub nearest: Option<NearMiss>,
}

impl PacketTrace {
    /// Whether the packet, as it is now, announces another maximum segment size than when a rule last changed it.
    fn mss_change(&self, now: &Packet) -> Option<MssChange> {
        let new = mss_of(now)?;
        let changed = self.steps.iter().rev().find_map(|recorded| recorded.mss.map(|change| change.new));
        let old = changed.or_else(|| mss_of(&self.start));
        (old != Some(new)).then_some(MssChange { old, new })
    }
}

/// Records everything.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// Packets in order of their start: the first is the one that was given.
    pub packets: Vec<PacketTrace>,
    /// Which of them goes on.
    current: usize,
    /// Steps told of so far, of all packets.
    told: u32,
}

impl Recorder {
    fn current(&mut self) -> Option<&mut PacketTrace> {
        self.packets.get_mut(self.current)
    }
}

impl Sink for Recorder {
    const ENABLED: bool = true;

    fn begin(&mut self, parent: Option<u32>, skb: &Skb) {
        self.current = self.packets.len();
        self.packets.push(PacketTrace {
            parent,
            made_by: skb.made_by,
            start: skb.packet.clone(),
            mac_dst: skb.packet.mac_dst(),
            ethertype: skb.packet.ethertype(),
            in_dev: skb.in_dev,
            steps: Vec::new(),
            frames: Vec::new(),
            end: None,
            mark: skb.mark,
            ct: skb.ct,
            nearest: None,
        });
    }

    fn here(&self) -> usize {
        self.packets.get(self.current).map_or(0, |packet| packet.steps.len())
    }

    fn resume(&mut self, number: u32) {
        self.current = number as usize;
    }

    fn step(&mut self, skb: &Skb, step: Step) {
        let end = self.here();
        self.step_at(end, skb, step);
    }

    fn step_at(&mut self, place: usize, skb: &Skb, step: Step) {
        // A chain that is entered twice tells this twice.
        if matches!(step, Step::Assumed(Assumption::AsLoaded { .. }))
            && let Some(packet) = self.current()
            && packet.steps.iter().any(|recorded| recorded.step == step)
        {
            return;
        }
        self.told += 1;
        let place_of_all = self.told;
        if let Some(packet) = self.current() {
            let mss = match step {
                Step::Rule { verdict: RuleVerdict::Continue, .. } => packet.mss_change(&skb.packet),
                _ => None,
            };
            let at = place.min(packet.steps.len());
            // What is told late belongs to what stands before it.
            let place = match at.checked_sub(1).and_then(|before| packet.steps.get(before)) {
                Some(before) if at < packet.steps.len() => before.place,
                _ => place_of_all,
            };
            packet.steps.insert(at, RecordedStep { step, mark: skb.mark, mss, place });
            packet.mark = skb.mark;
            packet.ct = skb.ct;
        }
    }

    fn near_miss(&mut self, near: &NearMiss) {
        if let Some(current) = self.current() {
            current.nearest = Some(*near);
        }
    }

    fn frame(&mut self, dev: DevId, packet: &Packet) {
        if let Some(current) = self.current() {
            current.frames.push((dev, packet.clone()));
        }
    }

    fn end(&mut self, skb: &Skb, end: &End) {
        if let Some(packet) = self.current() {
            packet.mac_dst = skb.packet.mac_dst();
            packet.ethertype = skb.packet.ethertype();
            packet.end = Some(*end);
        }
    }
}
