//! Netfilter: compiled rulesets, their evaluation, and the order of everything that sits at a hook.
//!
//! Models ip_tables and nf_tables as iptables-nft 1.8.9 programs it, of Linux 6.18, for IPv4. Rules are compiled once to flat arrays
//! (`program`); one evaluation (`eval`) serves both backends, with the differences that the kernel shows. What is not modelled, and what
//! cannot be known (a `recent` list's content before the run, say), is said where it is decided: `matches`, `targets`.

mod compile;
mod devs;
mod eval;
mod hooks;
mod matches;
mod nearest;
mod program;
mod references;
mod refused;
mod state;
mod targets;
#[cfg(test)]
mod tests;

pub(crate) use eval::run_chain;
pub use hooks::run_hook;
pub use nearest::{NearMiss, RuleTest};
pub use state::RuleState;

use std::collections::BTreeMap;

use crate::config::{MissingState, NetNsConfig};
use crate::diag::Diagnostic;
use crate::hook::{Backend, Hook, TableName};
use crate::ids::{ChainId, DevId, RuleId};
use crate::iptables::ast;
use crate::reason::End;

/// Where a packet is in netfilter: `struct nf_hook_state`, fixed at entry to the hook (a re-route in OUTPUT does not change `out_dev` here).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HookState {
    /// The hook.
    pub hook: Hook,
    /// `-i`.
    pub in_dev: Option<DevId>,
    /// `-o`.
    pub out_dev: Option<DevId>,
    /// Bridge port that it came in by, where bridge netfilter handed the packet over or the skb still carries it.
    pub phys_in: Option<DevId>,
    /// Bridge port that it goes out by, in FORWARD and POSTROUTING of bridged packets.
    pub phys_out: Option<DevId>,
}

/// What a whole hook says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HookVerdict {
    /// Goes on.
    Accept,
    /// The packet's walk is over.
    End(End),
}

/// What one base chain says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChainVerdict {
    /// This chain lets it pass.
    Accept,
    /// Dropped, rejected, stolen, queued, or not known.
    End(End),
}

/// What a chain is called and where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainPlace {
    /// Which implementation runs it.
    pub backend: Backend,
    /// Its table.
    pub table: TableName,
    /// Position in [`NetNsConfig::rulesets`].
    pub ruleset: u32,
    /// Position of its table in the save file.
    pub table_index: u32,
    /// Position in that table's chains.
    pub chain_index: u32,
    /// How many rules it has.
    pub rules: u32,
    /// The hook of a base chain. A built-in chain that an x_tables table has without being named in its file has no chain as written
    /// (`chain_index` is `u32::MAX`): this is its name.
    pub base: Option<Hook>,
}

/// Compiled rulesets of every backend.
#[derive(Clone, Debug, Default)]
pub struct Netfilter {
    program: program::Program,
    references: references::References,
    hooks: hooks::Hooks,
    backend_assumed: bool,
}

impl Netfilter {
    /// Compiles the IPv4 rulesets of `config`. What a ruleset holds that the kernel would refuse becomes a diagnostic.
    pub fn compile(
        config: &NetNsConfig,
        dev_by_name: &BTreeMap<String, DevId>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Netfilter {
        let (program, references) = compile::compile(config, dev_by_name, diagnostics);
        let order_known = !config.missing.contains(&MissingState::RegistrationOrder);
        let hooks = hooks::Hooks::new(&program, references, order_known);
        let backend_assumed = config.missing.contains(&MissingState::Backend);
        Netfilter { program, references, hooks, backend_assumed }
    }

    /// Whether nothing says which backend the rules run on.
    pub fn backend_assumed(&self) -> bool {
        self.backend_assumed
    }

    /// Whether some rule makes the kernel track connections in this namespace; without, there are no states and no NAT.
    pub fn conntrack_on(&self) -> bool {
        self.references.conntrack
    }

    /// Whether fragments are put together in PREROUTING and OUTPUT: with conntrack, and for some rules that are not modelled.
    pub fn defrag_on(&self) -> bool {
        self.references.defrag
    }

    /// Whether both backends have something to say in one table at one hook, so that a walk may depend on which was registered first. If
    /// [`MissingState::RegistrationOrder`] is set, walks that get there end `Unknown`; a caller who wants to know more compiles the namespace
    /// twice without it, with [`NetNsConfig::rulesets`] in either order, and compares.
    pub fn order_matters(&self) -> bool {
        self.hooks.order_matters
    }

    /// Base chains of a table at a hook, in the order in which they run.
    pub fn base_chains(&self, hook: Hook, table: TableName) -> &[ChainId] {
        self.hooks.base_chains(hook, table)
    }

    /// Where a chain stands.
    pub fn chain(&self, chain: ChainId) -> Option<ChainPlace> {
        self.program.chains.get(chain.index()).map(|info| ChainPlace {
            backend: info.backend,
            table: info.table,
            ruleset: info.ruleset,
            table_index: info.table_index,
            chain_index: info.chain_index,
            rules: info.end - info.first,
            base: info.base.map(|(hook, _)| hook),
        })
    }

    /// The chain that a rule is in, and its 1-based position.
    pub fn rule(&self, rule: RuleId) -> Option<(ChainId, u32)> {
        let chain = self.program.chain_of(rule.0)?;
        let info = self.program.chains.get(chain.index())?;
        Some((chain, rule.0 - info.first + 1))
    }

    /// The rule at a 1-based position of a chain.
    pub fn rule_at(&self, chain: ChainId, position: u32) -> Option<RuleId> {
        let info = self.program.chains.get(chain.index())?;
        let rule = info.first.checked_add(position.checked_sub(1)?)?;
        (rule < info.end).then_some(RuleId(rule))
    }

    /// Every chain, in order of their ids.
    pub fn chains(&self) -> impl Iterator<Item = ChainId> {
        (0..self.program.chains.len() as u32).map(ChainId)
    }

    /// The chain as written.
    pub fn chain_ast<'a>(&self, config: &'a NetNsConfig, chain: ChainId) -> Option<&'a ast::Chain> {
        let place = self.chain(chain)?;
        let table =
            config.rulesets.get(place.ruleset as usize)?.save.tables.get(place.table_index as usize)?;
        table.chains.get(place.chain_index as usize)
    }

    /// The rule as written.
    pub fn rule_ast<'a>(&self, config: &'a NetNsConfig, rule: RuleId) -> Option<&'a ast::Rule> {
        let (chain, position) = self.rule(rule)?;
        self.chain_ast(config, chain)?.rules.get((position as usize).checked_sub(1)?)
    }
}
