//! The routing of received packets (`ip_route_input_rcu`, `ip_route_input_slow`, `ip_error`).

use pktwalk_packet::Ipv4Fields;

use super::{icmp, output};
use crate::choice::ChoicePoint;
use crate::config::RouteType;
use crate::fib::{self, FibError, FibResult, FlowKey, validate_source};
use crate::ids::{DevId, RouteId, RoutingRuleId};
use crate::netns::{Cx, NetNs};
use crate::reason::{Because, DropCode, End, Locus};
use crate::skb::{Dst, MadeBy, Skb};
use crate::trace::{Assumption, RouteCause, RouteResult, Sink, Step};

/// 127.0.0.0/8.
pub(super) fn is_loopback(addr: u32) -> bool {
    addr >> 24 == 127
}

/// What the route of an input route lookup is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Input {
    /// Delivered here.
    Local,
    /// Delivered here, as broadcast or multicast.
    Broadcast,
    /// Sent on.
    Forward(Dst),
    /// An error route (`ip_error`); `code` says which error.
    Error(DropCode, FibError),
    /// Refused at once.
    Martian(DropCode),
}

/// An answer of [`lookup`], with how it came about.
pub(super) struct Found {
    pub input: Input,
    pub rule: Option<RoutingRuleId>,
    pub route: Option<RouteId>,
    pub check: Option<Step>,
    /// Its next hop was one of several, left to chance.
    pub chosen: bool,
}

impl Found {
    fn plain(input: Input) -> Found {
        Found { input, rule: None, route: None, check: None, chosen: false }
    }
}

/// Ports as the flow dissector sees them: none of fragments and of protocols that have none.
pub(super) fn ports(ip: &Ipv4Fields, l4: &[u8]) -> (u16, u16) {
    let offset = match ip.protocol {
        // TCP, UDP, DCCP, ESP (its SPI), SCTP, UDP-Lite.
        6 | 17 | 33 | 50 | 132 | 136 => 0,
        // AH: its SPI.
        51 => 4,
        _ => return (0, 0),
    };
    match l4.get(offset..offset + 4) {
        Some(&[a, b, c, d]) if !ip.is_fragment() => (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
        _ => (0, 0),
    }
}

/// The key of a received packet's lookup.
pub(super) fn key(ns: &NetNs, skb: &Skb, dev: DevId) -> FlowKey {
    let mut key = FlowKey {
        dst: skb.ip.dst,
        src: skb.ip.src,
        iif: Some(dev),
        mark: skb.mark,
        tos: skb.ip.tos,
        ..FlowKey::default()
    };
    dissect(ns, skb, &mut key);
    key
}

/// `fib4_rules_early_flow_dissect`: protocol and ports, if a routing rule looks at them.
pub(super) fn dissect(ns: &NetNs, skb: &Skb, key: &mut FlowKey) {
    if ns.fib.needs_ports() {
        key.protocol = skb.ip.protocol;
        (key.sport, key.dport) = ports(&skb.ip, skb.l4());
    }
}

/// Groups that the namespace has joined, as far as that is known: every device is in 224.0.0.1.
pub(super) fn is_member(group: u32) -> bool {
    group == 0xe000_0001
}

/// What kind of frame asks: ARP asks routing as well, with other rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asks {
    Ip,
    Arp,
}

/// `ip_route_input_noref` without its effects. `Err`: something not modelled decides.
pub(super) fn lookup<S: Sink>(
    cx: &mut Cx<'_, S>,
    key: &FlowKey,
    dev: DevId,
    asks: Asks,
    protocol: u8,
) -> Result<Found, Because> {
    let ns = cx.ns;
    let (src, dst) = (key.src, key.dst);
    let martian = |code| Ok(Found::plain(Input::Martian(code)));
    if fib::is_multicast(dst) {
        return multicast(ns, key, dev, asks, protocol);
    }
    if fib::is_multicast(src) || src == u32::MAX {
        return martian(DropCode::InvalidSource);
    }
    if dst == u32::MAX || src == 0 && dst == 0 {
        return broadcast(ns, key, dev, asks, Found::plain(Input::Broadcast));
    }
    if src == 0 {
        return martian(DropCode::InvalidSource);
    }
    if dst == 0 {
        return martian(DropCode::InvalidDest);
    }
    let localnet = ns.sysctls.route_localnet(dev);
    if is_loopback(dst) {
        if !localnet {
            return martian(DropCode::MartianLoopbackDest);
        }
    } else if is_loopback(src) && !localnet {
        return martian(DropCode::MartianLoopbackSource);
    }
    let mut found = match ns.fib.lookup_plain(key) {
        FibResult::Unknown(because) => return Err(because),
        FibResult::Failed { error, rule, route } => {
            let (code, error) = if ns.sysctls.forwarding(dev) {
                (error_code(error, rule.is_some(), route.is_some()), error)
            } else {
                (DropCode::ForwardingOff, FibError::HostUnreachable)
            };
            return Ok(Found { rule, route, ..Found::plain(Input::Error(code, error)) });
        }
        FibResult::Found(found) => found,
    };
    let answer = Found { rule: found.rule, route: Some(found.route), ..Found::plain(Input::Local) };
    match found.kind {
        RouteType::Broadcast if !ns.sysctls.bc_forwarding(dev) => {
            return broadcast(ns, key, dev, asks, answer);
        }
        RouteType::Broadcast => {}
        RouteType::Local => {
            let check = source_check(ns, key, dev, None)?;
            return Ok(finish(answer, check, Input::Local));
        }
        _ if !ns.sysctls.forwarding(dev) => {
            let input = Input::Error(DropCode::ForwardingOff, FibError::HostUnreachable);
            return Ok(Found { input, ..answer });
        }
        RouteType::Unicast => {}
        _ => return Ok(Found { input: Input::Martian(DropCode::InvalidDest), ..answer }),
    }
    let mut answer = answer;
    if ns.fib.nexthops(found.route).len() > 1 {
        let choice = &mut *cx.choice;
        answer.chosen = ns.fib.select_nexthop(ns, &mut found, key, |route, total| {
            choice.choose(ChoicePoint::Nexthop { route, total, answer: None })
        })?;
    }
    let Some(nexthop) = ns.fib.nexthop(&found).copied() else { return Err(Because::Route(found.route)) };
    let (Some(out), false) = (nexthop.dev, nexthop.unmodelled) else {
        return Err(Because::Route(found.route));
    };
    let check = source_check(ns, key, dev, Some(out))?;
    let redirect = asks == Asks::Ip
        && out == dev
        && check.on_link
        && ns.sysctls.send_redirects(out)
        && (ns.sysctls.shared_media(out) || ns.fib.on_link(out, src, nexthop.gateway.unwrap_or(0)));
    if asks == Asks::Arp && out == dev && !ns.sysctls.proxy_arp_pvlan(dev) {
        return Ok(Found { input: Input::Martian(DropCode::ArpIgnored), ..answer });
    }
    let dst = Dst {
        dev: out,
        local: false,
        broadcast: false,
        gateway: nexthop.gateway,
        route: Some(found.route),
        mtu: path_mtu(ns, Some(found.route), out, nexthop.gateway.is_some()),
        redirect,
        type_local: false,
        iif: None,
    };
    Ok(finish(answer, check, Input::Forward(dst)))
}

/// The MTU of a route, else of its device (`ip_dst_mtu_maybe_forward`; learned path MTUs are not modelled).
pub(super) fn path_mtu(ns: &NetNs, route: Option<RouteId>, dev: DevId, via_gateway: bool) -> u32 {
    let device = ns.config.devices.get(dev.index()).map_or(1500, |device| device.mtu);
    let mtu = match route.and_then(|route| ns.fib.route_mtu(route)) {
        Some((mtu, _)) if mtu > 0 => mtu,
        Some((_, true)) if via_gateway => device.min(576),
        _ => device,
    };
    mtu.min(65535)
}

/// A validated source as a step and a verdict.
struct Check {
    step: Option<Step>,
    failed: Option<DropCode>,
    on_link: bool,
}

fn source_check(ns: &NetNs, key: &FlowKey, dev: DevId, out: Option<DevId>) -> Result<Check, Because> {
    let verdict = validate_source(ns, dev, key, out)?;
    let rp_filter = ns.sysctls.rp_filter(dev);
    let step = (verdict.asked || verdict.failed.is_some()).then_some(Step::SourceCheck {
        rp_filter,
        route: verdict.route,
        failed: verdict.failed,
    });
    Ok(Check { step, failed: verdict.failed, on_link: verdict.on_link })
}

fn finish(found: Found, check: Check, input: Input) -> Found {
    let input = check.failed.map_or(input, Input::Martian);
    Found { input, check: check.step, ..found }
}

fn broadcast(ns: &NetNs, key: &FlowKey, dev: DevId, asks: Asks, found: Found) -> Result<Found, Because> {
    if asks == Asks::Arp {
        return Ok(Found { input: Input::Martian(DropCode::ArpIgnored), ..found });
    }
    if key.src == 0 {
        return Ok(Found { input: Input::Broadcast, ..found });
    }
    let check = source_check(ns, &FlowKey { dst: 0, ..*key }, dev, None)?;
    Ok(finish(found, check, Input::Broadcast))
}

/// `ip_route_input_mc` for groups that the namespace is in; there is no multicast routing.
fn multicast(ns: &NetNs, key: &FlowKey, dev: DevId, asks: Asks, protocol: u8) -> Result<Found, Because> {
    let martian = |code| Ok(Found::plain(Input::Martian(code)));
    if ns.sysctls.mc_forwarding(dev) && !fib::is_local_multicast(key.dst) && asks == Asks::Ip {
        return Err(Because::NotModelled("multicast routing"));
    }
    if !is_member(key.dst) {
        if ns.links.sockets_may_join && asks == Asks::Ip {
            return Err(Because::NotModelled("multicast groups that sockets joined"));
        }
        return martian(DropCode::NoMulticastMember);
    }
    if asks == Asks::Arp || fib::is_multicast(key.src) || key.src == u32::MAX {
        return martian(DropCode::InvalidSource);
    }
    if is_loopback(key.src) && !ns.sysctls.route_localnet(dev) {
        return martian(DropCode::MartianLoopbackSource);
    }
    if key.src == 0 {
        if !fib::is_local_multicast(key.dst) && protocol != 2 {
            return martian(DropCode::InvalidSource);
        }
        return Ok(Found::plain(Input::Broadcast));
    }
    let check = source_check(ns, &FlowKey { dst: 0, ..*key }, dev, None)?;
    Ok(finish(Found::plain(Input::Broadcast), check, Input::Broadcast))
}

/// Our code for a failed lookup.
pub(super) fn error_code(error: FibError, by_rule: bool, by_route: bool) -> DropCode {
    match (error, by_route) {
        (FibError::NetUnreachable, _) if by_rule => DropCode::RoutingRuleUnreachable,
        (FibError::NetUnreachable, _) => DropCode::NoRoute,
        (FibError::HostUnreachable, _) => DropCode::RouteUnreachable,
        (FibError::Prohibited, true) => DropCode::RouteProhibit,
        (FibError::Prohibited, false) => DropCode::RoutingRuleProhibit,
        (FibError::Invalid, true) => DropCode::RouteBlackhole,
        (FibError::Invalid, false) => DropCode::RoutingRuleBlackhole,
    }
}

/// The locus of a failed lookup.
pub(super) fn error_locus(rule: Option<RoutingRuleId>, route: Option<RouteId>) -> Locus {
    match (rule, route) {
        (_, Some(route)) => Locus::Route(route),
        (Some(rule), None) => Locus::RoutingRule(rule),
        (None, None) => Locus::Subsystem("ip_error"),
    }
}

/// The function that refuses a packet before or without a route.
fn martian_locus(code: DropCode, key: &FlowKey, checked: bool) -> Locus {
    Locus::Subsystem(match code {
        _ if checked => "fib_validate_source",
        DropCode::NoMulticastMember => "ip_route_input_rcu",
        _ if fib::is_multicast(key.dst) => "ip_mc_validate_source",
        _ => "ip_route_input_slow",
    })
}

/// An error route: what [`ip_error`] does with the packet, once its options are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    code: DropCode,
    error: FibError,
    locus: Locus,
}

/// Routes a received packet: sets `skb.dst`, also for an error route, which it gives. `Err`: it ends at once.
pub(super) fn route<S: Sink>(cx: &mut Cx<'_, S>, skb: &mut Skb, dev: DevId) -> Result<Option<Refused>, End> {
    let key = key(cx.ns, skb, dev);
    let found = lookup(cx, &key, dev, Asks::Ip, skb.ip.protocol);
    let cause = RouteCause::Input;
    let found = match found {
        Ok(found) => found,
        Err(because) => {
            let result = RouteResult::Unknown(because);
            cx.sink.step(skb, Step::Route { cause, rule: None, route: None, result });
            return Err(End::unknown(because));
        }
    };
    let Found { input, rule, route, check, chosen } = found;
    let lo = cx.ns.loopback().unwrap_or(dev);
    let local = |broadcast| Dst {
        dev: lo,
        local: true,
        broadcast,
        gateway: None,
        route,
        mtu: path_mtu(cx.ns, None, lo, false),
        redirect: false,
        type_local: !broadcast,
        iif: None,
    };
    let (result, dst) = match input {
        Input::Local => (RouteResult::Local, Some(local(false))),
        Input::Broadcast => (RouteResult::Broadcast, Some(local(true))),
        Input::Forward(dst) => (RouteResult::Unicast { dev: dst.dev, gateway: dst.gateway }, Some(dst)),
        // An error route is neither local nor broadcast.
        Input::Error(code, _) => {
            (RouteResult::Error(code), Some(Dst { local: false, route: None, mtu: 0, ..local(false) }))
        }
        // The route stands; it is the source that fails.
        Input::Martian(code) => (RouteResult::Error(code), None),
    };
    skb.dst = dst;
    cx.sink.step(skb, Step::Route { cause, rule, route, result });
    output::tell_choice(cx, skb, chosen);
    if let Some(step) = check {
        cx.sink.step(skb, step);
    }
    match input {
        Input::Local | Input::Broadcast => Ok(None),
        Input::Forward(_) => {
            if cx.ns.links.missing_sysctls() && cx.ns.sysctls.forwarding_assumed() {
                let missing = crate::config::MissingState::Sysctls;
                cx.sink.step(skb, Step::Assumed(Assumption::Default(missing)));
            }
            Ok(None)
        }
        Input::Martian(code) => {
            let locus = match (code, route) {
                (DropCode::InvalidDest, Some(route)) => Locus::Route(route),
                _ => martian_locus(code, &key, check.is_some()),
            };
            Err(End::dropped(code, locus))
        }
        Input::Error(code, error) => Ok(Some(Refused { code, error, locus: error_locus(rule, route) })),
    }
}

/// `ip_error`: tells the sender, where that is allowed.
pub(super) fn ip_error<S: Sink>(cx: &mut Cx<'_, S>, skb: &Skb, dev: DevId, refused: Refused) -> End {
    let Refused { code, error, locus } = refused;
    if code == DropCode::ForwardingOff {
        return End::dropped(code, Locus::Device(dev));
    }
    let icmp_code = match error {
        FibError::Invalid => return End::dropped(code, locus),
        FibError::HostUnreachable => 1,
        FibError::NetUnreachable => 0,
        FibError::Prohibited => 13,
    };
    if !cx.state.stack.rates.route_error(skb.ip.src, cx.state.now_ns) {
        cx.sink.step(skb, Step::NotAnswered { why: "the limit of errors to this source is reached" });
        return End::dropped(code, locus);
    }
    if icmp::send(cx, skb, icmp::Error::unreachable(icmp_code), MadeBy::IcmpError) {
        End::rejected(code, locus)
    } else {
        End::dropped(code, locus)
    }
}
