//! From the configuration to tables: nexthops resolved, the kernel's own routes derived where they were not given.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::table::{Table, mask};
use super::{Fib, FibNexthop, FibRoute, TABLE_LOCAL, TABLE_MAIN, addr, rule, scope};
use crate::config::{Device, DeviceKind, NetNsConfig, Nexthop, Route, RouteType};
use crate::diag::Diagnostic;
use crate::ids::DevId;
use crate::sysctl::Sysctls;

/// A route as the kernel would make it for an address of `device` (`fib_magic`).
fn kernel_route(device: &Device, table: u32, kind: RouteType, dst: Ipv4Net, prefsrc: u32) -> Route {
    Route {
        table,
        kind,
        dst: IpNet::V4(dst),
        tos: 0,
        metric: 0,
        scope: if kind == RouteType::Local { scope::HOST } else { scope::LINK },
        protocol: "kernel".to_owned(),
        prefsrc: Some(IpAddr::V4(Ipv4Addr::from(prefsrc))),
        nexthops: vec![Nexthop {
            via: None,
            dev: Some(device.name.clone()),
            weight: 1,
            onlink: false,
            dead: false,
            // What is of this host has no link (`fib_create_info`, `RT_SCOPE_HOST`).
            linkdown: kind != RouteType::Local && !device.carrier,
            realms: 0,
        }],
        by_object: false,
        mtu: None,
        mtu_lock: false,
        hop_limit: None,
        source: device.source,
        origin: None,
    }
}

/// The routes that addresses bring with them (`fib_add_ifaddr`): local and broadcast ones, and those to connected subnets.
fn derive(config: &NetNsConfig, local: bool, connected: bool) -> Vec<Route> {
    let mut routes = Vec::new();
    let mut seen = BTreeSet::new();
    let mut add = |route: Route| {
        let IpNet::V4(dst) = route.dst else { return };
        let wanted = if route.table == TABLE_LOCAL { local } else { connected };
        let dev = route.nexthops.first().and_then(|n| n.dev.clone());
        if wanted && seen.insert((route.table, dst, route.kind, dev)) {
            routes.push(route);
        }
    };
    for device in &config.devices {
        for address in &device.addresses {
            let IpAddr::V4(own) = address.local else { continue };
            let own = u32::from(own);
            let net = |addr: u32, len: u8| Ipv4Net::new(Ipv4Addr::from(addr), len).unwrap_or_default();
            let host = |addr: u32| net(addr, 32);
            let len = address.prefix_len.min(32);
            let peer = match address.peer {
                Some(IpAddr::V4(peer)) => u32::from(peer),
                _ => own,
            };
            let prefix = peer & mask(len);
            let prefsrc = if address.secondary {
                // Local routes of a secondary address name the primary one of its subnet.
                device
                    .addresses
                    .iter()
                    .find_map(|a| match a.local {
                        IpAddr::V4(first)
                            if !a.secondary
                                && a.prefix_len == address.prefix_len
                                && (u32::from(first) ^ own) & mask(len) == 0 =>
                        {
                            Some(u32::from(first))
                        }
                        _ => None,
                    })
                    .unwrap_or(own)
            } else {
                own
            };
            add(kernel_route(device, TABLE_LOCAL, RouteType::Local, host(own), prefsrc));
            if !device.up {
                continue;
            }
            if let Some(broadcast) = address.broadcast
                && broadcast != Ipv4Addr::BROADCAST
            {
                let broadcast = host(u32::from(broadcast));
                add(kernel_route(device, TABLE_LOCAL, RouteType::Broadcast, broadcast, prefsrc));
            }
            if prefix != 0 && !address.secondary && (prefix != own || len < 32) {
                let loopback = device.kind == DeviceKind::Loopback;
                let (table, kind) =
                    if loopback { (TABLE_LOCAL, RouteType::Local) } else { (TABLE_MAIN, RouteType::Unicast) };
                add(kernel_route(device, table, kind, net(prefix, len), own));
                if len < 31 {
                    let last = host(prefix | !mask(len));
                    add(kernel_route(device, TABLE_LOCAL, RouteType::Broadcast, last, own));
                }
            }
        }
    }
    routes
}

/// The routes of table local that the kernel makes of addresses (`fib_add_ifaddr`), in the order in which it makes them.
pub fn local_routes(config: &NetNsConfig) -> Vec<Route> {
    derive(config, true, false)
}

/// One route's nexthops, appended to `out`.
fn nexthops(
    route: &Route,
    config: &NetNsConfig,
    devs: &BTreeMap<String, DevId>,
    sysctls: &Sysctls,
    out: &mut Vec<FibNexthop>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let loopback = devs.get("lo").copied();
    let sends_nowhere = matches!(
        route.kind,
        RouteType::Blackhole | RouteType::Unreachable | RouteType::Prohibit | RouteType::Throw
    );
    let host = matches!(route.kind, RouteType::Local) || route.scope >= scope::HOST;
    if route.nexthops.is_empty() {
        if !sends_nowhere && !host {
            diagnostics
                .push(Diagnostic::warning(route.source, "a route that sends nowhere: it is never taken"));
        }
        out.push(FibNexthop {
            dev: loopback,
            gateway: None,
            scope: if host { scope::NOWHERE } else { scope::HOST },
            weight: 1,
            dead: !sends_nowhere && !host,
            linkdown: false,
            skip_for_linkdown: false,
            unmodelled: false,
        });
    }
    for nexthop in &route.nexthops {
        let (gateway, foreign) = match nexthop.via {
            None => (None, false),
            Some(IpAddr::V4(via)) => (Some(u32::from(via)).filter(|&via| via != 0), false),
            Some(IpAddr::V6(_)) => (None, true),
        };
        let dev = match &nexthop.dev {
            None => loopback,
            Some(name) => {
                let dev = devs.get(name).copied();
                if dev.is_none() {
                    diagnostics.push(Diagnostic::warning(
                        route.source,
                        format!(
                            "a route by {name}, a device that is not known: packets that take it end unknown"
                        ),
                    ));
                }
                dev
            }
        };
        let device = dev.and_then(|dev| config.devices.get(dev.index()));
        let down = !host && !sends_nowhere && device.is_some_and(|device| !device.up);
        if down && !nexthop.dead {
            diagnostics.push(Diagnostic::note(
                route.source,
                "a route by a device that is down: the kernel would not have it, it is not taken",
            ));
        }
        out.push(FibNexthop {
            dev,
            gateway,
            scope: match (host, gateway) {
                (true, _) => scope::NOWHERE,
                (false, None) => scope::HOST,
                (false, Some(_)) => scope::LINK,
            },
            weight: nexthop.weight.max(1),
            dead: nexthop.dead || down,
            linkdown: nexthop.linkdown,
            skip_for_linkdown: nexthop.linkdown
                && dev.is_some_and(|dev| sysctls.ignore_routes_with_linkdown(dev)),
            unmodelled: foreign || dev.is_none(),
        });
    }
}

/// The same addresses in ranges that do not overlap, ascending.
fn disjoint(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let within = next.0 <= kept.1;
        if within {
            kept.1 = kept.1.max(next.1);
        }
        within
    });
    ranges
}

pub(super) fn compile(
    config: &NetNsConfig,
    devs: &BTreeMap<String, DevId>,
    sysctls: &Sysctls,
    diagnostics: &mut Vec<Diagnostic>,
) -> Fib {
    let v4 = |route: &Route| matches!(route.dst, IpNet::V4(_));
    let local_given = config.routes.iter().any(|route| v4(route) && route.table == TABLE_LOCAL);
    let any_given = config.routes.iter().any(v4);
    let derived = derive(config, !local_given, !any_given);

    let devices = addr::compile(config, sysctls);
    let mut fib = Fib {
        loopback: devs.get("lo").copied(),
        own: addr::own(&devices),
        devs: devices,
        custom_local_routes: config
            .routes
            .iter()
            .any(|route| v4(route) && route.kind == RouteType::Local && route.protocol != "kernel"),
        realms: config.routing_rules.iter().any(|rule| rule.realms != 0)
            || config
                .routes
                .iter()
                .filter(|route| v4(route))
                .flat_map(|r| &r.nexthops)
                .any(|hop| hop.realms != 0),
        ..Fib::default()
    };
    let rules = rule::compile(config, devs, diagnostics);
    fib.custom_rules = rules.custom;
    fib.rules_source = rules.source;
    fib.rules = rules.compiled;
    fib.needs_ports = fib.rules.iter().any(rule::CompiledRule::needs_ports);

    // Position, network, length: sorted so that routes of one prefix come in the order in which the kernel tries them.
    let mut entries: Vec<(u32, u32, u8)> = Vec::new();
    for (position, route) in config.routes.iter().chain(&derived).enumerate() {
        let first = fib.nexthops.len() as u32;
        if let IpNet::V4(dst) = route.dst {
            nexthops(route, config, devs, sysctls, &mut fib.nexthops, diagnostics);
            let len = dst.prefix_len();
            entries.push((position as u32, u32::from(dst.addr()) & mask(len), len));
        }
        fib.routes.push(FibRoute {
            kind: route.kind,
            table: route.table,
            tos: route.tos & rule::DSCP_MASK,
            metric: route.metric,
            scope: route.scope,
            prefsrc: match route.prefsrc {
                Some(IpAddr::V4(src)) => Some(u32::from(src)),
                _ => None,
            },
            mtu: route.mtu.unwrap_or(0),
            mtu_lock: route.mtu_lock,
            hop_limit: route.hop_limit.unwrap_or(0).min(255) as u8,
            nexthops: (first, fib.nexthops.len() as u32 - first),
            group: route.by_object && route.nexthops.len() > 1,
        });
    }
    fib.derived = derived;
    // `fib_find_alias`: the higher table first (in the trie that local and main share), then higher TOS, then lower metric, then as given.
    entries.sort_by_key(|&(position, ..)| {
        let route = &fib.routes[position as usize];
        (Reverse(route.table), Reverse(route.tos), route.metric, position)
    });
    let local = |table| table == TABLE_LOCAL || !fib.custom_rules && table == TABLE_MAIN;
    let broadcasts = entries.iter().filter(|&&(position, ..)| {
        let route = &fib.routes[position as usize];
        route.kind == RouteType::Broadcast && local(route.table)
    });
    let broadcasts = disjoint(broadcasts.map(|&(_, addr, len)| (addr, addr | !mask(len))).collect());
    let of = |wanted: &dyn Fn(u32) -> bool| {
        let members = entries.iter().filter(|&&(position, ..)| wanted(fib.routes[position as usize].table));
        Table::build(members.map(|&(position, addr, len)| (addr, len, position)).collect())
    };
    let numbers: BTreeSet<u32> = fib.routes.iter().map(|route| route.table).collect();
    let tables = numbers.into_iter().map(|number| (number, of(&|table| table == number))).collect();
    let merged = (!fib.custom_rules).then(|| of(&|table| matches!(table, TABLE_LOCAL | TABLE_MAIN)));
    fib.tables = tables;
    fib.merged = merged;
    fib.broadcasts = broadcasts;
    fib
}
