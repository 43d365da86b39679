//! Routing rules: which table a lookup goes to (`net/core/fib_rules.c`, `net/ipv4/fib_rules.c`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::FlowKey;
use super::table::mask;
use crate::config::{NetNsConfig, RoutingAction, RoutingRule};
use crate::diag::Diagnostic;
use crate::ids::DevId;

/// The bits of a packet's TOS byte that routing compares (`INET_DSCP_LEGACY_TOS_MASK`). Routes and rules keep all of [`DSCP_MASK`], so one that
/// asks for a higher bit never matches.
pub(super) const TOS_MASK: u8 = 0x1c;

/// `INET_DSCP_MASK`.
pub(super) const DSCP_MASK: u8 = 0xfc;

/// A device that a rule asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RuleDev {
    /// Not asked for.
    Any,
    /// This one.
    Is(DevId),
    /// `lo`: made here.
    Loopback,
    /// A device that the namespace does not have: never holds.
    Absent,
}

impl RuleDev {
    fn compile(name: Option<&str>, devs: &BTreeMap<String, DevId>) -> RuleDev {
        match name {
            None => RuleDev::Any,
            Some("lo") => RuleDev::Loopback,
            Some(name) => devs.get(name).map_or(RuleDev::Absent, |&dev| RuleDev::Is(dev)),
        }
    }

    fn holds(self, dev: Option<DevId>, loopback: Option<DevId>) -> bool {
        match self {
            RuleDev::Any => true,
            RuleDev::Is(wanted) => dev == Some(wanted),
            RuleDev::Loopback => dev.is_some() && dev == loopback,
            RuleDev::Absent => false,
        }
    }
}

/// What a rule that matched leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Lookup(u32),
    /// Position of the rule to go on with; none if there is no such rule (then it does nothing).
    Goto(Option<u32>),
    Nop,
    Blackhole,
    Unreachable,
    Prohibit,
}

/// Whether a rule matches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RuleMatch {
    Yes,
    No,
    /// A selector that is not modelled decides.
    Unknown,
}

/// A rule, compiled.
#[derive(Clone, Debug)]
pub(super) struct CompiledRule {
    not: bool,
    from: (u32, u32),
    to: (u32, u32),
    iif: RuleDev,
    oif: RuleDev,
    mark: Option<(u32, u32)>,
    tos: u8,
    protocol: u8,
    sport: Option<(u16, u16)>,
    dport: Option<(u16, u16)>,
    uid: Option<(u32, u32)>,
    unmodelled: bool,
    pub action: Action,
    pub suppress_prefix_len: Option<u8>,
}

impl CompiledRule {
    /// Whether the kernel looks into transport headers for this rule's sake.
    pub fn needs_ports(&self) -> bool {
        self.protocol != 0 || self.sport.is_some() || self.dport.is_some()
    }

    /// `fib_rule_match`. `not` inverts the whole, so one failed selector decides whatever the unmodelled ones say.
    pub fn matches(&self, key: &FlowKey, loopback: Option<DevId>) -> RuleMatch {
        let in_range =
            |range: Option<(u16, u16)>, port: u16| range.is_none_or(|(lo, hi)| (lo..=hi).contains(&port));
        let holds = key.src & self.from.1 == self.from.0
            && key.dst & self.to.1 == self.to.0
            && self.iif.holds(key.iif.or(loopback), loopback)
            && self.oif.holds(key.oif, loopback)
            && self.mark.is_none_or(|(value, mask)| (key.mark ^ value) & mask == 0)
            && (self.tos == 0 || self.tos == key.tos & TOS_MASK)
            && (self.protocol == 0 || self.protocol == key.protocol)
            && in_range(self.sport, key.sport)
            && in_range(self.dport, key.dport)
            && self.uid.is_none_or(|(lo, hi)| (lo..=hi).contains(&key.uid));
        match (holds, self.unmodelled) {
            (true, true) => RuleMatch::Unknown,
            _ if holds != self.not => RuleMatch::Yes,
            _ => RuleMatch::No,
        }
    }
}

/// The rules of a namespace in the order in which they are asked.
pub(super) struct Rules {
    /// As configured (or the kernel's own three), sorted.
    pub source: Vec<RoutingRule>,
    pub compiled: Vec<CompiledRule>,
    /// Whether they differ from the three that a namespace starts with (`fib_has_custom_rules`).
    pub custom: bool,
}

fn plain(priority: u32, table: u32) -> RoutingRule {
    RoutingRule::new(priority, RoutingAction::Lookup(table))
}

/// An IPv4 prefix as (network, mask). `0.0.0.0/0` for none.
fn selector(net: Option<IpNet>) -> Option<(u32, u32)> {
    match net {
        None => Some((0, 0)),
        Some(IpNet::V4(net)) => {
            let mask = mask(net.prefix_len());
            Some((u32::from(net.addr()) & mask, mask))
        }
        Some(IpNet::V6(_)) => None,
    }
}

pub(super) fn compile(
    config: &NetNsConfig,
    devs: &BTreeMap<String, DevId>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Rules {
    let v4 = |rule: &&RoutingRule| {
        [rule.from, rule.to].into_iter().flatten().all(|net| matches!(net.addr(), IpAddr::V4(_)))
    };
    let mut source: Vec<RoutingRule> = config.routing_rules.iter().filter(v4).cloned().collect();
    // Rules of one priority stay in the order in which they are listed.
    source.sort_by_key(|rule| rule.priority);
    let default = [plain(0, 255), plain(32766, 254), plain(32767, 253)];
    if config.routing_rules.is_empty() {
        source = default.to_vec();
    }
    let same = |a: &RoutingRule, b: &RoutingRule| {
        let mut a = a.clone();
        a.source = b.source;
        a.origin = b.origin;
        a == *b
    };
    let custom = source.len() != 3 || !source.iter().zip(&default).all(|(a, b)| same(a, b));
    let mut compiled = Vec::with_capacity(source.len());
    for (position, rule) in source.iter().enumerate() {
        let (Some(from), Some(to)) = (selector(rule.from), selector(rule.to)) else { continue };
        for name in [&rule.iif, &rule.oif].into_iter().flatten() {
            if name != "lo" && !devs.contains_key(name) {
                diagnostics.push(Diagnostic::note(
                    rule.source,
                    format!(
                        "routing rule {} names {name}, which is not here: it never matches",
                        rule.priority
                    ),
                ));
            }
        }
        let action = match rule.action {
            RoutingAction::Lookup(table) => Action::Lookup(table),
            RoutingAction::Nop => Action::Nop,
            RoutingAction::Blackhole => Action::Blackhole,
            RoutingAction::Unreachable => Action::Unreachable,
            RoutingAction::Prohibit => Action::Prohibit,
            RoutingAction::Goto(priority) => {
                let target = source.iter().position(|r| r.priority == priority).filter(|&t| t > position);
                if target.is_none() {
                    diagnostics.push(Diagnostic::note(
                        rule.source,
                        format!("goto {priority}: no rule of that priority follows, so it does nothing"),
                    ));
                }
                Action::Goto(target.map(|t| t as u32))
            }
        };
        compiled.push(CompiledRule {
            not: rule.not,
            from,
            to,
            iif: RuleDev::compile(rule.iif.as_deref(), devs),
            oif: RuleDev::compile(rule.oif.as_deref(), devs),
            mark: rule.fwmark,
            tos: rule.tos.unwrap_or(0),
            protocol: rule.ip_protocol.unwrap_or(0),
            sport: rule.sport,
            dport: rule.dport,
            uid: rule.uid_range,
            unmodelled: rule.unmodelled.is_some(),
            action,
            suppress_prefix_len: rule.suppress_prefix_len,
        });
    }
    Rules { source, compiled, custom }
}
