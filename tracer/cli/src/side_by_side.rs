//! Two engines' runs of one case as text: of every packet what was compared, and a `!` where a difference was found.

use std::fmt::Write as _;

use pktwalk_report::SendRecord;
use pktwalk_report::flow::{packet_line, protocol};
use pktwalk_scenario::compare::{Compared, Difference, What, Whole};
use pktwalk_scenario::confirm::{Agreement, Confirmation};
use pktwalk_scenario::event::{FrameOut, PacketRun, ScenarioEvent};

use crate::exit::Exit;

/// One backend's runs.
pub struct Side {
    /// Side by side, the verdict at the end.
    pub text: String,
    /// The verdict in one line.
    pub verdict: String,
    /// What they come to.
    pub exit: Exit,
}

/// The word of a verdict.
fn word(agreement: Agreement) -> &'static str {
    match agreement {
        Agreement::Agree => "AGREE",
        Agreement::Unknown => "UNKNOWN",
        Agreement::Unconfirmed => "NOT CONFIRMED",
        Agreement::Differ => "DIFFER",
    }
}

/// The verdict on several backends' runs in one line: the word of the one that matters most, then all of them.
pub fn overall(confirmations: &[Confirmation]) -> String {
    let rank = |agreement| match agreement {
        Agreement::Agree => 0,
        Agreement::Unknown => 1,
        Agreement::Unconfirmed => 2,
        Agreement::Differ => 3,
    };
    let worst = confirmations.iter().map(Confirmation::agreement).max_by_key(|agreement| rank(*agreement));
    let each: Vec<String> = confirmations
        .iter()
        .map(|confirmation| {
            let on = confirmation.backend.map_or("as given".to_owned(), |backend| format!("on {backend}"));
            format!("{on} {}", word(confirmation.agreement()))
        })
        .collect();
    format!("{}  rules {}", worst.map_or("", word), each.join(", "))
}

/// One backend's runs in text, and what they come to.
pub fn side_by_side(confirmation: &Confirmation) -> Side {
    let mut text = String::new();
    let on =
        confirmation.backend.map_or("rules as given".to_owned(), |backend| format!("rules on {backend}"));
    let release = confirmation.other.kernel.as_deref().unwrap_or("unknown release");
    let unknown = if confirmation.unlike.is_some() {
        ", ? not judged"
    } else if confirmation.differences.iter().any(|each| confirmation.is_only_unknown(each)) {
        ", ? the model does not know"
    } else {
        ""
    };
    let _ = writeln!(text, "kernel {release}, {on}; = both saw it, ! they differ{unknown}\n");
    if let Some(backend) = confirmation.left_out {
        let _ = writeln!(text, "tables of {backend} hold no rules: they are left out\n");
    }
    for one in &confirmation.not_made {
        let _ = writeln!(text, "left out of the kernel's connection table: {one}\n");
    }
    if !confirmation.assumed.is_empty() {
        let names = confirmation.assumed.iter().map(|&(of, port)| format!("{} {port}", protocol(of)));
        let names: Vec<String> = names.collect();
        let _ = writeln!(
            text,
            "opened in the kernel, as the model assumes that something listens: {}\n",
            names.join(", ")
        );
    }
    for gap in &confirmation.other.gaps {
        let _ = writeln!(text, "not confirmed: {gap}\n");
    }
    let of_model = confirmation.model.run.sends.iter().flat_map(|send| &send.packets);
    let mut backends = of_model.flat_map(|packet| &packet.events).map(|event| event.backend);
    let first = backends.next();
    let both = backends.any(|backend| Some(backend) != first);
    let mut events = 0;
    let sends = confirmation.model.run.sends.iter().zip(&confirmation.other.sends);
    for (number, (model, kernel)) in sends.enumerate() {
        let record = model.record.as_ref();
        let Compared { left, right } = Compared::of(model, kernel);
        for at in 0..left.len().max(right.len()) {
            let start = left.get(at).map(|whole| started(record, whole.at));
            if at == 0 {
                // By its number in a capture, if it is of one.
                let called = record.map_or(number + 1, |record| record.number as usize);
                let _ = writeln!(text, "packet {called}: {}", start.unwrap_or_default());
            } else {
                let start = start.unwrap_or_else(|| "not on the model".to_owned());
                let _ = writeln!(text, "  because of it: {start}");
            }
            match (left.get(at), right.get(at)) {
                (Some(whole), Some(kernel)) => {
                    let here = Here { confirmation, send: number, packet: at, both };
                    events += here.both(&mut text, whole, kernel);
                    for copy in &whole.copies {
                        let end = model.packets.get(*copy).and_then(ended).unwrap_or_default();
                        let _ = writeln!(text, "     with its copy {}: {end}", started(record, *copy));
                    }
                }
                // That they are not equally many is a difference of the whole.
                (Some(alone), None) => one(&mut text, "model", alone),
                (None, Some(alone)) => one(&mut text, "kernel", alone),
                (None, None) => {}
            }
        }
        for difference in confirmation.differences.iter().filter(|d| d.send == number && d.packet.is_none()) {
            let _ = writeln!(text, "  {}  (model | kernel) {difference}", mark(confirmation, difference));
        }
    }
    let packets = confirmation.model.run.sends.len();
    let so_far = format!("{}, {}", count(packets, "packet"), count(events, "event"));
    let agreement = confirmation.agreement();
    let counted = match agreement {
        Agreement::Differ => count(confirmation.differences.len(), "difference"),
        _ => so_far,
    };
    let verdict = format!("{}  {counted}, {on}, kernel {release}", word(agreement));
    let _ = writeln!(text, "\n{verdict}");
    let exit = match agreement {
        Agreement::Agree => Exit::Ok,
        Agreement::Unknown => {
            let _ = writeln!(
                text,
                "as far as the model knows they agree, but it does not know what becomes of a packet: see pktwalk trace"
            );
            Exit::Unknown
        }
        Agreement::Unconfirmed => {
            let _ = match confirmation.unlike {
                Some(first) => {
                    writeln!(text, "from {} on nothing is judged: see above", called(confirmation, first))
                }
                None => writeln!(
                    text,
                    "no difference was seen, but the kernel did not run, or did not show, all of it: see above"
                ),
            };
            Exit::Unknown
        }
        Agreement::Differ => {
            if let Some(first) = confirmation.differences.first() {
                let _ = writeln!(text, "first (model | kernel): {first}");
            }
            if confirmation.undecided().next().is_none() {
                Exit::Bad
            } else {
                let _ = writeln!(text, "the model does not know what becomes of a packet: see pktwalk trace");
                Exit::Unknown
            }
        }
    };
    Side { text, verdict, exit }
}

/// The packet at this position, by its number in a capture if it is of one.
fn called(confirmation: &Confirmation, at: usize) -> String {
    let record = confirmation.model.run.sends.get(at).and_then(|send| send.record.as_ref());
    format!("packet {}", record.map_or(at + 1, |record| record.number as usize))
}

/// `1 packet`, `2 packets`.
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A packet of the model as it started.
fn started(record: Option<&SendRecord>, at: usize) -> String {
    let packet = record.and_then(|record| record.request.packets.get(at));
    packet.map(|packet| packet_line(&packet.start)).unwrap_or_default()
}

/// How the model says that a packet ended.
fn ended(packet: &PacketRun) -> Option<String> {
    let code = packet.code.map(|code| format!(" {code}")).unwrap_or_default();
    packet.disposition.map(|disposition| format!("{}{code}", disposition.name()))
}

fn out(frame: &FrameOut) -> String {
    format!("out by {}: {}", frame.dev, packet_line(&frame.packet))
}

/// What stands before a difference: nothing is wrong where the model only does not know.
fn mark(confirmation: &Confirmation, difference: &Difference) -> char {
    if confirmation.is_only_unknown(difference) { '?' } else { '!' }
}

/// A packet that only one engine saw.
fn one(text: &mut String, who: &str, alone: &Whole) {
    for event in &alone.run.events {
        let _ = writeln!(text, "     {who}: {event}");
    }
    for frame in &alone.run.frames {
        let _ = writeln!(text, "     {who}: {}", out(frame));
    }
}

/// One packet of both engines.
struct Here<'a> {
    confirmation: &'a Confirmation,
    send: usize,
    packet: usize,
    /// Whether there are events of both backends, so that each has to say whose it is.
    both: bool,
}

impl Here<'_> {
    fn differences(&self) -> impl Iterator<Item = &Difference> {
        let here =
            |difference: &&Difference| (difference.send, difference.packet) == (self.send, Some(self.packet));
        self.confirmation.differences.iter().filter(here)
    }

    /// The events up to the first that differs, the frames and the end; how many events were the same.
    fn both(&self, text: &mut String, model: &Whole, kernel: &Whole) -> usize {
        let event = self.differences().find_map(|difference| match &difference.what {
            What::Event(at, left, right) => Some((difference, *at, left, right)),
            _ => None,
        });
        let same = event.map_or(model.run.events.len(), |(_, at, ..)| at);
        let named = |event: &ScenarioEvent| {
            let of = if self.both { format!("{} ", event.backend) } else { String::new() };
            format!("{of}{event}")
        };
        for event in model.run.events.iter().take(same) {
            let _ = writeln!(text, "  =  {}", named(event));
        }
        if let Some((difference, _, left, right)) = event {
            let show = |event: &Option<Box<ScenarioEvent>>| {
                event.as_deref().map_or_else(|| "nothing more".to_owned(), named)
            };
            let _ = writeln!(text, "  {}  model:  {}", mark(self.confirmation, difference), show(left));
            let _ = writeln!(text, "     kernel: {}", show(right));
        }
        let frames = self.differences().any(|difference| {
            matches!(difference.what, What::Frames(..) | What::FrameBytes(..) | What::LinkHeader(..))
        });
        if !frames {
            for frame in &model.run.frames {
                let _ = writeln!(text, "  =  {}", out(frame));
            }
        }
        let sent = self.confirmation.model.run.sends.get(self.send);
        if let Some(end) = sent.and_then(|send| send.packets.get(model.at)).and_then(ended) {
            // The kernel does not always tell; of a packet that was copied never.
            let told = model.run.disposition.is_some() && kernel.run.disposition == model.run.disposition;
            let _ = writeln!(text, "  {}  {end}", if told { '=' } else { ' ' });
        }
        for difference in self.differences().filter(|each| !matches!(each.what, What::Event(..))) {
            let _ =
                writeln!(text, "  {}  (model | kernel) {difference}", mark(self.confirmation, difference));
        }
        same
    }
}

#[cfg(test)]
mod tests;
