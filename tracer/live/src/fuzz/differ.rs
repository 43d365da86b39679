//! The differential runner: the same generated case on a kernel and on the model, packet by packet.
//!
//! The kernel goes first; its random choices are replayed into the model. A packet whose walk the model ends `Unknown` is counted by its code and
//! ends the case, for what the kernel remembers of it the model does not know.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use pktwalk_linux::config::Ruleset;
use pktwalk_linux::hook::Backend;
use pktwalk_linux::iptables;
use pktwalk_linux::iptables::ast::{Match, Rule, Target};
use pktwalk_linux::netns::NetNs;
use pktwalk_linux::reason::Disposition;
use pktwalk_packet::spec;
use pktwalk_scenario::case::{Case, Entry};
use pktwalk_scenario::compare::{Difference, compare};
use pktwalk_scenario::engine::{Engine, EngineError};
use pktwalk_scenario::event::{At, EngineRun};
use pktwalk_scenario::model::ModelEngine;

use super::rng::Rng;
use super::{packets, rules, world};
use crate::engine::{KernelEngine, KernelRun};
use crate::replay::Replay;

/// What to compare.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything generated depends on it.
    pub seed: u64,
    /// How many rulesets, each on every backend.
    pub rulesets: u64,
    /// Number of the first ruleset: one found by an earlier run can be run alone.
    pub first: u64,
    /// Packets sent through each.
    pub packets: usize,
    /// On which backends.
    pub backends: Vec<Backend>,
    /// Workers. Loading rules mostly waits for the kernel, so more than there are cores pays.
    pub jobs: usize,
    /// Differences after which to stop.
    pub stop_after: usize,
    /// Whether differing cases are made small, which takes far longer than finding them.
    pub shrink: bool,
}

/// A case on which kernel and model differ, made small.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Of the plan.
    pub seed: u64,
    /// Which ruleset of the plan.
    pub ruleset: u64,
    /// On which backend.
    pub backend: Backend,
    /// What is left of the case.
    pub case: Case,
    /// The differences that it shows, model first.
    pub differences: Vec<Difference>,
}

/// What was compared, and what came out.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Rulesets loaded, each backend counted.
    pub rulesets: u64,
    /// Packets compared.
    pub packets: u64,
    /// Events compared.
    pub events: u64,
    /// Packets that the model would not decide, by code.
    pub unknown: BTreeMap<&'static str, u64>,
    /// How often a match or target stood in a rule that matched.
    pub matched: BTreeMap<String, u64>,
    /// How packets ended on the model, by code or disposition.
    pub ends: BTreeMap<String, u64>,
    /// Cases that the kernel engine could not bring about, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Cases of which the kernel did not run or did not show all, also in a new world, by what was missing. They are not compared.
    pub unconfirmed: BTreeMap<String, u64>,
    /// Cases that differed in a world that was used before, and agreed in a new one.
    pub once: Vec<Once>,
    /// Where they differ.
    pub findings: Vec<Finding>,
}

/// A difference that a new world did not show again: what hosts were told in earlier cases is its usual cause, and a mistake that depends on time
/// another.
#[derive(Clone, Debug)]
pub struct Once {
    /// Of the plan.
    pub seed: u64,
    /// Which ruleset of the plan.
    pub ruleset: u64,
    /// On which backend.
    pub backend: Backend,
    /// The first of its differences.
    pub difference: Difference,
}

/// Case `number` of a seed. The backend changes nothing but whose rules they are.
pub fn case(seed: u64, number: u64, backend: Backend, count: usize) -> Case {
    let mut rng = Rng::new(seed).fork(number);
    let mut config = world::world(&mut rng);
    let generated = rules::ruleset(&mut rng);
    config.sets = generated.sets;
    config.rulesets = vec![Ruleset { backend, save: generated.save.into() }];
    let (ns, _) = NetNs::compile(config.clone());
    let sends = packets::sequence(&mut rng, &ns, count);
    Case { name: format!("seed {seed} ruleset {number}"), config, sends, seed, ..Case::default() }
}

/// Why a case was not compared.
enum NotCompared {
    /// The kernel did not run or did not show all of it: what it lacks.
    Gaps(Vec<String>),
    /// An engine could not run it.
    Engine(EngineError),
}

impl From<EngineError> for NotCompared {
    fn from(error: EngineError) -> NotCompared {
        NotCompared::Engine(error)
    }
}

struct Judged {
    differences: Vec<Difference>,
    /// Sends that were compared.
    compared: usize,
    model: EngineRun,
    kernel: EngineRun,
    unknown: Option<&'static str>,
    /// What differed at first, and not in a new world.
    once: Option<Difference>,
}

/// What a kernel says in a world that it may have used before; and where that differs from the model, what it says in a new one.
fn judge(case: &Case, engine: &mut KernelEngine) -> Result<Judged, NotCompared> {
    let kernel = engine.run_for_replay(case)?;
    if !kernel.run.gaps.is_empty() {
        return Err(NotCompared::Gaps(kernel.run.gaps));
    }
    let judged = compared(case, kernel)?;
    let Some(first) = judged.differences.into_iter().next() else {
        return Ok(Judged { differences: Vec::new(), ..judged });
    };
    let again = engine.run_afresh(case)?;
    if !again.run.gaps.is_empty() {
        return Err(NotCompared::Gaps(again.run.gaps));
    }
    let again = compared(case, again)?;
    let once = again.differences.is_empty().then_some(first);
    Ok(Judged { once, ..again })
}

fn compared(case: &Case, kernel: KernelRun) -> Result<Judged, EngineError> {
    let mut model = ModelEngine::with_choices(Box::new(Replay::new(kernel.clone()))).run(case)?;
    let mut kernel = kernel.run;
    let undecided = model
        .sends
        .iter()
        .position(|send| send.packets.iter().any(|packet| packet.disposition == Some(Disposition::Unknown)));
    let mut unknown = None;
    if let Some(at) = undecided {
        unknown = model.sends[at]
            .packets
            .iter()
            .find(|packet| packet.disposition == Some(Disposition::Unknown))
            .and_then(|packet| packet.code);
        model.sends.truncate(at);
        kernel.sends.truncate(at);
    }
    let differences = compare(&model, &kernel);
    // What follows a difference only says it again.
    let first = differences.iter().map(|difference| difference.send).min();
    let differences = differences.into_iter().filter(|d| Some(d.send) == first).collect();
    let compared = first.map_or(model.sends.len(), |at| at + 1);
    Ok(Judged { differences, compared, model, kernel, unknown, once: None })
}

/// Runs the plan. `progress` is called after every ruleset with what was found so far.
///
/// # Errors
/// If the kernel engine cannot run here at all.
pub fn run(plan: &Plan, progress: &(dyn Fn(&Report) + Sync)) -> Result<Report, EngineError> {
    let next = AtomicU64::new(plan.first);
    let report = Mutex::new(Report::default());
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            scope.spawn(|| {
                if let Err(error) = work(plan, &next, &report, progress) {
                    next.store(u64::MAX / 2, Ordering::Relaxed);
                    lock(&failure).get_or_insert(error);
                }
            });
        }
    });
    match lock(&failure).take() {
        Some(error) => Err(error),
        None => {
            let mut report = lock(&report).clone();
            report.findings.sort_by_key(|finding| (finding.ruleset, finding.backend));
            report.once.sort_by_key(|once| (once.ruleset, once.backend));
            Ok(report)
        }
    }
}

/// A worker that panicked has left nothing half-written in here that would mislead: numbers only grow.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn work(
    plan: &Plan,
    next: &AtomicU64,
    report: &Mutex<Report>,
    progress: &(dyn Fn(&Report) + Sync),
) -> Result<(), EngineError> {
    let mut engines: Vec<_> =
        plan.backends.iter().map(|backend| (*backend, KernelEngine::new(Some(*backend)).hurried())).collect();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= plan.first.saturating_add(plan.rulesets)
            || lock(report).findings.len() >= plan.stop_after
        {
            return Ok(());
        }
        for (backend, engine) in &mut engines {
            let case = case(plan.seed, number, *backend, plan.packets);
            let judged = match judge(&case, engine) {
                Ok(judged) => judged,
                Err(NotCompared::Gaps(gaps)) => {
                    let mut report = lock(report);
                    for gap in gaps {
                        *report.unconfirmed.entry(gap).or_default() += 1;
                    }
                    continue;
                }
                Err(NotCompared::Engine(error @ EngineError::Missing { .. })) => return Err(error),
                Err(NotCompared::Engine(error)) => {
                    *lock(report)
                        .refused
                        .entry(format!("ruleset {number} on {backend}: {error}"))
                        .or_default() += 1;
                    continue;
                }
            };
            let finding = (!judged.differences.is_empty()).then(|| {
                let small = if plan.shrink {
                    shrink(&case, engine, &judged)
                } else {
                    let mut case = case.clone();
                    case.sends.truncate(judged.compared);
                    (case, judged.differences.clone())
                };
                Finding {
                    seed: plan.seed,
                    ruleset: number,
                    backend: *backend,
                    case: small.0,
                    differences: small.1,
                }
            });
            let mut report = lock(report);
            report.add(&case, &judged);
            report.once.extend(judged.once.map(|difference| Once {
                seed: plan.seed,
                ruleset: number,
                backend: *backend,
                difference,
            }));
            report.findings.extend(finding);
            progress(&report);
        }
    }
}

impl Report {
    /// Whether everything that was generated was compared, and nothing differs.
    pub fn agrees(&self) -> bool {
        self.findings.is_empty() && self.refused.is_empty() && self.unconfirmed.is_empty()
    }

    fn add(&mut self, case: &Case, judged: &Judged) {
        self.rulesets += 1;
        self.packets += judged.compared as u64;
        if let Some(code) = judged.unknown {
            *self.unknown.entry(code).or_default() += 1;
        }
        for send in judged.kernel.sends.iter().take(judged.compared) {
            for packet in &send.packets {
                self.events += packet.events.len() as u64;
                for event in &packet.events {
                    let At::Rule(position) = event.at else { continue };
                    let rule = case.config.rulesets.iter().find_map(|ruleset| {
                        let table = ruleset.save.tables.iter().find(|table| table.name == event.table)?;
                        let chain = table.chains.iter().find(|chain| chain.name == event.chain)?;
                        chain.rules.get(position as usize - 1)
                    });
                    for name in rule.iter().flat_map(|rule| kinds(rule)) {
                        *self.matched.entry(name).or_default() += 1;
                    }
                }
            }
        }
        for send in judged.model.sends.iter().take(judged.compared) {
            for packet in &send.packets {
                let end = packet.code.or(packet.disposition.map(Disposition::name)).unwrap_or("?");
                *self.ends.entry(end.to_owned()).or_default() += 1;
            }
        }
    }
}

/// The names of what a rule is made of: `-m tcp`, `-j MARK`.
fn kinds(rule: &Rule) -> Vec<String> {
    let family = pktwalk_linux::hook::Family::V4;
    let word = |text: String| text.split_whitespace().nth(1).map(str::to_owned);
    let mut names: Vec<String> = rule
        .matches
        .iter()
        .filter_map(|each: &Match| word(iptables::print_match(each, family)))
        .map(|name| format!("-m {name}"))
        .collect();
    match &rule.target {
        Target::None => {}
        Target::Jump(_) => names.push("-j (chain)".to_owned()),
        Target::Goto(_) => names.push("-g".to_owned()),
        target => names.extend(word(iptables::print_target(target, family)).map(|name| format!("-j {name}"))),
    }
    names
}

/// Removes packets, rules, routes and routing rules while kernel and model still differ.
fn shrink(case: &Case, kernel: &mut KernelEngine, judged: &Judged) -> (Case, Vec<Difference>) {
    let mut best = (case.clone(), judged.differences.clone());
    best.0.sends.truncate(judged.compared);
    let mut tries = 0;
    loop {
        let before = size(&best.0);
        for smaller in smaller(&best.0) {
            tries += 1;
            if tries > 150 {
                return best;
            }
            if size(&smaller) >= size(&best.0) {
                continue;
            }
            if let Ok(judged) = judge(&smaller, kernel)
                && !judged.differences.is_empty()
            {
                best = (smaller, judged.differences);
                break;
            }
        }
        if size(&best.0) >= before {
            return best;
        }
    }
}

fn size(case: &Case) -> usize {
    let rules: usize = case
        .config
        .rulesets
        .iter()
        .flat_map(|ruleset| &ruleset.save.tables)
        .map(|table| 1 + table.chains.iter().map(|chain| chain.rules.len()).sum::<usize>())
        .sum();
    let routing = case.config.routes.len() + case.config.routing_rules.len() + case.config.sysctls.len();
    case.sends.len() * 2 + rules + routing + case.config.sets.len()
}

/// Cases with something less, coarse cuts first.
fn smaller(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Case)| {
        let mut smaller = case.clone();
        change(&mut smaller);
        all.push(smaller);
    };
    let sends = case.sends.len();
    for count in [sends / 2, sends / 4, 1] {
        for start in (0..sends.saturating_sub(1)).step_by(count.max(1)) {
            with(&|case| {
                case.sends.drain(start..(start + count.max(1)).min(sends - 1));
            });
        }
    }
    for (ruleset, rules) in case.config.rulesets.iter().enumerate() {
        for (table, tables) in rules.save.tables.iter().enumerate() {
            with(&|case| {
                case.config.rulesets[ruleset].save_mut().tables.remove(table);
            });
            for (chain, chains) in tables.chains.iter().enumerate() {
                if chains.rules.len() > 1 {
                    with(&|case| {
                        case.config.rulesets[ruleset].save_mut().tables[table].chains[chain].rules.clear()
                    });
                }
                for rule in 0..chains.rules.len() {
                    with(&|case| {
                        case.config.rulesets[ruleset].save_mut().tables[table].chains[chain]
                            .rules
                            .remove(rule);
                    });
                }
            }
        }
    }
    for rule in 0..case.config.routing_rules.len() {
        if !matches!(case.config.routing_rules[rule].priority, 0 | 32766 | 32767) {
            with(&|case| {
                case.config.routing_rules.remove(rule);
            });
        }
    }
    for route in 0..case.config.routes.len() {
        with(&|case| {
            case.config.routes.remove(route);
        });
    }
    for key in case.config.sysctls.keys() {
        with(&|case| {
            case.config.sysctls.remove(key);
        });
    }
    all
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let counted = |f: &mut fmt::Formatter<'_>, title: &str, of: &BTreeMap<String, u64>| {
            if of.is_empty() {
                return Ok(());
            }
            writeln!(f, "{title}")?;
            of.iter().try_for_each(|(what, count)| writeln!(f, "{count:>9}  {what}"))
        };
        counted(f, "in rules that matched:", &self.matched)?;
        counted(f, "how packets ended:", &self.ends)?;
        counted(f, "refused:", &self.refused)?;
        counted(f, "not confirmed:", &self.unconfirmed)?;
        for (code, count) in &self.unknown {
            writeln!(f, "the model would not decide {count} packets: {code}")?;
        }
        if !self.once.is_empty() {
            writeln!(f, "differed once, agreed afresh: {}", self.once.len())?;
        }
        for Once { seed, ruleset, backend, difference } in &self.once {
            writeln!(f, "  seed {seed} ruleset {ruleset} on {backend}: {difference}")?;
        }
        let Report { rulesets, packets, events, findings, .. } = self;
        writeln!(
            f,
            "{rulesets} rulesets, {packets} packets, {events} events compared; {} differ",
            findings.len()
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} ruleset {} on {}", self.seed, self.ruleset, self.backend)?;
        let config = &self.case.config;
        for set in &config.sets {
            f.write_str(&pktwalk_linux::ipset::print(std::slice::from_ref(set)))?;
        }
        for ruleset in &config.rulesets {
            f.write_str(&iptables::print(&ruleset.save, false))?;
        }
        for route in config.routes.iter().filter(|route| route.table != 255) {
            let hops: Vec<String> = route
                .nexthops
                .iter()
                .map(|hop| {
                    let via = hop.via.map(|via| format!(" via {via}")).unwrap_or_default();
                    format!("{via} dev {}", hop.dev.as_deref().unwrap_or("-"))
                })
                .collect();
            writeln!(
                f,
                "route {:?} {} table {} tos {:#x} metric {}{} src {:?} mtu {:?}",
                route.kind,
                route.dst,
                route.table,
                route.tos,
                route.metric,
                hops.concat(),
                route.prefsrc,
                route.mtu
            )?;
        }
        for rule in config.routing_rules.iter().filter(|rule| !matches!(rule.priority, 0 | 32766 | 32767)) {
            writeln!(f, "routing rule {rule:?}")?;
        }
        let mut settings = String::new();
        for (key, value) in config.sysctls.iter().filter(|(_, value)| value.as_str() != "0") {
            write!(settings, " {}={value}", key.trim_start_matches("net.ipv4."))?;
        }
        writeln!(f, "settings{settings}")?;
        for (number, send) in self.case.sends.iter().enumerate() {
            let entry = match &send.entry {
                Entry::Device(dev) => format!("at {dev}"),
                Entry::Local(socket) => format!("from-local uid {:?} gid {:?}", socket.uid, socket.gid),
            };
            writeln!(f, "{:3}  {entry}  {}", number + 1, spec::print(&send.packet))?;
        }
        writeln!(f, "model | kernel:")?;
        for difference in &self.differences {
            writeln!(f, "  {difference}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use pktwalk_scenario::compare::What;
    use pktwalk_skip::skip_unprivileged;

    use super::*;

    #[test]
    fn what_differed_once_is_told() {
        let difference = Difference { send: 2, packet: None, what: What::Packets(1, 2) };
        let once = Once { seed: 7, ruleset: 3, backend: Backend::Nft, difference };
        let text = Report { once: vec![once], ..Report::default() }.to_string();
        assert!(text.contains("differed once, agreed afresh: 1\n"), "{text}");
        assert!(text.contains("seed 7 ruleset 3 on nft: packet 3: 1 packets in all | 2\n"), "{text}");
    }

    #[test]
    fn what_the_kernel_did_not_run_whole_is_no_agreement() {
        if skip_unprivileged("what_the_kernel_did_not_run_whole_is_no_agreement") {
            return;
        }
        let mut case = case(1, 0, Backend::Nft, 1);
        let mut engine = KernelEngine::new(None).hurried();
        assert!(judge(&case, &mut engine).is_ok());
        // Out of its range.
        case.config.sysctls.insert("net.ipv4.icmp_echo_ignore_all".to_owned(), "300".to_owned());
        let Err(NotCompared::Gaps(gaps)) = judge(&case, &mut engine) else { panic!("it was compared") };
        assert!(gaps[0].contains("icmp_echo_ignore_all = 300"), "{gaps:?}");
        let report = Report { unconfirmed: [(gaps[0].clone(), 2)].into(), ..Report::default() };
        assert!(Report::default().agrees() && !report.agrees());
        let text = report.to_string();
        assert!(text.contains("not confirmed:\n        2  not set: net.ipv4.icmp_echo_ignore_all"), "{text}");
    }
}
