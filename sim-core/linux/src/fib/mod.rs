//! Routing: routes, routing rules, addresses, and the lookups in them (IPv4).
//!
//! Models `fib_lookup` with its rules and tables, nexthop choice, `inet_addr_type`, `inet_select_addr`, `fib_validate_source` and
//! `xt_rpfilter`. Left out: route exceptions (learned path MTUs and ICMP redirects), VRF (`l3mdev`), lightweight tunnels on
//! routes, multicast routing, gateways of another family (a lookup that ends at such a route is `Unknown`).

mod addr;
mod compile;
mod lookup;
mod rule;
mod table;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

pub use addr::AddrType;
pub(crate) use addr::{is_local_multicast, is_multicast};
pub use compile::local_routes;
pub use lookup::{FibError, FibMatch, FibResult, FlowKey, lookup};
pub use validate::{SourceVerdict, rpfilter_match, validate_source};

use crate::config::{NetNsConfig, Route, RouteType, RoutingRule};
use crate::diag::Diagnostic;
use crate::ids::{DevId, FibTableId, RouteId, RoutingRuleId};
use crate::sysctl::Sysctls;
use addr::DevAddrs;
use rule::CompiledRule;
use table::Table;

/// `RT_SCOPE_*`.
pub mod scope {
    /// Anywhere.
    pub const UNIVERSE: u8 = 0;
    /// On a directly attached link.
    pub const LINK: u8 = 253;
    /// This machine.
    pub const HOST: u8 = 254;
    /// Nothing has it.
    pub const NOWHERE: u8 = 255;
}

/// `RT_TABLE_DEFAULT`.
pub const TABLE_DEFAULT: u32 = 253;
/// `RT_TABLE_MAIN`.
pub const TABLE_MAIN: u32 = 254;
/// `RT_TABLE_LOCAL`.
pub const TABLE_LOCAL: u32 = 255;

/// Where a route sends, compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FibNexthop {
    /// Output device; `lo` for local routes without one of their own, none for types that send nowhere.
    pub dev: Option<DevId>,
    /// IPv4 gateway, host order.
    pub gateway: Option<u32>,
    /// Scope of the nexthop: 254 if directly on the link, 253 behind a gateway, 255 for local routes.
    pub scope: u8,
    /// Share of the traffic, 1 or more.
    pub weight: u32,
    /// Not to be used (`dead`).
    pub dead: bool,
    /// Without carrier.
    pub linkdown: bool,
    /// Without carrier, and `ignore_routes_with_linkdown` of its device is on.
    pub skip_for_linkdown: bool,
    /// Something of it is not modelled: a walk that gets here ends `Unknown`.
    pub unmodelled: bool,
}

/// A route, compiled.
#[derive(Clone, Copy, Debug)]
struct FibRoute {
    kind: RouteType,
    table: u32,
    tos: u8,
    metric: u32,
    scope: u8,
    prefsrc: Option<u32>,
    /// The route's own MTU, 0 if it has none.
    mtu: u32,
    mtu_lock: bool,
    /// 0 if it has none.
    hop_limit: u8,
    nexthops: (u32, u32),
    /// They are a group of nexthop objects.
    group: bool,
}

/// Compiled routes, routing rules and addresses.
#[derive(Clone, Debug, Default)]
pub struct Fib {
    /// Of the configuration, in its order, then derived ones.
    routes: Vec<FibRoute>,
    derived: Vec<Route>,
    nexthops: Vec<FibNexthop>,
    tables: BTreeMap<u32, Table>,
    /// Tables local and main in one, which is what the kernel looks in until the first routing rule is added.
    merged: Option<Table>,
    /// What broadcast routes of table local (as [`Fib::addr_type`] sees it) are for: first and last addresses, ascending, disjoint.
    broadcasts: Vec<(u32, u32)>,
    rules_source: Vec<RoutingRule>,
    rules: Vec<CompiledRule>,
    custom_rules: bool,
    custom_local_routes: bool,
    /// Some route or rule has realms (`fib_num_tclassid_users`).
    realms: bool,
    needs_ports: bool,
    loopback: Option<DevId>,
    devs: Vec<DevAddrs>,
    /// Addresses of devices, each with the first that has it.
    own: FxHashMap<u32, DevId>,
}

impl Fib {
    /// Compiles the routing part of `config`.
    pub fn compile(
        config: &NetNsConfig,
        dev_by_name: &BTreeMap<String, DevId>,
        sysctls: &Sysctls,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Fib {
        compile::compile(config, dev_by_name, sysctls, diagnostics)
    }

    /// The route behind an id. Ids below the number of configured routes are positions in [`NetNsConfig::routes`]; the kernel's own routes
    /// that were derived from addresses follow.
    pub fn route<'a>(&'a self, config: &'a NetNsConfig, id: RouteId) -> Option<&'a Route> {
        match id.index().checked_sub(config.routes.len()) {
            None => config.routes.get(id.index()),
            Some(derived) => self.derived.get(derived),
        }
    }

    /// The routing rule behind an id: ids are positions in priority order, the kernel's default rules included.
    pub fn rule(&self, id: RoutingRuleId) -> Option<&RoutingRule> {
        self.rules_source.get(id.index())
    }

    /// Every routing rule, in the order in which they are asked.
    pub fn rules(&self) -> &[RoutingRule] {
        &self.rules_source
    }

    /// The table that a route is in.
    pub fn table_of(&self, id: RouteId) -> Option<FibTableId> {
        self.routes.get(id.index()).map(|route| FibTableId(route.table))
    }

    /// The nexthops of a route.
    pub fn nexthops(&self, id: RouteId) -> &[FibNexthop] {
        let Some(route) = self.routes.get(id.index()) else { return &[] };
        let (first, count) = route.nexthops;
        self.nexthops.get(first as usize..(first + count) as usize).unwrap_or(&[])
    }

    /// The nexthop that a lookup chose.
    pub fn nexthop(&self, found: &FibMatch) -> Option<&FibNexthop> {
        self.nexthops(found.route).get(usize::from(found.nexthop))
    }

    /// The preferred source of a route, host order.
    pub fn prefsrc(&self, id: RouteId) -> Option<u32> {
        self.routes.get(id.index()).and_then(|route| route.prefsrc)
    }

    /// The MTU that a route sets, and whether it is locked.
    pub fn route_mtu(&self, id: RouteId) -> Option<(u32, bool)> {
        self.routes.get(id.index()).filter(|route| route.mtu != 0).map(|route| (route.mtu, route.mtu_lock))
    }

    /// The TTL that a route sets.
    pub fn hop_limit(&self, id: RouteId) -> Option<u8> {
        self.routes.get(id.index()).map(|route| route.hop_limit).filter(|&limit| limit != 0)
    }

    /// Whether routing rules are others than the three that a namespace starts with.
    pub fn has_custom_rules(&self) -> bool {
        self.custom_rules
    }

    /// Whether a lookup for a received packet looks at its transport header (`fib4_rules_early_flow_dissect`).
    pub fn needs_ports(&self) -> bool {
        self.needs_ports
    }
}
