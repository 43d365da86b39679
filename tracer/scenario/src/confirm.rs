//! Two engines on one case, backend by backend.

use pktwalk_linux::hook::Backend;
use pktwalk_linux::iptables::ast::Policy;

use crate::case::{Case, Entry};
use crate::compare::{Difference, compare};
use crate::engine::EngineError;
use crate::event::EngineRun;
use crate::model::{Choices, ModelEngine, ModelRun};

/// The case on one backend: what both engines saw, and where they differ.
#[derive(Debug)]
pub struct Confirmation {
    /// The backend that its rules were given to; none if the case has rules of both, which stay where they are, or of none.
    pub backend: Option<Backend>,
    /// The model's run.
    pub model: ModelRun,
    /// The other engine's run.
    pub other: EngineRun,
    /// Empty if they agree.
    pub differences: Vec<Difference>,
}

/// Which backends a case's rules are given to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Backends {
    /// As the bundle says.
    #[default]
    AsGiven,
    /// Legacy and nft, one after the other.
    Both,
    /// This one.
    One(Backend),
}

/// Runs a case on another engine, and gives the random choices that it made, for the model to make the same.
pub type Judge<'a> = dyn FnMut(&Case) -> Result<(EngineRun, Box<dyn Choices>), EngineError> + 'a;

/// The case with the replies that the model walks given as packets of their own, so that another engine sends the very same.
///
/// # Errors
/// If the model cannot run it.
pub fn with_replies(case: &Case) -> Result<Case, EngineError> {
    if !case.replies {
        return Ok(case.clone());
    }
    let mut model = ModelEngine::new().walk(case)?;
    let mut out = Case { sends: Vec::new(), replies: false, ..case.clone() };
    for (index, send) in case.sends.iter().enumerate() {
        out.sends.push(send.clone());
        out.sends.extend(model.replies.remove(&index));
    }
    Ok(out)
}

/// The cases that `backends` asks for. Rules of both backends stay where they are.
pub fn on_backends(case: &Case, backends: Backends) -> Vec<(Option<Backend>, Case)> {
    let rulesets: Vec<Backend> = case
        .config
        .rulesets
        .iter()
        .filter(|ruleset| {
            ruleset
                .save
                .tables
                .iter()
                .flat_map(|table| &table.chains)
                .any(|chain| !chain.rules.is_empty() || chain.policy == Some(Policy::Drop))
        })
        .map(|ruleset| ruleset.backend)
        .collect();
    let mixed = rulesets.contains(&Backend::Legacy) && rulesets.contains(&Backend::Nft);
    let on = |backend| {
        let mut case = case.clone();
        for ruleset in &mut case.config.rulesets {
            ruleset.backend = backend;
        }
        (Some(backend), case)
    };
    match backends {
        _ if mixed || rulesets.is_empty() => vec![(None, case.clone())],
        Backends::AsGiven => vec![(rulesets.first().copied(), case.clone())],
        Backends::Both => vec![on(Backend::Legacy), on(Backend::Nft)],
        Backends::One(backend) => vec![on(backend)],
    }
}

/// Runs `case` on the `other` engine and on the model. Packets of the namespace's own are those of a raw socket on both: a kernel is given their
/// headers as they are, and that is the socket which can do that.
///
/// # Errors
/// If one of them cannot run it at all.
pub fn confirm(
    case: &Case,
    backends: Backends,
    other: &mut Judge<'_>,
) -> Result<Vec<Confirmation>, EngineError> {
    let mut case = with_replies(case)?;
    for send in &mut case.sends {
        if let Entry::Local(socket) = &mut send.entry {
            socket.raw = true;
        }
    }
    let mut confirmations = Vec::new();
    for (backend, case) in on_backends(&case, backends) {
        let (run, choices) = other(&case)?;
        let model = ModelEngine::with_choices(choices).walk(&case)?;
        let differences = compare(&model.run, &run);
        confirmations.push(Confirmation { backend, model, other: run, differences });
    }
    Ok(confirmations)
}
