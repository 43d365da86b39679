//! `trace.txt`: the summary of a scenario as it was last blessed, and whether the kernel agreed then.
//!
//! Its first line is `kernel: RELEASE (BACKENDS)`, followed by `case: ` and the fingerprint of what that kernel was given, or `kernel: not confirmed`;
//! the rest is the text report at summary level.

use pktwalk_report::text::{TextOptions, render};

use crate::model::ModelRun;

/// What the first line says before the kernel's release.
const KERNEL: &str = "kernel: ";
/// What the second line says before the fingerprint.
const CASE: &str = "case: ";
/// What it says if no kernel has agreed.
const NOT_CONFIRMED: &str = "not confirmed";

/// A golden text, as read or as it would be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Golden {
    /// `RELEASE (BACKENDS)` of the kernel that agreed; none if none did.
    pub kernel: Option<String>,
    /// The [`fingerprint`](crate::fingerprint) of the case with which it agreed.
    pub case: Option<u64>,
    /// The summaries of all packets.
    pub text: String,
}

impl Golden {
    /// Of a run of the model; `kernel` is the kernel that agreed, and `case` the fingerprint of what it agreed with.
    pub fn of(model: &ModelRun, kernel: Option<String>, case: u64) -> Golden {
        let names = model.names();
        let mut text = String::new();
        let options = TextOptions { numbered: model.run.sends.len() > 1, ..TextOptions::default() };
        for (index, record) in model.run.sends.iter().filter_map(|send| send.record.as_ref()).enumerate() {
            if index > 0 {
                text.push('\n');
            }
            let remarks = if index == 0 { model.remarks.as_slice() } else { &[] };
            text.push_str(&render(record, remarks, &names, &options));
        }
        let case = kernel.is_some().then_some(case);
        Golden { kernel, case, text }
    }

    /// Reads a golden file.
    pub fn parse(text: &str) -> Golden {
        let mut rest = text;
        let mut take = |prefix: &str| {
            let (line, left) = rest.split_once('\n').unwrap_or((rest, ""));
            let value = line.strip_prefix(prefix)?;
            rest = left;
            Some(value)
        };
        let Some(kernel) = take(KERNEL) else {
            return Golden { kernel: None, case: None, text: text.to_owned() };
        };
        let case = take(CASE).and_then(|number| u64::from_str_radix(number, 16).ok());
        let kernel = (kernel != NOT_CONFIRMED).then(|| kernel.to_owned());
        Golden { kernel, case, text: rest.strip_prefix('\n').unwrap_or(rest).to_owned() }
    }

    /// As it stands in the file.
    pub fn print(&self) -> String {
        let kernel = self.kernel.as_deref().unwrap_or(NOT_CONFIRMED);
        let case = self.case.map(|case| format!("{CASE}{case:016x}\n")).unwrap_or_default();
        format!("{KERNEL}{kernel}\n{case}\n{}", self.text)
    }

    /// How many lines stand before the text.
    pub fn head(&self) -> usize {
        2 + usize::from(self.case.is_some())
    }
}

/// The first line at which two texts differ: its number from 1, and both lines (empty where a text has ended).
pub fn first_difference<'a>(left: &'a str, right: &'a str) -> Option<(usize, &'a str, &'a str)> {
    let (mut left, mut right) = (left.lines(), right.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (left.next(), right.next()) {
            (None, None) => return None,
            (a, b) if a == b => {}
            (a, b) => return Some((number, a.unwrap_or_default(), b.unwrap_or_default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        for (kernel, case) in [(None, None), (Some("6.18.5 (legacy, nft)".to_owned()), Some(0xab))] {
            let golden = Golden { kernel, case, text: "DROPPED  by a rule\n\nDROPPED\n".to_owned() };
            assert_eq!(Golden::parse(&golden.print()), golden);
        }
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some((2, "b", "c")));
        assert_eq!(first_difference("a\n", "a\nc\n"), Some((2, "", "c")));
        assert_eq!(first_difference("a\n", "a\n"), None);
    }
}
