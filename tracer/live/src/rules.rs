//! Loading rulesets with the real tools, and the way back from what the trace names to positions in chains.

use std::collections::BTreeMap;

use pktwalk_linux::config::{Device, NetNsConfig, Ruleset};
use pktwalk_linux::hook::{Backend, Family, TableName};
use pktwalk_linux::ipset;
use pktwalk_linux::iptables::{self, ast};
use pktwalk_scenario::engine::EngineError;

use crate::netlink::{Attributes, Netfilter, be64, text};
use crate::ns::{failed, tool, unsupported};

/// `NFNL_SUBSYS_NFTABLES`, `NFT_MSG_GETRULE`.
const GETRULE: u16 = (10 << 8) | 7;

/// The table that sets the trace bit, before everything else at both ends of the stack. Native, so that rules under test keep their numbers.
pub(crate) const TRACE_TABLE: &str = "ztrace";

const TRACE_RULES: &str = "flush ruleset\n\
    table ip ztrace {\n\
    chain p { type filter hook prerouting priority -301; meta nftrace set 1; }\n\
    chain o { type filter hook output priority -301; meta nftrace set 1; }\n\
    }\n";

/// Whose rules a namespace has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Using {
    /// Those of one backend.
    One(Backend),
    /// Those of both.
    Both {
        /// The backend that was registered last, whose chains run first among those of one priority (`nf_hook_grow`).
        first: Backend,
    },
}

impl Using {
    /// What a configuration uses; nf_tables if it has no rules.
    pub fn of(config: &NetNsConfig) -> Result<Using, EngineError> {
        let mut backends: Vec<Backend> = rulesets(config).map(|ruleset| ruleset.backend).collect();
        backends.dedup();
        match backends.as_slice() {
            [] => Ok(Using::One(Backend::Nft)),
            [one] => Ok(Using::One(*one)),
            [_, first] => Ok(Using::Both { first: *first }),
            _ => Err(unsupported("rulesets of both backends that were registered by turns")),
        }
    }

    /// Whether there are rules of this one.
    pub fn has(self, backend: Backend) -> bool {
        match self {
            Using::One(one) => one == backend,
            Using::Both { .. } => true,
        }
    }
}

/// What is loaded, by the names that the trace uses.
#[derive(Default)]
pub(crate) struct Loaded {
    /// Rules of each chain, by backend, table and name.
    pub chains: BTreeMap<(Backend, TableName, String), ast::Chain>,
    /// With rules of both backends, the one that runs first among chains of one priority.
    pub first: Option<Backend>,
    /// nf_tables: position (from 1) of each handle in its chain.
    pub handles: BTreeMap<(TableName, u64), u32>,
    /// Whether a device has an IPv4 address for everyone to see.
    pub any_address: bool,
    /// Whether a device that packets come in by has no IPv4 address.
    pub device_without_address: bool,
}

/// Replaces whatever rules and sets the calling thread's namespace has.
pub(crate) fn load(
    config: &NetNsConfig,
    using: Using,
    netfilter: &mut Netfilter,
    lock: &str,
) -> Result<Loaded, EngineError> {
    clear(using, lock)?;
    tool("ipset", &["destroy"], "", &[])?;
    if !config.sets.is_empty() {
        tool("ipset", &["restore"], &ipset::print(&config.sets), &[])?;
    }
    let v4 = |device: &&Device| device.addresses.iter().any(|address| address.local.is_ipv4());
    let universe = |device: &Device| {
        device.addresses.iter().any(|address| address.local.is_ipv4() && address.scope == 0)
    };
    let mut loaded = Loaded {
        any_address: config.devices.iter().any(universe),
        device_without_address: config.devices.iter().any(|device| !v4(&device)),
        first: if let Using::Both { first } = using { Some(first) } else { None },
        ..Loaded::default()
    };
    let mut tables: Vec<(Backend, TableName)> = Vec::new();
    for ruleset in rulesets(config) {
        let backend = ruleset.backend;
        // The second would flush what the first loaded.
        let here: Vec<_> = ruleset.save.tables.iter().map(|table| (backend, table.name)).collect();
        if let Some((_, table)) = here.iter().find(|table| tables.contains(table)) {
            return Err(unsupported(format!("two rulesets of {backend} that both have a table {table}")));
        }
        tables.extend(here);
        restore(ruleset, lock)?;
        for table in &ruleset.save.tables {
            // A table that stands twice is loaded twice; the second replaces the first.
            loaded.chains.retain(|(of, name, _), _| (*of, *name) != (backend, table.name));
            // iptables-legacy has every built-in chain of a table, also those that the file does not name.
            for hook in table.name.hooks().iter().filter(|_| backend == Backend::Legacy) {
                let empty = ast::Chain {
                    name: hook.name().to_owned(),
                    policy: Some(ast::Policy::Accept),
                    counters: None,
                    rules: Vec::new(),
                    source: table.source,
                };
                loaded.chains.insert((backend, table.name, empty.name.clone()), empty);
            }
            for chain in &table.chains {
                loaded.chains.insert((backend, table.name, chain.name.clone()), chain.clone());
            }
        }
    }
    if using.has(Backend::Nft) {
        loaded.handles = handles(netfilter)?;
    }
    Ok(loaded)
}

fn rulesets(config: &NetNsConfig) -> impl Iterator<Item = &Ruleset> {
    config.rulesets.iter().filter(|ruleset| ruleset.save.family == Family::V4)
}

fn restore(ruleset: &Ruleset, lock: &str) -> Result<(), EngineError> {
    let text = match ruleset.backend {
        // The tool makes the built-in chains that a file declares or adds rules to, and no others.
        Backend::Nft => iptables::print_declared(&ruleset.save),
        Backend::Legacy => iptables::print(&ruleset.save, false),
    };
    match ruleset.backend {
        Backend::Nft => tool("iptables-nft-restore", &[], &text, &[]),
        Backend::Legacy => tool("iptables-legacy-restore", &["-w"], &text, &[("XTABLES_LOCKFILE", lock)]),
    }
    .map(drop)
    .map_err(|error| with_line(error, &text))
}

/// Adds the line that the tool complains of.
fn with_line(error: EngineError, text: &str) -> EngineError {
    let EngineError::Failed { engine, what } = error else { return error };
    if let Some(set) = what.split("Set ").nth(1).and_then(|rest| rest.split_once(" doesn't exist")) {
        let what = format!(
            "rules ask for set {}, which file ipset-save of the bundle does not have, or is missing",
            set.0
        );
        return EngineError::Failed { engine, what };
    }
    let number = what.split("line ").nth(1).and_then(|rest| {
        rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse::<usize>().ok())
    });
    let line = number.and_then(|number| text.lines().nth(number.checked_sub(1)?)).unwrap_or_default();
    EngineError::Failed { engine, what: format!("{what}: {line}") }
}

/// Takes all rules away. Legacy tables stay once they were touched: they are emptied, which also ends what `recent`, `limit` and `hashlimit` of the
/// rules before remember (a new table that shares their names would take it over).
fn clear(using: Using, lock: &str) -> Result<(), EngineError> {
    tool("nft", &["-f", "-"], TRACE_RULES, &[])?;
    if !using.has(Backend::Legacy) {
        return Ok(());
    }
    let touched = std::fs::read_to_string("/proc/thread-self/net/ip_tables_names").unwrap_or_default();
    let mut text = String::new();
    for table in touched.lines().filter_map(TableName::from_name) {
        text.push_str(&format!("*{table}\n"));
        for hook in table.hooks() {
            text.push_str(&format!(":{hook} ACCEPT\n"));
        }
        text.push_str("COMMIT\n");
    }
    if text.is_empty() {
        return Ok(());
    }
    tool("iptables-legacy-restore", &["-w"], &text, &[("XTABLES_LOCKFILE", lock)]).map(drop)
}

/// Every rule's position by its handle. iptables-nft keeps one rule per `-A` line, and a dump gives them in order.
fn handles(netfilter: &mut Netfilter) -> Result<BTreeMap<(TableName, u64), u32>, EngineError> {
    loop {
        let mut handles = BTreeMap::new();
        let mut counts: BTreeMap<(TableName, String), u32> = BTreeMap::new();
        let whole = netfilter
            .dump(GETRULE, 2, &[], &mut |message| {
                let (mut table, mut chain, mut handle) = (None, String::new(), 0);
                for (kind, value) in Attributes(message.attributes) {
                    match kind {
                        1 => table = TableName::from_name(&text(value)),
                        2 => chain = text(value),
                        3 => handle = be64(value),
                        _ => {}
                    }
                }
                if let Some(table) = table {
                    let count = counts.entry((table, chain)).or_default();
                    *count += 1;
                    handles.insert((table, handle), *count);
                }
            })
            .map_err(|error| failed(format!("dump of the rules: {error:?}")))?;
        if whole {
            return Ok(handles);
        }
    }
}
