//! Lookups: `fib_lookup`, `fib_table_lookup`, nexthop choice.

use super::rule::{Action, RuleMatch};
use super::table::Table;
use super::{Fib, FibNexthop, TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN};
use crate::choice::{Choice, ChoicePoint};
use crate::config::{NudState, RouteType};
use crate::ids::{DevId, FibTableId, RouteId, RoutingRuleId};
use crate::netns::NetNs;
use crate::reason::Because;

/// What is asked of routing (`struct flowi4`). Addresses and ports in host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlowKey {
    /// Destination.
    pub dst: u32,
    /// Source; 0 while not chosen.
    pub src: u32,
    /// Device that the packet was received by; none for packets made here (the kernel's `lo`).
    pub iif: Option<DevId>,
    /// Device that the packet must leave by.
    pub oif: Option<DevId>,
    /// Firewall mark.
    pub mark: u32,
    /// TOS byte.
    pub tos: u8,
    /// IP protocol; 0 when the kernel does not fill it in.
    pub protocol: u8,
    /// Source port. For ICMP made here 0.
    pub sport: u16,
    /// Destination port. For ICMP made here type and code (the kernel keeps them in the same bytes).
    pub dport: u16,
    /// User id; 0 (the namespace's root) for received packets.
    pub uid: u32,
    /// Narrowest scope wanted (`RT_SCOPE_*`).
    pub scope: u8,
}

/// Why nothing was found, as the kernel's error code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FibError {
    /// `ENETUNREACH`: no route, or a routing rule of type unreachable.
    NetUnreachable,
    /// `EHOSTUNREACH`: a route of type unreachable.
    HostUnreachable,
    /// `EACCES`: a route or routing rule of type prohibit.
    Prohibited,
    /// `EINVAL`: a route or routing rule of type blackhole.
    Invalid,
}

/// A route that fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FibMatch {
    /// The routing rule that led to its table.
    pub rule: Option<RoutingRuleId>,
    /// Its table.
    pub table: FibTableId,
    /// The route.
    pub route: RouteId,
    /// Its type.
    pub kind: RouteType,
    /// Its scope.
    pub scope: u8,
    /// Length of its prefix.
    pub prefix_len: u8,
    /// The nexthop: position in [`Fib::nexthops`].
    pub nexthop: u16,
}

/// What a lookup says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FibResult {
    /// A route.
    Found(FibMatch),
    /// Nothing, or an order to fail.
    Failed {
        /// How.
        error: FibError,
        /// The routing rule that decided or led there, if one did.
        rule: Option<RoutingRuleId>,
        /// The route that says so, if one does.
        route: Option<RouteId>,
    },
    /// Something not modelled decides.
    Unknown(Because),
}

/// What one table says.
pub(super) enum TableResult {
    Found(FibMatch),
    Failed(FibError, RouteId),
    /// `EAGAIN`: nothing, or a throw route.
    Next,
}

/// Which nexthops a lookup passes over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// Those without carrier, where `ignore_routes_with_linkdown` says so.
    Heed,
    /// None for its carrier (`FIB_LOOKUP_IGNORE_LINKSTATE`).
    Ignore,
}

/// `fib_lookup_good_nhc`.
fn good(nexthop: &FibNexthop, key: &FlowKey, links: Links) -> bool {
    let down = nexthop.dead || nexthop.skip_for_linkdown && links == Links::Heed;
    !down && (key.oif.is_none() || key.oif == nexthop.dev)
}

/// Whether a multipath route may take it at all.
fn usable(nexthop: &FibNexthop) -> bool {
    good(nexthop, &FlowKey::default(), Links::Heed)
}

/// Whether a route with several nexthops, or a group of nexthop objects, may take it. In a group carriers do not count (`nh_group_rebalance`).
fn has_share(nexthop: &FibNexthop, group: bool) -> bool {
    if group { !nexthop.dead } else { usable(nexthop) }
}

/// Whether the state of its neighbour may keep a group from taking it (`ipv4_good_nh`, `ipv6_good_nh`): one that the kernel asks, or has asked, in
/// vain. One that it knows nothing of counts as reachable.
fn doubtful(ns: &NetNs, nexthop: &FibNexthop) -> bool {
    let (Some(dev), Some(gateway)) = (nexthop.dev, nexthop.gateway) else { return false };
    match ns.links.neighbour(dev, gateway).map(|neighbour| neighbour.state) {
        Some(state) => matches!(state, NudState::Failed | NudState::Incomplete | NudState::None),
        // It is asked with the first packet, and nobody hears that.
        None => ns.config.devices.get(dev.index()).is_some_and(|device| !device.carrier || device.no_arp),
    }
}

impl Fib {
    /// `fib_table_lookup`.
    pub(super) fn table_lookup(&self, table: &Table, key: &FlowKey, links: Links) -> TableResult {
        for (prefix, members) in table.matching(key.dst) {
            for &member in members {
                let route = &self.routes[member as usize];
                if route.tos != 0 && route.tos != key.tos & super::rule::TOS_MASK || route.scope < key.scope {
                    continue;
                }
                let id = RouteId(member);
                match route.kind {
                    RouteType::Blackhole => return TableResult::Failed(FibError::Invalid, id),
                    RouteType::Unreachable => return TableResult::Failed(FibError::HostUnreachable, id),
                    RouteType::Prohibit => return TableResult::Failed(FibError::Prohibited, id),
                    RouteType::Throw => return TableResult::Next,
                    RouteType::Unicast
                    | RouteType::Local
                    | RouteType::Broadcast
                    | RouteType::Anycast
                    | RouteType::Multicast => {}
                }
                if let Some(nexthop) = self.nexthops(id).iter().position(|n| good(n, key, links)) {
                    return TableResult::Found(FibMatch {
                        rule: None,
                        table: FibTableId(route.table),
                        route: id,
                        kind: route.kind,
                        scope: route.scope,
                        prefix_len: prefix.len,
                        nexthop: nexthop as u16,
                    });
                }
            }
        }
        TableResult::Next
    }

    /// The position of the rule that leads to `table`, for namespaces with default rules, where the kernel asks none.
    fn default_rule(&self, table: u32) -> Option<RoutingRuleId> {
        let position = self.rules.iter().position(|rule| rule.action == Action::Lookup(table))?;
        Some(RoutingRuleId(position as u32))
    }

    /// `fib_lookup` without rules: tables local and main as one, then default. A failure in the first is forgotten when there is a table
    /// default, whatever that says.
    fn lookup_default(&self, merged: &Table, key: &FlowKey, links: Links) -> FibResult {
        let mut result = self.table_lookup(merged, key, links);
        if !matches!(result, TableResult::Found(_))
            && let Some(table) = self.tables.get(&TABLE_DEFAULT)
        {
            result = self.table_lookup(table, key, links);
        }
        match result {
            TableResult::Found(mut found) => {
                found.rule = self.default_rule(found.table.0);
                FibResult::Found(found)
            }
            TableResult::Failed(error, route) => FibResult::Failed {
                error,
                rule: self.routes.get(route.index()).and_then(|r| self.default_rule(r.table)),
                route: Some(route),
            },
            TableResult::Next => {
                FibResult::Failed { error: FibError::NetUnreachable, rule: None, route: None }
            }
        }
    }

    /// `fib_rules_lookup`.
    fn lookup_rules(&self, key: &FlowKey, links: Links) -> FibResult {
        let mut at = 0;
        while let Some(rule) = self.rules.get(at) {
            let id = Some(RoutingRuleId(at as u32));
            match rule.matches(key, self.loopback) {
                RuleMatch::Yes => {}
                RuleMatch::No => {
                    at += 1;
                    continue;
                }
                RuleMatch::Unknown => {
                    return FibResult::Unknown(Because::RoutingRule(RoutingRuleId(at as u32)));
                }
            }
            let failed = |error, route| FibResult::Failed { error, rule: id, route };
            match rule.action {
                Action::Goto(Some(target)) => {
                    // Goes on with that rule, which has to match as well.
                    at = target as usize;
                    continue;
                }
                Action::Goto(None) | Action::Nop => {}
                Action::Blackhole => return failed(FibError::Invalid, None),
                Action::Unreachable => return failed(FibError::NetUnreachable, None),
                Action::Prohibit => return failed(FibError::Prohibited, None),
                Action::Lookup(table) => match self.tables.get(&table) {
                    None => {}
                    Some(table) => match self.table_lookup(table, key, links) {
                        TableResult::Found(mut found) => {
                            let suppressed =
                                rule.suppress_prefix_len.is_some_and(|len| found.prefix_len <= len);
                            if !suppressed {
                                found.rule = id;
                                return FibResult::Found(found);
                            }
                        }
                        TableResult::Failed(error, route) => return failed(error, Some(route)),
                        TableResult::Next => {}
                    },
                },
            }
            at += 1;
        }
        FibResult::Failed { error: FibError::NetUnreachable, rule: None, route: None }
    }

    /// `fib_lookup`: the first route that fits; of several nexthops the first that can be used.
    pub(super) fn lookup_first(&self, key: &FlowKey, links: Links) -> FibResult {
        match &self.merged {
            Some(merged) => self.lookup_default(merged, key, links),
            None => self.lookup_rules(key, links),
        }
    }

    /// `fib_lookup`, heeding carriers; which of several nexthops is taken is left to [`Fib::select_nexthop`].
    pub(crate) fn lookup_plain(&self, key: &FlowKey) -> FibResult {
        self.lookup_first(key, Links::Heed)
    }

    /// What `fib_get_table(RT_TABLE_LOCAL)` gives: until the first routing rule is added it is one with main.
    pub(super) fn local_table(&self) -> Option<&Table> {
        self.merged.as_ref().or_else(|| self.tables.get(&TABLE_LOCAL))
    }

    /// `fib_select_path`: which of several nexthops is taken. `src` is the source address where the flow has one; since 6.15 a nexthop
    /// that has this address as its own source is preferred among those of packets made here.
    ///
    /// `pick` answers with a number below the total weight of the nexthops that can be used. Says whether something was left to chance.
    pub(crate) fn select_nexthop(
        &self,
        ns: &NetNs,
        found: &mut FibMatch,
        key: &FlowKey,
        mut pick: impl FnMut(RouteId, u32) -> u32,
    ) -> Result<bool, Because> {
        if key.oif.is_some() {
            return Ok(false);
        }
        let nexthops = self.nexthops(found.route);
        if nexthops.len() > 1 {
            if ns.sysctls.fib_multipath_use_neigh {
                return Err(Because::NotModelled("fib_multipath_use_neigh"));
            }
            let group = self.routes.get(found.route.index()).is_some_and(|route| route.group);
            if group && nexthops.iter().any(|n| doubtful(ns, n)) {
                return Err(Because::Route(found.route));
            }
            let own = |n: &FibNexthop| {
                !group
                    && key.iif.is_none()
                    && key.src != 0
                    && self.nexthop_source(n.dev, n.gateway, found.scope) == Some(key.src)
            };
            let preferred = nexthops.iter().any(|n| usable(n) && own(n));
            let fits = |n: &FibNexthop| has_share(n, group) && (!preferred || own(n));
            let random = nexthops.iter().filter(|n| fits(n)).count() > 1;
            let total = self.shares(found.route).last().map_or(0, |(_, end)| end);
            let drawn = if random { pick(found.route, total) % total.max(1) } else { 0 };
            // The first that fits and whose share ends beyond the draw (`fib_nh_upper_bound`), else the first that fits.
            let fitting = || self.shares(found.route).filter(|(at, _)| nexthops.get(*at).is_some_and(fits));
            let chosen = fitting().find(|&(_, end)| drawn < end).or_else(|| fitting().next());
            if let Some((position, _)) = chosen {
                found.nexthop = position as u16;
            }
            return Ok(random);
        }
        if found.prefix_len == 0 && found.kind == RouteType::Unicast && self.equal_defaults(found) {
            // `fib_select_default` goes by the gateways' neighbour states and by what it chose before.
            return Err(Because::Route(found.route));
        }
        Ok(false)
    }

    /// The nexthops of a route that can be used: their positions and where their shares end, each share as large as the nexthop's weight
    /// (`fib_rebalance`).
    fn shares(&self, route: RouteId) -> impl Iterator<Item = (usize, u32)> {
        let mut end = 0u32;
        let group = self.routes.get(route.index()).is_some_and(|route| route.group);
        self.nexthops(route).iter().enumerate().filter(move |(_, n)| has_share(n, group)).map(
            move |(position, n)| {
                end = end.saturating_add(n.weight);
                (position, end)
            },
        )
    }

    /// An answer to [`ChoicePoint::Nexthop`] that takes this nexthop, if it can be used.
    pub fn draw_of(&self, route: RouteId, nexthop: u32) -> Option<u32> {
        self.shares(route)
            .find(|&(position, _)| position == nexthop as usize)
            .map(|(_, end)| end.saturating_sub(1))
    }

    /// Whether another default route of the same table has the same TOS, metric and scope, and both go by gateways.
    fn equal_defaults(&self, found: &FibMatch) -> bool {
        let table = match &self.merged {
            Some(merged) if matches!(found.table.0, TABLE_LOCAL | TABLE_MAIN) => Some(merged),
            _ => self.tables.get(&found.table.0),
        };
        let (Some(table), Some(own)) = (table, self.routes.get(found.route.index())) else { return false };
        if !table.several_defaults {
            return false;
        }
        let gatewayed = |id: RouteId| {
            self.nexthops(id).first().is_some_and(|n| n.gateway.is_some() && n.scope == super::scope::LINK)
        };
        table.matching(0).filter(|(prefix, _)| prefix.len == 0).flat_map(|(_, members)| members).any(
            |&member| {
                let other = &self.routes[member as usize];
                member != found.route.0
                    && (other.tos, other.metric, other.scope, other.kind)
                        == (own.tos, own.metric, own.scope, own.kind)
                    && gatewayed(RouteId(member))
                    && gatewayed(found.route)
            },
        )
    }
}

/// Policy rules, tables, and the choice of a nexthop: what `ip route get` answers, without its errors of addresses. Choices are made anew at
/// each call; the walk keeps those of a flow together.
pub fn lookup(ns: &NetNs, key: &FlowKey, choice: &mut dyn Choice) -> FibResult {
    let result = ns.fib.lookup_first(key, Links::Heed);
    let FibResult::Found(mut found) = result else { return result };
    let pick = |route, total| choice.choose(ChoicePoint::Nexthop { route, total, answer: None });
    match ns.fib.select_nexthop(ns, &mut found, key, pick) {
        Ok(_) => FibResult::Found(found),
        Err(because) => FibResult::Unknown(because),
    }
}
