//! The differential runner: generated cases on two engines, what they differ in, and the smallest case that still differs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use pktwalk_linux::config::{NetNsConfig, Ruleset};
use pktwalk_linux::conntrack::tuple::CtL4;
use pktwalk_linux::hook::{Backend, TableName};
use pktwalk_linux::iptables;
use pktwalk_linux::iptables::ast::{Match, StatisticMatch, Target};
use pktwalk_linux::reason::{Disposition, DropCode};
use pktwalk_packet::Ipv4Fields;
use pktwalk_scenario::case::{Case, CaseSend, Entry};
use pktwalk_scenario::compare::{Difference, What, compare};
use pktwalk_scenario::engine::EngineError;
use pktwalk_scenario::event::{At, EngineRun};
use pktwalk_scenario::model::ModelEngine;

use super::flows::Packets;
use super::pools::{CLIENT_PORTS, SERVICE_PORTS};
use super::rng::Rng;
use super::{rules, world};
use crate::engine::{KernelEngine, KernelRun};
use crate::replay::Replay;

/// Which engines are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Versus {
    /// The model with the kernel on this backend.
    Model(Backend),
    /// Both backends of the kernel.
    Backends,
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Of the first case; every case has its own: `seed + number`.
    pub seed: u64,
    /// How many cases, each with a ruleset of its own.
    pub rulesets: u32,
    /// Packets of each.
    pub packets: usize,
    /// What is compared.
    pub versus: Versus,
    /// Workers. More than processors pay off: loading nf_tables rules mostly waits.
    pub jobs: usize,
    /// Whether differing cases are made small.
    pub shrink: bool,
    /// Stops after this many differing cases.
    pub max_failures: usize,
}

/// A case in which the engines differ.
#[derive(Debug)]
pub struct Failure {
    /// Generates the case.
    pub seed: u64,
    /// The smallest case found that still differs.
    pub case: Case,
    /// What differs in it.
    pub differences: Vec<Difference>,
}

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases that ran.
    pub rulesets: u32,
    /// Cases whose rules the tool refused, with its words.
    pub refused: Vec<String>,
    /// Packets sent.
    pub packets: u32,
    /// Events seen by the kernel.
    pub events: u64,
    /// Matched rules by kind of match (`-m NAME`) and target (`-j NAME`).
    pub matched: BTreeMap<String, u64>,
    /// Packets that the model could not tell the end of, by reason.
    pub unknown: BTreeMap<String, u32>,
    /// Cases that differ.
    pub failures: Vec<Failure>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "{failure}")?;
        }
        let Report { rulesets, packets, events, .. } = self;
        writeln!(f, "{rulesets} rulesets, {packets} packets, {events} events")?;
        for (what, count) in &self.matched {
            writeln!(f, "  {count:>8} {what}")?;
        }
        for (why, count) in &self.unknown {
            writeln!(f, "  unknown: {count} {why}")?;
        }
        for words in self.refused.iter().take(10) {
            writeln!(f, "  refused: {words}")?;
        }
        writeln!(f, "{} refused, {} differ", self.refused.len(), self.failures.len())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} differs:", self.seed)?;
        let config = &self.case.config;
        for ruleset in &config.rulesets {
            writeln!(f, "{}", iptables::print(&ruleset.save, false).trim_end())?;
        }
        write!(f, "{}", pktwalk_linux::ipset::print(&config.sets))?;
        if let Ok(text) = crate::program::configure(config) {
            write!(f, "{text}")?;
        }
        for (key, value) in &config.sysctls {
            writeln!(f, "{key} = {value}")?;
        }
        for (number, send) in self.case.sends.iter().enumerate() {
            let at = match &send.entry {
                Entry::Device(dev) => dev.clone(),
                Entry::Local(socket) => format!("socket of {:?}", socket.uid),
            };
            write!(f, "packet {} at {at}: ", number + 1)?;
            for byte in send.packet.bytes() {
                write!(f, "{byte:02x}")?;
            }
            writeln!(f)?;
        }
        for difference in &self.differences {
            writeln!(f, "  {difference}")?;
        }
        Ok(())
    }
}

/// The engines of one worker.
struct Engines {
    first: KernelEngine,
    second: Option<KernelEngine>,
}

impl Engines {
    fn new(versus: Versus) -> Engines {
        match versus {
            Versus::Model(backend) => Engines { first: KernelEngine::new(Some(backend)), second: None },
            Versus::Backends => Engines {
                first: KernelEngine::new(Some(Backend::Nft)),
                second: Some(KernelEngine::new(Some(Backend::Legacy))),
            },
        }
    }

    /// Runs the case on both; the first is the kernel's.
    fn run(&mut self, case: &Case) -> Result<(KernelRun, EngineRun), EngineError> {
        let mut kernel = self.first.run_for_replay(case)?;
        let other = match &mut self.second {
            Some(second) => {
                kernel.run = alike(kernel.run);
                alike(second.run_for_replay(case)?.run)
            }
            None => {
                let choices = Box::new(Replay::new(kernel.clone()));
                ModelEngine::with_choices(choices).walk(case)?.run
            }
        };
        Ok((kernel, other))
    }

    /// Runs and compares.
    fn differ(&mut self, case: &Case) -> Result<Vec<Difference>, EngineError> {
        let (kernel, other) = self.run(case)?;
        Ok(differences(&kernel.run, &other))
    }
}

/// Takes away what two runs of the kernel cannot have in common: the backend's name, and the IP ids of the packets that it made.
fn alike(mut run: EngineRun) -> EngineRun {
    for packet in run.sends.iter_mut().flat_map(|send| &mut send.packets) {
        for event in &mut packet.events {
            event.backend = Backend::Nft;
        }
        if packet.code == Some(DropCode::Hotdrop.code()) {
            // x_tables' trace does not show the rule whose match dropped.
            packet.events.pop();
        }
        for frame in packet.frames.iter_mut().filter(|_| packet.parent.is_some()) {
            if let Some(header) = frame.packet.l3_mut().get_mut(..12) {
                header[4..6].fill(0);
                header[10..12].fill(0);
            }
        }
        packet.frames.iter_mut().for_each(|frame| without_drawn_port(frame.packet.l3_mut()));
    }
    let given = |port: &mut u16| *port = if drawn(*port) { 0 } else { *port };
    for entry in run.sends.iter_mut().flat_map(|send| &mut send.conntrack) {
        if let CtL4::Ports { src, dst } = &mut entry.reply.l4 {
            given(src);
            given(dst);
        }
    }
    run.sends.iter_mut().for_each(|send| send.conntrack.sort());
    run
}

/// Whether NAT drew the port: nothing that is generated has it.
fn drawn(port: u16) -> bool {
    !CLIENT_PORTS.contains(&port) && !SERVICE_PORTS.contains(&port) && port != 1024 && port != 30000
}

/// Takes drawn ports out of a packet, and the checksum that covers them.
fn without_drawn_port(l3: &mut [u8]) {
    let Ok(ip) = Ipv4Fields::parse(l3) else { return };
    let at = usize::from(ip.header_len);
    let checksum = match ip.protocol {
        6 => at + 16,
        17 => at + 6,
        _ => return,
    };
    let mut found = false;
    for place in [at, at + 2] {
        if let Some([a, b]) = l3.get_mut(place..place + 2)
            && drawn(u16::from_be_bytes([*a, *b]))
        {
            (*a, *b, found) = (0, 0, true);
        }
    }
    if found && let Some(bytes) = l3.get_mut(checksum..checksum + 2) {
        bytes.fill(0);
    }
}

/// What counts as a difference: everything but what follows an end that the model does not know, as the report counts those by themselves.
fn differences(kernel: &EngineRun, other: &EngineRun) -> Vec<Difference> {
    let unknown = other
        .sends
        .iter()
        .position(|send| send.packets.iter().any(|packet| packet.disposition == Some(Disposition::Unknown)));
    let mut found = compare(kernel, other);
    // State differs from there on.
    found.retain(|difference| unknown.is_none_or(|unknown| difference.send < unknown));
    found.retain(|difference| !matches!(difference.what, What::KernelReason(..)) || unknown.is_none());
    found
}

/// The namespace and the random stream of the packets of a seed.
pub fn namespace(seed: u64, backend: Backend) -> (NetNsConfig, Rng) {
    let mut rng = Rng::new(seed);
    let mut config = world::world(&mut rng.fork(1));
    let generated = rules::ruleset(&mut rng.fork(2));
    config.sets = generated.sets;
    config.rulesets = vec![Ruleset { backend, save: generated.save }];
    (config, rng.fork(3))
}

/// Takes away what two runs of the same kernel would decide differently.
fn without_chance(config: &mut NetNsConfig) {
    for ruleset in &mut config.rulesets {
        // Its place at INPUT is not the same on both backends (see `normal`).
        ruleset.save.tables.retain(|table| table.name != TableName::Security);
    }
    let tables = config.rulesets.iter_mut().flat_map(|ruleset| &mut ruleset.save.tables);
    for rule in tables.flat_map(|table| &mut table.chains).flat_map(|chain| &mut chain.rules) {
        rule.matches.retain(|one| !matches!(one, Match::Statistic(StatisticMatch::Random { .. })));
        if let Target::Dnat(nat) | Target::Snat(nat) | Target::Masquerade(nat) | Target::Redirect(nat) =
            &mut rule.target
        {
            (nat.random, nat.random_fully) = (false, false);
            // The first port tried in a range is a random one too.
            if let Some(ports) = &mut nat.ports {
                ports.hi = ports.lo;
            }
        }
    }
}

fn case_of(seed: u64, config: &NetNsConfig, sends: Vec<CaseSend>) -> Case {
    Case { name: format!("seed {seed}"), config: config.clone(), sends, seed, ..Case::default() }
}

/// The whole case of a seed: packets that start flows, and answers to what the kernel let out of them.
fn generate(seed: u64, plan: &Plan, kernel: &mut KernelEngine) -> Result<Case, EngineError> {
    let backend = match plan.versus {
        Versus::Model(backend) => backend,
        Versus::Backends => Backend::Nft,
    };
    let (mut config, mut rng) = namespace(seed, backend);
    if plan.versus == Versus::Backends {
        without_chance(&mut config);
    }
    let mut packets = Packets::new(&config);
    let mut sends = packets.first(&mut rng, plan.packets.div_ceil(2));
    let run = kernel.run_for_replay(&case_of(seed, &config, sends.clone()))?;
    sends.extend(packets.answers(&mut rng, &run.run.sends, plan.packets / 3));
    let more = plan.packets.saturating_sub(sends.len());
    sends.extend(packets.first(&mut rng, more));
    Ok(case_of(seed, &config, sends))
}

/// Runs a plan.
///
/// # Errors
/// If the kernel engine cannot run here at all.
pub fn run(plan: &Plan) -> Result<Report, EngineError> {
    let report = Mutex::new(Report::default());
    let (next, broken) = (AtomicU32::new(0), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            scope.spawn(|| {
                let mut engines = Engines::new(plan.versus);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let enough =
                        report.lock().map_or(true, |report| report.failures.len() >= plan.max_failures);
                    if number >= plan.rulesets || enough {
                        break;
                    }
                    let seed = plan.seed.wrapping_add(u64::from(number));
                    match one(seed, plan, &mut engines) {
                        Ok(part) => {
                            if let Ok(mut report) = report.lock() {
                                report.add(part);
                            }
                        }
                        Err(error @ EngineError::Missing { .. }) => {
                            if let Ok(mut broken) = broken.lock() {
                                *broken = Some(error);
                            }
                            break;
                        }
                        Err(error) => {
                            if let Ok(mut report) = report.lock() {
                                report.refused.push(format!("seed {seed}: {error}"));
                            }
                        }
                    }
                }
            });
        }
    });
    match broken.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(report.into_inner().unwrap_or_default()),
    }
}

fn one(seed: u64, plan: &Plan, engines: &mut Engines) -> Result<Report, EngineError> {
    let case = generate(seed, plan, &mut engines.first)?;
    let (kernel, other) = engines.run(&case)?;
    let mut report = Report { rulesets: 1, packets: case.sends.len() as u32, ..Report::default() };
    report.count(&case, &kernel.run, &other);
    let found = differences(&kernel.run, &other);
    if !found.is_empty() {
        let (case, differences) = if plan.shrink { shrink(case, found, engines) } else { (case, found) };
        report.failures.push(Failure { seed, case, differences });
    }
    Ok(report)
}

impl Report {
    fn add(&mut self, part: Report) {
        self.rulesets += part.rulesets;
        self.packets += part.packets;
        self.events += part.events;
        for (what, count) in part.matched {
            *self.matched.entry(what).or_default() += count;
        }
        for (why, count) in part.unknown {
            *self.unknown.entry(why).or_default() += count;
        }
        self.failures.extend(part.failures);
    }

    fn count(&mut self, case: &Case, kernel: &EngineRun, other: &EngineRun) {
        for event in kernel.sends.iter().flat_map(|send| &send.packets).flat_map(|packet| &packet.events) {
            self.events += 1;
            let At::Rule(position) = event.at else { continue };
            let tables = case.config.rulesets.iter().flat_map(|ruleset| &ruleset.save.tables);
            let chain = tables
                .filter(|table| table.name == event.table)
                .flat_map(|table| &table.chains)
                .find(|chain| chain.name == event.chain);
            let Some(rule) = chain.and_then(|chain| chain.rules.get((position as usize).checked_sub(1)?))
            else {
                continue;
            };
            for one in &rule.matches {
                let text = iptables::print_match(one, pktwalk_linux::hook::Family::V4);
                if let Some(name) = text.split_whitespace().skip_while(|word| *word != "-m").nth(1) {
                    *self.matched.entry(format!("-m {name}")).or_default() += 1;
                }
            }
            let target = match &rule.target {
                Target::None => "no target".to_owned(),
                Target::Jump(_) => "jump".to_owned(),
                Target::Goto(_) => "goto".to_owned(),
                other => {
                    let text = iptables::print_target(other, pktwalk_linux::hook::Family::V4);
                    format!("-j {}", text.split_whitespace().nth(1).unwrap_or("?"))
                }
            };
            *self.matched.entry(target).or_default() += 1;
        }
        let ends = other.sends.iter().flat_map(|send| &send.packets);
        for end in ends.filter(|packet| packet.disposition == Some(Disposition::Unknown)) {
            *self.unknown.entry(end.code.unwrap_or("no code").to_owned()).or_default() += 1;
        }
    }
}

/// Takes away packets, rules and tables as long as something still differs.
fn shrink(mut case: Case, mut found: Vec<Difference>, engines: &mut Engines) -> (Case, Vec<Difference>) {
    let mut attempts = 120;
    // What comes after the first difference cannot be its cause.
    let last = found.iter().map(|difference| difference.send).min().unwrap_or(0);
    let mut shorter = case.clone();
    shorter.sends.truncate(last + 1);
    try_it(shorter, &mut case, &mut found, engines);
    let mut at = case.sends.len().saturating_sub(1);
    while at > 0 && attempts > 0 {
        at -= 1;
        attempts -= 1;
        let mut smaller = case.clone();
        smaller.sends.remove(at);
        try_it(smaller, &mut case, &mut found, engines);
    }
    for table in (0..tables(&case)).rev() {
        attempts -= 1;
        let mut smaller = case.clone();
        smaller.config.rulesets[0].save.tables.remove(table);
        try_it(smaller, &mut case, &mut found, engines);
    }
    for table in 0..tables(&case) {
        for chain in 0..case.config.rulesets[0].save.tables[table].chains.len() {
            let mut rule = case.config.rulesets[0].save.tables[table].chains[chain].rules.len();
            while rule > 0 && attempts > 0 {
                rule -= 1;
                attempts -= 1;
                let mut smaller = case.clone();
                smaller.config.rulesets[0].save.tables[table].chains[chain].rules.remove(rule);
                try_it(smaller, &mut case, &mut found, engines);
            }
        }
    }
    (case, found)
}

fn tables(case: &Case) -> usize {
    case.config.rulesets.first().map_or(0, |ruleset| ruleset.save.tables.len())
}

fn try_it(smaller: Case, case: &mut Case, found: &mut Vec<Difference>, engines: &mut Engines) -> bool {
    match engines.differ(&smaller) {
        Ok(differences) if !differences.is_empty() => {
            (*case, *found) = (smaller, differences);
            true
        }
        _ => false,
    }
}
