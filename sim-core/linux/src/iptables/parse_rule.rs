//! The words of a rule, as the option parser of iptables takes them.
//!
//! An option belongs to the newest match (or target) of the line that has it; unique abbreviations count; with `-p tcp` and the like the
//! protocol's own match is loaded when one of its options is met. Whatever cannot be understood stays in the rule as unmodelled words.

use crate::diag::Severity;
use crate::hook::Family;
use crate::ids::SourceLine;

use smallvec::SmallVec;

use super::ast::{AddrMask, Counters, IpMatch, Match, Neg, Rule, Target, Unmodelled};
use super::names::protocol_number;
use super::options::{Ext, GLOBAL, OTHER_TARGETS, Spec};
use super::parse_match::{self, Scratch};
use super::parse_target;
use super::tokens::Token;
use super::values::{self, Parsed, bad};

/// A rule line that was read.
pub(super) struct Read {
    /// The rule; `-s a,b` and `-d a,b` make more than one.
    pub(super) rules: SmallVec<[Rule; 1]>,
    /// What could not be understood, each kept in the rule as words (errors), or was understood with good will (warnings).
    pub(super) problems: Vec<(Severity, String)>,
    /// `-4` or `-6`: the family that the line is for, if it is not every family.
    pub(super) only: Option<Family>,
}

/// What an open match or target has become so far.
enum Value {
    Match(Match),
    Target(Target),
}

struct Open<'t> {
    ext: Ext,
    /// As after `-m`, `-j` or `-g`.
    name: &'t str,
    value: Value,
    scratch: Scratch,
    /// Options that stood, by position in [`Ext::options`] of the first with the same meaning.
    seen: u32,
    /// The last of them, as its meaning.
    last: &'static str,
    broken: bool,
}

/// What `-s` or `-d` names.
type Addrs = SmallVec<[Option<Neg<AddrMask>>; 1]>;

struct Reader<'t, 'a> {
    tokens: &'t [Token<'a>],
    at: usize,
    family: Family,
    ip: IpMatch,
    sources: Addrs,
    destinations: Addrs,
    /// Letters of the options that stood, each as a bit.
    letters: u64,
    open: SmallVec<[Open<'t>; 4]>,
    /// Which words (from, to) belong to which of the open ones.
    words: SmallVec<[(usize, usize, usize); 12]>,
    /// Words that belong to nothing that is known.
    stray: Vec<String>,
    problems: Vec<(Severity, String)>,
    counters: Option<Counters>,
    only: Option<Family>,
}

/// Where an option leads.
enum Found {
    Global(char),
    Of(usize, &'static Spec),
    /// Words of a match or target that is not modelled.
    Words(usize),
    Unknown,
}

/// Reads what stands after `-A CHAIN`. `is_chain` tells of the chains that the table has so far.
pub(super) fn read(
    tokens: &[Token<'_>],
    family: Family,
    source: SourceLine,
    counters: Option<Counters>,
    is_chain: &dyn Fn(&str) -> bool,
) -> Read {
    let mut reader = Reader {
        tokens,
        at: 0,
        family,
        ip: IpMatch::default(),
        sources: SmallVec::new(),
        destinations: SmallVec::new(),
        letters: 0,
        open: SmallVec::new(),
        words: SmallVec::new(),
        stray: Vec::new(),
        problems: Vec::new(),
        counters,
        only: None,
    };
    reader.run(is_chain);
    reader.finish(source)
}

impl<'t, 'a> Reader<'t, 'a> {
    fn run(&mut self, is_chain: &dyn Fn(&str) -> bool) {
        while let Some(token) = self.tokens.get(self.at) {
            let start = self.at;
            let mut not = false;
            let mut option = token;
            if token.text == "!" && !token.quoted {
                match self.tokens.get(self.at + 1) {
                    Some(next) if is_option(next) => {
                        not = true;
                        option = next;
                        self.at += 1;
                    }
                    _ => {
                        self.at += 1;
                        self.left_over(start, "`!` stands before no option");
                        continue;
                    }
                }
            }
            self.at += 1;
            if !is_option(option) {
                self.word(start);
                continue;
            }
            // `--option=value`, `-svalue`.
            let text: &str = &option.text;
            let (name, attached) = if text.starts_with("--") {
                match text.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (text, None),
                }
            } else {
                let end = text.char_indices().nth(2).map_or(text.len(), |(at, _)| at);
                let (name, value) = text.split_at(end);
                (name, (!value.is_empty()).then_some(value))
            };
            match self.find(name, option.quoted) {
                Found::Global(letter) => {
                    if let Err(why) = self.global(letter, not, attached, is_chain) {
                        self.error(format!("-{letter}: {why}"));
                        self.stray_from(start);
                    }
                }
                Found::Of(open, spec) => self.option_of(open, spec, not, attached, start),
                Found::Words(open) => self.keep(open, start),
                Found::Unknown => {
                    let why = format!("unknown option {}", short(name));
                    self.left_over(start, &why);
                }
            }
        }
    }

    fn error(&mut self, why: String) {
        self.problems.push((Severity::Error, why));
    }

    /// A word where an option should stand.
    fn word(&mut self, start: usize) {
        if self.more_text(start) {
            return;
        }
        match self.open.last() {
            Some(open) if unmodelled(open) => self.keep(self.open.len() - 1, start),
            _ => {
                let shown = self.tokens.get(start).map_or("", |token| &token.text);
                let why = format!("`{}` belongs to no option", short(shown));
                self.left_over(start, &why);
            }
        }
    }

    /// Words after a comment or a prefix that was not quoted: they can only be more of it, and decide nothing.
    fn more_text(&mut self, start: usize) -> bool {
        let Some(token) = self.tokens.get(start) else { return false };
        let end = self.at;
        let Some(open) = self.open.last_mut().filter(|open| !open.broken) else { return false };
        let text = match &mut open.value {
            Value::Match(Match::Comment(text)) if open.last == "comment" => text,
            Value::Target(Target::Log(log)) if open.last == "prefix" => log.prefix.get_or_insert_default(),
            Value::Target(Target::Nflog(nflog)) if open.last == "prefix" => {
                nflog.prefix.get_or_insert_default()
            }
            _ => return false,
        };
        text.push(' ');
        text.push_str(&token.text);
        let index = self.open.len() - 1;
        self.words.push((index, start, end));
        let why =
            format!("`{}` is taken as more of the text before it, which is not quoted", short(&token.text));
        self.problems.push((Severity::Warning, why));
        true
    }

    /// Words up to here that nothing takes: what they follow is no longer understood as a whole.
    fn left_over(&mut self, start: usize, why: &str) {
        self.error(why.to_owned());
        match self.open.last_mut() {
            Some(open) => {
                open.broken = true;
                self.keep(self.open.len() - 1, start);
            }
            None => self.stray_from(start),
        }
    }

    fn stray_from(&mut self, start: usize) {
        let words = self.tokens.get(start..self.at).unwrap_or_default();
        self.stray.extend(words.iter().map(|token| token.text.clone().into_owned()));
    }

    fn keep(&mut self, open: usize, start: usize) {
        self.words.push((open, start, self.at));
    }

    fn find(&mut self, name: &str, quoted: bool) -> Found {
        let after_unmodelled = self.open.last().is_some_and(unmodelled);
        let last = self.open.len().wrapping_sub(1);
        if quoted && after_unmodelled {
            return Found::Words(last);
        }
        let Some(long) = name.strip_prefix("--") else {
            let letter = name.chars().nth(1).unwrap_or('-');
            return match letter {
                's' | 'd' | 'i' | 'o' | 'p' | 'f' | 'm' | 'j' | 'g' | 'c' | '4' | '6' => {
                    Found::Global(letter)
                }
                _ if after_unmodelled => Found::Words(last),
                _ => Found::Unknown,
            };
        };
        if let Some((_, letter)) = GLOBAL.iter().find(|(known, _)| *known == long) {
            return Found::Global(*letter);
        }
        // What is not modelled may have any option; only those that always mean the protocol's match are kept from it.
        if after_unmodelled && (!is_port_option(long) || self.open.last().is_some_and(has_ports)) {
            return Found::Words(last);
        }
        if let Some(found) = self.exact(long) {
            return found;
        }
        if let Some(found) = self.abbreviated(long) {
            return found;
        }
        if self.load_protocol() {
            return self.find(name, quoted);
        }
        if after_unmodelled { Found::Words(last) } else { Found::Unknown }
    }

    fn exact(&self, long: &str) -> Option<Found> {
        let mut newest_first = self.open.iter().enumerate().rev();
        newest_first.find_map(|(index, open)| {
            let spec = open.ext.options().iter().find(|spec| spec.0 == long)?;
            Some(Found::Of(index, spec))
        })
    }

    fn abbreviated(&self, long: &str) -> Option<Found> {
        if long.is_empty() {
            return None;
        }
        let mut global: Option<char> = None;
        let mut of: Option<(usize, &'static Spec)> = None;
        for (_, letter) in GLOBAL.iter().filter(|(known, _)| known.starts_with(long)) {
            if global.is_some_and(|other| other != *letter) {
                return None;
            }
            global = Some(*letter);
        }
        for (index, open) in self.open.iter().enumerate().rev() {
            for spec in open.ext.options().iter().filter(|spec| spec.0.starts_with(long)) {
                if of.is_some_and(|(other, known)| other != index || known.1 != spec.1) {
                    return None;
                }
                of = Some((index, spec));
            }
        }
        match (global, of) {
            (Some(letter), None) => Some(Found::Global(letter)),
            (None, Some((index, spec))) => Some(Found::Of(index, spec)),
            _ => None,
        }
    }

    /// Opens the match of the protocol that `-p` named. `false` if there is none, or it is open.
    fn load_protocol(&mut self) -> bool {
        let Some(Neg { value, .. }) = self.ip.protocol else { return false };
        let (ext, name) = match (value, self.family) {
            (6, _) => (Ext::Tcp, "tcp"),
            (17, _) => (Ext::Udp, "udp"),
            (1, Family::V4) => (Ext::Icmp, "icmp"),
            (58, Family::V6) => (Ext::Icmp6, "icmp6"),
            (132, _) => (Ext::OtherMatch, "sctp"),
            (33, _) => (Ext::OtherMatch, "dccp"),
            (136, _) => (Ext::OtherMatch, "udplite"),
            (50, _) => (Ext::OtherMatch, "esp"),
            (51, _) => (Ext::OtherMatch, "ah"),
            (135, Family::V6) => (Ext::OtherMatch, "mh"),
            _ => return false,
        };
        let loaded = self.open.iter().any(|open| open.ext == ext && open.name == name);
        if loaded || self.open.iter().any(|open| open.ext == ext && ext != Ext::OtherMatch) {
            return false;
        }
        let value = Value::Match(parse_match::empty(ext, name, self.family));
        self.push(ext, name, value);
        true
    }

    fn push(&mut self, ext: Ext, name: &'t str, value: Value) {
        let scratch = Scratch::default();
        self.open.push(Open { ext, name, value, scratch, seen: 0, last: "", broken: false });
    }

    /// The next word, `attached` first.
    fn argument(&mut self, attached: Option<&'t str>) -> Option<&'t str> {
        if attached.is_some() {
            return attached;
        }
        let token = self.tokens.get(self.at)?;
        self.at += 1;
        Some(&token.text)
    }

    /// Whether the old form of inversion, `-s ! x`, stands here; goes past the `!`.
    fn old_not(&mut self, attached: Option<&str>) -> bool {
        let here = self.tokens.get(self.at).is_some_and(|token| token.text == "!" && !token.quoted);
        let old = attached.is_none() && here && self.tokens.len() > self.at + 1;
        self.at += usize::from(old);
        old
    }

    fn global(
        &mut self,
        letter: char,
        not: bool,
        attached: Option<&'t str>,
        is_chain: &dyn Fn(&str) -> bool,
    ) -> Parsed<()> {
        let not = not || (matches!(letter, 's' | 'd' | 'i' | 'o' | 'p') && self.old_not(attached));
        if not && !matches!(letter, 's' | 'd' | 'i' | 'o' | 'p' | 'f') {
            return Err("cannot be inverted".to_owned());
        }
        if letter != 'm' {
            // Letters and digits are below 128; `A` is 65.
            let bit = 1u64 << (u32::from(letter) & 63);
            if self.letters & bit != 0 {
                return Err("stands twice".to_owned());
            }
            self.letters |= bit;
        }
        if matches!(letter, 'f' | '4' | '6') {
            match letter {
                'f' if self.family == Family::V6 => return Err("is not for IPv6".to_owned()),
                'f' => self.ip.fragment = Some(!not),
                '4' => self.only = Some(Family::V4),
                _ => self.only = Some(Family::V6),
            }
            return Ok(());
        }
        let Some(arg) = self.argument(attached) else { return Err("nothing follows".to_owned()) };
        match letter {
            's' => self.sources = addresses(arg, not, self.family)?,
            'd' => self.destinations = addresses(arg, not, self.family)?,
            'i' => self.ip.in_dev = device(arg, not)?,
            'o' => self.ip.out_dev = device(arg, not)?,
            'p' => match protocol_number(arg) {
                Some(0) if not => return Err("`! -p all` matches nothing".to_owned()),
                Some(0) => {}
                Some(value) => self.ip.protocol = Some(Neg { not, value }),
                None => return bad(arg, "a protocol"),
            },
            'c' => {
                let packets = values::int(arg)?;
                let Some(bytes) = self.argument(None) else { return Err("bytes are missing".to_owned()) };
                self.counters = Some(Counters { packets, bytes: values::int(bytes)? });
            }
            'm' => {
                let ext = Ext::of_match(arg, self.family);
                let value = Value::Match(parse_match::empty(ext, arg, self.family));
                self.push(ext, arg, value);
            }
            'A' | 'I' => return Err("stands within a rule".to_owned()),
            _ if self.open.iter().any(|open| open.ext.is_target()) => {
                return Err("a second target".to_owned());
            }
            'g' => self.push(Ext::OtherTarget, arg, Value::Target(Target::Goto(arg.to_owned()))),
            _ => {
                let ext = Ext::of_target(arg);
                let chain = ext == Ext::OtherTarget && (is_chain(arg) || !OTHER_TARGETS.contains(&arg));
                let target = if chain {
                    Target::Jump(arg.to_owned())
                } else {
                    parse_target::empty(ext, arg, self.family)
                };
                self.push(ext, arg, Value::Target(target));
            }
        }
        Ok(())
    }

    fn option_of(
        &mut self,
        index: usize,
        spec: &'static Spec,
        not: bool,
        attached: Option<&'t str>,
        start: usize,
    ) {
        let (name, meaning, count, can_invert) = *spec;
        let not = not || (can_invert && count > 0 && self.old_not(attached));
        let mut args = [""; 2];
        let mut missing = attached.is_some() && count == 0;
        for (number, arg) in args.iter_mut().enumerate().take(usize::from(count)) {
            match self.argument(attached.filter(|_| number == 0)) {
                Some(word) => *arg = word,
                None => missing = true,
            }
        }
        self.keep(index, start);
        let family = self.family;
        let Some(open) = self.open.get_mut(index) else { return };
        let bit = open.ext.options().iter().position(|known| known.1 == meaning).unwrap_or(0);
        let twice = open.seen >> bit & 1 == 1;
        open.seen |= 1 << bit;
        open.last = meaning;
        let done = if missing {
            Err("the number of words after it is wrong".to_owned())
        } else if twice {
            Err("stands twice".to_owned())
        } else if not && !can_invert {
            Err("cannot be inverted".to_owned())
        } else {
            match &mut open.value {
                Value::Match(one) => parse_match::apply(one, &mut open.scratch, meaning, not, args, family),
                Value::Target(one) => parse_target::apply(one, &mut open.scratch, meaning, args[0], family),
            }
        };
        if let Err(why) = done {
            open.broken = true;
            self.error(format!("--{name}: {why}"));
        }
    }

    fn finish(mut self, source: SourceLine) -> Read {
        let mut matches = Vec::with_capacity(
            self.open.iter().filter(|open| !open.ext.is_target()).count()
                + usize::from(!self.stray.is_empty()),
        );
        let mut target = Target::None;
        for (index, mut open) in std::mem::take(&mut self.open).into_iter().enumerate() {
            let name = open.name;
            if !open.broken {
                let (ext, seen) = (open.ext, open.seen);
                let seen = |option: &str| {
                    let bit = ext.options().iter().position(|known| known.1 == option);
                    bit.is_some_and(|bit| seen >> bit & 1 == 1)
                };
                let done = match &mut open.value {
                    Value::Match(one) => parse_match::finish(one, &open.scratch, &seen),
                    Value::Target(one) => parse_target::finish(one, &open.scratch, &seen),
                };
                if let Err(why) = done {
                    open.broken = true;
                    self.error(format!("{name}: {why}"));
                }
            }
            let words = || -> Vec<String> {
                let mine = self.words.iter().filter(|(of, _, _)| *of == index);
                let ranges = mine.filter_map(|(_, from, to)| self.tokens.get(*from..*to));
                ranges.flatten().map(|token| token.text.clone().into_owned()).collect()
            };
            match open.value {
                Value::Match(Match::Unmodelled(one)) => {
                    matches.push(Match::Unmodelled(Unmodelled { name: one.name, words: words() }));
                }
                Value::Match(_) if open.broken => {
                    matches.push(Match::Unmodelled(Unmodelled { name: name.to_owned(), words: words() }))
                }
                Value::Match(one) => matches.push(one),
                Value::Target(Target::Unmodelled(one)) => {
                    target = Target::Unmodelled(Box::new(Unmodelled { name: one.name, words: words() }));
                }
                Value::Target(Target::Goto(chain)) if open.broken => {
                    // Without a name, so that `-g` is printed back.
                    let words = ["-g".to_owned(), chain].into_iter().chain(words()).collect();
                    target = Target::Unmodelled(Box::new(Unmodelled { name: String::new(), words }));
                }
                Value::Target(_) if open.broken => {
                    target =
                        Target::Unmodelled(Box::new(Unmodelled { name: name.to_owned(), words: words() }))
                }
                Value::Target(one) => target = one,
            }
        }
        if !self.stray.is_empty() {
            self.stray.shrink_to_fit();
            matches.push(Match::Unmodelled(Unmodelled { name: String::new(), words: self.stray }));
        }
        let rule = Rule { ip: self.ip, matches, target, counters: self.counters.map(Box::new), source };
        Read {
            rules: expand(rule, &self.sources, &self.destinations),
            problems: self.problems,
            only: self.only,
        }
    }
}

/// One rule for each source and each destination.
fn expand(
    mut rule: Rule,
    sources: &[Option<Neg<AddrMask>>],
    destinations: &[Option<Neg<AddrMask>>],
) -> SmallVec<[Rule; 1]> {
    rule.ip.src = sources.first().copied().flatten();
    rule.ip.dst = destinations.first().copied().flatten();
    if sources.len() <= 1 && destinations.len() <= 1 {
        return SmallVec::from_buf([rule]);
    }
    let mut rules = SmallVec::with_capacity(sources.len().max(1) * destinations.len().max(1));
    for source in 0..sources.len().max(1) {
        for destination in 0..destinations.len().max(1) {
            let mut one = rule.clone();
            one.ip.src = sources.get(source).copied().flatten();
            one.ip.dst = destinations.get(destination).copied().flatten();
            rules.push(one);
        }
    }
    rules
}

/// A list of addresses. Any address, not inverted, is no test.
fn addresses(text: &str, not: bool, family: Family) -> Parsed<Addrs> {
    // Sources times destinations become rules, so their number is bounded.
    const MOST: usize = 256;
    let mut list = Addrs::new();
    for part in text.split(',') {
        let value = values::addr_mask(part, family)?;
        let any = super::print::prefix_length(value.mask) == Some(0);
        list.push((not || !any).then_some(Neg { not, value }));
    }
    match list.len() {
        1 => Ok(list),
        2..=MOST if !not => Ok(list),
        2.. if not => Err("a list cannot be inverted".to_owned()),
        _ => Err("too many addresses".to_owned()),
    }
}

/// A device. `+` alone, not inverted, is no test.
fn device(text: &str, not: bool) -> Parsed<Option<Box<Neg<super::ast::DevPattern>>>> {
    let value = values::device(text)?;
    let any = value.prefix && value.name.is_empty();
    Ok((not || !any).then(|| Box::new(Neg { not, value })))
}

fn is_option(token: &Token<'_>) -> bool {
    let mut chars = token.text.chars();
    let dash = chars.next() == Some('-');
    // A negative number or a dash alone is a value.
    dash && chars.next().is_some_and(|c| c == '-' || c.is_ascii_alphabetic() || matches!(c, '4' | '6'))
        && token.text != "--"
}

/// Whether an unmodelled match has options for ports itself.
fn has_ports(open: &Open<'_>) -> bool {
    matches!(open.name, "sctp" | "dccp" | "udplite" | "icmp" | "icmp6" | "mport" | "ipv6-icmp")
}

fn unmodelled(open: &Open<'_>) -> bool {
    open.broken
        || matches!(open.value, Value::Match(Match::Unmodelled(_)) | Value::Target(Target::Unmodelled(_)))
}

fn is_port_option(long: &str) -> bool {
    matches!(
        long,
        "sport"
            | "dport"
            | "source-port"
            | "destination-port"
            | "tcp-flags"
            | "syn"
            | "tcp-option"
            | "icmp-type"
            | "icmpv6-type"
    )
}

/// Bounded, as diagnostics are kept.
fn short(text: &str) -> String {
    text.chars().take(60).collect()
}
