//! The order of everything at a hook (the table is in `docs/model/netfilter.md`).

use super::program::{ChainInfo, Program};
use super::references::References;
use super::{ChainVerdict, HookState, HookVerdict, run_chain};
use crate::config::MissingState;
use crate::hook::{Backend, Hook, TableName};
use crate::ids::ChainId;
use crate::iptables::ast::Policy;
use crate::netns::Cx;
use crate::reason::{Because, End, Locus};
use crate::skb::Skb;
use crate::trace::{Assumption, Sink, Step};
use crate::{conntrack, nat, walk};

/// One function at a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Fragments are put together.
    Defrag,
    /// A base chain.
    Chain(ChainId),
    /// A base chain of mangle in OUTPUT: a packet that it changed is routed again.
    Route(ChainId),
    /// Connections are looked up.
    Conntrack,
    /// Translation; it runs the chains of nat itself.
    Nat,
    /// Connections are put into the table.
    Confirm,
    /// From here on, what happens depends on which backend was registered first, and nobody said which.
    Order,
}

impl Stage {
    fn runs(self, chain: ChainId) -> bool {
        self == Stage::Chain(chain) || self == Stage::Route(chain)
    }
}

/// Where the chains of a table stand. iptables-nft gives those of security 150 where x_tables has 50, so they come after nat in INPUT.
fn priority(backend: Backend, table: TableName, hook: Hook) -> i64 {
    match (backend, table) {
        (Backend::Nft, TableName::Security) => 150,
        _ => i64::from(table.priority(hook)),
    }
}

/// What sits at each hook, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Hooks {
    stages: [Vec<Stage>; 5],
    /// Base chains of a table at a hook, in the order in which they run.
    chains: [[Vec<ChainId>; 5]; 5],
    /// Whether a walk may depend on the order of the backends.
    pub order_matters: bool,
}

/// As in [`Hook::INET`].
fn hook_index(hook: Hook) -> Option<usize> {
    match hook {
        Hook::Prerouting => Some(0),
        Hook::Input => Some(1),
        Hook::Forward => Some(2),
        Hook::Output => Some(3),
        Hook::Postrouting => Some(4),
        Hook::Ingress | Hook::Egress => None,
    }
}

/// As in [`TableName::ALL`].
fn table_index(table: TableName) -> usize {
    match table {
        TableName::Raw => 0,
        TableName::Mangle => 1,
        TableName::Nat => 2,
        TableName::Filter => 3,
        TableName::Security => 4,
    }
}

impl Hooks {
    /// `chains` in order of registration. `order_known`: that order is the real one.
    pub fn new(program: &Program, references: References, order_known: bool) -> Hooks {
        let mut hooks = Hooks::default();
        for (index, info) in program.chains.iter().enumerate() {
            let Some((hook, _)) = info.base else { continue };
            let Some(at) = hook_index(hook) else { continue };
            // What is registered last runs first among equals.
            hooks.chains[at][table_index(info.table)].insert(0, ChainId(index as u32));
        }
        // All hooks of nat are registered with the first nat chain of the namespace.
        let nat = hooks.chains.iter().any(|tables| !tables[table_index(TableName::Nat)].is_empty());
        for (at, hook) in Hook::INET.into_iter().enumerate() {
            let mut stages: Vec<(i64, Stage)> = Vec::new();
            let source = matches!(hook, Hook::Input | Hook::Postrouting);
            let received = matches!(hook, Hook::Prerouting | Hook::Output);
            if references.defrag && received {
                stages.push((-400, Stage::Defrag));
            }
            if references.conntrack && received {
                stages.push((-200, Stage::Conntrack));
            }
            if references.conntrack && source {
                stages.push((i64::from(i32::MAX), Stage::Confirm));
            }
            for table in TableName::ALL {
                let all = hooks.chains[at][table_index(table)].clone();
                let priority_of = |chain: &ChainId| {
                    let info = program.chains.get(chain.index());
                    info.map_or(0, |info| priority(info.backend, table, hook))
                };
                for backend in [Backend::Legacy, Backend::Nft] {
                    let priority = priority(backend, table, hook);
                    let chains: Vec<ChainId> =
                        all.iter().copied().filter(|chain| priority_of(chain) == priority).collect();
                    if stages.iter().any(|(_, stage)| chains.first().is_some_and(|c| stage.runs(*c))) {
                        continue;
                    }
                    let matters = order_matters(program, table, &chains);
                    hooks.order_matters |= matters;
                    if matters && !order_known && !stages.contains(&(priority, Stage::Order)) {
                        stages.push((priority, Stage::Order));
                    }
                    if table == TableName::Nat {
                        continue;
                    }
                    for chain in chains {
                        let stage = match (table, hook) {
                            (TableName::Mangle, Hook::Output) => Stage::Route(chain),
                            _ => Stage::Chain(chain),
                        };
                        stages.push((priority, stage));
                    }
                }
            }
            if references.conntrack && nat && hook != Hook::Forward {
                stages.push((i64::from(TableName::Nat.priority(hook)), Stage::Nat));
            }
            stages.sort_by_key(|(priority, _)| *priority);
            hooks.stages[at] = stages.into_iter().map(|(_, stage)| stage).collect();
        }
        hooks
    }

    pub fn base_chains(&self, hook: Hook, table: TableName) -> &[ChainId] {
        hook_index(hook).map_or(&[], |hook| &self.chains[hook][table_index(table)])
    }

    fn stages(&self, hook: Hook) -> &[Stage] {
        hook_index(hook).map_or(&[], |hook| &self.stages[hook])
    }
}

/// Whether the order of these base chains (of both backends) can decide anything: not if all but one of them let every packet pass untouched.
fn order_matters(program: &Program, table: TableName, chains: &[ChainId]) -> bool {
    let idle = |chain: &ChainInfo| {
        chain.first == chain.end
            && (table == TableName::Nat || chain.base.is_some_and(|(_, policy)| policy == Policy::Accept))
    };
    chains.iter().filter_map(|id| program.chains.get(id.index())).filter(|chain| !idle(chain)).count() > 1
}

/// Everything at one hook, in the kernel's order: raw, conntrack, mangle, nat, filter, security, confirmation.
pub fn run_hook<S: Sink>(cx: &mut Cx<'_, S>, at: HookState, skb: &mut Skb) -> HookVerdict {
    let ns = cx.ns;
    for &stage in ns.netfilter.hooks.stages(at.hook) {
        if cx.backend_untold && matches!(stage, Stage::Chain(_) | Stage::Route(_) | Stage::Nat) {
            cx.backend_untold = false;
            cx.sink.step(skb, Step::Assumed(Assumption::Default(MissingState::Backend)));
        }
        let verdict = match stage {
            Stage::Defrag if skb.ip.is_fragment() => {
                return HookVerdict::End(End::unknown(Because::NotModelled("reassembly of fragments")));
            }
            Stage::Defrag => continue,
            Stage::Order => {
                return HookVerdict::End(End::unknown(Because::RegistrationOrder { hook: at.hook }));
            }
            Stage::Conntrack => conntrack::conntrack_in(cx, at, skb),
            Stage::Nat => nat::nat_hook(cx, at, skb),
            Stage::Confirm => conntrack::confirm(cx, at, skb),
            Stage::Chain(chain) => match run_chain(cx, at, chain, skb) {
                ChainVerdict::Accept => continue,
                ChainVerdict::End(end) => return HookVerdict::End(end),
            },
            Stage::Route(chain) => {
                let before = (skb.ip.src, skb.ip.dst, skb.mark, skb.ip.tos);
                match run_chain(cx, at, chain, skb) {
                    ChainVerdict::Accept => {}
                    ChainVerdict::End(end) => return HookVerdict::End(end),
                }
                if before == (skb.ip.src, skb.ip.dst, skb.mark, skb.ip.tos) {
                    continue;
                }
                match walk::reroute(cx, skb, Locus::Subsystem("ip_route_me_harder")) {
                    Ok(()) => continue,
                    Err(end) => HookVerdict::End(end),
                }
            }
        };
        if let HookVerdict::End(end) = verdict {
            return HookVerdict::End(end);
        }
    }
    HookVerdict::Accept
}
