//! Netfilter: compiled rulesets, their evaluation, and the order of everything that sits at a hook.

use std::collections::BTreeMap;

use crate::config::NetNsConfig;
use crate::diag::Diagnostic;
use crate::ids::DevId;

/// Compiled rulesets of every backend.
#[derive(Clone, Debug, Default)]
pub struct Netfilter {}

/// What rules remember between packets.
#[derive(Clone, Debug, Default)]
pub struct RuleState {}

impl Netfilter {
    /// Compiles the rulesets of `config`.
    pub fn compile(
        _config: &NetNsConfig,
        _dev_by_name: &BTreeMap<String, DevId>,
        _diagnostics: &mut Vec<Diagnostic>,
    ) -> Netfilter {
        Netfilter {}
    }
}
