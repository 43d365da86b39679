//! `ipset save`, in and out.
//!
//! The tool prints options in an order of its own, whatever order they were given in; [`print`] does the same. What the tool adds on its own
//! (`bucketsize`, a random `initval`) is not added.

use std::fmt::Write;

use rustc_hash::FxHashMap;

use super::element::{self, Expand};
use super::{IpSet, SetEntry, SetType};
use crate::diag::{Diagnostic, Remarks};
use crate::hook::Family;
use crate::ids::SourceLine;

/// Options of `create` that take a value.
const CREATE_VALUES: [&str; 12] = [
    "family",
    "hashsize",
    "maxelem",
    "netmask",
    "bitmask",
    "markmask",
    "range",
    "timeout",
    "bucketsize",
    "initval",
    "size",
    "probes",
];
const CREATE_FLAGS: [&str; 4] = ["counters", "comment", "skbinfo", "forceadd"];
/// Options of `add` that take a value.
const ADD_VALUES: [&str; 7] = ["timeout", "packets", "bytes", "comment", "skbmark", "skbprio", "skbqueue"];
const ADD_FLAGS: [&str; 2] = ["nomatch", "wildcard"];
/// The order in which they are printed.
const ADD_ORDER: [&str; 9] =
    ["timeout", "nomatch", "wildcard", "packets", "bytes", "comment", "skbmark", "skbprio", "skbqueue"];

/// Ranges of more elements than this are printed as ranges, which the tool reads just as well.
const PRINT_EXPANDED: u64 = 65_536;

/// Lines of a file that are read: with what they become they take many times their room. What stands behind is lost.
const MOST_LINES: usize = 5_000_000;
/// Sets: the kernel has room for 65,534.
const MOST_SETS: usize = 65_534;

/// Words of a line; a word in double quotes is one, without them.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Words<'a> {
    type Item = Result<&'a str, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = self.rest.trim_start();
        if self.rest.is_empty() {
            return None;
        }
        if let Some(quoted) = self.rest.strip_prefix('"') {
            let Some((word, rest)) = quoted.split_once('"') else {
                self.rest = "";
                return Some(Err("a quoted word has no end"));
            };
            self.rest = rest;
            return Some(Ok(word));
        }
        let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(Ok(word))
    }
}

/// Options that follow, in order, with the words that are not known here.
fn options<'a>(
    words: &mut Words<'a>,
    values: &[&str],
    flags: &[&str],
) -> Result<Vec<(String, Option<String>)>, String> {
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    while let Some(word) = words.next() {
        let word = word?;
        // The tool takes each once.
        if found.len() > 16 {
            return Err("too many options".to_owned());
        }
        if flags.contains(&word) {
            found.push((word.to_owned(), None));
        } else if values.contains(&word) {
            let value = words.next().ok_or_else(|| format!("nothing stands after '{word}'"))??;
            found.push((word.to_owned(), Some(value.to_owned())));
        } else {
            return Err(format!("option '{word}' is not known here"));
        }
    }
    Ok(found)
}

/// Reads the output of `ipset save`; `file` is the number of the file for [`SourceLine`]. Whatever cannot be read is named in a diagnostic
/// with its line, and the rest is read all the same. An element that cannot be read stays in its set, so that a match on the set is not known.
pub fn parse(text: &[u8], file: u32) -> (Vec<IpSet>, Vec<Diagnostic>) {
    let mut sets: Vec<IpSet> = Vec::new();
    let mut by_name: FxHashMap<String, usize> = FxHashMap::default();
    let mut diagnostics = Remarks::default();
    // A line of which nobody knows what set it is about.
    let mut lost_anywhere = None;
    let (mut line_number, mut elements) = (0u32, 0usize);
    for line in text.split(|&b| b == b'\n') {
        line_number = line_number.saturating_add(1);
        let source = SourceLine { file, line: line_number };
        elements += 1;
        if elements > MOST_LINES || sets.len() > MOST_SETS {
            diagnostics.push(Diagnostic::error(source, "too many sets or elements: the rest is not read"));
            lost_anywhere.get_or_insert(source);
            break;
        }
        let line = match std::str::from_utf8(line) {
            Ok(line) => std::borrow::Cow::Borrowed(line),
            Err(_) => {
                diagnostics.push(Diagnostic::warning(source, "bytes that are no UTF-8"));
                String::from_utf8_lossy(line)
            }
        };
        let mut words = Words { rest: line.trim_end_matches('\r') };
        let read = match words.next() {
            None => continue,
            Some(Ok(word)) if word.starts_with('#') => continue,
            Some(Ok("create" | "-N" | "--create")) => create(&mut words, source, &mut sets, &mut by_name),
            Some(Ok("add" | "-A" | "--add")) => add(&mut words, source, &mut sets, &by_name),
            Some(Ok("COMMIT")) => continue,
            Some(Ok(word)) => Err(format!("'{word}' is no line of ipset save")),
            Some(Err(message)) => Err(message.to_owned()),
        };
        if read.is_err() && !line.trim_start().starts_with("create ") {
            if line.trim_start().starts_with("add ") {
                lost(sets.last_mut(), source);
            } else {
                lost_anywhere.get_or_insert(source);
            }
        }
        if let Err(message) = read {
            diagnostics.push(Diagnostic::error(source, message));
        }
    }
    if text.last().is_some_and(|&b| b != b'\n') {
        let source = SourceLine { file, line: line_number };
        diagnostics.push(Diagnostic::warning(source, "the last line has no end: the file may be cut off"));
        lost(sets.last_mut(), source);
    }
    if let Some(source) = lost_anywhere {
        sets.iter_mut().for_each(|set| lost(Some(set), source));
    }
    (sets, diagnostics.finish(file))
}

/// A line that cannot be read may have been an element of the set before it, which then must not look as if it were not in it.
fn lost(set: Option<&mut IpSet>, source: SourceLine) {
    if let Some(set) = set
        && set.entries.last().is_none_or(|last| !last.element.is_empty())
    {
        set.entries.push(SetEntry { element: String::new(), options: Vec::new(), source });
    }
}

fn create(
    words: &mut Words<'_>,
    source: SourceLine,
    sets: &mut Vec<IpSet>,
    by_name: &mut FxHashMap<String, usize>,
) -> Result<(), String> {
    let name = words.next().ok_or("create without a name")??.to_owned();
    let set_type = SetType::from_name(words.next().ok_or("create without a type")??);
    let mut read = options(words, &CREATE_VALUES, &CREATE_FLAGS);
    let options = read.as_mut().map(std::mem::take).unwrap_or_default();
    let mut problem = read.err();
    let mut family = Family::V4;
    for (option, value) in &options {
        if option == "family" {
            match value.as_deref() {
                Some("inet" | "ipv4") => family = Family::V4,
                Some("inet6" | "ipv6") => family = Family::V6,
                _ => problem = Some("the family is inet or inet6".to_owned()),
            }
        }
    }
    if by_name.contains_key(&name) {
        return Err(format!("set {name} is created twice; the first one counts"));
    }
    by_name.insert(name.clone(), sets.len());
    // A set whose options cannot be read must not be taken for one that can.
    let set_type = match &problem {
        Some(_) => SetType::Unmodelled(set_type.name().to_owned()),
        None => set_type,
    };
    sets.push(IpSet { name, set_type, family, options, entries: Vec::new(), source });
    problem.map_or(Ok(()), Err)
}

fn add(
    words: &mut Words<'_>,
    source: SourceLine,
    sets: &mut [IpSet],
    by_name: &FxHashMap<String, usize>,
) -> Result<(), String> {
    let name = words.next().ok_or("add without a set")??;
    let set = by_name.get(name).and_then(|&at| sets.get_mut(at));
    let set = set.ok_or_else(|| format!("set {name} was not created"))?;
    let Some(element) = words.next() else {
        // Something was to be in the set that is lost: it must not look as if it were not there.
        lost(Some(set), source);
        return Err("add without an element".to_owned());
    };
    let element = element.unwrap_or_default().to_owned();
    let known = check(set, &element);
    match options(words, &ADD_VALUES, &ADD_FLAGS) {
        Ok(options) => set.entries.push(SetEntry { element, options, source }),
        Err(message) => {
            lost(Some(set), source);
            return Err(message);
        }
    }
    known
}

fn check(set: &IpSet, element: &str) -> Result<(), String> {
    if matches!(set.set_type, SetType::Unmodelled(_)) || set.family == Family::V6 {
        return Ok(());
    }
    element::parse(&set.set_type, element).map(|_| ())
}

/// As `ipset save` prints it: every `create`, each followed by its elements, ranges expanded (in ascending order: that of the kernel is the
/// order of its hash).
pub fn print(sets: &[IpSet]) -> String {
    let mut out = String::new();
    for set in sets {
        print_set(&mut out, set);
    }
    out
}

fn create_rank(set_type: &SetType, option: &str) -> usize {
    const ORDER: [&str; 13] = [
        "range",
        "family",
        "markmask",
        "hashsize",
        "maxelem",
        "netmask",
        "bitmask",
        "timeout",
        "counters",
        "comment",
        "skbinfo",
        "bucketsize",
        "initval",
    ];
    // Every type but hash:ip and bitmap:ip prints these last.
    let last = matches!(option, "netmask" | "bitmask") && !matches!(set_type.name(), "hash:ip" | "bitmap:ip");
    match ORDER.iter().position(|name| *name == option) {
        Some(at) if !last => at,
        _ => ORDER.len(),
    }
}

fn print_set(out: &mut String, set: &IpSet) {
    let _ = write!(out, "create {} {}", set.name, set.set_type.name());
    let mut options: Vec<_> = set.options.iter().collect();
    if set.set_type.name().starts_with("hash:")
        && !set.has_option("family")
        && set.set_type.name() != "hash:mac"
    {
        out.push_str(if set.family == Family::V4 { " family inet" } else { " family inet6" });
    }
    options.sort_by_key(|(name, _)| create_rank(&set.set_type, name));
    for (name, value) in options {
        print_option(out, name, value.as_deref());
    }
    out.push('\n');
    let mask = element::set_mask(set);
    for entry in &set.entries {
        let parsed = match (&set.set_type, set.family) {
            (SetType::Unmodelled(_), _) | (_, Family::V6) => None,
            (set_type, Family::V4) => element::parse(set_type, &entry.element).ok(),
        };
        match parsed {
            Some(parsed) if parsed.count() <= PRINT_EXPANDED => {
                let mut last = None;
                for one in Expand::new(parsed, mask) {
                    if last != Some(one) {
                        print_entry(out, set, &one.text(), entry);
                    }
                    last = Some(one);
                }
            }
            Some(_) | None if entry.element.is_empty() => {}
            Some(_) | None => print_entry(out, set, &entry.element, entry),
        }
    }
}

fn print_entry(out: &mut String, set: &IpSet, element: &str, entry: &SetEntry) {
    let _ = write!(out, "add {} {element}", set.name);
    let mut options: Vec<_> = entry.options.iter().collect();
    options.sort_by_key(|(name, _)| ADD_ORDER.iter().position(|n| n == name).unwrap_or(ADD_ORDER.len()));
    for (name, value) in options {
        print_option(out, name, value.as_deref());
    }
    out.push('\n');
}

fn print_option(out: &mut String, name: &str, value: Option<&str>) {
    match (name, value) {
        // The kernel does not give this flag back, nor an empty comment.
        ("forceadd", None) | ("comment", Some("")) => {}
        ("comment", Some(value)) => {
            let _ = write!(out, " comment \"{value}\"");
        }
        (name, Some(value)) => {
            let _ = write!(out, " {name} {value}");
        }
        (name, None) => {
            let _ = write!(out, " {name}");
        }
    }
}
