//! What the cross-crate tests share.

pub mod modelled;
pub mod node;
pub mod source;
pub mod tools;

use std::path::{Path, PathBuf};

use pktwalk_scenario::confirm::{Backends, on_backends};
use pktwalk_scenario::runner::Scenario;

/// The root of the repository.
pub fn repo_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Whether the kernel of a golden text agreed with a scenario's rules on both backends: on one after the other, or where they are if the scenario has
/// rules of both.
pub fn confirmed(scenario: &Scenario, kernel: &str) -> bool {
    let backed = on_backends(&scenario.case, Backends::Both);
    let names: Vec<&str> =
        backed.iter().map(|backed| backed.backend.map_or("as given", |backend| backend.name())).collect();
    kernel.ends_with(&format!(" ({})", names.join(", ")))
}
