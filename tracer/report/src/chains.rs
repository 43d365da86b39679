//! Where each step stands: at which hook, how deep in chains, and whether a summary shows it.
//!
//! A summary shows what changed the packet or decided, and the jumps that led there. The walk's own chain stack is followed again from the
//! steps, so that a jump is shown exactly if something below it is.

use pktwalk_linux::hook::Hook;
use pktwalk_linux::ids::ChainId;
use pktwalk_linux::iptables::ast::Policy;
use pktwalk_linux::trace::{Assumption, CtResult, NeighResult, PacketTrace, RouteCause, RuleVerdict, Step};

use crate::names::Names;

/// Where a step stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The hook that it belongs to; none for steps between hooks.
    pub hook: Option<Hook>,
    /// The chain that it is in.
    pub chain: Option<ChainId>,
    /// 0 in a base chain, 1 in a chain that it jumped to, ...
    pub depth: usize,
    /// Whether a summary shows it.
    pub shown: bool,
}

/// One chain that is being walked.
struct Frame {
    chain: ChainId,
    /// The steps that led here from the frame below: a jump, then any number of gotos.
    entered_by: Vec<usize>,
}

/// The place of every step of `packet`, in order.
pub(crate) fn places(packet: &PacketTrace, names: &dyn Names) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::with_capacity(packet.steps.len());
    let mut stack: Vec<Frame> = Vec::new();
    let mut hook: Option<Hook> = None;
    for (index, recorded) in packet.steps.iter().enumerate() {
        let step = &recorded.step;
        hook = match hook_of(step) {
            At::Hook(at) => Some(at),
            At::Same => hook,
            At::Between => None,
        };
        if hook.is_none() {
            stack.clear();
        }
        let mut chain = None;
        match *step {
            Step::ChainEnter { chain: base, .. } => {
                stack.clear();
                stack.push(Frame { chain: base, entered_by: vec![index] });
                chain = Some(base);
            }
            Step::Rule { rule, .. } => {
                let id = names.rule(rule).chain_id;
                unwind_to(&mut stack, id);
                chain = Some(id);
            }
            Step::ChainEnd { chain: id, .. } | Step::ChainPolicy { chain: id, .. } => {
                unwind_to(&mut stack, id);
                chain = Some(id);
            }
            Step::CtMark { .. }
            | Step::NatSetup { rule: Some(_), .. }
            | Step::Assumed(_)
            | Step::Made { .. } => {
                chain = stack.last().map(|frame| frame.chain);
            }
            _ => {}
        }
        let depth = if chain.is_some() { stack.len().saturating_sub(1) } else { 0 };
        let shown = interesting(step) || alters(step, names);
        places.push(Place { hook, chain, depth, shown });
        if shown && chain.is_some() {
            for entered in stack.iter().flat_map(|frame| &frame.entered_by) {
                if let Some(place) = places.get_mut(*entered) {
                    place.shown = true;
                }
            }
        }
        match *step {
            Step::Rule { verdict: RuleVerdict::Jump(to), .. } => {
                stack.push(Frame { chain: to, entered_by: vec![index] });
            }
            Step::Rule { verdict: RuleVerdict::Goto(to), .. } => {
                if let Some(top) = stack.last_mut() {
                    top.chain = to;
                    top.entered_by.push(index);
                }
            }
            Step::Rule { verdict: RuleVerdict::Return, .. } | Step::ChainEnd { .. } => {
                stack.pop();
            }
            Step::ChainPolicy { .. } => stack.clear(),
            _ => {}
        }
    }
    // A rule whose connection mark changed is shown with it.
    for index in 1..places.len() {
        if matches!(packet.steps[index].step, Step::CtMark { .. } | Step::NatSetup { rule: Some(_), .. })
            && matches!(packet.steps[index - 1].step, Step::Rule { .. })
        {
            places[index - 1].shown = true;
        }
    }
    places
}

/// Makes `chain` the top of the stack. A trace that does not nest (it always does, coming from a walk) still gets a place.
fn unwind_to(stack: &mut Vec<Frame>, chain: ChainId) {
    match stack.iter().rposition(|frame| frame.chain == chain) {
        Some(at) => stack.truncate(at + 1),
        None => stack.push(Frame { chain, entered_by: Vec::new() }),
    }
}

enum At {
    Hook(Hook),
    Same,
    Between,
}

fn hook_of(step: &Step) -> At {
    match *step {
        Step::ChainEnter { hook, .. }
        | Step::Rule { hook, .. }
        | Step::ChainEnd { hook, .. }
        | Step::ChainPolicy { hook, .. }
        | Step::CtLookup { hook, .. }
        | Step::CtConfirm { hook, .. }
        | Step::NatSetup { hook, .. }
        | Step::NatApply { hook, .. } => At::Hook(hook),
        Step::Assumed(Assumption::NeighbourAnswers { .. } | Assumption::SocketListens { .. }) => At::Between,
        Step::CtMark { .. }
        | Step::Assumed(_)
        | Step::Made { .. }
        | Step::NotAnswered { .. }
        | Step::Route { cause: RouteCause::Reroute, .. } => At::Same,
        Step::Rx { .. }
        | Step::Bridge { .. }
        | Step::Route { .. }
        | Step::SourceCheck { .. }
        | Step::Ttl { .. }
        | Step::Mtu { .. }
        | Step::Neighbour { .. }
        | Step::Xmit { .. }
        | Step::Deliver { .. } => At::Between,
    }
}

/// Whether the step is a rule whose target changes something else than the mark, such as NOTRACK or TCPMSS.
fn alters(step: &Step, names: &dyn Names) -> bool {
    let Step::Rule { verdict: RuleVerdict::Continue, rule, .. } = *step else { return false };
    !matches!(names.rule(rule).target.as_str(), "" | "MARK" | "CONNMARK" | "LOG" | "NFLOG" | "TRACE")
}

/// Whether the step changed the packet or decided something.
fn interesting(step: &Step) -> bool {
    match *step {
        Step::Rule { verdict, mark_before, mark, .. } => {
            mark_before != mark
                || matches!(
                    verdict,
                    RuleVerdict::Accept
                        | RuleVerdict::Drop
                        | RuleVerdict::Return
                        | RuleVerdict::Stolen
                        | RuleVerdict::Unknown
                )
        }
        Step::CtMark { old, new } => old != new,
        Step::ChainPolicy { policy, .. } => policy == Policy::Drop,
        Step::CtLookup { result, .. } => result != CtResult::Kept,
        Step::NatSetup { rule, old_reply, new_reply, .. } => rule.is_none() && old_reply != new_reply,
        Step::NatApply { old, new, .. } => old != new,
        Step::SourceCheck { failed, .. } => failed.is_some(),
        Step::Mtu { fragments, .. } => fragments != 1,
        Step::Neighbour { result, .. } => result == NeighResult::Failed,
        Step::ChainEnter { .. } | Step::ChainEnd { .. } | Step::CtConfirm { .. } | Step::Ttl { .. } => false,
        Step::Rx { .. }
        | Step::Bridge { .. }
        | Step::Route { .. }
        | Step::Xmit { .. }
        | Step::Deliver { .. }
        | Step::Made { .. }
        | Step::NotAnswered { .. }
        | Step::Assumed(_) => true,
    }
}
