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
use crate::hook::{Backend, Family};
use print::Form;

use ast::{Match, Rule, SaveFile, Target};

/// Reads the output of iptables-save (ip6tables-save for [`Family::V6`]); `file` is the number of the file for
/// [`SourceLine`](crate::ids::SourceLine). Whatever cannot be read is named in a diagnostic with its line, and the rest is read all the same.
pub fn parse(text: &[u8], file: u32, family: Family) -> (SaveFile, Vec<Diagnostic>) {
    parse::file(text, file, family)
}

/// As iptables-save prints it, but so that it loads again (with `-c` where `counters`), without the comment lines.
pub fn print(save: &SaveFile, counters: bool) -> String {
    print::tables(save.tables.iter(), save.family, counters, Form::Loads)
}

/// As [`print`](fn@print), with no chains but those that `save` has: iptables-nft-restore makes the built-in chains that its input declares or adds rules
/// to, and no others (seen with iptables 1.8.9).
pub fn print_declared(save: &SaveFile) -> String {
    print::declared(&save.tables, save.family)
}

/// As the backend's own tool saves it once it has loaded it: iptables-nft has an order of tables of its own, and makes no table for which nothing was
/// said. iptables-legacy lists the tables in the order in which they were made, latest first, which no text holds: they stay as they stand.
pub fn print_saved(save: &SaveFile, backend: Backend, counters: bool) -> String {
    if backend == Backend::Legacy {
        return print::tables(save.tables.iter(), save.family, counters, Form::Shown);
    }
    use crate::hook::TableName::{Filter, Mangle, Nat, Raw, Security};
    let tables = [Mangle, Security, Raw, Filter, Nat].into_iter().flat_map(|name| {
        save.tables.iter().filter(move |table| table.name == name && !table.chains.is_empty())
    });
    print::tables(tables, save.family, counters, Form::ShownNft)
}

/// What stands after `-A CHAIN `; empty for a rule without any condition or target.
pub fn print_rule(rule: &Rule, family: Family) -> String {
    let mut line = print::Line::new(Form::Shown);
    print::push_rule(&mut line, rule, family);
    line.0
}

/// `-m NAME` with its options.
pub fn print_match(one: &Match, family: Family) -> String {
    let mut line = print::Line::new(Form::Shown);
    print_match::push_match(&mut line, one, family);
    line.0
}

/// `-j NAME` with its options; empty for no target.
pub fn print_target(target: &Target, family: Family) -> String {
    let mut line = print::Line::new(Form::Shown);
    print_target::push_target(&mut line, target, family);
    line.0
}
