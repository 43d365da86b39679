//! `pktwalk trace`.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use pktwalk_linux::reason::End;
use pktwalk_report::fold;
use pktwalk_report::json::{OutcomeEntry, document};
use pktwalk_report::text::{Detail, TextOptions, render};
use pktwalk_report::{Names, Remark, SendRecord};
use pktwalk_scenario::case::Case;
use pktwalk_scenario::model::{Compiled, ModelEngine};

use crate::args::{Format, Level, Trace};
use crate::exit::Exit;
use crate::input;
use crate::output::Out;

mod outcomes;

/// Walks the packets and prints what became of them.
pub fn run(out: &Out, args: &Trace) -> anyhow::Result<Exit> {
    let case = input::case(out, &args.source, &args.packets)?;
    if args.all_outcomes {
        return outcomes::run(out, &case, args.detail, args.output);
    }
    walk(out, &case, args.detail, args.output)
}

/// Walks the packets of a case and prints each when it has ended: a capture may hold millions.
pub fn walk(out: &Out, case: &Case, detail: Level, format: Format) -> anyhow::Result<Exit> {
    let compiled = Compiled::of(case)?;
    let names = compiled.names();
    let printer =
        Printer { out, names: &names, detail, format, several: case.sends.len() > 1, outcome: None };
    if format == Format::Text {
        out.remarks(&compiled.remarks);
    }
    let mut exit = Exit::Ok;
    let (mut packets, mut replies) = (Tally::default(), Tally::default());
    let walked = ModelEngine::new().walk_each(case, &compiled, |walked| {
        exit = exit.worse(exit_of(&walked.record));
        packets.add(walked.record.request.end());
        replies.add(walked.record.reply.as_ref().and_then(|reply| reply.end()));
        printer.print(&walked.record, &compiled.remarks)
    });
    if walked.is_ok() && printer.several && format == Format::Text {
        if detail != Level::Minimal {
            out.text("\n")?;
        }
        out.text(&fold(
            &format!("{}{}", packets.line("packet", "packets"), replies.line("reply", "replies")),
            out.width(),
        ))?;
    }
    // What was printed before something went wrong stands before what is said of it.
    out.flush()?;
    walked.map(|()| exit)
}

/// How many packets ended how.
#[derive(Default)]
struct Tally {
    ends: BTreeMap<(&'static str, &'static str), usize>,
}

impl Tally {
    fn add(&mut self, end: Option<&End>) {
        if let Some(end) = end {
            *self.ends.entry((end.disposition.name(), end.code().unwrap_or(""))).or_default() += 1;
        }
    }

    /// `3 packets: 2 FORWARDED, 1 DROPPED RULE_DROP`, and nothing where there were none.
    fn line(&self, one: &str, more: &str) -> String {
        let all: usize = self.ends.values().sum();
        if all == 0 {
            return String::new();
        }
        let mut ends: Vec<_> = self.ends.iter().collect();
        ends.sort_by_key(|(_, count)| Reverse(**count));
        let each: Vec<String> = ends
            .into_iter()
            .map(|((disposition, code), count)| format!("{count} {disposition} {code}").trim_end().to_owned())
            .collect();
        format!("{all} {}: {}\n", if all == 1 { one } else { more }, each.join(", "))
    }
}

/// A reply that does not arrive is a connection that does not work.
fn exit_of(record: &SendRecord) -> Exit {
    let ends = [record.request.end(), record.reply.as_ref().and_then(|reply| reply.end())];
    ends.into_iter().flatten().map(|end| Exit::of(end.disposition)).fold(Exit::Ok, Exit::worse)
}

/// Prints packets in the form that was asked for.
struct Printer<'a> {
    out: &'a Out,
    names: &'a dyn Names,
    detail: Level,
    format: Format,
    several: bool,
    /// One of all outcomes.
    outcome: Option<OutcomeEntry>,
}

impl Printer<'_> {
    fn text(&self, record: &SendRecord, detail: Level, color: bool) -> String {
        let options = TextOptions {
            detail: match detail {
                Level::Minimal => Detail::Minimal,
                Level::Summary => Detail::Summary,
                Level::Full => Detail::Full,
            },
            color,
            width: self.out.width(),
            numbered: self.several,
        };
        render(record, &[], self.names, &options)
    }

    /// `remarks` go with the first packet.
    fn print(&self, record: &SendRecord, remarks: &[Remark]) -> anyhow::Result<()> {
        if self.out.unread() {
            return Ok(());
        }
        let first = record.index == 0;
        if self.format == Format::Text {
            let mut text =
                if first || self.detail == Level::Minimal { String::new() } else { "\n".to_owned() };
            text.push_str(&self.text(record, self.detail, self.out.colors()));
            return self.out.text_of_many(&text);
        }
        let mut document = document(record, if first { remarks } else { &[] }, self.names);
        document.outcome = self.outcome;
        let mut text = if self.format == Format::Json {
            serde_json::to_string_pretty(&document)?
        } else {
            serde_json::to_string(&document)?
        };
        text.push('\n');
        self.out.text_of_many(&text)
    }
}
