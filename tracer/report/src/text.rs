//! The text report, in three levels.
//!
//! * minimal: the verdict, and the rule, route or policy that decided. Stable enough to compare with `diff`.
//! * summary: the verdict first and last, and between them what changed or decided, by hook and chain.
//! * full: every step, numbered.

use pktwalk_linux::diag::Severity;
use pktwalk_linux::ids::ChainId;
use pktwalk_linux::reason::{Because, Disposition, Locus};
use pktwalk_linux::skb::MadeBy;
use pktwalk_linux::trace::{PacketTrace, RecordedStep, RuleVerdict, Step};

use crate::assume::assumed;
use crate::chains::{Place, places};
use crate::flow::{Flow, packet_full, packet_line};
use crate::layout::{Line, Paper, Tone};
use crate::names::Names;
use crate::nearest::near;
use crate::record::{Remark, SendRecord, WalkRecord};
use crate::sentence::{code, instead, last_flow, place, returned, sentence};
use crate::steps::{made_by, words};

/// How much is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Detail {
    /// The verdict and what decided.
    Minimal,
    /// What changed or decided.
    #[default]
    Summary,
    /// Every step.
    Full,
}

/// How it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TextOptions {
    /// How much.
    pub detail: Detail,
    /// With ANSI colours. A writer that goes to no terminal strips them, or leaves this off.
    pub color: bool,
    /// Columns to keep to where words allow it.
    pub width: usize,
    /// Puts the packet's number before its verdict: for runs of several.
    pub numbered: bool,
}

impl Default for TextOptions {
    fn default() -> TextOptions {
        TextOptions { detail: Detail::Summary, color: false, width: 80, numbered: false }
    }
}

/// The report of one sent packet. `remarks` are what readers and the compiler had to say of the input; they are given with one packet of a run.
pub fn render(send: &SendRecord, remarks: &[Remark], names: &dyn Names, options: &TextOptions) -> String {
    let mut paper = Paper::new(options.width, options.color);
    let writer = Writer { names, options };
    let number = if options.numbered { format!("{}: ", send.number) } else { String::new() };
    if options.detail == Detail::Minimal {
        writer.verdict(&mut paper, &send.request, 0, 0, &number);
        writer.decided_by(&mut paper, &send.request, 0, 2);
        writer.assumptions(&mut paper, &send.request, 2);
        if let Some(reply) = &send.reply {
            writer.verdict(&mut paper, reply, 0, 0, "reply: ");
            writer.decided_by(&mut paper, reply, 0, 2);
            writer.assumptions(&mut paper, reply, 2);
        }
        writer.remarks(&mut paper, remarks);
        return paper.finish();
    }
    writer.verdict(&mut paper, &send.request, 0, 0, &number);
    writer.facts(&mut paper, &send.request, 0, 2);
    if let Some(reply) = &send.reply {
        writer.verdict(&mut paper, reply, 0, 0, "reply: ");
    }
    paper.blank();
    writer.packet(&mut paper, &send.request, 0, 0);
    if let Some(reply) = &send.reply {
        paper.blank();
        paper.line(&Line::new(0, Tone::Head, "the reply"));
        writer.facts(&mut paper, reply, 0, 2);
        writer.packet(&mut paper, reply, 0, 2);
    }
    paper.blank();
    writer.remarks(&mut paper, remarks);
    writer.verdict(&mut paper, &send.request, 0, 0, &number);
    if let Some(reply) = &send.reply {
        writer.verdict(&mut paper, reply, 0, 0, "reply: ");
    }
    paper.finish()
}

struct Writer<'a> {
    names: &'a dyn Names,
    options: &'a TextOptions,
}

impl Writer<'_> {
    fn verdict(&self, paper: &mut Paper, walk: &WalkRecord, position: usize, indent: usize, before: &str) {
        let Some(packet) = walk.packets.get(position) else { return };
        let Some(end) = &packet.end else {
            paper.line(&Line::new(indent, Tone::Unsure, "the walk was not finished"));
            return;
        };
        let place = place(end, self.names);
        let sentence = sentence(packet, self.names);
        let text = if place.is_empty() { sentence } else { format!("{place}: {sentence}") };
        paper.line(
            &Line::new(indent, Tone::Plain, text)
                .label(tone(end.disposition), format!("{before}{}", end.disposition.name()))
                .note(code(end)),
        );
    }

    /// What the verdict on the given packet rests on, in one line.
    fn assumptions(&self, paper: &mut Paper, walk: &WalkRecord, indent: usize) {
        let mut texts: Vec<String> = Vec::new();
        for recorded in walk.packets.first().into_iter().flat_map(|packet| &packet.steps) {
            if let Step::Assumed(assumption) = recorded.step {
                let text = assumed(assumption, self.names).text;
                if !texts.contains(&text) {
                    texts.push(text);
                }
            }
        }
        if !texts.is_empty() {
            paper.line(&Line::new(indent, Tone::Unsure, texts.join("; ")).label(Tone::Dim, "assumed"));
        }
    }

    /// The packet in a line, or in full where everything is told.
    fn packet_text(&self, packet: &pktwalk_packet::Packet) -> String {
        if self.options.detail == Detail::Full { packet_full(packet) } else { packet_line(packet) }
    }

    /// The chains that were entered on the way to a policy and left without a decision: `, through DMZ`.
    fn through(&self, packet: &PacketTrace, base: ChainId) -> String {
        /// More are only counted.
        const NAMED: usize = 4;
        let enter = |recorded: &RecordedStep| matches!(recorded.step, Step::ChainEnter { chain, .. } if chain == base);
        let from = packet.steps.iter().rposition(enter).unwrap_or(0);
        let mut through: Vec<ChainId> = Vec::new();
        for recorded in packet.steps.iter().skip(from) {
            if let Step::Rule { verdict: RuleVerdict::Jump(to) | RuleVerdict::Goto(to), .. } = recorded.step
                && !through.contains(&to)
            {
                through.push(to);
            }
        }
        match through.len() {
            0 => String::new(),
            1..=NAMED => {
                let names: Vec<String> = through.iter().map(|chain| self.names.chain(*chain).chain).collect();
                format!(", through {}", names.join(", "))
            }
            more => format!(", through {more} chains"),
        }
    }

    /// The rule that would have accepted the packet but for one test.
    fn nearest(&self, paper: &mut Paper, walk: &WalkRecord, position: usize, indent: usize) {
        let Some(near) = walk.packets.get(position).and_then(|packet| near(packet, self.names)) else {
            return;
        };
        let rule = format!("-A {} {}", near.rule.chain.chain, near.rule.spec);
        let location = near.rule.location.as_ref().map(ToString::to_string).unwrap_or_default();
        paper.line(
            &Line::new(indent, Tone::Plain, rule.trim_end()).label(Tone::Dim, "nearest").note(location),
        );
        paper.line(&Line::new(indent, Tone::Change, near.why()).label(Tone::Dim, "       "));
    }

    /// The rule, policy or route that decided, as its tool prints it.
    fn decided_by(&self, paper: &mut Paper, walk: &WalkRecord, position: usize, indent: usize) {
        let Some(end) = walk.packets.get(position).and_then(|packet| packet.end.as_ref()) else { return };
        let rule = match (end.locus, end.because) {
            (Some(Locus::Rule { rule, .. }), _) => Some(rule),
            (
                None,
                Some(Because::Match { rule, .. } | Because::Target { rule } | Because::Set { rule, .. }),
            ) => Some(rule),
            _ => None,
        };
        let location =
            |location: Option<crate::names::Location>| location.map(|l| l.to_string()).unwrap_or_default();
        if let Some(rule) = rule {
            let rule = self.names.rule(rule);
            paper.line(
                &Line::new(indent, Tone::Plain, format!("-A {} {}", rule.chain.chain, rule.spec).trim_end())
                    .label(Tone::Dim, "rule   "),
            );
            let backend =
                if self.names.two_backends() { format!(" ({})", rule.chain.backend) } else { String::new() };
            paper.line(
                &Line::new(
                    indent,
                    Tone::Dim,
                    format!(
                        "table {}{backend}, chain {}, rule {} of {}",
                        rule.chain.table, rule.chain.chain, rule.position, rule.chain.rules
                    ),
                )
                .label(Tone::Dim, "       ")
                .note(location(rule.location)),
            );
            return;
        }
        match end.locus {
            Some(Locus::Policy { chain: id, .. }) => {
                let chain = self.names.chain(id);
                let returned = walk.packets.get(position).and_then(|packet| returned(packet, id, self.names));
                let after = match returned {
                    Some(rule) => format!("after rule {} of {}", rule.position, chain.rules),
                    None => format!("after {} rules", chain.rules),
                };
                let through = walk.packets.get(position).map(|packet| self.through(packet, id));
                let after = after + &through.unwrap_or_default();
                paper.line(
                    &Line::new(
                        indent,
                        Tone::Plain,
                        format!("table {}, chain {}: DROP, {after}", chain.table, chain.chain),
                    )
                    .label(Tone::Dim, "policy ")
                    .note(location(chain.location)),
                );
            }
            Some(Locus::Route(route)) => {
                let route = self.names.route(route);
                paper.line(
                    &Line::new(indent, Tone::Plain, route.text)
                        .label(Tone::Dim, "route  ")
                        .note(location(route.location)),
                );
            }
            Some(Locus::RoutingRule(rule)) => {
                let rule = self.names.routing_rule(rule);
                paper.line(
                    &Line::new(indent, Tone::Plain, rule.text)
                        .label(Tone::Dim, "rule   ")
                        .note(location(rule.location)),
                );
            }
            Some(Locus::Subsystem(function)) => paper.line(
                &Line::new(indent, Tone::Dim, format!("the kernel decides this in {function}"))
                    .label(Tone::Dim, "where  "),
            ),
            Some(Locus::Rule { .. } | Locus::Conntrack { .. } | Locus::Device(_)) | None => {}
        }
        let unmodelled = match end.because {
            Some(Because::State(state)) => Some(("state  ", self.names.unmodelled(state))),
            Some(Because::Route(route)) => Some(("route  ", self.names.route(route))),
            Some(Because::RoutingRule(rule)) => Some(("rule   ", self.names.routing_rule(rule))),
            Some(Because::Device(dev)) => {
                let kind = self.names.device_kind(dev);
                let text = format!("{}, {}", self.names.device(dev), kind.text);
                Some(("device ", crate::names::Described { text, ..kind }))
            }
            _ => None,
        };
        if let Some((label, what)) = unmodelled {
            let instead = matches!(end.because, Some(Because::State(_))).then(|| instead(&what.text));
            paper.line(
                &Line::new(indent, Tone::Plain, what.text)
                    .label(Tone::Dim, label)
                    .note(location(what.location)),
            );
            if let Some(instead) = instead {
                paper.line(&Line::new(indent, Tone::Plain, instead).label(Tone::Dim, "instead"));
            }
        }
    }

    /// What stands under the verdict: the packet, what became of it, and what decided.
    fn facts(&self, paper: &mut Paper, walk: &WalkRecord, position: usize, indent: usize) {
        let Some(packet) = walk.packets.get(position) else { return };
        let from = match packet.in_dev {
            Some(dev) => format!("received by {}", self.names.device(dev)),
            None => "made here".to_owned(),
        };
        paper.line(
            &Line::new(indent, Tone::Plain, format!("{}, {from}", self.packet_text(&packet.start)))
                .label(Tone::Dim, "packet "),
        );
        if let (Some(first), Some(last)) = (Flow::of(&packet.start), last_flow(packet)) {
            // Arrived packets are shown as they arrived in the verdict itself.
            let stuck = packet.frames.is_empty();
            if stuck && (first.ends() != last.ends()) {
                paper.line(&Line::new(indent, Tone::Change, last.to_string()).label(Tone::Dim, "now    "));
            }
        }
        self.decided_by(paper, walk, position, indent);
        self.nearest(paper, walk, position, indent);
        if let Some(code) = packet.end.as_ref().and_then(|end| end.code) {
            let reason = code.kernel_reason();
            if reason != "NOT_SPECIFIED" {
                paper.line(
                    &Line::new(indent, Tone::Dim, format!("SKB_DROP_REASON_{reason}"))
                        .label(Tone::Dim, "kernel "),
                );
            }
        }
        for child in walk.children(position) {
            let Some(made) = walk.packets.get(child) else { continue };
            let end = made.end.as_ref().map_or("not finished", |end| end.disposition.name());
            paper.line(
                &Line::new(
                    indent,
                    Tone::Plain,
                    format!(
                        "{}: {}, {}",
                        made_by(made.made_by),
                        self.packet_text(&made.start),
                        end.to_lowercase()
                    ),
                )
                .label(Tone::Dim, "answer "),
            );
        }
    }

    /// The steps of a packet, then those of the packets made because of it, indented below it.
    fn packet(&self, paper: &mut Paper, walk: &WalkRecord, position: usize, indent: usize) {
        let Some(packet) = walk.packets.get(position) else { return };
        // Children begin after their parent, so the positions grow and this ends.
        self.steps(paper, walk, packet, indent);
        for child in walk.children(position) {
            let Some(made) = walk.packets.get(child) else { continue };
            paper.blank();
            let indent = indent + 2;
            paper.line(
                &Line::new(indent, Tone::Head, self.packet_text(&made.start))
                    .label(Tone::Head, format!("{}:", made_by(made.made_by))),
            );
            self.packet(paper, walk, child, indent);
            self.verdict(paper, walk, child, indent, "");
        }
    }

    fn steps(&self, paper: &mut Paper, walk: &WalkRecord, packet: &PacketTrace, indent: usize) {
        let full = self.options.detail == Detail::Full;
        let gutter = if full { 5 } else { 0 };
        let places = places(packet, self.names);
        let mut at = Printed { hook: None, chain: None, jumped: None };
        let mut hidden = 0usize;
        if packet.made_by == MadeBy::Injected && packet.in_dev.is_none() {
            paper.line(&Line::new(indent + gutter, Tone::Head, "made here"));
        }
        for (index, here) in places.iter().enumerate() {
            if !here.shown && !full {
                hidden += 1;
                continue;
            }
            self.headings(paper, here, &mut at, indent + gutter, full);
            let step = &packet.steps[index].step;
            let words = words(walk, packet, index, self.names, full);
            let column = indent + gutter + own_indent(step, here);
            let mut line = Line::new(column, words.tone, words.body).note(words.note);
            if !words.label.is_empty() {
                line = line.label(Tone::Dim, words.label);
            }
            if full {
                line.gutter = format!("{}{:>width$}", " ".repeat(indent), index + 1, width = gutter - 2);
            }
            paper.line(&line);
            if let Some(change) = words.change {
                let tone = if matches!(step, Step::Assumed(_)) { Tone::Dim } else { Tone::Change };
                paper.line(&Line::new(column + 3, tone, change));
            }
            at.chain = here.chain.map(|chain| (chain, here.depth)).or(at.chain);
            at.jumped = match *step {
                Step::Rule { verdict: RuleVerdict::Jump(to), .. } => Some(to),
                _ => None,
            };
        }
        if hidden > 0 {
            paper.line(&Line::new(
                indent,
                Tone::Dim,
                format!(
                    "({hidden} of {} steps changed nothing and are not shown; --detail full shows all)",
                    places.len()
                ),
            ));
        }
    }

    /// The hook's and the chain's name, where they are others than those of the line before.
    fn headings(&self, paper: &mut Paper, here: &Place, at: &mut Printed, indent: usize, full: bool) {
        if here.hook != at.hook {
            at.hook = here.hook;
            at.chain = None;
            if let Some(hook) = here.hook {
                paper.line(&Line::new(indent + 2, Tone::Head, hook.name()));
            }
        }
        let Some(chain) = here.chain else { return };
        if at.chain == Some((chain, here.depth)) || here.depth == 0 {
            return;
        }
        // A chain that the line above jumps to needs no heading; one that is come back to has had its own.
        let came_back = at.chain.is_some_and(|(_, depth)| depth > here.depth);
        if at.jumped == Some(chain) || came_back || full {
            return;
        }
        paper.line(&Line::new(indent + 4 + 2 * here.depth, Tone::Head, self.names.chain(chain).chain));
    }

    fn remarks(&self, paper: &mut Paper, remarks: &[Remark]) {
        for remark in remarks {
            let (tone, word) = match remark.severity {
                Severity::Note => (Tone::Dim, "note"),
                Severity::Warning => (Tone::Unsure, "warning"),
                Severity::Error => (Tone::Bad, "error"),
            };
            paper.line(
                &Line::new(0, Tone::Plain, remark.message.as_str())
                    .label(tone, word)
                    .note(remark.location.as_ref().map(ToString::to_string).unwrap_or_default()),
            );
        }
        if !remarks.is_empty() && self.options.detail != Detail::Minimal {
            paper.blank();
        }
    }
}

/// What the lines so far have said.
struct Printed {
    hook: Option<pktwalk_linux::hook::Hook>,
    chain: Option<(ChainId, usize)>,
    jumped: Option<ChainId>,
}

fn own_indent(step: &Step, here: &Place) -> usize {
    match step {
        Step::Rx { .. } => 0,
        Step::ChainEnter { .. } => 4,
        _ => match (here.hook, here.chain) {
            (_, Some(_)) => 6 + 2 * here.depth.min(12),
            (Some(_), None) => 4,
            (None, None) => 2,
        },
    }
}

fn tone(disposition: Disposition) -> Tone {
    match disposition {
        Disposition::Delivered | Disposition::Forwarded | Disposition::Consumed => Tone::Good,
        Disposition::Dropped | Disposition::Rejected | Disposition::Loop | Disposition::LimitReached => {
            Tone::Bad
        }
        Disposition::Unknown => Tone::Unsure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{publishing_node, rejected_after_dnat};

    fn text(detail: Detail) -> String {
        let names = publishing_node();
        let send = rejected_after_dnat(&names);
        render(&send, &[], &names, &TextOptions { detail, ..TextOptions::default() })
    }

    #[test]
    fn minimal() {
        insta::assert_snapshot!(text(Detail::Minimal));
    }

    #[test]
    fn summary() {
        insta::assert_snapshot!(text(Detail::Summary));
    }

    #[test]
    fn full() {
        insta::assert_snapshot!(text(Detail::Full));
    }
}
