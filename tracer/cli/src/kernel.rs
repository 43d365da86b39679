//! The kernel engine, as the runner wants it.

use pktwalk_live::engine::KernelEngine;
use pktwalk_live::replay::Replay;
use pktwalk_scenario::case::Case;
use pktwalk_scenario::engine::EngineError;
use pktwalk_scenario::event::EngineRun;
use pktwalk_scenario::model::Choices;

/// The kernel of this machine. Its namespaces are made at the first case.
pub struct Kernel(KernelEngine);

impl Kernel {
    /// Rules run on the backend that each case says.
    pub fn new() -> Kernel {
        Kernel(KernelEngine::new(None))
    }

    /// Runs a case, and gives what it chose at random.
    pub fn judge(&mut self, case: &Case) -> Result<(EngineRun, Box<dyn Choices>), EngineError> {
        let run = self.0.run_for_replay(case)?;
        Ok((run.run.clone(), Box::new(Replay::new(run))))
    }
}
