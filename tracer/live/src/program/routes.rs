//! Routes as commands of `ip -batch`.

use std::fmt::Write;
use std::net::IpAddr;

use pktwalk_linux::config::{Address, Device, DeviceKind, NetNsConfig, Route, RouteType};
use pktwalk_scenario::engine::EngineError;

use super::policy::realms;
use crate::ns::unsupported;

const TABLE_LOCAL: u32 = 255;

/// Whether the dump tells of table local: else its routes are those that the kernel makes of addresses.
fn local_told(config: &NetNsConfig) -> bool {
    config.routes.iter().any(|route| route.dst.addr().is_ipv4() && route.table == TABLE_LOCAL)
}

/// Whether a route is the local one that comes with an address of a device.
fn is_of(route: &Route, device: &Device, address: &Address) -> bool {
    let net = ipnet::IpNet::new(address.local, address.prefix_len).map(|net| net.trunc());
    let whole = device.kind == DeviceKind::Loopback && Ok(route.dst) == net;
    (whole || ipnet::IpNet::from(address.local) == route.dst)
        && route.nexthops.iter().all(|hop| hop.dev.as_ref() == Some(&device.name))
        && route.kind == RouteType::Local
        && route.protocol == "kernel"
        && route.table == TABLE_LOCAL
}

/// Commands that take away what the kernel made of the addresses and the dump tells itself, in its order. Local routes stay: one that is made by
/// hand makes the kernel look at every source as if all of them were (`fib_has_custom_local_routes`).
pub(super) fn without_own(text: &mut String, config: &NetNsConfig) {
    if config.routes.iter().any(|route| route.dst.addr().is_ipv4()) {
        text.push_str("route flush table 254 proto kernel\n");
    }
    if local_told(config) {
        text.push_str("route flush table 255 type broadcast\n");
    }
}

/// Commands that take away the local routes which came with addresses and which somebody took away: at the end, as a preferred source has to be local.
pub(super) fn without_lost(text: &mut String, config: &NetNsConfig) {
    if !local_told(config) {
        return;
    }
    for device in &config.devices {
        for address in &device.addresses {
            let IpAddr::V4(local) = address.local else { continue };
            let held = |other: &&Address| other.local == address.local;
            // Twice on one device it has one route.
            let first = device.addresses.iter().find(held).is_some_and(|first| std::ptr::eq(first, address));
            let own = |route: &Route| {
                route.dst == ipnet::IpNet::from(address.local) && is_of(route, device, address)
            };
            if first && !config.routes.iter().any(own) {
                let _ = writeln!(text, "route del local {local} table {TABLE_LOCAL} dev {}", device.name);
            }
        }
    }
}

/// Nexthop objects, numbered as they are made: the numbers of the dump mean nothing to a packet.
#[derive(Default)]
struct Objects {
    last: u32,
}

impl Objects {
    /// Commands that make a group of the nexthops of `route`; its number. The kernel takes dead ones out of groups.
    fn group(&mut self, text: &mut String, route: &Route) -> u32 {
        let mut members = Vec::new();
        for hop in route.nexthops.iter().filter(|hop| !hop.dead) {
            self.last += 1;
            members.push(format!("{},{}", self.last, hop.weight.max(1)));
            let via = hop.via.map(|via| format!(" via {via}")).unwrap_or_default();
            let dev = hop.dev.as_ref().map(|dev| format!(" dev {dev}")).unwrap_or_default();
            let onlink = if hop.onlink { " onlink" } else { "" };
            let _ = writeln!(text, "nexthop add id {}{via}{dev}{onlink}", self.last);
        }
        self.last += 1;
        let _ = writeln!(text, "nexthop add id {} group {}", self.last, members.join("/"));
        self.last
    }
}

/// Devices that are down, with legs of multipath routes by them: the kernel makes such a leg by a device that is up only.
pub(super) fn down_with_legs(config: &NetNsConfig) -> Vec<&Device> {
    let leg = |device: &Device| {
        let mut several = config.routes.iter().filter(|route| route.nexthops.len() > 1);
        several.any(|route| route.nexthops.iter().any(|hop| hop.dev.as_ref() == Some(&device.name)))
    };
    config.devices.iter().filter(|device| !device.up && leg(device)).collect()
}

/// Commands that make the routes of the dump.
pub(super) fn routes(text: &mut String, config: &NetNsConfig) -> Result<(), EngineError> {
    // Gateways must be reachable when their route is made.
    let has_gateway = |route: &Route| route.nexthops.iter().any(|hop| hop.via.is_some());
    let own = |route: &Route| {
        config.devices.iter().any(|device| device.addresses.iter().any(|a| is_of(route, device, a)))
    };
    let down = down_with_legs(config);
    let v4 = || {
        let routes = config.routes.iter().filter(|route| matches!(route.dst, ipnet::IpNet::V4(_)));
        routes.filter(|route| !own(route))
    };
    // Of routes that are equal to a lookup the first one counts, so those keep their order.
    let equal = |a: &Route, b: &Route| {
        (a.dst, a.table, a.tos, a.metric) == (b.dst, b.table, b.tos, b.metric) && !std::ptr::eq(a, b)
    };
    let (mut first, mut rest): (Vec<&Route>, Vec<&Route>) = (Vec::new(), Vec::new());
    for route in v4().filter(|route| has_gateway(route)) {
        let mut before =
            v4().take_while(|other| !std::ptr::eq(*other, route)).filter(|other| equal(other, route));
        let mut after =
            v4().skip_while(|other| !std::ptr::eq(*other, route)).filter(|other| equal(other, route));
        let is_before = after.any(|other| !has_gateway(other));
        if is_before && before.any(|other| !has_gateway(other)) {
            return Err(unsupported(format!("the order of the routes to {}", route.dst)));
        }
        if is_before { first.push(route) } else { rest.push(route) }
    }
    let plain = v4().filter(|route| !has_gateway(route)).map(|route| (route, "append"));
    let first = first.into_iter().rev().map(|route| (route, "prepend"));
    let rest = rest.into_iter().map(|route| (route, "append"));
    let mut objects = Objects::default();
    for (route, verb) in plain.chain(first).chain(rest) {
        let kind = route.kind.name();
        let group = (route.by_object && route.nexthops.len() > 1).then(|| objects.group(text, route));
        let _ = write!(
            text,
            "route {verb} {kind} {} table {} protocol {}",
            route.dst, route.table, route.protocol
        );
        if route.tos != 0 {
            let _ = write!(text, " tos {:#x}", route.tos);
        }
        if route.metric != 0 {
            let _ = write!(text, " metric {}", route.metric);
        }
        if !route.nexthops.is_empty() {
            let _ = write!(text, " scope {}", route.scope);
        }
        if let Some(src) = route.prefsrc {
            let _ = write!(text, " src {src}");
        }
        if let Some(mtu) = route.mtu {
            let _ = write!(text, " mtu {}{mtu}", if route.mtu_lock { "lock " } else { "" });
        }
        if let Some(limit) = route.hop_limit {
            let _ = write!(text, " hoplimit {limit}");
        }
        if let Some(group) = group {
            let _ = writeln!(text, " nhid {group}");
            continue;
        }
        let several = route.nexthops.len() > 1;
        for hop in &route.nexthops {
            if several {
                text.push_str(" nexthop");
            }
            let family = if hop.via.is_some_and(|via| via.is_ipv6()) { "inet6 " } else { "" };
            if let Some(via) = hop.via {
                let _ = write!(text, " via {family}{via}");
            }
            if let Some(dev) = &hop.dev {
                let _ = write!(text, " dev {dev}");
            }
            if hop.realms != 0 {
                let _ = write!(text, " realms {}", realms(hop.realms));
            }
            if several {
                let _ = write!(text, " weight {}", hop.weight.max(1));
            }
            // No device has an IPv6 address here by which such a gateway could be found.
            let global = |via: IpAddr| matches!(via, IpAddr::V6(via) if !via.is_unicast_link_local());
            // The subnet of a device that is down is not there to find it by.
            let of_down =
                hop.via.is_some() && down.iter().any(|device| hop.dev.as_ref() == Some(&device.name));
            if hop.onlink || of_down || hop.via.is_some_and(global) {
                text.push_str(" onlink");
            }
        }
        text.push('\n');
    }
    Ok(())
}
