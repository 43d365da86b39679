//! The JSON report, schema `pktwalk.trace/1`. `docs/schema/pktwalk.trace-1.json` describes it; scripts depend on it: fields may be added, none is
//! renamed, removed or given another meaning.
//!
//! Addresses are dotted, ports and marks are numbers, bytes are lower-case hexadecimal. What does not apply is `null`, not absent, but for
//! `nearest` and the fields of a step, which depend on its `kind`.

use std::net::Ipv4Addr;

use pktwalk_linux::diag::Severity;
use pktwalk_linux::hook::Hook;
use pktwalk_linux::reason::{Because, End, Locus};
use pktwalk_linux::skb::{CtInfo, SkbCt};
use pktwalk_linux::trace::{PacketTrace, Step};
use pktwalk_packet::Packet;
use serde::Serialize;

use crate::assume::{Assumed, assumed};
use crate::flow::{packet_full, tuple_line};
use crate::json_step::{JsonStep, hook_name, json_step};
use crate::names::Names;
use crate::nearest::near;
use crate::record::{Connection, Remark, SendRecord, WalkRecord};
use crate::sentence::sentence;
use crate::steps::made_by_key;

/// Name and version of the format.
pub const SCHEMA: &str = "pktwalk.trace/1";

/// One sent packet and what became of it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Position among the packets of the run, from 0.
    pub index: u32,
    /// What the text report calls it: its number in the capture, or its place among the packets of the run, from 1.
    pub number: u32,
    /// What became of the packet.
    #[serde(flatten)]
    pub walk: Walk,
    /// What became of the reply; null if none was walked.
    pub reply: Option<Walk>,
    /// What was taken for granted, each once, in order of first use.
    pub assumptions: Vec<AssumptionEntry>,
    /// What readers and the compiler had to say of the input; with the first packet of a run only.
    pub diagnostics: Vec<DiagnosticEntry>,
    /// Of all outcomes, which one the packet is of; null where only one was walked.
    pub outcome: Option<OutcomeEntry>,
}

/// One of the outcomes that chance allows.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct OutcomeEntry {
    /// From 1, the likeliest first.
    pub number: u32,
    /// How many there are.
    pub of: u32,
    /// From 0 to 1.
    pub probability: f64,
}

/// One packet's walk.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Walk {
    /// `DELIVERED`, `FORWARDED`, `DROPPED`, `REJECTED`, `CONSUMED`, `LOOP`, `LIMIT_REACHED` or `UNKNOWN`.
    pub disposition: &'static str,
    /// The kernel's `SKB_DROP_REASON_*` without that prefix, for dropped and rejected packets.
    pub reason: Option<&'static str>,
    /// The stable code: `pktwalk explain CODE` tells more. Null for packets that arrived.
    pub code: Option<&'static str>,
    /// One sentence for people. Its words may change.
    pub text: String,
    /// Where it was decided.
    pub at: Place,
    /// What made the packet: `given`, `icmp-error`, `reject-icmp`, `reject-reset`, `tcp-reset`, `echo-reply`, `timestamp-reply`, `arp`, `fragment`, `copy`.
    pub made_by: &'static str,
    /// The packet as it began.
    pub packet: PacketEntry,
    /// The frame that left, or the first if there were several; null if none did.
    pub out: Option<Frame>,
    /// Every frame that left, in order.
    pub frames: Vec<Frame>,
    /// Its connection at the end; null if it has none.
    pub ct: Option<Ct>,
    /// Of a packet that a chain dropped: the rule that would have accepted it but for one test; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<Nearest>,
    /// Visits of namespaces, in order.
    pub hops: Vec<JsonHop>,
    /// Packets that were made because of this one.
    pub children: Vec<Walk>,
}

/// Where something was decided. What does not apply is null.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Place {
    /// Node; empty if there is only one and it has no name.
    pub node: String,
    /// Namespace within the node; empty for the node's own.
    pub netns: String,
    /// Hook, as the kernel spells it (`FORWARD`).
    pub hook: Option<&'static str>,
    /// iptables table.
    pub table: Option<&'static str>,
    /// Chain.
    pub chain: Option<String>,
    /// 1-based position of the rule in its chain; null for a policy.
    pub rule: Option<u32>,
}

/// A rule that would have accepted a packet but for one test.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Nearest {
    /// iptables table.
    pub table: &'static str,
    /// Chain.
    pub chain: String,
    /// 1-based position of the rule in its chain.
    pub rule: u32,
    /// What stands after `-A CHAIN `, as iptables-save prints it.
    pub spec: String,
    /// Where it was read.
    pub source: Option<String>,
    /// The test that failed, as written.
    pub failed: String,
    /// What the packet has there; null if that is not one value.
    pub has: Option<String>,
    /// What it had there before it was translated; null if that is the same.
    pub had: Option<String>,
    /// How many other rules were missed by one test too, and are as near.
    pub others: u32,
}

fn nearest(packet: &PacketTrace, names: &dyn Names) -> Option<Nearest> {
    let near = near(packet, names)?;
    Some(Nearest {
        table: near.rule.chain.table.name(),
        chain: near.rule.chain.chain,
        rule: near.rule.position,
        spec: near.rule.spec,
        source: near.rule.location.map(|location| location.to_string()),
        failed: near.test,
        has: near.has,
        had: near.had,
        others: near.others,
    })
}

/// A packet.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PacketEntry {
    /// One line in the packet mini-language: `-p` reads it.
    pub text: String,
    /// Every byte, from the link-layer header on if there is one.
    pub hex: String,
}

/// A frame that left.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Frame {
    /// The device.
    pub dev: String,
    /// One line in the packet mini-language: `-p` reads it.
    pub packet: String,
    /// Every byte, from the link-layer header on if there is one.
    pub hex: String,
}

/// A packet's connection.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Ct {
    /// `NEW`, `ESTABLISHED`, `RELATED` or `UNTRACKED`.
    pub state: &'static str,
    /// `original` or `reply`; null if untracked.
    pub direction: Option<&'static str>,
    /// The tuple of the original direction.
    pub original: Option<String>,
    /// The tuple of the reply direction, with the translations applied.
    pub reply: Option<String>,
    /// The connection's mark.
    pub mark: Option<u32>,
    /// The kernel's `IPS_*` bits.
    pub status: Option<u32>,
    /// TCP state as `conntrack -L` prints it.
    pub tcp_state: Option<&'static str>,
}

/// One visit of one namespace.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct JsonHop {
    /// Node; empty if there is only one and it has no name.
    pub node: String,
    /// Namespace within the node; empty for the node's own.
    pub netns: String,
    /// The device that it was received by; null for a packet made there.
    pub dev: Option<String>,
    /// In order.
    pub steps: Vec<JsonStep>,
}

/// Something that was taken for granted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AssumptionEntry {
    /// Stable key.
    pub key: &'static str,
    /// One sentence.
    pub text: String,
    /// What overrides it: a flag or a file of the bundle.
    pub instead: String,
}

impl From<Assumed> for AssumptionEntry {
    fn from(assumed: Assumed) -> AssumptionEntry {
        AssumptionEntry { key: assumed.key, text: assumed.text, instead: assumed.instead }
    }
}

/// A remark on the input.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DiagnosticEntry {
    /// `note`, `warning` or `error`.
    pub severity: &'static str,
    /// One sentence.
    pub message: String,
    /// File of the bundle, where there is one place.
    pub file: Option<String>,
    /// 1-based line of it; null for the file as a whole.
    pub line: Option<u32>,
}

impl From<&Remark> for DiagnosticEntry {
    fn from(remark: &Remark) -> DiagnosticEntry {
        DiagnosticEntry {
            severity: severity_name(remark.severity),
            message: remark.message.clone(),
            file: remark.location.as_ref().map(|l| l.file.clone()),
            line: remark.location.as_ref().map(|l| l.line).filter(|line| *line > 0),
        }
    }
}

/// `note`, `warning` or `error`.
pub fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// The document of one sent packet. `remarks` are given with the first packet of a run.
pub fn document(send: &SendRecord, remarks: &[Remark], names: &dyn Names) -> Document {
    let mut assumptions: Vec<AssumptionEntry> = Vec::new();
    for walk in [Some(&send.request), send.reply.as_ref()].into_iter().flatten() {
        for recorded in walk.packets.iter().flat_map(|packet| &packet.steps) {
            if let Step::Assumed(assumption) = recorded.step {
                let entry = AssumptionEntry::from(assumed(assumption, names));
                if !assumptions.contains(&entry) {
                    assumptions.push(entry);
                }
            }
        }
    }
    Document {
        schema: SCHEMA,
        index: send.index,
        number: send.number,
        walk: walk(&send.request, 0, names),
        reply: send.reply.as_ref().map(|reply| walk(reply, 0, names)),
        assumptions,
        diagnostics: remarks.iter().map(DiagnosticEntry::from).collect(),
        outcome: None,
    }
}

fn walk(record: &WalkRecord, position: usize, names: &dyn Names) -> Walk {
    let Some(packet) = record.packets.get(position) else { return nothing(names) };
    let frames: Vec<Frame> = packet
        .frames
        .iter()
        .map(|(dev, frame)| Frame {
            dev: names.device(*dev),
            packet: packet_full(frame),
            hex: hex(frame.bytes()),
        })
        .collect();
    let end = packet.end.as_ref();
    Walk {
        disposition: end.map_or("UNKNOWN", |end| end.disposition.name()),
        reason: end.and_then(End::kernel_reason),
        code: end.and_then(End::code),
        text: sentence(packet, names),
        at: place(packet, names),
        made_by: made_by_key(packet.made_by),
        packet: packet_entry(&packet.start),
        out: frames.first().cloned(),
        frames,
        ct: ct(packet.ct, record),
        nearest: nearest(packet, names),
        hops: vec![JsonHop {
            node: names.node().to_owned(),
            netns: names.netns().to_owned(),
            dev: packet.in_dev.map(|dev| names.device(dev)),
            steps: packet.steps.iter().map(|recorded| json_step(recorded, record, names)).collect(),
        }],
        // Children begin after their parent, so positions grow and this ends.
        children: record.children(position).map(|child| walk(record, child, names)).collect(),
    }
}

/// Stands for a record without a packet, which no walk makes.
fn nothing(names: &dyn Names) -> Walk {
    Walk {
        disposition: "UNKNOWN",
        reason: None,
        code: None,
        text: "nothing was walked".to_owned(),
        at: Place {
            node: names.node().to_owned(),
            netns: names.netns().to_owned(),
            hook: None,
            table: None,
            chain: None,
            rule: None,
        },
        made_by: "given",
        packet: PacketEntry { text: String::new(), hex: String::new() },
        out: None,
        frames: Vec::new(),
        ct: None,
        nearest: None,
        hops: Vec::new(),
        children: Vec::new(),
    }
}

fn packet_entry(packet: &Packet) -> PacketEntry {
    PacketEntry { text: packet_full(packet), hex: hex(packet.bytes()) }
}

/// The hook of the last step that ran at one.
fn last_hook(packet: &PacketTrace) -> Option<Hook> {
    packet.steps.iter().rev().find_map(|recorded| match recorded.step {
        Step::Rule { hook, .. }
        | Step::ChainEnter { hook, .. }
        | Step::ChainEnd { hook, .. }
        | Step::ChainPolicy { hook, .. } => Some(hook),
        _ => None,
    })
}

fn place(packet: &PacketTrace, names: &dyn Names) -> Place {
    let mut place = Place {
        node: names.node().to_owned(),
        netns: names.netns().to_owned(),
        hook: None,
        table: None,
        chain: None,
        rule: None,
    };
    let Some(end) = &packet.end else { return place };
    let (hook, rule) = match (end.locus, end.because) {
        (Some(Locus::Rule { hook, rule }), _) => (Some(hook), Some(rule)),
        (Some(Locus::Policy { hook, chain }), _) => {
            let chain = names.chain(chain);
            place.table = Some(chain.table.name());
            place.chain = Some(chain.chain);
            (Some(hook), None)
        }
        (Some(Locus::Conntrack { hook }), _) | (None, Some(Because::RegistrationOrder { hook })) => {
            (Some(hook), None)
        }
        (None, Some(Because::Match { rule, .. } | Because::Target { rule } | Because::Set { rule, .. })) => {
            (last_hook(packet), Some(rule))
        }
        _ => (None, None),
    };
    place.hook = hook.map(hook_name);
    if let Some(rule) = rule {
        let rule = names.rule(rule);
        place.table = Some(rule.chain.table.name());
        place.chain = Some(rule.chain.chain);
        place.rule = Some(rule.position);
    }
    place
}

fn ct(ct: SkbCt, record: &WalkRecord) -> Option<Ct> {
    let mut out = Ct {
        state: "UNTRACKED",
        direction: None,
        original: None,
        reply: None,
        mark: None,
        status: None,
        tcp_state: None,
    };
    match ct {
        SkbCt::None | SkbCt::Attached => return None,
        SkbCt::Untracked => {}
        SkbCt::Entry { id, info } => {
            out.state = ct_state(info);
            out.direction = Some(if info.is_reply() { "reply" } else { "original" });
            if let Some(Connection { original, reply, mark, status, tcp_state }) = record.connections.get(&id)
            {
                out.original = Some(tuple_line(original));
                out.reply = Some(tuple_line(reply));
                out.mark = Some(*mark);
                out.status = Some(*status);
                out.tcp_state = *tcp_state;
            }
        }
    }
    Some(out)
}

/// What `--ctstate` calls it.
pub(crate) fn ct_state(info: CtInfo) -> &'static str {
    match info {
        CtInfo::New => "NEW",
        CtInfo::Established | CtInfo::EstablishedReply => "ESTABLISHED",
        CtInfo::Related | CtInfo::RelatedReply => "RELATED",
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out
}

/// Dotted.
pub(crate) fn dotted(addr: u32) -> String {
    Ipv4Addr::from(addr).to_string()
}

#[cfg(test)]
mod tests;
