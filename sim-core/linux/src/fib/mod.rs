//! Routing: routes, routing rules, addresses, and the lookups in them (IPv4).

use std::collections::BTreeMap;

use crate::config::NetNsConfig;
use crate::diag::Diagnostic;
use crate::ids::DevId;

/// Compiled routes, routing rules and addresses.
#[derive(Clone, Debug, Default)]
pub struct Fib {}

impl Fib {
    /// Compiles the routing part of `config`.
    pub fn compile(
        _config: &NetNsConfig,
        _dev_by_name: &BTreeMap<String, DevId>,
        _diagnostics: &mut Vec<Diagnostic>,
    ) -> Fib {
        Fib {}
    }
}
