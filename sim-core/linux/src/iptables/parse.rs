//! A save file to tables, chains and rules, line by line.
//!
//! Lines are read as iptables-restore reads them, and beyond: what it would refuse is named in a diagnostic and read as far as it can be. A rule
//! is never lost as long as its chain can be told.

use std::borrow::Cow;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::diag::{Diagnostic, Lost, Remarks, Severity};
use crate::hook::{Family, TableName};
use crate::ids::SourceLine;

use super::ast::{Chain, Counters, Match, Policy, Rule, SaveFile, SaveHeader, Table, Target, Unmodelled};
use super::parse_rule;
use super::print::is_built_in;
use super::tokens::{self, Token};

/// Bytes that rules of one file may take in memory: short lines make many rules. What stands behind is lost.
const MOST_BYTES: usize = 1_000_000_000;

/// Bytes of one line; iptables-restore itself takes 10,240.
const LONGEST_LINE: usize = 65_536;

/// Longest chain name that the tools take, in bytes (`XT_EXTENSION_MAXNAMELEN` with its end).
const LONGEST_CHAIN_NAME: usize = 28;

pub(super) fn file(text: &[u8], file: u32, family: Family) -> (SaveFile, Vec<Diagnostic>) {
    let mut reader = Reader {
        save: SaveFile { family, header: None, tables: Vec::new() },
        remarks: Remarks::default(),
        used: 0,
        source: SourceLine { file, line: 0 },
        table: None,
        index: FxHashMap::default(),
        last: None,
        follows: Follows::Own,
        odd_comment: None,
    };
    let mut tokens = Vec::new();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        reader.source.line = u32::try_from(number + 1).unwrap_or(u32::MAX);
        reader.bytes(line, &mut tokens);
    }
    reader.end_table(false);
    reader.end();
    (reader.save, reader.remarks.finish(file))
}

struct Reader {
    save: SaveFile,
    remarks: Remarks,
    /// What the rules take in memory, about.
    used: usize,
    source: SourceLine,
    /// The table between `*name` and `COMMIT`.
    table: Option<Table>,
    /// Its chains by name.
    index: FxHashMap<String, usize>,
    /// The chain of the last rule: most rules follow one of the same chain.
    last: Option<usize>,
    /// What the last header says of the tables that follow.
    follows: Follows,
    /// Where a comment stands that is none of the tools'.
    odd_comment: Option<SourceLine>,
}

/// Whose tables follow in a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Follows {
    /// Those that are read.
    Own,
    /// Those of the other family, from this header on.
    OtherFamily(SourceLine),
    /// Those of the other backend.
    OtherBackend,
}

impl Reader {
    fn say(&mut self, severity: Severity, message: impl Into<String>) {
        self.say_at(severity, self.source, message);
    }

    fn say_at(&mut self, severity: Severity, source: SourceLine, message: impl Into<String>) {
        self.remarks.push(Diagnostic { severity, message: message.into(), source, lost: Lost::Nothing });
    }

    /// Says that something is lost that could decide about a packet.
    fn lost(&mut self, message: impl Into<String>) {
        self.loses(Severity::Error, Lost::Part, message);
    }

    fn loses(&mut self, severity: Severity, lost: Lost, message: impl Into<String>) {
        self.remarks.push(Diagnostic { severity, message: message.into(), source: self.source, lost });
    }

    fn bytes<'a>(&mut self, line: &'a [u8], tokens: &mut Vec<Token<'a>>) {
        let line = line.trim_ascii();
        if line.is_empty() || self.used > MOST_BYTES {
            return;
        }
        if self.follows != Follows::Own && !line.starts_with(b"#") {
            return;
        }
        if line.len() > LONGEST_LINE && !line.starts_with(b"#") {
            return self.lost(format!("a line of more than {LONGEST_LINE} bytes"));
        }
        match std::str::from_utf8(line) {
            Ok(line) => {
                tokens.clear();
                self.line(line, tokens, false);
            }
            Err(_) => {
                let lossy: Cow<'_, str> = String::from_utf8_lossy(line);
                if !lossy.starts_with('#') {
                    self.say(Severity::Warning, "the line is not UTF-8; what is not is replaced");
                }
                self.line(&lossy, &mut Vec::new(), true);
            }
        }
    }

    fn line<'a>(&mut self, line: &'a str, tokens: &mut Vec<Token<'a>>, lossy: bool) {
        if let Some(rest) = line.strip_prefix('#') {
            return self.comment(rest.trim());
        }
        if let Some(rest) = line.strip_prefix("COMMIT") {
            self.end_table(true);
            let rest = rest.trim();
            // Tables glued together: the next one begins on the same line.
            if rest.starts_with(['*', '#', ':']) {
                return self.line(rest, tokens, lossy);
            }
            if !rest.is_empty() {
                self.lost(format!("`{}` after COMMIT is left out", short(rest)));
            }
            return;
        }
        if let Some(name) = line.strip_prefix('*') {
            return self.begin_table(name.trim());
        }
        if let Some(rest) = line.strip_prefix(':') {
            return self.chain_line(rest, lossy);
        }
        let (counters, rest) = match leading_counters(line) {
            Some((counters, rest)) => (counters, rest),
            None => (None, line),
        };
        if counters.is_none() && rest.len() != line.len() {
            self.say(Severity::Warning, "the counters cannot be read");
        }
        if !tokens::split(rest, tokens) {
            self.say(Severity::Warning, "a quote is not closed; it is taken to end with the line");
        }
        self.command(line, tokens, counters, lossy);
    }

    fn comment(&mut self, text: &str) {
        if let Some(rest) = text.strip_prefix("Generated by ") {
            let mut words = rest.split_ascii_whitespace();
            if let (Some(tool), Some(version)) = (words.next(), words.next()) {
                let version = version.strip_prefix('v').unwrap_or(version).to_owned();
                let nf_tables = words.next() == Some("(nf_tables)");
                self.header(SaveHeader { tool: short(tool), version: short(&version), nf_tables });
            }
            return;
        }
        // The tools' own remarks on what they could not save.
        if text.starts_with("Warning: iptables-legacy tables present") {
            self.loses(Severity::Warning, Lost::LegacyRules, short(text));
        } else if text.starts_with("Warning:") {
            self.say(Severity::Note, short(text));
        } else if text.starts_with("Table `") {
            self.loses(Severity::Warning, Lost::NftRules, short(text));
        } else if !text.starts_with("Completed") {
            self.odd_comment = self.odd_comment.or(Some(self.source));
        }
    }

    /// The tools write one before each table, or before all: several outputs in one file show by it.
    fn header(&mut self, header: SaveHeader) {
        let family = match header.tool.as_str() {
            tool if tool.starts_with("ip6tables") => Some(Family::V6),
            tool if tool.starts_with("iptables") => Some(Family::V4),
            _ => None,
        };
        if family.is_some_and(|family| family != self.save.family) {
            if let Follows::Own | Follows::OtherBackend = self.follows {
                self.end_table(false);
                self.follows = Follows::OtherFamily(self.source);
                // Whether something is lost is seen at the end.
                let message = format!("what follows is of {}: not read as rules of this file", header.tool);
                self.say(Severity::Warning, message);
            }
            return;
        }
        let backend = header.backend();
        let first = self.save.header.get_or_insert(header).backend();
        if backend.is_some() && first.is_some() && backend != first {
            if self.follows != Follows::OtherBackend {
                self.end_table(false);
                self.follows = Follows::OtherBackend;
                self.lost("what follows is of the other backend, whose rules need a file of their own");
            }
            return;
        }
        self.follows = Follows::Own;
    }

    /// Whether rules of the family are there at all.
    fn end(&mut self) {
        if !self.save.tables.is_empty() {
            return;
        }
        if let Follows::OtherFamily(at) = self.follows {
            self.source = at;
            self.lost("the rules are of the other family of addresses: those of this one are not known");
        } else if let Some(at) = self.odd_comment {
            // Where there are no rules at all, the tools print nothing, or remarks of their own.
            self.source = at;
            self.lost("the file is not empty, yet no table of rules stands in it");
        }
    }

    fn begin_table(&mut self, name: &str) {
        if self.table.is_some() {
            self.loses(Severity::Warning, Lost::Part, "COMMIT is missing before this table");
            self.end_table(true);
        }
        let (word, rest) = name.split_once([' ', '\t', ':']).unwrap_or((name, ""));
        let Some(name) = TableName::from_name(word) else {
            return self.lost(format!("no table of iptables is called `{}`", short(word)));
        };
        if !rest.trim().is_empty() {
            self.say(Severity::Warning, format!("`{}` after the table's name is left out", short(rest)));
        }
        if self.save.tables.iter().any(|table| table.name == name) {
            self.say(
                Severity::Warning,
                format!("table {name} stands twice; the later one replaces the earlier"),
            );
        }
        self.table = Some(Table { name, chains: Vec::new(), source: self.source });
        self.index.clear();
        self.last = None;
    }

    /// Closes the table, if one is open. `committed` tells whether its end was seen.
    fn end_table(&mut self, committed: bool) {
        let Some(mut table) = self.table.take() else {
            return;
        };
        if !committed {
            let message = format!("COMMIT of table {} is missing", table.name);
            self.loses(Severity::Warning, Lost::Part, message);
        }
        self.unknown_jumps(&mut table);
        self.loops(&table);
        self.save.tables.push(table);
    }

    /// A jump to a chain that the table does not have may be a target that nobody has told us of: it is kept as one that is not modelled.
    fn unknown_jumps(&mut self, table: &mut Table) {
        let mut chains = std::mem::take(&mut table.chains);
        for rule in chains.iter_mut().flat_map(|chain| &mut chain.rules) {
            let (Target::Jump(name) | Target::Goto(name)) = &rule.target else { continue };
            let problem = if is_built_in(table.name, name) {
                "a jump to a built-in chain"
            } else if self.index.contains_key(name) {
                continue;
            } else {
                "no such chain in the table, and no target that is known"
            };
            self.say_at(Severity::Error, rule.source, format!("`{}`: {problem}", short(name)));
            let goto = matches!(rule.target, Target::Goto(_));
            let name = name.clone();
            rule.target = if goto {
                // Words without a name, so that `-g` is printed back.
                let words = vec!["-g".to_owned(), name];
                Target::Unmodelled(Box::new(Unmodelled { name: String::new(), words }))
            } else {
                Target::Unmodelled(Box::new(Unmodelled { name, words: Vec::new() }))
            };
        }
        table.chains = chains;
    }

    /// Names every jump that closes a loop of chains. The kernel refuses such a table.
    fn loops(&mut self, table: &Table) {
        // 0: not seen, 1: on the path, 2: done.
        let mut colour = vec![0u8; table.chains.len()];
        for root in 0..table.chains.len() {
            if colour.get(root) != Some(&0) {
                continue;
            }
            // Chain and the next rule to look at.
            let mut path = vec![(root, 0usize)];
            while let Some((chain, rule)) = path.last_mut() {
                let chain = *chain;
                let Some(here) = table.chains.get(chain) else { break };
                if *rule == 0
                    && let Some(colour) = colour.get_mut(chain)
                {
                    *colour = 1;
                }
                let Some(next) = here.rules.get(*rule) else {
                    if let Some(colour) = colour.get_mut(chain) {
                        *colour = 2;
                    }
                    path.pop();
                    continue;
                };
                *rule += 1;
                let (Target::Jump(name) | Target::Goto(name)) = &next.target else { continue };
                let Some(callee) = self.index.get(name).copied() else { continue };
                match colour.get(callee) {
                    Some(0) => path.push((callee, 0)),
                    Some(1) => {
                        let message = format!("the jump to {} closes a loop of chains", short(name));
                        self.say_at(Severity::Error, next.source, message);
                    }
                    _ => {}
                }
            }
        }
    }

    /// `NAME POLICY [packets:bytes]`.
    fn chain_line(&mut self, rest: &str, lossy: bool) {
        let mut words = rest.split_ascii_whitespace();
        let name = words.next().unwrap_or("");
        let policy = words.next();
        let counters = words.next();
        if name.is_empty() {
            return self.lost("a chain without a name");
        }
        if lossy && name.contains('\u{fffd}') {
            return self.lost("the chain's name cannot be read");
        }
        let Some(table) = &self.table else {
            return self.lost(format!("chain {} stands in no table that is known", short(name)));
        };
        let built_in = is_built_in(table.name, name);
        let left_as_is = built_in && policy == Some("-");
        let policy = match (policy, built_in) {
            (Some("ACCEPT"), true) => Some(Policy::Accept),
            (Some("DROP"), true) => Some(Policy::Drop),
            (Some("-"), false) => None,
            // The tool leaves the policy as it is, which in a new table is ACCEPT.
            (Some("-"), true) => {
                self.say(Severity::Note, format!("{name} has no policy here; ACCEPT is taken"));
                Some(Policy::Accept)
            }
            (_, true) => {
                self.lost(format!("the policy of {name} cannot be read; ACCEPT is taken"));
                Some(Policy::Accept)
            }
            (Some("ACCEPT" | "DROP" | "QUEUE" | "RETURN"), false) => {
                self.say(
                    Severity::Warning,
                    format!("{} is no built-in chain, so it has no policy", short(name)),
                );
                None
            }
            (None, false) => {
                self.lost(format!("`-` is missing after chain {}, so the tools refuse it", short(name)));
                None
            }
            (Some(_), false) => {
                self.say(Severity::Warning, format!("`-` is missing after chain {}", short(name)));
                None
            }
        };
        let parsed = counters.and_then(bracketed);
        if counters.is_some() && parsed.is_none() {
            self.say(Severity::Warning, "the counters cannot be read");
        }
        if let Some(extra) = words.next() {
            self.say(Severity::Warning, format!("`{}` after the chain is left out", short(extra)));
        }
        if let Some(known) = self.chain_index(name) {
            self.say(Severity::Warning, format!("chain {} is declared twice", short(name)));
            if let Some(chain) = self.chain(known) {
                // `-` leaves a policy as it is.
                if left_as_is {
                    return;
                }
                chain.policy = policy;
                chain.counters = parsed;
                // The legacy tool refuses a second chain of the name, the nft one empties the first.
                if !built_in {
                    chain.rules.clear();
                    self.lost(format!("chain {} is emptied, or the file refused", short(name)));
                }
            }
            return;
        }
        self.make_chain(name, policy, parsed);
    }

    /// Counts what is kept, and says it once where it is too much.
    fn uses(&mut self, bytes: usize) {
        let before = self.used;
        self.used = before.saturating_add(bytes);
        if before <= MOST_BYTES && self.used > MOST_BYTES {
            self.lost("more rules than memory is given to: the rest of the file is not read");
        }
    }

    fn chain_index(&self, name: &str) -> Option<usize> {
        let known = |index: &usize| {
            self.table
                .as_ref()
                .and_then(|table| table.chains.get(*index))
                .is_some_and(|chain| chain.name == name)
        };
        self.last.filter(known).or_else(|| self.index.get(name).copied())
    }

    fn chain(&mut self, index: usize) -> Option<&mut Chain> {
        self.table.as_mut()?.chains.get_mut(index)
    }

    fn make_chain(&mut self, name: &str, policy: Option<Policy>, counters: Option<Counters>) -> usize {
        if name.len() > LONGEST_CHAIN_NAME {
            let message = format!("the name {} is longer than {LONGEST_CHAIN_NAME} bytes", short(name));
            self.say(Severity::Warning, message);
        }
        self.uses(size_of::<Chain>() + 64 + 2 * name.len());
        let source = self.source;
        let Some(table) = &mut self.table else { return 0 };
        let index = table.chains.len();
        table.chains.push(Chain { name: name.to_owned(), policy, counters, rules: Vec::new(), source });
        self.index.insert(name.to_owned(), index);
        index
    }

    /// Any other line: `-A`, `-I`, `-N`, `-P`, ...
    fn command(&mut self, line: &str, tokens: &[Token<'_>], counters: Option<Counters>, lossy: bool) {
        let (mut at, mut only) = (0, None);
        // `-4 -A ...` is as good as `-A ... -4`.
        while let Some(letter @ ("-4" | "-6" | "--ipv4" | "--ipv6")) =
            tokens.get(at).map(|token| &*token.text)
        {
            only = Some(if letter.ends_with('4') { Family::V4 } else { Family::V6 });
            at += 1;
        }
        let word = |at: usize| tokens.get(at).map(|token| &*token.text);
        let command = word(at).unwrap_or("");
        let verb = match command {
            "-A" | "--append" => 'A',
            "-C" | "--check" => 'C',
            "-D" | "--delete" => 'D',
            "-E" | "--rename-chain" => 'E',
            "-F" | "--flush" => 'F',
            "-I" | "--insert" => 'I',
            "-N" | "--new-chain" => 'N',
            "-P" | "--policy" => 'P',
            "-R" | "--replace" => 'R',
            "-X" | "--delete-chain" => 'X',
            "-Z" | "--zero" => 'Z',
            _ => {
                return self.lost(format!("the line cannot be read: `{}`", short(line)));
            }
        };
        if self.table.is_none() {
            return self.lost(format!("the line stands in no table that is known: `{}`", short(line)));
        }
        let name = word(at + 1).filter(|name| !name.starts_with('-'));
        if name.is_some_and(|name| name.is_empty() || lossy && name.contains('\u{fffd}')) {
            return self.lost("the chain's name cannot be read");
        }
        let rest = tokens.get(at + 1 + usize::from(name.is_some())..).unwrap_or_default();
        match (verb, name) {
            ('F' | 'X' | 'Z', name) => self.on_chains(verb, name, rest, only),
            (_, None) => self.lost(format!("{command} without a chain")),
            ('A' | 'C' | 'D' | 'I' | 'R', Some(name)) => {
                self.rule_line(verb, name, rest, counters, only, lossy);
            }
            // The legacy tool renames it; the nft one fails (`CHAIN_RENAME failed`) where the chain is made by the same file.
            ('E', Some(_)) => self.lost("a chain is renamed, which only iptables-legacy-restore does"),
            ('N', Some(name)) => {
                if self.is_for_us(verb, rest, only) {
                    self.new_chain(name);
                }
            }
            (_, Some(name)) => self.set_policy(name, rest, only),
        }
    }

    /// Whether a line without a rule is for this family, and has nothing behind it that the tools refuse (`Bad argument`, `Illegal option`).
    fn is_for_us(&mut self, verb: char, rest: &[Token<'_>], only: Option<Family>) -> bool {
        let mut words = rest.iter().map(|token| &*token.text);
        while let Some(word) = words.next() {
            match word {
                // The tools ask for a family before the command only.
                "-v" | "--verbose" | "-4" | "--ipv4" | "-6" | "--ipv6" => {}
                "-c" | "--set-counters" if verb == 'P' => {
                    let number = |word: Option<&str>| word.is_some_and(|word| word.parse::<u64>().is_ok());
                    if !(number(words.next()) && number(words.next())) {
                        self.lost("-c needs two numbers");
                        return false;
                    }
                }
                _ => {
                    self.lost(format!("`{}` after -{verb}, which the tools refuse", short(word)));
                    return false;
                }
            }
        }
        if only.is_some_and(|family| family != self.save.family) {
            self.say(Severity::Note, "the line is for the other family only");
            return false;
        }
        true
    }

    fn new_chain(&mut self, name: &str) {
        let built_in = self.table.as_ref().is_some_and(|table| is_built_in(table.name, name));
        if built_in || self.chain_index(name).is_some() {
            return self.lost(format!("chain {} is there already, so the tools refuse it", short(name)));
        }
        self.make_chain(name, None, None);
    }

    /// `-F`, `-X` and `-Z`, each of one chain or of all.
    fn on_chains(&mut self, verb: char, name: Option<&str>, rest: &[Token<'_>], only: Option<Family>) {
        // `-Z CHAIN 3`.
        let skip = usize::from(verb == 'Z' && rest.first().is_some_and(|token| place(&token.text).is_some()));
        if !self.is_for_us(verb, rest.get(skip..).unwrap_or_default(), only) {
            return;
        }
        if let Some(name) = name {
            let built_in = self.table.as_ref().is_some_and(|table| is_built_in(table.name, name));
            if self.chain_index(name).is_none() && !built_in {
                return self.lost(format!("-{verb} names no chain of the table: {}", short(name)));
            }
            if verb == 'X' && built_in {
                return self.lost(format!("{} is built in and cannot be deleted", short(name)));
            }
        }
        match verb {
            'F' => self.flush(name),
            'X' => self.delete_chains(name),
            _ => self.say(Severity::Note, "counters are not zeroed"),
        }
    }

    /// The kernel deletes chains that are empty and that nothing jumps to.
    fn delete_chains(&mut self, name: Option<&str>) {
        let Some(table) = &mut self.table else { return };
        let jumped: FxHashSet<&str> = table
            .chains
            .iter()
            .flat_map(|chain| &chain.rules)
            .filter_map(|rule| match &rule.target {
                Target::Jump(name) | Target::Goto(name) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        let goes = |chain: &Chain| match name {
            Some(name) => chain.name == name,
            None => !is_built_in(table.name, &chain.name),
        };
        let used = |chain: &&Chain| goes(chain) && (!chain.rules.is_empty() || jumped.contains(&*chain.name));
        if let Some(used) = table.chains.iter().find(used) {
            let message = format!("chain {} is in use and cannot be deleted", short(&used.name));
            return self.lost(message);
        }
        drop(jumped);
        let table_name = table.name;
        table.chains.retain(|chain| match name {
            Some(name) => chain.name != name,
            None => is_built_in(table_name, &chain.name),
        });
        let places = table.chains.iter().enumerate();
        self.index = places.map(|(at, chain)| (chain.name.clone(), at)).collect();
        self.last = None;
    }

    fn set_policy(&mut self, name: &str, rest: &[Token<'_>], only: Option<Family>) {
        if !self.is_for_us('P', rest.get(1..).unwrap_or_default(), only) {
            return;
        }
        let policy = match rest.first().map(|token| &*token.text) {
            Some("ACCEPT") => Policy::Accept,
            Some("DROP") => Policy::Drop,
            _ => return self.lost(format!("the policy of {} cannot be read", short(name))),
        };
        let built_in = self.table.as_ref().is_some_and(|table| is_built_in(table.name, name));
        if !built_in {
            return self.lost(format!("{} is no built-in chain", short(name)));
        }
        if policy == Policy::Drop && self.table.as_ref().is_some_and(|table| table.name == TableName::Nat) {
            return self.lost("the tools set no policy DROP in table nat by -P");
        }
        let index = match self.chain_index(name) {
            Some(index) => index,
            None => self.make_chain(name, None, None),
        };
        if let Some(chain) = self.chain(index) {
            chain.policy = Some(policy);
        }
    }

    fn flush(&mut self, name: Option<&str>) {
        let Some(table) = &mut self.table else { return };
        let mut some = false;
        for chain in table.chains.iter_mut().filter(|chain| name.is_none_or(|name| chain.name == name)) {
            some |= !chain.rules.is_empty();
            chain.rules.clear();
        }
        // iptables-nft-restore leaves those that the same file made.
        if name.is_none() && some {
            self.lost("all chains are flushed, which only iptables-legacy-restore does");
        }
    }

    fn rule_line(
        &mut self,
        verb: char,
        name: &str,
        rest: &[Token<'_>],
        counters: Option<Counters>,
        only: Option<Family>,
        lossy: bool,
    ) {
        // The place of `-I CHAIN 3`, `-R CHAIN 3`, `-D CHAIN 3`.
        let place = match rest.first() {
            Some(token) if !matches!(verb, 'A' | 'C') => place(&token.text),
            _ => None,
        };
        let words = if place.is_some() { rest.get(1..).unwrap_or_default() } else { rest };
        let is_chain = |name: &str| self.index.contains_key(name);
        let mut read = parse_rule::read(words, self.save.family, self.source, counters, &is_chain);
        // Behind a command without a rule the tools do not ask for it.
        let only = if verb == 'D' && place.is_some() { only } else { read.only.or(only) };
        if only.is_some_and(|family| family != self.save.family) {
            return self.say(Severity::Note, "the rule is for the other family only");
        }
        // What the tools refuse (`Bad argument`, `Illegal option`) leaves nobody knows which rules.
        let odd = match (verb, place) {
            ('D', Some(_)) => words
                .iter()
                .find(|word| !matches!(&*word.text, "-v" | "--verbose" | "-4" | "--ipv4" | "-6" | "--ipv6")),
            ('C' | 'D', None) => words.iter().find(|word| matches!(&*word.text, "-c" | "--set-counters")),
            _ => None,
        };
        if let Some(odd) = odd {
            return self.lost(format!("`{}` in a line of -{verb}, which the tools refuse", short(&odd.text)));
        }
        if verb == 'R' && read.rules.len() > 1 {
            return self.lost("-R with more than one address");
        }
        for (severity, problem) in std::mem::take(&mut read.problems) {
            self.say(severity, problem);
        }
        if lossy && unreadable(words) {
            self.say(Severity::Error, "what cannot be read is more than a comment");
            for rule in &mut read.rules {
                let unreadable = words.iter().filter(|token| token.text.contains('\u{fffd}'));
                let words = unreadable.map(|token| token.text.clone().into_owned()).collect();
                rule.matches.push(Match::Unmodelled(Unmodelled { name: String::new(), words }));
            }
        }
        self.uses(read.rules.iter().map(size).sum());
        let index = match self.chain_index(name) {
            Some(index) => index,
            None => {
                let built_in = self.table.as_ref().is_some_and(|table| is_built_in(table.name, name));
                let policy = if built_in { " (its policy is taken to be ACCEPT)" } else { "" };
                let message = format!("chain {} is not declared; it is made{policy}", short(name));
                if built_in {
                    self.say(Severity::Warning, message);
                } else {
                    // Nothing jumps to it: the rule was one of another chain.
                    self.lost(message);
                }
                self.make_chain(name, built_in.then_some(Policy::Accept), None)
            }
        };
        self.last = Some(index);
        let Some(chain) = self.chain(index) else { return };
        let rules = read.rules;
        let done = match (verb, place) {
            ('A', _) => {
                chain.rules.extend(rules);
                true
            }
            ('I', place) => {
                // The tool refuses a place beyond the end; the rule is not lost here.
                let at = place.unwrap_or(1) - 1;
                let end = at.min(chain.rules.len());
                // One for each address, each put at the same place.
                chain.rules.splice(end..end, rules.into_iter().rev());
                at <= end
            }
            ('R', Some(place)) if place <= chain.rules.len() => {
                chain.rules.splice(place - 1..place, rules);
                true
            }
            ('D', Some(place)) if place <= chain.rules.len() => {
                chain.rules.remove(place - 1);
                true
            }
            ('C' | 'D', None) => {
                let same =
                    |a: &Rule, b: &Rule| (&a.ip, &a.matches, &a.target) == (&b.ip, &b.matches, &b.target);
                let mut done = true;
                for rule in &rules {
                    match chain.rules.iter().position(|one| same(one, rule)) {
                        Some(_) if verb == 'C' => {}
                        Some(at) => {
                            chain.rules.remove(at);
                        }
                        None => done = false,
                    }
                }
                done
            }
            _ => {
                // What it should have replaced is not told, so the chain is not what it says.
                chain.rules.extend(rules);
                false
            }
        };
        if !done {
            self.lost(format!("-{verb} names no rule of chain {}", short(name)));
        }
    }
}

/// The place of a rule, from 1 on, as the tools read numbers (`strtoul` with base 0).
fn place(text: &str) -> Option<usize> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let place = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => usize::from_str_radix(hex, 16),
        None if digits.starts_with('0') => usize::from_str_radix(digits, 8),
        None => digits.parse(),
    };
    // A second sign is none of a number.
    place.ok().filter(|place| *place > 0 && !digits.contains('+'))
}

/// What a rule takes in memory, about: words of what is not modelled take most.
fn size(rule: &Rule) -> usize {
    let words = |unmodelled: &Unmodelled| {
        unmodelled.words.iter().map(|word| size_of::<String>() + 16 + word.len()).sum::<usize>()
    };
    let matches = rule.matches.iter().map(|one| match one {
        Match::Unmodelled(unmodelled) => size_of::<Match>() + 32 + words(unmodelled),
        _ => size_of::<Match>(),
    });
    let target = match &rule.target {
        Target::Unmodelled(unmodelled) => 64 + words(unmodelled),
        _ => 0,
    };
    size_of::<Rule>() + matches.sum::<usize>() + target
}

/// Whether replaced bytes stand anywhere but in a comment or a prefix.
fn unreadable(words: &[Token<'_>]) -> bool {
    let mut before = "";
    words.iter().any(|token| {
        let text = matches!(before, "--comment" | "--log-prefix" | "--nflog-prefix" | "--ulog-prefix");
        before = &token.text;
        !text && token.text.contains('\u{fffd}')
    })
}

/// `[packets:bytes]` before a rule, and the rest. `None` if the line begins with no bracket; the first part is `None` if it cannot be read.
fn leading_counters(line: &str) -> Option<(Option<Counters>, &str)> {
    let end = line.starts_with('[').then(|| line.find(']')).flatten()?;
    let (counters, rest) = line.split_at(end + 1);
    Some((bracketed(counters), rest.trim_start()))
}

/// `[packets:bytes]`.
fn bracketed(text: &str) -> Option<Counters> {
    let (packets, bytes) = text.strip_prefix('[')?.strip_suffix(']')?.split_once(':')?;
    Some(Counters { packets: packets.trim().parse().ok()?, bytes: bytes.trim().parse().ok()? })
}

/// Bounded, as diagnostics are kept.
fn short(text: &str) -> String {
    text.chars().take(80).collect()
}
