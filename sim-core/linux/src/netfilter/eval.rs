//! Running one base chain: `ipt_do_table` and `nft_do_chain`.
//!
//! Both go through rules in order, IP part first, then matches as written, the first that fails ending the rule; both keep a stack of calls.
//! They differ in how deep calls may nest (nf_tables: 15), in what is told of a packet that a match drops (x_tables: nothing, the rule did not
//! match; nf_tables: the rule's verdict was drop), and in the expressions that iptables-nft uses in place of some matches.

use smallvec::SmallVec;

use super::matches::{self, Outcome};
use super::nearest;
use super::program::{ChainInfo, Frame, Key, Program, Stack, TargetOp};
use super::targets::{self, Effect};
use super::{ChainVerdict, HookState};
use crate::hook::Backend;
use crate::ids::{ChainId, RuleId};
use crate::iptables::ast::Policy;
use crate::limits;
use crate::netns::Cx;
use crate::reason::{Because, Disposition, DropCode, End, Locus};
use crate::skb::Skb;
use crate::trace::{RuleVerdict, Sink, Step};

/// How deep calls of nf_tables may nest: one less than `NFT_JUMP_STACK_SIZE`. `nft_chain_validate` refuses a ruleset that goes deeper.
pub(super) const NFT_JUMP_DEPTH: usize = 15;

/// What a step counts against the bound on rules: a loop of a few rules shall not fill the memory of who records steps.
const STEP_COST: u64 = 64;

/// What the matches of a rule say together.
enum RuleOutcome {
    No,
    Yes,
    Hotdrop,
    Unknown(Because),
}

/// What a run of a base chain went past, kept only where somebody looks.
#[derive(Default)]
struct Trail {
    /// Rules that were passed over, in runs: the first, and the one after the last.
    passed: SmallVec<[(u32, u32); 16]>,
    /// A target may have changed the packet, or what is known of it.
    changed: bool,
}

impl Trail {
    #[inline]
    fn pass<S: Sink>(&mut self, from: u32, to: u32) {
        if S::ENABLED && from < to {
            self.passed.push((from, to));
        }
    }

    /// Tells of the rule that would have accepted what is dropped here.
    fn tell<S: Sink>(&self, cx: &mut Cx<'_, S>, at: HookState, key: &Key<'_>, skb: &Skb) {
        if S::ENABLED
            && let Some(near) = nearest::nearest(cx, at, key, &self.passed, self.changed, skb)
        {
            cx.sink.near_miss(&near);
        }
    }
}

/// Runs one base chain.
pub(crate) fn run_chain<S: Sink>(
    cx: &mut Cx<'_, S>,
    at: HookState,
    base: ChainId,
    skb: &mut Skb,
) -> ChainVerdict {
    let program = &cx.ns.netfilter.program;
    let Some(base_info) = program.chains.get(base.index()) else { return ChainVerdict::Accept };
    let Some((_, policy)) = base_info.base else { return ChainVerdict::Accept };
    let max_depth = match base_info.backend {
        Backend::Nft => NFT_JUMP_DEPTH,
        Backend::Legacy => limits::JUMP_DEPTH,
    };
    if S::ENABLED {
        cx.sink.step(skb, Step::ChainEnter { hook: at.hook, chain: base });
    }
    // Only nat changes what is in the key, and that after its chains have run.
    let key = Key::new(&program.devs, skb, at.in_dev, at.out_dev);
    let mut stack = Stack::new();
    let mut trail = Trail::default();
    let mut budget = limits::RULES_PER_HOOK;
    let mut chain = base;
    let mut info: &ChainInfo = base_info;
    // Rules before `next` are done with; `told` is the rule after the one that the last step in this chain told of.
    let mut next = info.first;
    let mut told = next;
    loop {
        let rule = match next_match(cx, program, at, &key, info, next, skb) {
            (index, RuleOutcome::Yes) => index,
            (_, RuleOutcome::No) => {
                let passed = info.end - told;
                trail.pass::<S>(told, info.end);
                budget = budget.saturating_sub(u64::from(info.end - next) + STEP_COST);
                if chain == base && stack.is_empty() {
                    if policy == Policy::Drop {
                        trail.tell(cx, at, &key, skb);
                    }
                    return policy_end(cx, at, base, passed, policy, skb);
                }
                if S::ENABLED && info.base.is_none() {
                    cx.sink.step(skb, Step::ChainEnd { hook: at.hook, chain, passed });
                }
                match stack.pop() {
                    Some(frame) => {
                        (chain, next) = (frame.chain, frame.next);
                        told = next;
                        let Some(caller) = program.chains.get(chain.index()) else {
                            return ChainVerdict::Accept;
                        };
                        info = caller;
                    }
                    None => {
                        if policy == Policy::Drop {
                            trail.tell(cx, at, &key, skb);
                        }
                        return policy_end(cx, at, base, 0, policy, skb);
                    }
                }
                if budget == 0 {
                    return ChainVerdict::End(End::plain(Disposition::LimitReached));
                }
                continue;
            }
            (index, RuleOutcome::Hotdrop) => {
                let rule = RuleId(index);
                if S::ENABLED && info.backend == Backend::Nft {
                    tell(cx, at, rule, index - told, RuleVerdict::Drop, skb.mark, skb);
                }
                return ChainVerdict::End(End::dropped(
                    DropCode::Hotdrop,
                    Locus::Rule { hook: at.hook, rule },
                ));
            }
            (index, RuleOutcome::Unknown(because)) => {
                if S::ENABLED {
                    tell(cx, at, RuleId(index), index - told, RuleVerdict::Unknown, skb.mark, skb);
                }
                return ChainVerdict::End(End::unknown(because));
            }
        };
        budget = budget.saturating_sub(u64::from(rule + 1 - next) + STEP_COST);
        if budget == 0 {
            return ChainVerdict::End(End::plain(Disposition::LimitReached));
        }
        let passed = rule - told;
        trail.pass::<S>(told, rule);
        let mark_before = skb.mark;
        let id = RuleId(rule);
        next = rule + 1;
        told = next;
        let verdict = match program.targets.get(rule as usize).copied().unwrap_or(TargetOp::None) {
            TargetOp::None | TargetOp::Log => RuleVerdict::Continue,
            TargetOp::Accept => RuleVerdict::Accept,
            TargetOp::Drop => {
                if S::ENABLED {
                    if nearest::takes_all(program, rule) {
                        trail.tell(cx, at, &key, skb);
                    }
                    tell(cx, at, id, passed, RuleVerdict::Drop, mark_before, skb);
                }
                return ChainVerdict::End(End::dropped(
                    DropCode::RuleDrop,
                    Locus::Rule { hook: at.hook, rule: id },
                ));
            }
            TargetOp::Return => {
                if S::ENABLED {
                    tell(cx, at, id, passed, RuleVerdict::Return, mark_before, skb);
                }
                let Some(frame) = stack.pop() else {
                    if policy == Policy::Drop {
                        trail.tell(cx, at, &key, skb);
                    }
                    return policy_end(cx, at, base, 0, policy, skb);
                };
                (chain, next) = (frame.chain, frame.next);
                told = next;
                let Some(caller) = program.chains.get(chain.index()) else { return ChainVerdict::Accept };
                info = caller;
                continue;
            }
            op @ (TargetOp::Jump(to) | TargetOp::Goto(to)) => {
                let jump = matches!(op, TargetOp::Jump(_));
                if S::ENABLED {
                    let verdict = if jump { RuleVerdict::Jump(to) } else { RuleVerdict::Goto(to) };
                    tell(cx, at, id, passed, verdict, mark_before, skb);
                }
                if jump {
                    if stack.len() >= max_depth {
                        return ChainVerdict::End(End {
                            locus: Some(Locus::Rule { hook: at.hook, rule: id }),
                            ..End::plain(Disposition::LimitReached)
                        });
                    }
                    stack.push(Frame { chain, next });
                }
                let Some(callee) = program.chains.get(to.index()) else { return ChainVerdict::Accept };
                (chain, info) = (to, callee);
                next = info.first;
                told = next;
                continue;
            }
            op => {
                if S::ENABLED && matches!(op, TargetOp::Reject(_)) && nearest::takes_all(program, rule) {
                    trail.tell(cx, at, &key, skb);
                }
                trail.changed = true;
                // What a target leads to is told behind its rule.
                let place = cx.sink.here();
                let effect = targets::run(cx, at, skb, id, op);
                let verdict = match effect {
                    Effect::Continue | Effect::CtMark { .. } => RuleVerdict::Continue,
                    Effect::Accept => RuleVerdict::Accept,
                    Effect::End(end) if end.disposition == Disposition::Unknown => RuleVerdict::Unknown,
                    Effect::End(_) => RuleVerdict::Drop,
                };
                if S::ENABLED {
                    let rule =
                        Step::Rule { hook: at.hook, rule: id, passed, verdict, mark_before, mark: skb.mark };
                    cx.sink.step_at(place, skb, rule);
                    if let Effect::CtMark { old, new } = effect {
                        cx.sink.step(skb, Step::CtMark { old, new });
                    }
                }
                match effect {
                    Effect::Continue | Effect::CtMark { .. } => continue,
                    Effect::Accept => return ChainVerdict::Accept,
                    Effect::End(end) => return ChainVerdict::End(end),
                }
            }
        };
        if S::ENABLED {
            tell(cx, at, id, passed, verdict, mark_before, skb);
        }
        if verdict == RuleVerdict::Accept {
            return ChainVerdict::Accept;
        }
    }
}

/// The first rule from `next` on that matches (or whose matches cannot be passed by); `No` at the chain's end.
#[inline]
fn next_match<S: Sink>(
    cx: &mut Cx<'_, S>,
    program: &Program,
    at: HookState,
    key: &Key<'_>,
    info: &ChainInfo,
    mut next: u32,
    skb: &Skb,
) -> (u32, RuleOutcome) {
    let heads = program.heads.get(..info.end as usize).unwrap_or(&[]);
    while let Some(rest) = heads.get(next as usize..) {
        let Some(offset) = rest.iter().position(|head| head.passes(key)) else { break };
        let rule = next + offset as u32;
        match matches_of(cx, program, at, rule, skb) {
            RuleOutcome::No => next = rule + 1,
            outcome => return (rule, outcome),
        }
    }
    (info.end, RuleOutcome::No)
}

/// The matches of a rule, in the order written, up to the first that fails.
fn matches_of<S: Sink>(
    cx: &mut Cx<'_, S>,
    program: &Program,
    at: HookState,
    rule: u32,
    skb: &Skb,
) -> RuleOutcome {
    let (Some(head), Some(after)) = (program.heads.get(rule as usize), program.heads.get(rule as usize + 1))
    else {
        return RuleOutcome::No;
    };
    let range = head.matches as usize..after.matches as usize;
    for (index, matcher) in range.clone().zip(program.matches.get(range).unwrap_or(&[])) {
        match matches::run(cx, program, at, RuleId(rule), matcher, skb) {
            Outcome::Yes => {}
            Outcome::No => return RuleOutcome::No,
            Outcome::Hotdrop => return RuleOutcome::Hotdrop,
            Outcome::Cut => return RuleOutcome::Unknown(Because::CutPacket),
            Outcome::Because(because) => return RuleOutcome::Unknown(because),
            Outcome::Unknown => {
                return RuleOutcome::Unknown(Because::Match {
                    rule: RuleId(rule),
                    position: program.positions.get(index).copied().unwrap_or(0),
                });
            }
        }
    }
    RuleOutcome::Yes
}

fn tell<S: Sink>(
    cx: &mut Cx<'_, S>,
    at: HookState,
    rule: RuleId,
    passed: u32,
    verdict: RuleVerdict,
    mark_before: u32,
    skb: &Skb,
) {
    cx.sink.step(skb, Step::Rule { hook: at.hook, rule, passed, verdict, mark_before, mark: skb.mark });
}

fn policy_end<S: Sink>(
    cx: &mut Cx<'_, S>,
    at: HookState,
    chain: ChainId,
    passed: u32,
    policy: Policy,
    skb: &Skb,
) -> ChainVerdict {
    if S::ENABLED {
        cx.sink.step(skb, Step::ChainPolicy { hook: at.hook, chain, passed, policy });
    }
    match policy {
        Policy::Accept => ChainVerdict::Accept,
        Policy::Drop => {
            ChainVerdict::End(End::dropped(DropCode::ChainPolicy, Locus::Policy { hook: at.hook, chain }))
        }
    }
}
