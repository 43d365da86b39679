//! Generated routes and routing rules.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use pktwalk_linux::config::{NetNsConfig, Nexthop, Route, RouteType, RoutingAction, RoutingRule};
use pktwalk_linux::fib;

use super::super::pools::{
    BRIDGE, FAR_HOST, FAR_NET_HOST, GATEWAY, NEAR_HOST, NODE, ONLINK_GATEWAY, POD_A, VIPS,
};
use super::super::rng::Rng;

/// A unicast route of table main.
pub fn route(dst: &str, via: Option<Ipv4Addr>, dev: Option<&str>) -> Route {
    let dst = dst.parse().unwrap_or(IpNet::V4(Ipv4Net::default()));
    Route::new(dst, via.map(IpAddr::V4), dev)
}

/// Tells of table local too, at times without what somebody took away or in another order than that of the addresses.
pub fn tell_local(rng: &mut Rng, config: &mut NetNsConfig) {
    let mut local = fib::local_routes(config);
    if rng.chance(30) && !local.is_empty() {
        local.remove(rng.below(local.len()));
    }
    if rng.chance(30) {
        // Of two broadcast routes to one address, the other first.
        local.sort_by_key(|route| {
            (route.kind, std::cmp::Reverse(route.nexthops.first().and_then(|hop| hop.dev.clone())))
        });
    }
    config.routes.splice(..0, local);
}

fn without_nexthop(kind: RouteType, dst: &str) -> Route {
    Route { kind, scope: 0, ..route(dst, None, None) }
}

fn host(addr: Ipv4Addr) -> String {
    format!("{addr}/32")
}

/// The route that an address brings.
pub fn connected(net: &str, dev: &str, src: Ipv4Addr) -> Route {
    Route { protocol: "kernel".to_owned(), prefsrc: Some(IpAddr::V4(src)), ..route(net, None, Some(dev)) }
}

/// What stands beside the routes that every world has.
pub fn extra(rng: &mut Rng, routes: &mut Vec<Route>) {
    if rng.chance(20) {
        let kind =
            *rng.pick(&[RouteType::Blackhole, RouteType::Unreachable, RouteType::Prohibit, RouteType::Throw]);
        let dst = *rng.pick(&["203.0.113.0/24", "10.96.0.0/16", "10.0.0.0/8", "198.18.0.0/15"]);
        routes.push(without_nexthop(kind, dst));
    }
    if rng.chance(20) {
        // A longer prefix through a pod, so that the route back differs from the way in.
        routes.push(route("203.0.113.0/25", None, Some("vethb")));
    }
    if rng.chance(15) {
        let mut second = route("10.0.2.2/32", Some(NEAR_HOST), Some("eth0"));
        second.metric = 100;
        routes.push(second);
    }
    if rng.chance(15) {
        let mut small = route("198.51.100.0/24", Some(GATEWAY), Some("eth0"));
        small.mtu = Some(1200);
        small.mtu_lock = rng.chance(50);
        routes.push(small);
    }
    if rng.chance(15) {
        let mut preferred = route("198.51.100.128/25", Some(NEAR_HOST), Some("eth0"));
        preferred.prefsrc = Some(IpAddr::V4(BRIDGE));
        routes.push(preferred);
    }
    if rng.chance(40) {
        // Table 100 is only reached by routing rules.
        let mut other = route("0.0.0.0/0", Some(NEAR_HOST), Some("eth0"));
        other.table = 100;
        routes.push(other);
        if rng.chance(50) {
            let mut refuse = without_nexthop(RouteType::Unreachable, "10.0.2.0/24");
            refuse.table = 100;
            routes.push(refuse);
        }
    }
    if rng.chance(30) {
        routes.push(special(rng));
    }
    if rng.chance(4)
        && let Some(hop) = routes.last_mut().and_then(|route| route.nexthops.first_mut())
    {
        hop.realms = *rng.pick(&[5u32, 3 << 16 | 5]);
    }
}

/// A route of a kind that few nodes have.
fn special(rng: &mut Rng) -> Route {
    match rng.below(10) {
        // Both next hops on one device: which of them was taken shows in the frame, and nothing else depends on it.
        0 | 1 => {
            let mut several = route(rng.pick::<&str>(&["203.0.113.0/24", "198.51.100.0/24"]), None, None);
            several.scope = 0;
            let hop = |via, weight| Nexthop {
                via: Some(IpAddr::V4(via)),
                dev: Some("eth0".to_owned()),
                weight,
                onlink: false,
                dead: false,
                linkdown: false,
                realms: 0,
            };
            several.by_object = rng.chance(40);
            several.nexthops = vec![hop(GATEWAY, 1), hop(NEAR_HOST, *rng.pick(&[1u32, 3]))];
            several
        }
        2 => Route {
            kind: RouteType::Local,
            scope: 254,
            ..route(rng.pick::<&str>(&["10.96.0.0/16", "198.51.100.0/24"]), None, Some("lo"))
        },
        3 => Route { kind: RouteType::Anycast, ..route(&host(VIPS[1]), None, Some("eth0")) },
        4 => Route { kind: RouteType::Multicast, ..route("224.0.0.0/4", None, Some("eth0")) },
        5 => Route { kind: RouteType::Broadcast, ..route(&host(FAR_NET_HOST), None, Some("eth0")) },
        6 | 7 => {
            let dst = match rng.below(3) {
                0 => "0.0.0.0/0".to_owned(),
                1 => host(FAR_HOST),
                _ => "203.0.113.0/24".to_owned(),
            };
            // By another device at times: a connection then changes its way with the TOS of a packet.
            let way = if rng.chance(50) {
                route(&dst, Some(NEAR_HOST), Some("eth0"))
            } else {
                route(&dst, None, Some("vethb"))
            };
            Route { tos: *rng.pick(&[0x10, 0x08]), ..way }
        }
        8 => {
            let mut onlink = route("198.51.100.0/24", Some(ONLINK_GATEWAY), Some("eth0"));
            onlink.nexthops.iter_mut().for_each(|hop| hop.onlink = true);
            onlink
        }
        // A second default route: which of two of one metric is taken depends on the state of neighbours.
        _ => {
            Route { metric: *rng.pick(&[0u32, 50, 50]), ..route("0.0.0.0/0", Some(NEAR_HOST), Some("eth0")) }
        }
    }
}

/// `ip rule`: mostly the kernel's own.
pub fn routing_rules(rng: &mut Rng) -> Vec<RoutingRule> {
    let mut rules = vec![
        RoutingRule::new(0, RoutingAction::Lookup(255)),
        RoutingRule::new(32766, RoutingAction::Lookup(254)),
        RoutingRule::new(32767, RoutingAction::Lookup(253)),
    ];
    if rng.chance(50) {
        return rules;
    }
    for number in 0..rng.between(1, 3) {
        let action = match rng.below(12) {
            0 => RoutingAction::Blackhole,
            1 => RoutingAction::Unreachable,
            2 => RoutingAction::Prohibit,
            3 => RoutingAction::Goto(32766),
            4 => RoutingAction::Nop,
            5 | 6 => RoutingAction::Lookup(254),
            _ => RoutingAction::Lookup(100),
        };
        let mut custom = RoutingRule::new(1000 + number, action);
        selector(rng, &mut custom);
        custom.not = rng.chance(10);
        if action == RoutingAction::Lookup(254) && rng.chance(50) {
            custom.suppress_prefix_len = Some(0);
        }
        rules.push(custom);
    }
    rules.sort_by_key(|rule| rule.priority);
    rules
}

fn selector(rng: &mut Rng, rule: &mut RoutingRule) {
    match rng.below(11) {
        0 => rule.from = Some(IpNet::V4(Ipv4Net::from(*rng.pick(&[POD_A, POD_A, NODE])))),
        1 => rule.to = "203.0.113.0/24".parse().ok(),
        2 => rule.iif = Some(rng.pick(&["vetha", "eth0", "lo"]).to_string()),
        3 => rule.tos = Some(0x10),
        4 => {
            rule.ip_protocol = Some(*rng.pick(&[6u8, 17]));
            rule.dport = Some(*rng.pick(&[(80u16, 80u16), (53, 100), (8080, 8080)]));
        }
        5 => {
            rule.ip_protocol = rng.maybe(50, |rng| *rng.pick(&[6u8, 17, 1]));
            rule.sport = Some(*rng.pick(&[(40_000u16, 40_000u16), (40_001, 50_000), (1, 1023)]));
        }
        6 => rule.oif = Some(rng.pick(&["eth0", "vetha", "lo"]).to_string()),
        7 => rule.uid_range = Some(*rng.pick(&[(1000u32, 1000u32), (0, 0), (500, 70_000)])),
        _ => {
            rule.fwmark =
                Some((*rng.pick(&[1u32, 0x4000, 0x55]), *rng.pick(&[0xffff_ffffu32, 0x4000, 0xff])));
        }
    }
}
