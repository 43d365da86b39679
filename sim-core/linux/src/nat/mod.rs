//! Address translation.

use crate::ids::RuleId;
use crate::iptables::ast::NatTarget;
use crate::netfilter::{HookState, HookVerdict};
use crate::netns::Cx;
use crate::reason::DropCode;
use crate::skb::Skb;
use crate::trace::Sink;

/// The targets that choose a translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NatKind {
    /// DNAT.
    Dnat,
    /// SNAT.
    Snat,
    /// MASQUERADE.
    Masquerade,
    /// REDIRECT.
    Redirect,
}

/// The nat hook of one side (`nf_nat_inet_fn`): at -100 in PREROUTING and OUTPUT for the destination, at 100 in INPUT and POSTROUTING for
/// the source. Runs the nat tables' base chains for a connection that has not been decided yet, then rewrites the packet.
pub(crate) fn nat_hook<S: Sink>(_cx: &mut Cx<'_, S>, _at: HookState, _skb: &mut Skb) -> HookVerdict {
    HookVerdict::Accept
}

/// What a NAT target does when a rule of a nat chain matches: `Ok` is NF_ACCEPT, `Err` is NF_DROP.
pub(crate) fn target<S: Sink>(
    _cx: &mut Cx<'_, S>,
    _at: HookState,
    _skb: &mut Skb,
    _rule: RuleId,
    _kind: NatKind,
    _range: &NatTarget,
) -> Result<(), DropCode> {
    Ok(())
}
