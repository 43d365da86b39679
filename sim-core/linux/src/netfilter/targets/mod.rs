//! Targets that do more than decide (`-j MARK`, `REJECT`, ...).
//!
//! Not modelled: `CT` with a helper or a timeout policy, and whatever the reader of rules does not know. LOG and NFLOG tell nobody here; a
//! packet goes on after them, whatever reads the log. `CT --ctevents` changes what listeners hear, not what happens to packets.

mod tcpmss;

use super::HookState;
use super::program::TargetOp;
use crate::ids::RuleId;
use crate::iptables::ast::{ConnmarkTarget, MarkShift};
use crate::netns::Cx;
use crate::reason::{Because, DropCode, End, Locus};
use crate::skb::{CtTemplate, Skb, SkbCt};
use crate::trace::Sink;
use crate::{nat, walk};

/// What a target makes of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    /// On with the next rule.
    Continue,
    /// On with the next rule; the connection's mark changed.
    CtMark {
        old: u32,
        new: u32,
    },
    Accept,
    End(End),
}

/// Runs a target that is no verdict by itself.
pub(super) fn run<S: Sink>(
    cx: &mut Cx<'_, S>,
    at: HookState,
    skb: &mut Skb,
    rule: RuleId,
    op: TargetOp,
) -> Effect {
    let drop = |code| Effect::End(End::dropped(code, Locus::Rule { hook: at.hook, rule }));
    match op {
        TargetOp::Mark { value, mask } => {
            skb.mark = (skb.mark & !mask) ^ value;
            Effect::Continue
        }
        TargetOp::Connmark(connmark, shift) => run_connmark(cx, skb, connmark, shift),
        TargetOp::Reject(with) => {
            let locus = Locus::Rule { hook: at.hook, rule };
            Effect::End(if walk::reject(cx, at, skb, with) {
                End::rejected(DropCode::RuleReject, locus)
            } else {
                End::dropped(DropCode::RuleReject, locus)
            })
        }
        TargetOp::Notrack => {
            if unseen(skb) {
                skb.ct = SkbCt::Untracked;
            }
            Effect::Continue
        }
        TargetOp::Template { zone, original, reply } => {
            if unseen(skb) {
                skb.ct_template = Some(CtTemplate { rule, zone, original, reply });
            }
            Effect::Continue
        }
        TargetOp::Nat { kind, range } => {
            let Some(range) = cx.ns.netfilter.program.nat.get(range as usize) else {
                return Effect::End(End::unknown(Because::Target { rule }));
            };
            match nat::target(cx, at, skb, rule, kind, range) {
                Ok(()) => Effect::Accept,
                Err(code) => drop(code),
            }
        }
        TargetOp::Tcpmss(tcpmss) => match tcpmss::run(cx, skb, tcpmss) {
            tcpmss::Outcome::Continue => Effect::Continue,
            tcpmss::Outcome::Drop => drop(DropCode::TargetFailed),
            tcpmss::Outcome::Unknown(because) => Effect::End(End::unknown(because)),
        },
        // `--checksum-fill` fills a checksum that was left to the device. Packets here have theirs whole, so nothing is left to do.
        TargetOp::Checksum
        | TargetOp::None
        | TargetOp::Log
        | TargetOp::Accept
        | TargetOp::Drop
        | TargetOp::Return
        | TargetOp::Jump(_)
        | TargetOp::Goto(_) => Effect::Continue,
        TargetOp::Unmodelled => Effect::End(End::unknown(Because::Target { rule })),
    }
}

/// Whether `CT` may do something: not to a packet that has its connection (or template, or is untracked) already.
fn unseen(skb: &Skb) -> bool {
    skb.ct == SkbCt::None && skb.ct_template.is_none()
}

/// `connmark_tg_shift`: masks apply before the shift, so a shifted mark may reach beyond them.
fn run_connmark<S: Sink>(
    cx: &mut Cx<'_, S>,
    skb: &mut Skb,
    connmark: ConnmarkTarget,
    shift: MarkShift,
) -> Effect {
    let (mark, template) = match (skb.ct, skb.ct_template) {
        (SkbCt::Entry { id, .. }, _) => match cx.state.ct.get_mut(id) {
            Some(entry) => (&mut entry.mark, false),
            None => return Effect::Continue,
        },
        // A template has a mark as well, which its rule's next packets find there.
        (SkbCt::None, Some(template)) => (cx.state.rules.template_mark_mut(template.rule), true),
        _ => return Effect::Continue,
    };
    let old = *mark;
    match connmark {
        ConnmarkTarget::Set(set) => *mark = shift.apply((old & !set.mask) ^ set.value),
        ConnmarkTarget::Save { nf_mask, ct_mask } => {
            *mark = (old & !ct_mask) ^ shift.apply(skb.mark & nf_mask);
        }
        ConnmarkTarget::Restore { nf_mask, ct_mask } => {
            skb.mark = (skb.mark & !nf_mask) ^ shift.apply(old & ct_mask);
        }
    }
    match *mark {
        new if new != old && !template => Effect::CtMark { old, new },
        _ => Effect::Continue,
    }
}
