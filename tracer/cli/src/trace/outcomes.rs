//! `pktwalk trace --all-outcomes`: every way that chance allows, those that end alike as one.

use pktwalk_report::json::OutcomeEntry;
use pktwalk_scenario::case::Case;
use pktwalk_scenario::model::Compiled;
use pktwalk_scenario::outcomes::{Way, Ways, all_ways};

use super::{Printer, exit_of};
use crate::args::{Format, Level};
use crate::exit::Exit;
use crate::output::Out;

/// Packets that are walked at most.
const MOST: usize = 10_000;

/// Ways with the same verdicts: the likeliest, and what all of them come to.
struct Outcome {
    verdicts: String,
    way: Way,
    probability: f64,
}

/// Walks all ways and prints each outcome, the likeliest first.
pub fn run(out: &Out, case: &Case, detail: Level, format: Format) -> anyhow::Result<Exit> {
    let compiled = Compiled::of(case)?;
    anyhow::ensure!(
        !compiled.has_two_orders(),
        "--all-outcomes: nothing says which backend's rules run first: say it, --assume backend-order=nft,legacy or legacy,nft"
    );
    let names = compiled.names();
    let mut printer =
        Printer { out, names: &names, detail, format, several: case.sends.len() > 1, outcome: None };
    if format == Format::Text {
        out.remarks(&compiled.remarks);
    }
    let Ways { ways, more } = all_ways(case, &compiled, MOST)?;
    let walked = ways.len();
    let seen: f64 = ways.iter().map(|way| way.probability).sum();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for way in ways {
        let verdicts = way.sends.iter().map(|record| printer.text(record, Level::Minimal, false)).collect();
        match outcomes.iter_mut().find(|outcome| outcome.verdicts == verdicts) {
            Some(outcome) => {
                outcome.probability += way.probability;
                if way.probability > outcome.way.probability {
                    outcome.way = way;
                }
            }
            None => outcomes.push(Outcome { verdicts, probability: way.probability, way }),
        }
    }
    outcomes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let mut exit = if more { Exit::Unknown } else { Exit::Ok };
    let of = outcomes.len() as u32;
    for (at, outcome) in outcomes.iter().enumerate() {
        let entry = OutcomeEntry { number: at as u32 + 1, of, probability: outcome.probability };
        printer.outcome = Some(entry);
        if format == Format::Text && !out.unread() {
            let before = if at == 0 { "" } else { "\n" };
            out.text_of_many(&format!(
                "{before}outcome {} of {of}, probability {}\n",
                entry.number,
                percent(entry.probability)
            ))?;
        }
        for record in &outcome.way.sends {
            exit = exit.worse(exit_of(record));
            printer.print(record, &compiled.remarks)?;
        }
    }
    if more && format == Format::Text && !out.unread() {
        out.text_of_many(&format!(
            "\nUNKNOWN  {walked} ways were walked, and there are more: probability {}\n",
            percent((1.0 - seen).max(0.0))
        ))?;
    }
    out.flush()?;
    Ok(exit)
}

/// With as many digits as tell it from nothing and from all.
fn percent(probability: f64) -> String {
    let percent = probability * 100.0;
    if percent == 0.0 || (0.01..=99.99).contains(&percent) || percent >= 100.0 {
        let text = format!("{percent:.2}");
        return format!("{} %", text.trim_end_matches('0').trim_end_matches('.'));
    }
    format!("{percent:.3e} %")
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn shares_are_told_as_percents() {
        let told = [0.5, 1.0, 0.0, 1.0 / 3.0, 0.000_01].map(percent);
        assert_eq!(told, ["50 %", "100 %", "0 %", "33.33 %", "1.000e-3 %"]);
    }
}
