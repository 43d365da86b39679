//! iptables-save syntax, in and out.

pub mod ast;

mod names;
mod options;
mod parse;
mod parse_match;
mod parse_rule;
mod parse_target;
mod print;
mod print_match;
mod print_target;
mod rate;
mod tokens;
mod values;

use crate::diag::Diagnostic;
use crate::hook::Family;
use ast::{Match, Rule, SaveFile, Target};

/// Reads the output of iptables-save (ip6tables-save for [`Family::V6`]); `file` is the number of the file for
/// [`SourceLine`](crate::ids::SourceLine). Whatever cannot be read is named in a diagnostic with its line, and the rest is read all the same.
pub fn parse(text: &[u8], file: u32, family: Family) -> (SaveFile, Vec<Diagnostic>) {
    parse::file(text, file, family)
}

/// As iptables-save prints it (with `-c` where `counters`), without the comment lines.
pub fn print(save: &SaveFile, counters: bool) -> String {
    print::save_file(save, counters)
}

/// What stands after `-A CHAIN `; empty for a rule without any condition or target.
pub fn print_rule(rule: &Rule, family: Family) -> String {
    let mut line = print::Line::default();
    print::push_rule(&mut line, rule, family);
    line.0
}

/// `-m NAME` with its options.
pub fn print_match(one: &Match, family: Family) -> String {
    let mut line = print::Line::default();
    print_match::push_match(&mut line, one, family);
    line.0
}

/// `-j NAME` with its options; empty for no target.
pub fn print_target(target: &Target, family: Family) -> String {
    let mut line = print::Line::default();
    print_target::push_target(&mut line, target, family);
    line.0
}
