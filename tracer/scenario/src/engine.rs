//! [`Engine`]: whatever can run a case.

use thiserror::Error;

use crate::case::Case;
use crate::event::EngineRun;

/// Why an engine could not run a case at all.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The engine lacks something that the machine could give: a privilege, a tool.
    #[error("the {engine} engine cannot run here: {what}")]
    Missing {
        /// Which engine.
        engine: &'static str,
        /// What is missing, and where to get it.
        what: String,
    },
    /// The case holds something that the engine cannot bring about.
    #[error("the {engine} engine cannot do this: {what}")]
    Unsupported {
        /// Which engine.
        engine: &'static str,
        /// What.
        what: String,
    },
    /// It was tried and failed.
    #[error("the {engine} engine failed: {what}")]
    Failed {
        /// Which engine.
        engine: &'static str,
        /// What happened.
        what: String,
    },
}

/// Runs cases.
pub trait Engine {
    /// `model`, `kernel`, ...
    fn name(&self) -> &'static str;

    /// Sends every packet of the case in order, into one namespace that remembers.
    ///
    /// # Errors
    /// If it could not be run. What packets do is never an error.
    fn run(&mut self, case: &Case) -> Result<EngineRun, EngineError>;
}
