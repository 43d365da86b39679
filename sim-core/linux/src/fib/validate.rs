//! Source validation of received packets (`fib_validate_source`) and the lookup of `-m rpfilter` (`xt_rpfilter`).

use super::addr::{is_local_multicast, is_multicast};
use super::lookup::Links;
use super::{FibMatch, FibResult, FlowKey, scope};
use crate::config::{DeviceKind, RouteType};
use crate::ids::{DevId, RouteId};
use crate::iptables::ast::RpfilterMatch;
use crate::netns::NetNs;
use crate::reason::{Because, DropCode};
use crate::skb::Skb;

/// What source validation says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceVerdict {
    /// Why the packet is dropped, if it is.
    pub failed: Option<DropCode>,
    /// The route back to the source, where one was asked for and found.
    pub route: Option<RouteId>,
    /// The source is directly on the link (which makes a redirect worth sending).
    pub on_link: bool,
    /// Whether the route back was asked for at all.
    pub asked: bool,
}

impl SourceVerdict {
    fn ok(route: Option<RouteId>, on_link: bool, asked: bool) -> SourceVerdict {
        SourceVerdict { failed: None, route, on_link, asked }
    }

    fn fail(code: DropCode, route: Option<RouteId>) -> SourceVerdict {
        SourceVerdict { failed: Some(code), route, on_link: false, asked: true }
    }
}

/// `fib_info_nh_uses_dev`.
fn uses_dev(ns: &NetNs, found: &FibMatch, dev: DevId) -> bool {
    ns.fib.nexthops(found.route).iter().any(|nexthop| nexthop.dev == Some(dev))
}

fn is_on_link(ns: &NetNs, found: &FibMatch) -> bool {
    ns.fib.nexthop(found).is_some_and(|nexthop| nexthop.scope >= scope::HOST)
}

/// Whether a packet with the source and destination of `forward` may be received by `dev`. `forward` is the key of the packet's own lookup
/// (with its mark, TOS, protocol and ports); `out_dev` the device that it will be forwarded by, none if it is delivered here.
pub fn validate_source(
    ns: &NetNs,
    dev: DevId,
    forward: &FlowKey,
    out_dev: Option<DevId>,
) -> Result<SourceVerdict, Because> {
    let rp_filter = ns.sysctls.rp_filter(dev);
    let accept_local = ns.sysctls.accept_local(dev);
    if rp_filter == 0 && !ns.fib.realms && (out_dev != Some(dev) || !ns.sysctls.send_redirects(dev)) {
        if accept_local {
            return Ok(SourceVerdict::ok(None, false, false));
        }
        if !ns.fib.custom_local_routes && !ns.fib.custom_rules {
            return Ok(SourceVerdict {
                failed: ns.fib.is_own_address(forward.src).then_some(DropCode::LocalSource),
                route: None,
                on_link: false,
                asked: false,
            });
        }
    }
    let mut key = FlowKey {
        dst: forward.src,
        src: forward.dst,
        iif: out_dev,
        oif: None,
        mark: if ns.sysctls.src_valid_mark(dev) { forward.mark } else { 0 },
        tos: forward.tos,
        protocol: forward.protocol,
        sport: forward.dport,
        dport: forward.sport,
        uid: 0,
        scope: scope::UNIVERSE,
    };
    let last_resort = |code| {
        if rp_filter != 0 { SourceVerdict::fail(code, None) } else { SourceVerdict::ok(None, false, true) }
    };
    let found = match ns.fib.lookup_first(&key, Links::Heed) {
        FibResult::Unknown(because) => return Err(because),
        FibResult::Failed { .. } => return Ok(last_resort(DropCode::RpFilterNoRoute)),
        FibResult::Found(found) => found,
    };
    let route = Some(found.route);
    match found.kind {
        RouteType::Unicast => {}
        RouteType::Local if accept_local => {}
        RouteType::Local => return Ok(SourceVerdict::fail(DropCode::LocalSource, route)),
        _ => return Ok(SourceVerdict::fail(DropCode::InvalidSource, route)),
    }
    if ns.fib.nexthop(&found).is_some_and(|nexthop| nexthop.unmodelled) {
        return Err(Because::Route(found.route));
    }
    let loops = found.kind == RouteType::Local && Some(dev) == ns.loopback();
    if uses_dev(ns, &found, dev) || loops {
        return Ok(SourceVerdict::ok(route, is_on_link(ns, &found), true));
    }
    if !ns.fib.has_address(dev) {
        return Ok(SourceVerdict { route, ..last_resort(DropCode::RpFilterStrict) });
    }
    if rp_filter == 1 {
        return Ok(SourceVerdict::fail(DropCode::RpFilterStrict, route));
    }
    key.oif = Some(dev);
    let on_link = match ns.fib.lookup_first(&key, Links::Ignore) {
        FibResult::Unknown(because) => return Err(because),
        FibResult::Failed { .. } => false,
        FibResult::Found(found) => found.kind == RouteType::Unicast && is_on_link(ns, &found),
    };
    Ok(SourceVerdict::ok(route, on_link, true))
}

/// Whether `-m rpfilter` matches a packet that `in_dev` received (`rpfilter_mt`, `--invert` included).
///
/// # Errors
/// Something not modelled decides.
pub fn rpfilter_match(ns: &NetNs, skb: &Skb, in_dev: DevId, flags: &RpfilterMatch) -> Result<bool, Because> {
    let (src, dst) = (skb.ip.src, skb.ip.dst);
    if skb.looped || ns.device(in_dev).kind == DeviceKind::Loopback {
        return Ok(!flags.invert);
    }
    if src == 0 && (dst == u32::MAX || is_local_multicast(dst)) {
        return Ok(!flags.invert);
    }
    let key = FlowKey {
        dst: src,
        src: if is_multicast(dst) || dst == u32::MAX || dst == 0 { 0 } else { dst },
        mark: if flags.valid_mark { skb.mark } else { 0 },
        tos: skb.ip.tos,
        ..FlowKey::default()
    };
    let passes = match ns.fib.lookup_first(&key, Links::Ignore) {
        FibResult::Unknown(because) => return Err(because),
        FibResult::Failed { .. } => false,
        FibResult::Found(found) => match found.kind {
            RouteType::Unicast => flags.loose || uses_dev(ns, &found, in_dev),
            RouteType::Local if flags.accept_local => flags.loose || uses_dev(ns, &found, in_dev),
            _ => false,
        },
    };
    Ok(passes != flags.invert)
}
