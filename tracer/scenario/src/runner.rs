//! Scenario folders: read whole, run on engines, compared with their expectations and their golden text.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::case::{Case, CaseSend, Entry};
use crate::confirm::{Agreement, Backends, Confirmation, Judge, confirm};
use crate::engine::EngineError;
use crate::event::EngineRun;
use crate::expect::{Unmet, unmet, unmet_by_kernel, untold};
use crate::file::{self, EntryAt, Expect, FileError, Live, ScenarioFile};
use crate::fingerprint::fingerprint;
use crate::golden::{Golden, first_difference};
use crate::model::ModelEngine;
use crate::offload::cut_merged;
use crate::packets::{self, Direction, PacketError};
use crate::world::{World, WorldError};

/// Name of the scenario file in its folder.
pub const SCENARIO: &str = "scenario.yaml";
/// Name of the golden text in its folder.
pub const GOLDEN: &str = "trace.txt";

/// Why a scenario could not be read.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A file could not be read.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The scenario file is wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// The bundle is unusable.
    #[error("{scenario}: {error}")]
    World {
        /// Which scenario.
        scenario: String,
        /// Why.
        error: WorldError,
    },
    /// A packet is wrong.
    #[error("{scenario}:{line}: {error}")]
    Packet {
        /// Which scenario file.
        scenario: String,
        /// Its line.
        line: u64,
        /// Why.
        error: PacketError,
    },
    /// A capture names no device, and the scenario does not either.
    #[error(
        "{scenario}:{line}: the capture names no device for packet {number}: say where it enters (at: DEV)"
    )]
    NoEntry {
        /// Which scenario file.
        scenario: String,
        /// Its line.
        line: u64,
        /// Which packet of the capture, from 1.
        number: u32,
    },
}

/// A folder, read whole.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Where.
    pub folder: PathBuf,
    /// Its file.
    pub file: ScenarioFile,
    /// What engines run.
    pub case: Case,
    /// Of each packet of the case.
    pub expects: Vec<Option<Expect>>,
    /// Of what engines are given.
    pub fingerprint: u64,
    /// The golden text, if there is one.
    pub golden: Option<Golden>,
}

/// Reads a folder.
///
/// # Errors
/// If a file is missing or wrong.
pub fn load(folder: &Path) -> Result<Scenario, LoadError> {
    let path = folder.join(SCENARIO);
    let name = path.display().to_string();
    let text = fs::read_to_string(&path).map_err(|error| LoadError::Io { path: path.clone(), error })?;
    let file = file::parse(&name, &text)?;
    let world_error = |error| LoadError::World { scenario: name.clone(), error };
    let world = World::open(&[(None, folder.join(&file.bundle))]).map_err(world_error)?;
    let (mut case, expects) = assemble(&name, &file, &world, folder)?;
    case.name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let fingerprint = fingerprint(&folder.join(&file.bundle), &case)
        .map_err(|(path, error)| LoadError::Io { path, error })?;
    let golden = fs::read_to_string(folder.join(GOLDEN)).ok().map(|text| Golden::parse(&text));
    Ok(Scenario { folder: folder.to_owned(), file, case, expects, fingerprint, golden })
}

/// A scenario's case, and what is expected of each of its packets. `name` is the file's name in errors; captures are relative to `folder`.
///
/// # Errors
/// If a packet is wrong, or enters where there is nothing.
pub fn assemble(
    name: &str,
    file: &ScenarioFile,
    world: &World,
    folder: &Path,
) -> Result<(Case, Vec<Option<Expect>>), LoadError> {
    let world_error = |error| LoadError::World { scenario: name.to_owned(), error };
    let mut packets = Vec::new();
    let mut entries = Vec::new();
    let mut expects = Vec::new();
    let mut remarks = Vec::new();
    for send in &file.sends {
        let direction = match &send.entry {
            Some(EntryAt::Local { .. }) => Direction::Sent,
            Some(EntryAt::Device { .. }) | None => Direction::Received,
        };
        let given = packets::read(&send.packet, folder, direction).map_err(|error| LoadError::Packet {
            scenario: name.to_owned(),
            line: send.line,
            error,
        })?;
        remarks.extend(given.remarks);
        for given in given.packets {
            let entry = match (&send.entry, given.dev) {
                (Some(entry), _) => entry.clone(),
                (None, Some(dev)) => EntryAt::Device { node: String::new(), netns: String::new(), dev },
                (None, None) => {
                    return Err(LoadError::NoEntry {
                        scenario: name.to_owned(),
                        line: send.line,
                        number: given.number.unwrap_or(1),
                    });
                }
            };
            packets.push((given.packet, given.number));
            entries.push(entry);
            expects.push(send.expect.clone());
        }
    }
    let (place, entries) = world.place("", &entries).map_err(world_error)?;
    let sends = packets
        .into_iter()
        .zip(entries)
        .map(|((packet, number), entry)| CaseSend { packet, entry, number })
        .zip(expects)
        .collect();
    let (sends, merged) = cut_merged(sends, &place.config);
    remarks.extend(merged);
    // A scenario counts its own packets.
    let (sends, expects) =
        sends.into_iter().map(|(send, expect)| (CaseSend { number: None, ..send }, expect)).unzip();
    let case = Case {
        name: name.to_owned(),
        node: place.node.clone(),
        config: place.config.clone(),
        peers: place.peers.clone(),
        remarks: place.remarks.iter().cloned().chain(remarks).collect(),
        sends,
        ..Case::default()
    };
    Ok((case, expects))
}

/// The scenario folders at or below `path`, sorted.
///
/// # Errors
/// If a folder cannot be read.
pub fn find(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = vec![path.to_owned()];
    while let Some(folder) = left.pop() {
        if folder.join(SCENARIO).is_file() {
            found.push(folder);
            continue;
        }
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Why nothing is confirmed of a packet.
const UNDECIDED: &str = "the model does not know what becomes of it, so that the kernel confirms nothing";

/// What came of one scenario.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// The folder's name.
    pub name: String,
    /// What was not as it should be, a line each.
    pub failures: Vec<String>,
    /// What the kernel could not confirm, because the model does not know it or the kernel could not be given or did not tell all of it, a line each.
    pub unknown: Vec<String>,
    /// What is worth saying without being wrong.
    pub notes: Vec<String>,
    /// The golden text as it would be now; none if the model did not run.
    pub golden: Option<Golden>,
}

/// What to run, and what to do with the result.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Run the model and look at the golden text.
    pub model: bool,
    /// Write the golden text where it is missing or differs.
    pub bless: bool,
    /// Which backends the kernel has to confirm.
    pub backends: Backends,
}

/// Runs a scenario on the model, on `kernel` if one is given, or on both and compares them.
///
/// # Errors
/// If an engine cannot run it at all, or the golden text cannot be written.
pub fn run(
    scenario: &Scenario,
    options: RunOptions,
    kernel: Option<&mut Judge<'_>>,
) -> Result<Outcome, RunError> {
    let mut outcome = Outcome { name: scenario.case.name.clone(), ..Outcome::default() };
    let mut confirmed = None;
    // What the kernel once confirmed stays confirmed while it is the same, unless it was asked again.
    let mut asked = false;
    match kernel {
        Some(_) if scenario.file.live != Live::Netns => {
            outcome.notes.push("cannot be brought about in namespaces of this machine (live)".to_owned());
        }
        Some(kernel) => {
            asked = true;
            confirmed = on_kernel(scenario, options, kernel, &mut outcome)?;
        }
        None => {}
    }
    if options.model {
        let model = ModelEngine::new().walk(&scenario.case)?;
        expectations(scenario, &model.run, &mut outcome);
        let old = scenario.golden.as_ref();
        let text = Golden::of(&model, None, 0).text;
        let kept = old
            .filter(|old| !asked && old.text == text && old.case == Some(scenario.fingerprint))
            .and_then(|old| old.kernel.clone());
        let golden = Golden::of(&model, confirmed.or(kept), scenario.fingerprint);
        let other_case =
            old.is_some_and(|old| old.kernel.is_some() && old.case != Some(scenario.fingerprint));
        if other_case && !asked {
            outcome
                .notes
                .push("the kernel confirmed another case (--engine both --bless asks it again)".to_owned());
        }
        golden_text(scenario, options, &golden, &mut outcome)?;
        outcome.golden = Some(golden);
    }
    Ok(outcome)
}

/// Why a scenario could not be run.
#[derive(Debug, Error)]
pub enum RunError {
    /// An engine could not.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The golden text could not be written.
    #[error("{}: {error}", .path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// `RELEASE (BACKENDS)` if the kernel agreed everywhere.
fn on_kernel(
    scenario: &Scenario,
    options: RunOptions,
    kernel: &mut Judge<'_>,
    outcome: &mut Outcome,
) -> Result<Option<String>, EngineError> {
    let mut agreed = Vec::new();
    let mut release = None;
    let mut confirmations = confirm(&scenario.case, options.backends, kernel)?;
    for _ in 1..TRIES {
        if confirmations.iter().all(|confirmation| all_untold(scenario, confirmation).is_empty()) {
            break;
        }
        confirmations = confirm(&scenario.case, options.backends, kernel)?;
    }
    let all = confirmations.len();
    for confirmation in confirmations {
        let on = confirmation.backend.map_or("as given", |backend| backend.name());
        let failed = outcome.failures.len();
        for gap in &confirmation.other.gaps {
            outcome.unknown.push(format!("not confirmed ({on}): {gap}"));
        }
        let whole = confirmation.other.gaps.is_empty();
        by_kernel(scenario, &confirmation, on, whole, outcome);
        match confirmation.agreement() {
            Agreement::Agree if outcome.failures.len() == failed => agreed.push(on),
            Agreement::Agree | Agreement::Unconfirmed => {}
            Agreement::Differ => {
                for difference in &confirmation.differences {
                    outcome.failures.push(format!("model | kernel ({on}): {difference}"));
                }
            }
            Agreement::Unknown => {
                for send in confirmation.undecided() {
                    outcome.unknown.push(format!("packet {} ({on}): {UNDECIDED}", send + 1));
                }
            }
        }
        if let Some(backend) = confirmation.left_out {
            outcome.notes.push(format!("tables of {backend} hold no rules: the kernel ran without them"));
        }
        release = confirmation.other.kernel;
    }
    Ok(release.filter(|_| agreed.len() == all).map(|release| format!("{release} ({})", agreed.join(", "))))
}

fn expectations(scenario: &Scenario, run: &EngineRun, outcome: &mut Outcome) {
    for (index, (expect, send)) in scenario.expects.iter().zip(&run.sends).enumerate() {
        if let Some(expect) = expect {
            outcome
                .failures
                .extend(unmet(expect, send).iter().map(|unmet| format!("packet {}: {unmet}", index + 1)));
        }
    }
}

/// How often a case is run when the kernel does not tell why a packet ended: what the machine freed meanwhile for others may have hidden it.
const TRIES: usize = 4;

/// What the kernel left untold where something is expected, with positions of the packets.
fn all_untold(scenario: &Scenario, confirmation: &Confirmation) -> Vec<(usize, Unmet)> {
    let sends = confirmation.other.sends.iter().zip(&confirmation.model.run.sends);
    let packets = scenario.expects.iter().zip(&scenario.case.sends).zip(sends).enumerate();
    packets
        .filter_map(|(at, ((expect, sent), (send, model)))| {
            let local = matches!(sent.entry, Entry::Local(_));
            Some((at, untold(expect.as_ref()?, send, model, local)?))
        })
        .collect()
}

/// What was expected, held against what the kernel did. If it told all it can (`whole`), it must have told why a packet ended where that is expected.
fn by_kernel(scenario: &Scenario, confirmation: &Confirmation, on: &str, whole: bool, outcome: &mut Outcome) {
    let mut told = Vec::new();
    for (index, (expect, send)) in scenario.expects.iter().zip(&confirmation.other.sends).enumerate() {
        let unmet = expect.iter().flat_map(|expect| unmet_by_kernel(expect, send));
        told.extend(unmet.map(|unmet| (index, unmet)));
    }
    if whole {
        told.extend(all_untold(scenario, confirmation));
    }
    let line = |(index, unmet): (usize, Unmet)| format!("packet {} on the kernel ({on}): {unmet}", index + 1);
    outcome.failures.extend(told.into_iter().map(line));
}

fn golden_text(
    scenario: &Scenario,
    options: RunOptions,
    golden: &Golden,
    outcome: &mut Outcome,
) -> Result<(), RunError> {
    if scenario.golden.as_ref() == Some(golden) {
        return Ok(());
    }
    if options.bless {
        if !outcome.failures.is_empty() {
            outcome.notes.push(format!("{GOLDEN} is not written while something fails"));
            return Ok(());
        }
        let path = scenario.folder.join(GOLDEN);
        fs::write(&path, golden.print()).map_err(|error| RunError::Write { path, error })?;
        outcome.notes.push(format!("{GOLDEN} is written"));
        return Ok(());
    }
    match &scenario.golden {
        None => {
            let met = if outcome.failures.is_empty() { "all that is expected of it is met; " } else { "" };
            outcome.failures.push(format!("{met}there is no {GOLDEN} (--bless writes it)"));
        }
        Some(old) => {
            if let Some((line, was, is)) = first_difference(&old.text, &golden.text) {
                outcome.failures.push(format!("{GOLDEN}:{}: was: {was}", line + old.head()));
                outcome.failures.push(format!("{GOLDEN}:{}: is:  {is}", line + old.head()));
            } else if golden.kernel.is_some() && (&old.kernel, old.case) != (&golden.kernel, golden.case) {
                let kernel = golden.kernel.as_deref().unwrap_or_default();
                outcome.notes.push(format!("confirmed by {kernel} (--bless notes it)"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
