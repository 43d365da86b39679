//! Rules as the tools print them.
//!
//! The form is that of iptables 1.8.9 (legacy). It differs where that tool loses something that the kernel holds (`! -o +`, `! --sport 0:65535`,
//! byte rates beyond its rounding): then the text that loads the same rule is printed. Names with blanks in them the tools print bare, so that they
//! do not load again: [`Form`] says which of the two is wanted.

use std::fmt::Write;
use std::net::IpAddr;

use crate::hook::{Family, TableName};

use super::ast::{AddrMask, Chain, Counters, DevPattern, IpMatch, Neg, Policy, Rule, Table, Unmodelled};
use super::names;
use super::print_match::push_match;
use super::print_target::push_target;

/// What the text is for.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Form {
    /// To be loaded: names with blanks in quotes.
    #[default]
    Loads,
    /// To be read, and held against what the tool prints: as iptables-save 1.8.9 prints them.
    Shown,
    /// The same, as iptables-nft-save prints them.
    ShownNft,
}

/// A line in the making: words with one blank before each.
#[derive(Default)]
pub(super) struct Line(pub(super) String, Form);

impl Line {
    /// An empty one.
    pub(super) fn new(form: Form) -> Line {
        Line(String::new(), form)
    }

    /// Appends the name of a list, table or set of the kernel's, which may hold blanks: the tools print it bare (`"%s"`) whatever it holds.
    pub(super) fn kernel_name(&mut self, name: &str) {
        match self.1 {
            Form::Loads => self.name(name),
            Form::Shown | Form::ShownNft => self.word(name),
        }
    }

    /// Whether it is what iptables-nft-save prints.
    pub(super) fn is_nft(&self) -> bool {
        self.1 == Form::ShownNft
    }

    /// Appends a word that needs no quotes.
    pub(super) fn word(&mut self, word: &str) {
        self.gap();
        self.0.push_str(word);
    }

    /// Appends a formatted word.
    pub(super) fn fmt(&mut self, args: std::fmt::Arguments<'_>) {
        self.gap();
        // Writing to a `String` cannot fail.
        let _ = self.0.write_fmt(args);
    }

    /// Appends `!` if asked, and the option.
    pub(super) fn option(&mut self, not: bool, option: &str) {
        if not {
            self.word("!");
        }
        self.word(option);
    }

    /// Appends a name that the tool prints bare. Only what would not be read back as one word is quoted.
    pub(super) fn name(&mut self, name: &str) {
        let bare = !name.is_empty() && !name.contains(|c: char| c.is_ascii_whitespace() || c == '"');
        if bare { self.word(name) } else { self.quoted(name) }
    }

    /// Appends free text: quoted unless it consists of letters, digits, `-` and `_` (`xtables_save_string`).
    pub(super) fn string(&mut self, text: &str) {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !text.is_empty() && text.bytes().all(plain) { self.word(text) } else { self.quoted(text) }
    }

    /// Appends free text in quotes.
    pub(super) fn quoted(&mut self, text: &str) {
        self.gap();
        self.0.push('"');
        for c in text.chars() {
            if matches!(c, '"' | '\\' | '\'') {
                self.0.push('\\');
            }
            self.0.push(c);
        }
        self.0.push('"');
    }

    fn gap(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with(['\n']) {
            self.0.push(' ');
        }
    }
}

/// Tables, one after the other.
pub(super) fn tables<'a>(
    tables: impl Iterator<Item = &'a Table>,
    family: Family,
    counters: bool,
    form: Form,
) -> String {
    let mut out = Line::new(form);
    for table in tables {
        push_table(&mut out, table, family, counters, true);
    }
    out.0
}

/// As [`tables`], without counters and without the built-in chains that are not there.
pub(super) fn declared(tables: &[Table], family: Family) -> String {
    let mut out = Line::default();
    for table in tables {
        push_table(&mut out, table, family, false, false);
    }
    out.0
}

fn push_table(out: &mut Line, table: &Table, family: Family, counters: bool, all: bool) {
    let chains = in_print_order(table);
    let _ = writeln!(out.0, "*{}", table.name);
    // Both tools make every built-in chain of a table that they load.
    for hook in table.name.hooks() {
        match table.chains.iter().find(|chain| chain.name == hook.name()) {
            Some(chain) => push_chain(out, table.name, chain),
            None if !all => {}
            None => {
                let _ = writeln!(out.0, ":{hook} ACCEPT [0:0]");
            }
        }
    }
    for chain in chains.iter().filter(|chain| !is_built_in(table.name, &chain.name)) {
        push_chain(out, table.name, chain);
    }
    for chain in &chains {
        for rule in &chain.rules {
            if counters {
                let Counters { packets, bytes } = rule.counters.as_deref().copied().unwrap_or_default();
                let _ = write!(out.0, "[{packets}:{bytes}] ");
            }
            out.0.push_str("-A");
            out.name(&chain.name);
            push_rule(out, rule, family);
            out.0.push('\n');
        }
    }
    out.0.push_str("COMMIT\n");
}

/// Built-in chains in the order of their hooks, then the others by name, as the kernel's tools list them whatever the order of loading.
fn in_print_order(table: &Table) -> Vec<&Chain> {
    let place = |chain: &Chain| table.name.hooks().iter().position(|hook| hook.name() == chain.name);
    let mut chains: Vec<&Chain> = table.chains.iter().collect();
    chains.sort_by(|a, b| {
        let order = |chain: &Chain| place(chain).unwrap_or(usize::MAX);
        order(a)
            .cmp(&order(b))
            .then_with(|| if place(a).is_some() { std::cmp::Ordering::Equal } else { a.name.cmp(&b.name) })
    });
    chains
}

/// Whether a chain of that name hangs on a hook of the table.
pub(super) fn is_built_in(table: TableName, chain: &str) -> bool {
    table.hooks().iter().any(|hook| hook.name() == chain)
}

fn push_chain(out: &mut Line, table: TableName, chain: &Chain) {
    let policy = match chain.policy {
        _ if !is_built_in(table, &chain.name) => "-",
        Some(Policy::Drop) => "DROP",
        Some(Policy::Accept) | None => "ACCEPT",
    };
    let Counters { packets, bytes } = chain.counters.unwrap_or_default();
    let _ = writeln!(out.0, ":{} {policy} [{packets}:{bytes}]", chain.name);
}

/// What stands after `-A CHAIN`.
pub(super) fn push_rule(out: &mut Line, rule: &Rule, family: Family) {
    push_ip(out, &rule.ip);
    for one in &rule.matches {
        push_match(out, one, family);
    }
    push_target(out, &rule.target, family);
}

fn push_ip(out: &mut Line, ip: &IpMatch) {
    let IpMatch { src, dst, in_dev, out_dev, protocol, fragment } = ip;
    push_addr(out, "-s", src.as_ref());
    push_addr(out, "-d", dst.as_ref());
    push_dev(out, "-i", in_dev.as_deref());
    push_dev(out, "-o", out_dev.as_deref());
    if let Some(Neg { not, value }) = protocol {
        out.option(*not, "-p");
        push_protocol(out, *value);
    }
    if let Some(later) = fragment {
        out.option(!later, "-f");
    }
}

/// A protocol by the name that the tool has for it.
fn push_protocol(out: &mut Line, number: u8) {
    match names::protocol_name(number) {
        Some(name) if number != 0 => out.word(name),
        _ => out.fmt(format_args!("{number}")),
    }
}

fn push_addr(out: &mut Line, option: &str, addr: Option<&Neg<AddrMask>>) {
    let Some(Neg { not, value }) = addr else { return };
    let length = prefix_length(value.mask);
    // Any address is no test.
    if length == Some(0) && !not {
        return;
    }
    out.option(*not, option);
    match length {
        Some(length) => out.fmt(format_args!("{}/{length}", Shown(value.addr))),
        None => out.fmt(format_args!("{}/{}", Shown(value.addr), Shown(value.mask))),
    }
}

/// An address as the C library prints it: IPv4-compatible ones end in dots.
pub(super) struct Shown(pub(super) IpAddr);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V6(addr) if u128::from(addr) >> 32 == 0 && u128::from(addr) >> 16 != 0 => {
                // The low 32 bits are all there is.
                write!(f, "::{}", std::net::Ipv4Addr::from(u128::from(addr) as u32))
            }
            addr => write!(f, "{addr}"),
        }
    }
}

/// The length of a mask of leading ones; `None` for any other mask.
pub(super) fn prefix_length(mask: IpAddr) -> Option<u32> {
    match mask {
        IpAddr::V4(mask) => {
            let mask = u32::from(mask);
            (mask.leading_ones() + mask.trailing_zeros() >= 32).then(|| mask.leading_ones())
        }
        IpAddr::V6(mask) => {
            let mask = u128::from(mask);
            (mask.leading_ones() + mask.trailing_zeros() >= 128).then(|| mask.leading_ones())
        }
    }
}

fn push_dev(out: &mut Line, option: &str, dev: Option<&Neg<DevPattern>>) {
    let Some(Neg { not, value }) = dev else { return };
    if value.prefix && value.name.is_empty() && !not {
        return;
    }
    out.option(*not, option);
    push_pattern(out, value);
}

/// A device name with its `+`.
pub(super) fn push_pattern(out: &mut Line, dev: &DevPattern) {
    if dev.prefix { out.fmt(format_args!("{}+", dev.name)) } else { out.name(&dev.name) }
}

/// `-m NAME` or `-j NAME` and its words.
pub(super) fn push_unmodelled(out: &mut Line, option: &str, unmodelled: &Unmodelled) {
    if !unmodelled.name.is_empty() {
        out.word(option);
        out.name(&unmodelled.name);
    }
    let mut before = "";
    for word in &unmodelled.words {
        match before {
            // The tool prints these in quotes, whatever they are.
            "--label" if unmodelled.name == "connlabel" => out.quoted(word),
            "--string" | "--hex-string" | "--u32" | "--bytecode" => out.quoted(word),
            "--helper" | "--comment" | "--log-prefix" | "--nflog-prefix" | "--ulog-prefix" => {
                out.string(word)
            }
            _ => out.name(word),
        }
        before = word;
    }
}
