//! Netfilter: compiled rulesets, their evaluation, and the order of everything that sits at a hook.

use std::collections::BTreeMap;

use crate::config::NetNsConfig;
use crate::diag::Diagnostic;
use crate::hook::{Backend, Hook, TableName};
use crate::ids::{ChainId, DevId, RuleId};
use crate::iptables::ast;
use crate::netns::Cx;
use crate::reason::{Because, End};
use crate::skb::Skb;
use crate::trace::Sink;

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
}

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

    /// Whether some rule makes the kernel track connections in this namespace (netfilter.md 1.2); without, there are no states and no NAT.
    pub fn conntrack_on(&self) -> bool {
        false
    }

    /// Base chains of a table at a hook, in the order in which they run.
    pub fn base_chains(&self, _hook: Hook, _table: TableName) -> &[ChainId] {
        &[]
    }

    /// Where a chain stands.
    pub fn chain(&self, _chain: ChainId) -> Option<ChainPlace> {
        None
    }

    /// The chain that a rule is in, and its 1-based position.
    pub fn rule(&self, _rule: RuleId) -> Option<(ChainId, u32)> {
        None
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
        self.chain_ast(config, chain)?.rules.get(position as usize - 1)
    }
}

/// Everything at one hook, in the kernel's order: raw, conntrack, mangle, nat, filter, security, confirmation (netfilter.md 1.1, 1.5).
pub fn run_hook<S: Sink>(_cx: &mut Cx<'_, S>, _at: HookState, _skb: &mut Skb) -> HookVerdict {
    HookVerdict::Accept
}

/// Runs one base chain (`ipt_do_table`, `nft_do_chain`).
pub(crate) fn run_chain<S: Sink>(
    _cx: &mut Cx<'_, S>,
    _at: HookState,
    _chain: ChainId,
    _skb: &mut Skb,
) -> ChainVerdict {
    ChainVerdict::End(End::unknown(Because::NotModelled("netfilter")))
}
