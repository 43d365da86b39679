//! One step in words. Shared by the levels of the text report.

use pktwalk_linux::iptables::ast::Policy;
use pktwalk_linux::reason::Because;
use pktwalk_linux::skb::{CtInfo, MadeBy};
use pktwalk_linux::trace::{
    BridgeDecision, CtResult, Manip, MssChange, NeighResult, PacketTrace, RouteCause, RouteResult,
    RuleVerdict, Step,
};

use crate::assume::assumed;
use crate::flow::{endpoint, packet_line, protocol, tuple_line};
use crate::layout::Tone;
use crate::names::{Described, Names};
use crate::record::WalkRecord;

/// A step in words.
pub(crate) struct Words {
    /// What the line begins with: the rule's number.
    pub label: String,
    /// The text.
    pub body: String,
    /// How it looks.
    pub tone: Tone,
    /// Where it comes from.
    pub note: String,
    /// A line of its own below it: what changed.
    pub change: Option<String>,
}

impl Words {
    fn new(tone: Tone, body: impl Into<String>) -> Words {
        Words { label: String::new(), body: body.into(), tone, note: String::new(), change: None }
    }

    fn at(mut self, described: &Described) -> Words {
        if let Some(location) = &described.location {
            self.note = location.to_string();
        }
        self
    }

    /// How many rules were passed over before, if any were.
    fn passed_over(&mut self, passed: u32) {
        if passed > 0 {
            let and = if self.note.is_empty() { "" } else { ", " };
            self.note = format!("{passed} passed over{and}{}", self.note);
        }
    }
}

/// The step at `index` of `packet`.
pub(crate) fn words(
    walk: &WalkRecord,
    packet: &PacketTrace,
    index: usize,
    names: &dyn Names,
    full: bool,
) -> Words {
    match packet.steps[index].step {
        Step::Rx { dev } => Words::new(Tone::Head, format!("received by {}", names.device(dev))),
        Step::Bridge { bridge, from, decision } => {
            let bridge = names.device(bridge);
            let from = from.map(|dev| format!(" from port {}", names.device(dev))).unwrap_or_default();
            let (tone, what) = match decision {
                BridgeDecision::Local => (Tone::Plain, "up the stack".to_owned()),
                BridgeDecision::Forward(dev) => (Tone::Plain, format!("out of port {}", names.device(dev))),
                BridgeDecision::Flood => (Tone::Plain, "flooded to every other port".to_owned()),
                BridgeDecision::LocalAndFlood => {
                    (Tone::Plain, "up the stack, and flooded to every other port".to_owned())
                }
                BridgeDecision::Drop => (Tone::Bad, "no port may have it".to_owned()),
            };
            Words::new(tone, format!("bridge {bridge}{from}: {what}"))
        }
        Step::ChainEnter { chain, .. } => {
            let name = names.chain(chain);
            let backend = if names.two_backends() { format!(" ({})", name.backend) } else { String::new() };
            Words::new(Tone::Head, format!("{} {}{backend}", name.table, name.chain))
        }
        Step::Rule { rule, passed, verdict, mark_before, mark, .. } => {
            let name = names.rule(rule);
            let tone = match verdict {
                RuleVerdict::Drop => Tone::Bad,
                RuleVerdict::Unknown => Tone::Unsure,
                _ => Tone::Plain,
            };
            let body =
                if name.spec.is_empty() { "(matches everything, no target)".to_owned() } else { name.spec };
            let mut words = Words::new(tone, body);
            words.label = name.position.to_string();
            words.note = name.location.map(|location| location.to_string()).unwrap_or_default();
            if full {
                words.passed_over(passed);
            }
            if mark_before != mark {
                words.change = Some(format!("mark {mark_before:#x} -> {mark:#x}"));
            }
            if let Some(MssChange { old, new }) = packet.steps[index].mss {
                words.change = Some(match old {
                    Some(old) => format!("mss {old} -> {new}"),
                    None => format!("mss {new} added"),
                });
            }
            words
        }
        Step::CtMark { old, new } => {
            Words::new(Tone::Change, format!("connection mark {old:#x} -> {new:#x}"))
        }
        Step::ChainEnd { chain, passed, .. } => {
            let mut words = Words::new(Tone::Dim, format!("end of {}", names.chain(chain).chain));
            words.passed_over(passed);
            words
        }
        Step::ChainPolicy { chain, passed, policy, .. } => {
            let name = names.chain(chain);
            let (tone, policy) = match policy {
                Policy::Accept => (Tone::Dim, "ACCEPT"),
                Policy::Drop => (Tone::Bad, "DROP"),
            };
            let mut words = Words::new(tone, format!("policy of {}: {policy}", name.chain));
            words.note = name.location.map(|location| location.to_string()).unwrap_or_default();
            if full {
                words.passed_over(passed);
            }
            words
        }
        Step::CtLookup { result, .. } => conntrack(result, walk),
        Step::CtConfirm { .. } => {
            Words::new(Tone::Dim, "conntrack: the connection is in the table from here on")
        }
        Step::NatSetup { rule, manip, old_reply, new_reply, .. } => {
            let half = match manip {
                Manip::Src => "source",
                Manip::Dst => "destination",
            };
            if old_reply == new_reply {
                return Words::new(Tone::Dim, format!("nat: {half} stays as it is"));
            }
            let by = if rule.is_some() { "" } else { " (no rule asked for it: the tuple was taken)" };
            Words::new(
                Tone::Change,
                format!(
                    "nat: replies will be {}, not {}{by}",
                    tuple_line(&new_reply),
                    tuple_line(&old_reply)
                ),
            )
        }
        Step::NatApply { manip, old, new, .. } => nat(packet, manip, old, new),
        Step::Route { cause, rule, route, result } => routing(
            cause,
            rule.map(|r| names.routing_rule(r)),
            route.map(|r| names.route(r)),
            result,
            names,
            full,
        ),
        Step::SourceCheck { rp_filter, route, failed } => {
            let route = route.map(|route| names.route(route));
            let back = match &route {
                Some(route) => format!("the route back is {}", route.text),
                None => "no route back was found".to_owned(),
            };
            let how = match rp_filter {
                0 => "rp_filter off",
                1 => "rp_filter strict",
                _ => "rp_filter loose",
            };
            let words = match failed {
                Some(_) => Words::new(Tone::Bad, format!("source check failed ({how}): {back}")),
                None => Words::new(Tone::Plain, format!("source check passed ({how}): {back}")),
            };
            words.at(&route.unwrap_or_default())
        }
        Step::Ttl { old, new } => Words::new(Tone::Change, format!("ttl {old} -> {new}")),
        Step::Mtu { len, mtu, fragments } => match fragments {
            0 => {
                Words::new(Tone::Bad, format!("{len} bytes do not fit the MTU of {mtu}, and may not be cut"))
            }
            1 => Words::new(Tone::Dim, format!("{len} bytes fit the MTU of {mtu}")),
            pieces => {
                Words::new(Tone::Change, format!("{len} bytes cut into {pieces} pieces for the MTU of {mtu}"))
            }
        },
        Step::Neighbour { dev, addr, result } => {
            let on = format!("neighbour {} on {}", endpoint(addr, None), names.device(dev));
            match result {
                NeighResult::Known(mac) => Words::new(Tone::Dim, format!("{on}: {mac}")),
                NeighResult::Assumed => Words::new(Tone::Dim, format!("{on}: answers (assumed)")),
                NeighResult::Failed => Words::new(Tone::Bad, format!("{on}: does not answer")),
                NeighResult::NotNeeded => Words::new(Tone::Dim, format!("{on}: none needed")),
            }
        }
        Step::Xmit { dev } => {
            let name = names.device(dev);
            let mut words = match frame_of(packet, index) {
                Some(frame) if packet_line(frame) != packet_line(&packet.start) => {
                    Words::new(Tone::Plain, format!("sent by {name}: {}", packet_line(frame)))
                }
                _ => Words::new(Tone::Plain, format!("sent by {name}")),
            };
            words.change = names.goes_on_at(dev).map(|at| {
                let (netns, dev) = at.rsplit_once(':').unwrap_or(("", &at));
                let netns = if netns.is_empty() {
                    "the node's own namespace".to_owned()
                } else {
                    format!("namespace {netns}")
                };
                format!("goes on in {netns}, device {dev}: walk it with --at {at}")
            });
            words
        }
        Step::Deliver { protocol: number, port, socket } => {
            let owner = socket.map(|s| names.socket(s)).filter(|s| !s.is_empty());
            let owner = owner.map(|owner| format!(", {owner}")).unwrap_or_default();
            let what = protocol(number);
            Words::new(
                Tone::Plain,
                if port == 0 {
                    format!("delivered to {what} of this namespace{owner}")
                } else {
                    format!("delivered to {what} port {port}{owner}")
                },
            )
        }
        Step::Made { by } => Words::new(Tone::Change, format!("answered with {} (below)", made_by(by))),
        Step::NotAnswered { why } => Words::new(Tone::Plain, format!("not answered: {why}")),
        Step::Assumed(assumption) => {
            let assumed = assumed(assumption, names);
            let mut words = Words::new(Tone::Unsure, format!("assumed: {}", assumed.text));
            words.change = Some(format!("otherwise: {}", assumed.instead));
            words
        }
    }
}

fn conntrack(result: CtResult, walk: &WalkRecord) -> Words {
    match result {
        CtResult::Invalid(why) => Words::new(Tone::Bad, format!("conntrack: INVALID, {why}")),
        CtResult::Untracked => Words::new(Tone::Plain, "conntrack: UNTRACKED"),
        CtResult::Kept => Words::new(Tone::Dim, "conntrack: keeps the connection that it has"),
        CtResult::Entry { id, info, created } => {
            let of = match walk.connections.get(&id) {
                Some(connection) => format!(" {}", tuple_line(&connection.original)),
                None => String::new(),
            };
            let text = match info {
                CtInfo::New if created => format!("conntrack: NEW, made connection{of}"),
                CtInfo::New => format!("conntrack: NEW, no reply seen yet on connection{of}"),
                CtInfo::Established => format!("conntrack: ESTABLISHED, connection{of}"),
                CtInfo::EstablishedReply => format!("conntrack: ESTABLISHED, reply of connection{of}"),
                CtInfo::Related => format!("conntrack: RELATED to connection{of}"),
                CtInfo::RelatedReply => format!("conntrack: RELATED to the replies of connection{of}"),
            };
            Words::new(Tone::Plain, text)
        }
    }
}

fn nat(packet: &PacketTrace, manip: Manip, old: (u32, u16), new: (u32, u16)) -> Words {
    let half = match manip {
        Manip::Src => "source",
        Manip::Dst => "destination",
    };
    let ported = crate::flow::Flow::of(&packet.start)
        .is_some_and(|flow| matches!(flow.l4, crate::flow::L4::Tcp { .. } | crate::flow::L4::Ports { .. }));
    let show = |(addr, port): (u32, u16)| endpoint(addr, ported.then_some(port));
    if old == new {
        return Words::new(Tone::Dim, format!("{half} {} kept", show(old)));
    }
    let mut text = format!("{half} {} -> {}", show(old), show(new));
    if !ported && old.1 != new.1 {
        text.push_str(&format!(", id {} -> {}", old.1, new.1));
    }
    Words::new(Tone::Change, text)
}

fn routing(
    cause: RouteCause,
    rule: Option<Described>,
    route: Option<Described>,
    result: RouteResult,
    names: &dyn Names,
    full: bool,
) -> Words {
    let head = match cause {
        RouteCause::Input => "routing",
        RouteCause::Output => "routing (made here)",
        RouteCause::Reroute => "routing again (changed in OUTPUT)",
    };
    let by = match &route {
        Some(route) if !route.text.is_empty() => format!(", by {}", route.text),
        _ => String::new(),
    };
    let (tone, text) = match result {
        RouteResult::Unicast { dev, gateway } => {
            let via = gateway.map(|gateway| format!(" via {}", endpoint(gateway, None))).unwrap_or_default();
            (Tone::Plain, format!("{head}: out by {}{via}{by}", names.device(dev)))
        }
        RouteResult::Local => (Tone::Plain, format!("{head}: for this namespace{by}")),
        RouteResult::Broadcast => (Tone::Plain, format!("{head}: broadcast, for this namespace{by}")),
        RouteResult::Error(code) => (Tone::Bad, format!("{head}: {}{by}", code.code())),
        RouteResult::Unknown(because) => (Tone::Unsure, format!("{head}: {}{by}", because_word(because))),
    };
    let mut words = Words::new(tone, text).at(&route.unwrap_or_default());
    if full && let Some(rule) = rule {
        words.change = Some(format!("routing rule {}", rule.text));
    }
    words
}

fn because_word(because: Because) -> &'static str {
    because.code()
}

/// The frame that the transmission at `index` sent: frames are recorded per device in the order of transmission.
fn frame_of(packet: &PacketTrace, index: usize) -> Option<&pktwalk_packet::Packet> {
    let Step::Xmit { dev } = packet.steps[index].step else { return None };
    let earlier = packet.steps[..index]
        .iter()
        .filter(|r| matches!(r.step, Step::Xmit { dev: other } if other == dev))
        .count();
    packet.frames.iter().filter(|(other, _)| *other == dev).nth(earlier).map(|(_, frame)| frame)
}

/// What a packet is that the stack made.
pub(crate) fn made_by(by: MadeBy) -> &'static str {
    match by {
        MadeBy::Injected => "the given packet",
        MadeBy::IcmpError => "an ICMP error",
        MadeBy::RejectIcmp => "REJECT's ICMP error",
        MadeBy::RejectReset => "REJECT's RST",
        MadeBy::TcpReset => "a RST",
        MadeBy::EchoReply => "an echo reply",
        MadeBy::TimestampReply => "a timestamp reply",
        MadeBy::Arp => "ARP",
        MadeBy::Fragment => "a fragment",
        MadeBy::Copy => "a copy",
    }
}

/// As [`made_by`], as a word for scripts.
pub(crate) fn made_by_key(by: MadeBy) -> &'static str {
    match by {
        MadeBy::Injected => "given",
        MadeBy::IcmpError => "icmp-error",
        MadeBy::RejectIcmp => "reject-icmp",
        MadeBy::RejectReset => "reject-reset",
        MadeBy::TcpReset => "tcp-reset",
        MadeBy::EchoReply => "echo-reply",
        MadeBy::TimestampReply => "timestamp-reply",
        MadeBy::Arp => "arp",
        MadeBy::Fragment => "fragment",
        MadeBy::Copy => "copy",
    }
}
