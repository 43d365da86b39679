//! Local output: routes of packets made here, OUTPUT, and the second routing after OUTPUT changed something (`ip_route_output_key_hash_rcu`,
//! `__ip_local_out`, `ip_route_me_harder`).

use pktwalk_packet::checksum::{put_ipv4, replace32};

use super::{Flight, Next, Stage, input};
use crate::choice::{ChoicePoint, Seeded};
use crate::config::{DeviceKind, RouteType};
use crate::fib::{self, AddrType, FibMatch, FibResult, FlowKey, scope};
use crate::hook::Hook;
use crate::ids::{DevId, RouteId, RoutingRuleId};
use crate::netfilter::{HookState, HookVerdict, run_hook};
use crate::netns::{Cx, NetNs, NetNsState};
use crate::reason::{Because, DropCode, End, Locus};
use crate::skb::{Dst, Skb};
use crate::trace::{Assumption, NullSink, RouteCause, RouteResult, Sink, Step};

const TCP: u8 = 6;

/// A route of a packet made here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Routed {
    pub dst: Dst,
    /// The source that it gives.
    pub src: u32,
    pub rule: Option<RoutingRuleId>,
    pub route: Option<RouteId>,
    /// Its next hop was one of several, left to chance.
    pub chosen: bool,
}

/// Why there is none.
#[derive(Clone, Copy, Debug)]
pub(super) enum NoRoute {
    Failed { rule: Option<RoutingRuleId>, route: Option<RouteId> },
    Unknown(Because),
}

impl NoRoute {
    const PLAIN: NoRoute = NoRoute::Failed { rule: None, route: None };
}

fn is_up(ns: &NetNs, dev: DevId) -> bool {
    ns.config.devices.get(dev.index()).is_some_and(|device| device.up)
}

/// `ip_route_output_key_hash_rcu`. `key.src` 0 asks for a source; `any_source` allows one that is not of this namespace
/// (`FLOWI_FLAG_ANYSRC`).
pub(super) fn lookup<S: Sink>(cx: &mut Cx<'_, S>, key: FlowKey, any_source: bool) -> Result<Routed, NoRoute> {
    lookup_for(cx, key, any_source, None)
}

/// The route of an answer to the packet that is walked, which will be made if there is one.
pub(super) fn lookup_answer<S: Sink>(cx: &mut Cx<'_, S>, key: FlowKey) -> Result<Routed, NoRoute> {
    let answer = cx.made.len() as u32;
    lookup_for(cx, key, false, Some(answer))
}

fn lookup_for<S: Sink>(
    cx: &mut Cx<'_, S>,
    mut key: FlowKey,
    any_source: bool,
    answer: Option<u32>,
) -> Result<Routed, NoRoute> {
    let ns = cx.ns;
    let bound = key.oif;
    let limited = |addr: u32| addr == u32::MAX;
    let src_scope = |dev, scope| ns.fib.select_source(dev, 0, scope).unwrap_or(0);
    if key.src != 0 {
        if fib::is_multicast(key.src) || limited(key.src) {
            return Err(NoRoute::PLAIN);
        }
        let owner = ns.fib.dev_of_address(key.src);
        if key.oif.is_none() && (fib::is_multicast(key.dst) || limited(key.dst)) {
            let Some(owner) = owner else { return Err(NoRoute::PLAIN) };
            key.oif = Some(owner);
            return make(ns, &key, None, owner, bound);
        }
        if !any_source && owner.is_none() {
            return Err(NoRoute::PLAIN);
        }
    }
    if let Some(dev) = key.oif {
        if !is_up(ns, dev) {
            return Err(NoRoute::PLAIN);
        }
        if fib::is_local_multicast(key.dst) || limited(key.dst) || key.protocol == 2 {
            if key.src == 0 {
                key.src = src_scope(dev, scope::LINK);
            }
            return make(ns, &key, None, dev, bound);
        }
        if key.src == 0 {
            if fib::is_multicast(key.dst) {
                key.src = src_scope(dev, scope::UNIVERSE);
            } else if key.dst == 0 {
                key.src = src_scope(dev, scope::HOST);
            }
        }
    }
    let lo = ns.loopback();
    if key.dst == 0 {
        let Some(lo) = lo else { return Err(NoRoute::PLAIN) };
        if key.src == 0 {
            key.src = 0x7f00_0001;
        }
        key.dst = key.src;
        let mut routed = make(ns, &key, None, lo, bound)?;
        routed.dst.type_local = true;
        return Ok(routed);
    }
    let mut found = match ns.fib.lookup_plain(&key) {
        FibResult::Unknown(because) => return Err(NoRoute::Unknown(because)),
        FibResult::Failed { rule, route, .. } => {
            let Some(dev) = key.oif else { return Err(NoRoute::Failed { rule, route }) };
            // Whatever the tables say, a bound device is taken to be on the link of the destination.
            if key.src == 0 {
                key.src = src_scope(dev, scope::LINK);
            }
            return make(ns, &key, None, dev, bound);
        }
        FibResult::Found(found) => found,
    };
    if found.kind == RouteType::Local {
        if key.src == 0 {
            key.src = ns.fib.prefsrc(found.route).unwrap_or(key.dst);
        }
        let Some(lo) = lo else { return Err(NoRoute::PLAIN) };
        let owner = ns.fib.nexthop(&found).and_then(|nexthop| nexthop.dev);
        return make(ns, &key, Some(&found), lo, owner);
    }
    if found.kind == RouteType::Multicast && !fib::is_multicast(key.dst) {
        // It is a multicast to some of the kernel, and its neighbour is one to all or to nobody by what table local says (`arp_constructor`).
        return Err(NoRoute::Unknown(Because::Route(found.route)));
    }
    let choice = &mut *cx.choice;
    let chosen = ns
        .fib
        .select_nexthop(ns, &mut found, &key, |route, total| {
            choice.choose(ChoicePoint::Nexthop { route, total, answer })
        })
        .map_err(NoRoute::Unknown)?;
    if key.src == 0 {
        key.src = ns.fib.source_of(&found).unwrap_or(0);
    }
    match ns.fib.nexthop(&found) {
        Some(nexthop) if !nexthop.unmodelled => match nexthop.dev {
            Some(dev) => Ok(Routed { chosen, ..make(ns, &key, Some(&found), dev, bound)? }),
            None => Err(NoRoute::Unknown(Because::Route(found.route))),
        },
        _ => Err(NoRoute::Unknown(Because::Route(found.route))),
    }
}

/// `__mkroute_output`.
fn make(
    ns: &NetNs,
    key: &FlowKey,
    found: Option<&FibMatch>,
    dev: DevId,
    iif: Option<DevId>,
) -> Result<Routed, NoRoute> {
    let loopback = ns.config.devices.get(dev.index()).is_some_and(|d| d.kind == DeviceKind::Loopback);
    let route = found.map(|found| found.route);
    let rule = found.and_then(|found| found.rule);
    let refused = Err(NoRoute::Failed { rule, route });
    if input::is_loopback(key.src) && !loopback && !ns.sysctls.route_localnet(dev) {
        return refused;
    }
    let multicast = fib::is_multicast(key.dst);
    let broadcast = key.dst == u32::MAX || found.is_some_and(|f| f.kind == RouteType::Broadcast);
    if key.dst == 0 {
        return refused;
    }
    let gateway = found
        .filter(|found| !broadcast && (!multicast || found.prefix_len >= 4))
        .and_then(|found| ns.fib.nexthop(found))
        .and_then(|nexthop| nexthop.gateway)
        .filter(|_| !loopback);
    let metrics = route.filter(|_| !broadcast && !loopback);
    Ok(Routed {
        dst: Dst {
            dev,
            // What `lo` gets back is for this namespace, but for groups that `lo` is not in: those have no way on (`dst_discard`).
            local: loopback && (!multicast || input::is_member(key.dst)),
            broadcast: broadcast || multicast,
            gateway,
            route,
            mtu: input::path_mtu(ns, metrics, dev, gateway.is_some()),
            redirect: false,
            type_local: found.is_some_and(|found| found.kind == RouteType::Local),
            iif,
        },
        src: key.src,
        rule,
        route,
        chosen: false,
    })
}

/// Why an answer was not sent for want of a route. If it is only not known which one, the packet that asks for the answer ends `Unknown`.
pub(super) fn no_way_back<S: Sink>(cx: &mut Cx<'_, S>, error: NoRoute) -> &'static str {
    match error {
        NoRoute::Failed { .. } => "no route leads back to its sender",
        NoRoute::Unknown(because) => {
            cx.undecided = Some(because);
            "which route leads back to its sender is not known"
        }
    }
}

/// The TTL of a packet made here (`ip4_dst_hoplimit`). Broadcast and local routes do not pass their metrics on.
pub(super) fn ttl(ns: &NetNs, dst: Option<&Dst>) -> u8 {
    let route = dst.filter(|dst| !dst.local && !dst.broadcast).and_then(|dst| dst.route);
    route.and_then(|route| ns.fib.hop_limit(route)).unwrap_or(ns.sysctls.ip_default_ttl)
}

/// The TTL of an answer to `addr` (`__ip_make_skb`): to a group, as a NAT of connections can have it, that of the kernel's sockets.
pub(super) fn answer_ttl(ns: &NetNs, dst: &Dst, addr: u32) -> u8 {
    if fib::is_multicast(addr) { 1 } else { ttl(ns, Some(dst)) }
}

/// The step that tells of a route.
fn step(cause: RouteCause, routed: &Routed) -> Step {
    let result = if routed.dst.local {
        RouteResult::Local
    } else {
        RouteResult::Unicast { dev: routed.dst.dev, gateway: routed.dst.gateway }
    };
    Step::Route { cause, rule: routed.rule, route: routed.route, result }
}

/// What tells of a choice among next hops, where one was made.
fn choice(chosen: bool) -> Option<Step> {
    chosen.then_some(Step::Assumed(Assumption::Choice("the next hop of a multipath route")))
}

/// The steps that tell of the route of an answer.
pub(super) fn steps(routed: &Routed) -> Vec<Step> {
    [step(RouteCause::Output, routed)].into_iter().chain(choice(routed.chosen)).collect()
}

/// Tells of a route that was found.
fn tell<S: Sink>(cx: &mut Cx<'_, S>, skb: &Skb, cause: RouteCause, routed: &Routed) {
    cx.sink.step(skb, step(cause, routed));
    tell_choice(cx, skb, routed.chosen);
}

/// Tells of a choice among next hops, where one was made.
pub(super) fn tell_choice<S: Sink>(cx: &mut Cx<'_, S>, skb: &Skb, chosen: bool) {
    if let Some(step) = choice(chosen) {
        cx.sink.step(skb, step);
    }
}

/// Tells of a route that was not found, and how the packet ends for it.
pub(super) fn failed<S: Sink>(
    cx: &mut Cx<'_, S>,
    skb: &Skb,
    cause: RouteCause,
    code: DropCode,
    error: NoRoute,
) -> End {
    match error {
        NoRoute::Unknown(because) => {
            let result = RouteResult::Unknown(because);
            cx.sink.step(skb, Step::Route { cause, rule: None, route: None, result });
            End::unknown(because)
        }
        NoRoute::Failed { rule, route } => {
            cx.sink.step(skb, Step::Route { cause, rule, route, result: RouteResult::Error(code) });
            let locus = match (rule, route) {
                (None, None) => Locus::Subsystem("ip_route_output_key"),
                _ => input::error_locus(rule, route),
            };
            End::dropped(code, locus)
        }
    }
}

/// Ports of a flow made here; ICMP's type and code stand where the destination port would.
fn made_ports(skb: &Skb) -> (u16, u16) {
    if skb.ip.protocol == 1 {
        return match skb.l4() {
            [icmp_type, code, ..] => (0, u16::from_be_bytes([*icmp_type, *code])),
            _ => (0, 0),
        };
    }
    input::ports(&skb.ip, skb.l4())
}

/// A packet that a socket sends: routed, its source chosen, its header completed.
pub(super) fn local_packet<S: Sink>(cx: &mut Cx<'_, S>, skb: &mut Skb) -> Result<(), End> {
    if let Some(because) = cx.ns.links.unmodelled_everywhere() {
        return Err(End::unknown(because));
    }
    skb.packet.clear_mac_header();
    let socket = skb.sk.unwrap_or_default();
    let len = skb.packet.l3_wire_len();
    if socket.raw
        && let Ok(len) = u16::try_from(len)
        && let Some(total) = skb.packet.l3_mut().get_mut(2..4)
    {
        total.copy_from_slice(&len.to_be_bytes());
    }
    if super::rx::check_lengths(skb).is_err() {
        return Err(End::dropped(DropCode::BadIpHeader, Locus::Subsystem("raw_send_hdrinc")));
    }
    // A source that is not ours can only be a raw socket's, which routes without it.
    let foreign = skb.ip.src != 0 && cx.ns.fib.addr_type(skb.ip.src, None) != AddrType::Local;
    let (protocol, (sport, dport)) =
        if socket.raw { (255, (0, 0)) } else { (skb.ip.protocol, made_ports(skb)) };
    let key = FlowKey {
        dst: skb.ip.dst,
        src: if foreign || socket.raw { 0 } else { skb.ip.src },
        iif: None,
        oif: socket.bound_dev,
        mark: skb.mark,
        tos: skb.ip.tos,
        protocol,
        sport,
        dport,
        uid: socket.uid.unwrap_or(0),
        scope: scope::UNIVERSE,
    };
    let routed = match lookup(cx, key, false) {
        Ok(routed) => routed,
        Err(error) => return Err(failed(cx, skb, RouteCause::Output, DropCode::NoOutputRoute, error)),
    };
    if skb.ip.src == 0 {
        set_source(skb, routed.src, !socket.raw);
    }
    put_ipv4(skb.packet.l3_mut());
    skb.dst = Some(routed.dst);
    tell(cx, skb, RouteCause::Output, &routed);
    let mtu = cx.ns.config.devices.get(routed.dst.dev.index()).map_or(usize::MAX, |d| d.mtu as usize);
    if socket.raw && len > mtu {
        // Nobody cuts what a raw socket writes.
        return Err(End::dropped(DropCode::MessageTooLong, Locus::Subsystem("raw_send_hdrinc")));
    }
    if !socket.raw && skb.ip.protocol != TCP && skb.ip.dont_fragment && len > routed.dst.mtu as usize {
        // Neither what another socket asks not to be cut. TCP makes its segments to fit.
        return Err(End::dropped(DropCode::MessageTooLong, Locus::Subsystem("__ip_append_data")));
    }
    Ok(())
}

/// The source address that a socket of `uid` is given when it sends to the key's destination without saying one; none without a route, or
/// where that is not known.
pub fn source_for(ns: &NetNs, key: FlowKey) -> Option<u32> {
    let mut cx = Cx {
        ns,
        state: &mut NetNsState::default(),
        choice: &mut Seeded::new(0),
        sink: &mut NullSink,
        made: Vec::new(),
        undecided: None,
        backend_untold: false,
    };
    lookup(&mut cx, FlowKey { src: 0, iif: None, scope: scope::UNIVERSE, ..key }, false)
        .ok()
        .map(|routed| routed.src)
        .filter(|src| *src != 0)
}

/// Writes the source that routing chose, and what depends on it.
fn set_source(skb: &mut Skb, src: u32, checksum: bool) {
    let old = skb.ip.src;
    let len = usize::from(skb.ip.header_len);
    let protocol = skb.ip.protocol;
    let first = skb.ip.frag_offset == 0;
    let l3 = skb.packet.l3_mut();
    if let Some(slot) = l3.get_mut(12..16) {
        slot.copy_from_slice(&src.to_be_bytes());
    }
    let at = match protocol {
        6 => 16,
        17 => 6,
        _ => 0,
    };
    if checksum
        && at != 0
        && first
        && let Some(field) = l3.get_mut(len + at..len + at + 2)
    {
        let sum = u16::from_be_bytes([field[0], field[1]]);
        // The sender left the pseudo header's source at 0; a UDP checksum of 0 is none.
        if protocol == 6 || sum != 0 {
            let sum = replace32(sum, old, src);
            let sum = if protocol == 17 && sum == 0 { 0xffff } else { sum };
            field.copy_from_slice(&sum.to_be_bytes());
        }
    }
    skb.reparse();
}

/// `__ip_local_out`: OUTPUT.
pub(super) fn local_out<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight) -> Next {
    let Some(dst) = flight.skb.dst else { return Next::not_modelled("a packet without a route") };
    let at =
        HookState { hook: Hook::Output, in_dev: None, out_dev: Some(dst.dev), phys_in: None, phys_out: None };
    match run_hook(cx, at, &mut flight.skb) {
        HookVerdict::End(end) => Next::End(end),
        HookVerdict::Accept => Next::Go(Stage::Output),
    }
}

/// The key of `ip_route_me_harder`, and whether the packet's source may be a foreign one.
fn harder_key(ns: &NetNs, skb: &Skb) -> (FlowKey, bool) {
    let kind = ns.fib.addr_type(skb.ip.src, None);
    let keep = matches!(kind, AddrType::Local | AddrType::Unicast);
    let mut key = FlowKey {
        dst: skb.ip.dst,
        src: if keep { skb.ip.src } else { 0 },
        oif: skb.sk.and_then(|sk| sk.bound_dev),
        mark: skb.mark,
        tos: skb.ip.tos,
        ..FlowKey::default()
    };
    // Even of a raw socket's packet, which was first routed without.
    input::dissect(ns, skb, &mut key);
    (key, keep)
}

/// Routes REJECT's reset as `ip_route_me_harder` does, by the device that the sender of what it answers is bound to, if it is from here.
pub(super) fn harder_answer<S: Sink>(
    cx: &mut Cx<'_, S>,
    skb: &Skb,
    bound: Option<DevId>,
) -> Result<Routed, NoRoute> {
    let (key, keep) = harder_key(cx.ns, skb);
    let answer = cx.made.len() as u32;
    lookup_for(cx, FlowKey { oif: bound, ..key }, keep, Some(answer))
}

/// `ip_route_me_harder`, in OUTPUT after mangle or nat changed what routing depends on. The hook's output device stays what it was;
/// `skb.dst` changes. `Err`: the end of a packet for which there is no route, by `locus`, or for which the route is not known.
pub(crate) fn reroute<S: Sink>(cx: &mut Cx<'_, S>, skb: &mut Skb, locus: Locus) -> Result<(), End> {
    let (key, keep) = harder_key(cx.ns, skb);
    match lookup(cx, key, keep) {
        Ok(routed) => {
            skb.dst = Some(routed.dst);
            tell(cx, skb, RouteCause::Reroute, &routed);
            Ok(())
        }
        Err(error) => {
            let end = failed(cx, skb, RouteCause::Reroute, DropCode::RerouteFailed, error);
            Err(match error {
                NoRoute::Failed { .. } => End { locus: Some(locus), ..end },
                NoRoute::Unknown(_) => end,
            })
        }
    }
}
