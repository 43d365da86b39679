//! Address translation, as Linux 6.18 does it for IPv4 (`nf_nat_core.c`, `nf_nat_proto.c`, `nf_nat_masquerade.c`, `nf_nat_redirect.c`).
//!
//! A connection is decided once per half: the destination at PREROUTING or OUTPUT, the source at POSTROUTING or INPUT. What no rule decides
//! gets a binding of the kernel's own, which changes the source port when another connection has it. From then on every packet is rewritten
//! by the tuples of its connection. Left out: helpers (FTP and the like), IPsec, NETMAP, the removal of masqueraded connections when an
//! address goes away.

mod hash;
mod manip;
#[cfg(test)]
mod tests;
mod unique;

use std::net::IpAddr;

use pktwalk_packet::checksum;

use crate::conntrack::status;
use crate::conntrack::tuple::{CtDirection, CtTuple, proto};
use crate::fib::scope;
use crate::hook::{Hook, TableName};
use crate::ids::{CtId, RuleId};
use crate::iptables::ast::NatTarget;
use crate::netfilter::{self, ChainVerdict, HookState, HookVerdict};
use crate::netns::Cx;
use crate::reason::{Because, DropCode, End, Locus};
use crate::skb::{CtInfo, Skb, SkbCt};
use crate::trace::{Assumption, Manip, Sink, Step};
use crate::walk;
use unique::{Chooser, Range};

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

/// Which half a hook decides (`HOOK2MANIP`).
fn manip_of(hook: Hook) -> Manip {
    match hook {
        Hook::Input | Hook::Postrouting => Manip::Src,
        Hook::Ingress | Hook::Prerouting | Hook::Forward | Hook::Output | Hook::Egress => Manip::Dst,
    }
}

/// The bit that says that a half is decided.
fn done_bit(manip: Manip) -> u32 {
    match manip {
        Manip::Src => status::SRC_NAT_DONE,
        Manip::Dst => status::DST_NAT_DONE,
    }
}

/// The bit that says that this half of a packet of `direction` is translated.
fn nat_bit(manip: Manip, direction: CtDirection) -> u32 {
    match (manip, direction) {
        (Manip::Src, CtDirection::Original) | (Manip::Dst, CtDirection::Reply) => status::SRC_NAT,
        (Manip::Dst, CtDirection::Original) | (Manip::Src, CtDirection::Reply) => status::DST_NAT,
    }
}

fn direction_of(info: CtInfo) -> CtDirection {
    if info.is_reply() { CtDirection::Reply } else { CtDirection::Original }
}

fn dropped(code: DropCode, hook: Hook) -> End {
    End::dropped(code, Locus::Conntrack { hook })
}

/// The nat hook of one side (`nf_nat_inet_fn`): at -100 in PREROUTING and OUTPUT for the destination, at 100 in INPUT and POSTROUTING for
/// the source. Runs the nat tables' base chains for a connection that has not been decided yet, then rewrites the packet.
pub(crate) fn nat_hook<S: Sink>(cx: &mut Cx<'_, S>, at: HookState, skb: &mut Skb) -> HookVerdict {
    let SkbCt::Entry { id, info } = skb.ct else { return HookVerdict::Accept };
    let dst_before = skb.ip.dst;
    let related = matches!(info, CtInfo::Related | CtInfo::RelatedReply);
    let result = if related && skb.ip.protocol == proto::ICMP {
        translate_error(cx, at, skb, id, info)
    } else {
        translate(cx, at, skb, id, info)
    };
    if let Err(end) = result {
        return HookVerdict::End(end);
    }
    match at.hook {
        // The route that the packet may have brought along was for the old destination.
        Hook::Prerouting if skb.ip.dst != dst_before => skb.dst = None,
        Hook::Output => {
            let direction = direction_of(info);
            let changed = cx
                .state
                .ct
                .get(id)
                .is_some_and(|e| e.tuple(direction).dst != e.tuple(direction.opposite()).src);
            if changed && let Err(end) = walk::reroute(cx, skb, Locus::Conntrack { hook: at.hook }) {
                return HookVerdict::End(end);
            }
        }
        _ => {}
    }
    HookVerdict::Accept
}

/// Decides the half of this hook if that was not done, and rewrites the packet.
fn translate<S: Sink>(
    cx: &mut Cx<'_, S>,
    at: HookState,
    skb: &mut Skb,
    id: CtId,
    info: CtInfo,
) -> Result<(), End> {
    let manip = manip_of(at.hook);
    let undecided = |cx: &Cx<'_, S>| cx.state.ct.get(id).is_some_and(|e| e.status & done_bit(manip) == 0);
    let may_decide = matches!(info, CtInfo::New | CtInfo::Related | CtInfo::RelatedReply);
    if may_decide && undecided(cx) {
        let ns = cx.ns;
        for chain in ns.netfilter.base_chains(at.hook, TableName::Nat) {
            if let ChainVerdict::End(end) = netfilter::run_chain(cx, at, *chain, skb) {
                return Err(end);
            }
            if !undecided(cx) {
                break;
            }
        }
        if undecided(cx) {
            null_binding(cx, at, skb, id, manip);
        }
    } else if at.hook == Hook::Postrouting
        && !info.is_reply()
        && let Some(dev) = cx.state.ct.get(id).and_then(|entry| entry.masquerade_dev)
        && Some(dev) != at.out_dev
    {
        cx.state.ct.kill(id);
        return Err(dropped(DropCode::MasqueradeDeviceChanged, at.hook));
    }
    rewrite(cx, at, skb, id, direction_of(info))
}

/// `nf_nat_packet`.
fn rewrite<S: Sink>(
    cx: &mut Cx<'_, S>,
    at: HookState,
    skb: &mut Skb,
    id: CtId,
    direction: CtDirection,
) -> Result<(), End> {
    let manip = manip_of(at.hook);
    let Some(entry) = cx.state.ct.get(id) else { return Ok(()) };
    if entry.status & nat_bit(manip, direction) == 0 {
        return Ok(());
    }
    // The packet is to look like the inverse of the other direction.
    let Some(target) = entry.tuple(direction.opposite()).invert() else { return Ok(()) };
    let old = S::ENABLED.then(|| half(skb, manip));
    let len = skb.packet.l3_wire_len();
    if manip::rewrite(skb.packet.l3_mut(), len, &target, manip).is_err() {
        return Err(too_short(skb, DropCode::CtDrop, at.hook));
    }
    skb.reparse();
    if let Some(old) = old {
        let new = half(skb, manip);
        if old != new {
            cx.sink.step(skb, Step::NatApply { hook: at.hook, manip, old, new });
        }
    }
    Ok(())
}

/// Address and port (ICMP id) of the packet as it is; port 0 where it has none.
fn half(skb: &Skb, manip: Manip) -> (u32, u16) {
    let tuple = CtTuple::of_packet(skb.ip.src, skb.ip.dst, skb.ip.protocol, skb.l4());
    match manip {
        Manip::Src => (skb.ip.src, tuple.map_or(0, |tuple| tuple.src_part())),
        Manip::Dst => (skb.ip.dst, tuple.map_or(0, |tuple| tuple.dst_part())),
    }
}

/// The end of a packet that is too short to be rewritten.
fn too_short(skb: &Skb, code: DropCode, hook: Hook) -> End {
    if skb.packet.missing() > 0 { End::unknown(Because::CutPacket) } else { dropped(code, hook) }
}

/// `nf_nat_icmp_reply_translation`: an ICMP error about a packet of a translated connection. The packet inside is rewritten to what its
/// sender knows, the header outside like a packet of the connection.
fn translate_error<S: Sink>(
    cx: &mut Cx<'_, S>,
    at: HookState,
    skb: &mut Skb,
    id: CtId,
    info: CtInfo,
) -> Result<(), End> {
    const DONE: u32 = status::SRC_NAT_DONE | status::DST_NAT_DONE;
    const NAT: u32 = status::SRC_NAT | status::DST_NAT;
    let manip = manip_of(at.hook);
    let direction = direction_of(info);
    let Some(entry) = cx.state.ct.get(id) else { return Ok(()) };
    let header_len = usize::from(skb.ip.header_len);
    let complete = skb.packet.missing() == 0;
    let icmp = skb.l4();
    if icmp.len() < 28 {
        return Err(too_short(skb, DropCode::NatIcmp, at.hook));
    }
    if complete && checksum::checksum(icmp) != 0 {
        return Err(dropped(DropCode::NatIcmp, at.hook));
    }
    // A redirect names a gateway, which cannot be translated.
    if icmp.first() == Some(&5) && (entry.status & DONE != DONE || entry.status & NAT != 0) {
        return Err(dropped(DropCode::NatIcmp, at.hook));
    }
    if entry.status & nat_bit(manip, direction) == 0 {
        return Ok(());
    }
    if !complete {
        return Err(End::unknown(Because::CutPacket));
    }
    let (this, inside) = (*entry.tuple(direction), *entry.tuple(direction.opposite()));
    let Some(target) = inside.invert() else { return Ok(()) };
    let outside = CtTuple { protocol: proto::ICMP, ..target };
    let inner_manip = match manip {
        Manip::Src => Manip::Dst,
        Manip::Dst => Manip::Src,
    };
    let l3 = skb.packet.l3_mut();
    let written = match l3.get_mut(header_len..) {
        Some(icmp) => {
            let inner = icmp.get_mut(8..).unwrap_or(&mut []);
            let len = inner.len();
            let written = manip::rewrite(inner, len, &inside, inner_manip);
            if written.is_ok() {
                manip::sum_icmp(icmp);
            }
            written
        }
        None => Err(manip::TooShort),
    };
    let l3_len = l3.len();
    if written.is_err() || manip::rewrite(l3, l3_len, &outside, manip).is_err() {
        return Err(dropped(DropCode::NatIcmp, at.hook));
    }
    let old = match manip {
        Manip::Src => skb.ip.src,
        Manip::Dst => skb.ip.dst,
    };
    skb.reparse();
    let new = match manip {
        Manip::Src => skb.ip.src,
        Manip::Dst => skb.ip.dst,
    };
    // Ports stand in the packet inside only; what changes there is the other way round.
    let (old_part, new_part) = match manip {
        Manip::Src => (this.src_part(), target.src_part()),
        Manip::Dst => (this.dst_part(), target.dst_part()),
    };
    if (old, old_part) != (new, new_part) {
        let step = Step::NatApply { hook: at.hook, manip, old: (old, old_part), new: (new, new_part) };
        cx.sink.step(skb, step);
    }
    Ok(())
}

/// `nf_nat_alloc_null_binding`: the address stays, the port too unless another connection has it.
fn null_binding<S: Sink>(cx: &mut Cx<'_, S>, at: HookState, skb: &Skb, id: CtId, manip: Manip) {
    let Some(entry) = cx.state.ct.get(id) else { return };
    let addr = match manip {
        Manip::Src => entry.reply.dst,
        Manip::Dst => entry.reply.src,
    };
    let range = Range { addrs: Some((addr, addr)), ..Range::default() };
    setup(cx, at, skb, id, manip, &range, None);
}

/// `nf_nat_setup_info`: chooses within `range`, and remembers it in the reply tuple.
fn setup<S: Sink>(
    cx: &mut Cx<'_, S>,
    at: HookState,
    skb: &Skb,
    id: CtId,
    manip: Manip,
    range: &Range,
    rule: Option<RuleId>,
) {
    let Some(entry) = cx.state.ct.get(id) else { return };
    if entry.is_confirmed() {
        return;
    }
    let (old_reply, zones) = (entry.reply, entry.zones());
    let Some(current) = old_reply.invert() else { return };
    let mut chooser = Chooser {
        table: &mut cx.state.ct,
        choice: &mut *cx.choice,
        own: id,
        zones,
        now_ns: cx.state.now_ns,
        chose: false,
    };
    let new = chooser.unique(&current, range, manip);
    let chose = chooser.chose;
    let new_reply = if new == current { old_reply } else { new.invert().unwrap_or(old_reply) };
    if let Some(entry) = cx.state.ct.get_mut(id) {
        if new != current {
            entry.reply = new_reply;
            entry.status |= match manip {
                Manip::Src => status::SRC_NAT,
                Manip::Dst => status::DST_NAT,
            };
        }
        entry.status |= done_bit(manip);
    }
    if rule.is_some() || new_reply != old_reply {
        cx.sink.step(skb, Step::NatSetup { hook: at.hook, manip, rule, old_reply, new_reply });
    }
    if chose {
        cx.sink.step(skb, Step::Assumed(Assumption::Choice("port of a translation")));
    }
}

/// An IPv4 address in host order.
fn v4(addr: IpAddr) -> Option<u32> {
    match addr {
        IpAddr::V4(addr) => Some(u32::from(addr)),
        IpAddr::V6(_) => None,
    }
}

/// What a NAT target does when a rule of a nat chain matches: `Ok` is NF_ACCEPT, `Err` is NF_DROP.
pub(crate) fn target<S: Sink>(
    cx: &mut Cx<'_, S>,
    at: HookState,
    skb: &mut Skb,
    rule: RuleId,
    kind: NatKind,
    given: &NatTarget,
) -> Result<(), DropCode> {
    let SkbCt::Entry { id, .. } = skb.ct else { return Ok(()) };
    let mut range = Range {
        addrs: given.addrs.and_then(|(lo, hi)| Some((v4(lo)?, v4(hi)?))),
        ports: given.ports.map(|ports| (ports.lo, ports.hi)),
        base: given.port_base,
        random: given.random || given.random_fully,
        persistent: given.persistent,
    };
    let manip = match kind {
        NatKind::Dnat => Manip::Dst,
        NatKind::Snat => Manip::Src,
        NatKind::Masquerade => {
            if cx.state.ct.get(id).is_some_and(|entry| entry.original.src == 0) {
                // A packet without an address yet, of DHCP perhaps: left alone.
                return Ok(());
            }
            let dev = at.out_dev.ok_or(DropCode::NatNoAddress)?;
            let nexthop = skb.dst.and_then(|dst| dst.gateway).unwrap_or(skb.ip.dst);
            let addr = cx.ns.fib.select_source(dev, nexthop, scope::UNIVERSE);
            let addr = addr.filter(|addr| *addr != 0).ok_or(DropCode::NatNoAddress)?;
            if let Some(entry) = cx.state.ct.get_mut(id)
                && !entry.is_confirmed()
            {
                entry.masquerade_dev = Some(dev);
            }
            range.addrs = Some((addr, addr));
            Manip::Src
        }
        NatKind::Redirect => {
            let addr = match at.hook {
                Hook::Output => Some(0x7f00_0001),
                _ => at.in_dev.and_then(|dev| cx.ns.fib.first_address(dev)).filter(|addr| *addr != 0),
            };
            let addr = addr.ok_or(DropCode::NatNoAddress)?;
            range.addrs = Some((addr, addr));
            range.base = None;
            Manip::Dst
        }
    };
    setup(cx, at, skb, id, manip, &range, Some(rule));
    Ok(())
}
