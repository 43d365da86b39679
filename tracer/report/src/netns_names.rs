//! [`NetNsNames`]: the names of a compiled namespace, in the words of the tools that print them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use pktwalk_linux::config::{
    DeviceKind, MissingState, Nexthop, Route, RouteType, RoutingAction, RoutingRule, UNTOLD_KIND,
};
use pktwalk_linux::fib::{TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN, scope};
use pktwalk_linux::hook::{Backend, Family, TableName};
use pktwalk_linux::ids::{ChainId, DevId, RouteId, RoutingRuleId, RuleId, SetId, SourceLine};
use pktwalk_linux::iptables;
use pktwalk_linux::iptables::ast::{IpMatch, Match, Target, TcpMatch, UdpMatch};
use pktwalk_linux::netfilter::RuleTest;
use pktwalk_linux::netns::NetNs;

use crate::flow::protocol;
use crate::names::{ChainName, Described, Location, Names, RuleName};

/// Names of one namespace. An id that the namespace does not have (there is none in a trace of its own) is printed with its number.
#[derive(Clone, Debug)]
pub struct NetNsNames<'a> {
    ns: &'a NetNs,
    node: String,
    peers: BTreeMap<String, String>,
}

impl<'a> NetNsNames<'a> {
    /// Names of `ns`, which belongs to the node of this name (empty: there is only one, without a name).
    pub fn new(ns: &'a NetNs, node: impl Into<String>) -> NetNsNames<'a> {
        NetNsNames { ns, node: node.into(), peers: BTreeMap::new() }
    }

    /// With where frames are received that leave by these devices: device by device, as `--at` takes it.
    #[must_use]
    pub fn with_peers(self, peers: &BTreeMap<String, String>) -> NetNsNames<'a> {
        NetNsNames { peers: peers.clone(), ..self }
    }

    fn location(&self, source: SourceLine) -> Option<Location> {
        location(&self.ns.config.files, source)
    }
}

/// A place by the name of its file. `None` where the thing was not read from a file (the kernel's own routes and rules).
pub fn location(files: &[String], source: SourceLine) -> Option<Location> {
    let file = files.get(source.file as usize)?;
    Some(Location { file: file.clone(), line: source.line })
}

impl Names for NetNsNames<'_> {
    fn node(&self) -> &str {
        &self.node
    }

    fn netns(&self) -> &str {
        &self.ns.config.name
    }

    fn device(&self, dev: DevId) -> String {
        let device = self.ns.config.devices.get(dev.index());
        device.map_or_else(|| format!("device {}", dev.0), |device| device.name.clone())
    }

    fn device_kind(&self, dev: DevId) -> Described {
        let device = self.ns.config.devices.get(dev.index());
        let text = match device.map(|device| &device.kind) {
            Some(DeviceKind::Other(kind)) if kind == UNTOLD_KIND => {
                "a device whose kind the bundle does not tell (collect ip-link.json with `ip -d -j link`)"
                    .to_owned()
            }
            Some(DeviceKind::Other(kind)) => format!("a device of kind {kind}"),
            Some(DeviceKind::Bridge { vlan_filtering: true, .. }) => "a bridge that filters VLANs".to_owned(),
            _ => "a device of a kind that is not modelled".to_owned(),
        };
        Described { text, location: device.and_then(|device| self.location(device.source)) }
    }

    fn chain(&self, chain: ChainId) -> ChainName {
        let place = self.ns.netfilter.chain(chain);
        let written = self.ns.netfilter.chain_ast(&self.ns.config, chain);
        ChainName {
            backend: place.map_or(Backend::Nft, |place| place.backend),
            table: place.map_or(TableName::Filter, |place| place.table),
            chain: written
                .map(|chain| chain.name.clone())
                // A built-in chain that stands in no file.
                .or_else(|| place.and_then(|place| place.base).map(|hook| hook.name().to_owned()))
                .unwrap_or_else(|| format!("chain {}", chain.0)),
            rules: place.map_or(0, |place| place.rules),
            location: written.and_then(|chain| self.location(chain.source)),
        }
    }

    fn rule(&self, rule: RuleId) -> RuleName {
        let (chain_id, position) = self.ns.netfilter.rule(rule).unwrap_or((ChainId(u32::MAX), 0));
        let written = self.ns.netfilter.rule_ast(&self.ns.config, rule);
        RuleName {
            chain: self.chain(chain_id),
            chain_id,
            position,
            spec: written.map_or_else(String::new, |rule| iptables::print_rule(rule, Family::V4)),
            target: written.map_or_else(String::new, |rule| target_name(&rule.target)),
            location: written.and_then(|rule| self.location(rule.source)),
        }
    }

    fn rule_match(&self, rule: RuleId, position: u16) -> String {
        let written = self.ns.netfilter.rule_ast(&self.ns.config, rule);
        written
            .and_then(|rule| rule.matches.get(usize::from(position)))
            .map_or_else(|| "an address or a device".to_owned(), |m| iptables::print_match(m, Family::V4))
    }

    fn rule_test(&self, rule: RuleId, test: RuleTest) -> String {
        let Some(written) = self.ns.netfilter.rule_ast(&self.ns.config, rule) else { return String::new() };
        let ip = IpMatch {
            src: written.ip.src.filter(|_| test == RuleTest::Src),
            dst: written.ip.dst.filter(|_| test == RuleTest::Dst),
            in_dev: written.ip.in_dev.clone().filter(|_| test == RuleTest::InDev),
            out_dev: written.ip.out_dev.clone().filter(|_| test == RuleTest::OutDev),
            protocol: written.ip.protocol.filter(|_| test == RuleTest::Protocol),
            fragment: None,
        };
        let (position, keep) = match test {
            RuleTest::SrcPort(position) => (position, [true, false, false]),
            RuleTest::DstPort(position) => (position, [false, true, false]),
            RuleTest::TcpFlags(position) => (position, [false, false, true]),
            RuleTest::Match(position) => return self.rule_match(rule, position),
            RuleTest::Src | RuleTest::Dst | RuleTest::InDev | RuleTest::OutDev | RuleTest::Protocol => {
                let alone = iptables::ast::Rule {
                    ip,
                    matches: Vec::new(),
                    target: Target::None,
                    counters: None,
                    source: SourceLine::default(),
                };
                return iptables::print_rule(&alone, Family::V4).trim().to_owned();
            }
        };
        let [sport, dport, flags] = keep;
        let part = match written.matches.get(usize::from(position)) {
            Some(Match::Tcp(tcp)) => Match::Tcp(TcpMatch {
                sport: tcp.sport.filter(|_| sport),
                dport: tcp.dport.filter(|_| dport),
                flags: tcp.flags.filter(|_| flags),
                option: None,
            }),
            Some(Match::Udp(udp)) => Match::Udp(UdpMatch {
                sport: udp.sport.filter(|_| sport),
                dport: udp.dport.filter(|_| dport),
            }),
            _ => return self.rule_match(rule, position),
        };
        // Without `-m tcp`.
        let text = iptables::print_match(&part, Family::V4);
        text.splitn(3, ' ').nth(2).unwrap_or(&text).to_owned()
    }

    fn listens_at(&self, protocol: u8, port: u16) -> Vec<String> {
        let sockets = self.ns.config.sockets.iter().flatten();
        let here = sockets.filter(|socket| {
            (socket.protocol, socket.port) == (protocol, port)
                && socket.remote.is_none()
                && (socket.listening || protocol != 6)
        });
        let mut places: Vec<String> = here
            .map(|socket| {
                let dev = socket.dev.as_ref().map(|dev| format!("%{dev}")).unwrap_or_default();
                match socket.local {
                    IpAddr::V4(addr) => format!("{addr}{dev}:{port}"),
                    IpAddr::V6(addr) => format!("[{addr}]{dev}:{port}"),
                }
            })
            .collect();
        places.sort();
        places.dedup();
        places
    }

    fn goes_on_at(&self, dev: DevId) -> Option<String> {
        self.peers.get(&self.device(dev)).cloned()
    }

    fn missing_set(&self, rule: RuleId) -> Option<String> {
        let rule = self.ns.netfilter.rule_ast(&self.ns.config, rule)?;
        rule.matches.iter().find_map(|m| match m {
            Match::Set(set) if self.ns.config.sets.iter().all(|there| there.name != set.name) => {
                Some(set.name.clone())
            }
            _ => None,
        })
    }

    fn route(&self, route: RouteId) -> Described {
        match self.ns.fib.route(&self.ns.config, route) {
            Some(found) => Described {
                text: route_text(found),
                // Routes that were derived from addresses stand in no file of routes.
                location: self
                    .ns
                    .config
                    .routes
                    .get(route.index())
                    .and_then(|route| self.location(route.source)),
            },
            None => Described { text: format!("route {}", route.0), location: None },
        }
    }

    fn routing_rule(&self, rule: RoutingRuleId) -> Described {
        match self.ns.fib.rule(rule) {
            Some(rule) => Described {
                text: routing_rule_text(rule),
                location: if self.ns.config.routing_rules.is_empty() {
                    None
                } else {
                    self.location(rule.source)
                },
            },
            None => Described { text: format!("routing rule {}", rule.0), location: None },
        }
    }

    fn set(&self, set: SetId) -> Described {
        match self.ns.config.sets.get(set.index()) {
            Some(set) => Described { text: set.name.clone(), location: self.location(set.source) },
            None => Described { text: format!("set {}", set.0), location: None },
        }
    }

    fn lists_neighbours(&self) -> bool {
        !self.ns.config.missing.contains(&MissingState::Neighbours)
    }

    fn unmodelled(&self, position: u32) -> Described {
        match self.ns.config.unmodelled.get(position as usize) {
            Some(state) => Described { text: state.what.clone(), location: self.location(state.source) },
            None => Described { text: format!("state {position}"), location: None },
        }
    }

    fn socket(&self, position: u32) -> String {
        let socket = self.ns.config.sockets.as_ref().and_then(|sockets| sockets.get(position as usize));
        match socket {
            Some(socket) => match (&socket.owner, socket.uid) {
                (Some(owner), _) => processes(owner),
                (None, Some(uid)) => format!("uid {uid}"),
                (None, None) => String::new(),
            },
            None => String::new(),
        }
    }

    fn two_backends(&self) -> bool {
        let has = |backend| {
            self.ns.config.rulesets.iter().any(|ruleset| {
                ruleset.backend == backend
                    && ruleset.save.family == Family::V4
                    && ruleset.save.tables.iter().any(|table| {
                        table.chains.iter().any(|chain| {
                            !chain.rules.is_empty() || chain.policy == Some(iptables::ast::Policy::Drop)
                        })
                    })
            })
        };
        has(Backend::Legacy) && has(Backend::Nft)
    }
}

/// What stands after `-j` or `-g`, first word; empty for a rule without target.
pub fn target_name(target: &Target) -> String {
    match target {
        Target::Jump(chain) | Target::Goto(chain) => chain.clone(),
        Target::None => String::new(),
        other => {
            let text = iptables::print_target(other, Family::V4);
            text.split_whitespace().find(|word| !word.starts_with('-')).unwrap_or_default().to_owned()
        }
    }
}

/// The name of a routing table, as `ip` prints it without further names in `rt_tables`.
pub fn table_text(table: u32) -> String {
    match table {
        TABLE_LOCAL => "local".to_owned(),
        TABLE_MAIN => "main".to_owned(),
        TABLE_DEFAULT => "default".to_owned(),
        other => other.to_string(),
    }
}

fn scope_text(scope: u8) -> String {
    match scope {
        scope::LINK => "link".to_owned(),
        scope::HOST => "host".to_owned(),
        scope::NOWHERE => "nowhere".to_owned(),
        200 => "site".to_owned(),
        other => other.to_string(),
    }
}

/// A prefix as `ip` prints it: `default` for all, no length for a host.
fn prefix_text(prefix: &IpNet) -> String {
    if prefix.prefix_len() == 0 {
        "default".to_owned()
    } else if prefix.prefix_len() == prefix.max_prefix_len() {
        prefix.addr().to_string()
    } else {
        prefix.to_string()
    }
}

fn selector_text(prefix: &Option<IpNet>) -> String {
    match prefix {
        None => "all".to_owned(),
        Some(prefix) if prefix.prefix_len() == 0 => prefix.to_string(),
        Some(prefix) => prefix_text(prefix),
    }
}

fn hop_text(out: &mut String, hop: &Nexthop, family_v4: bool) {
    if let Some(via) = hop.via {
        let inet6 = if family_v4 && matches!(via, IpAddr::V6(_)) { "inet6 " } else { "" };
        let _ = write!(out, " via {inet6}{via}");
    }
    if let Some(dev) = &hop.dev {
        let _ = write!(out, " dev {dev}");
    }
}

fn hop_flags(out: &mut String, hop: &Nexthop) {
    for (set, word) in [(hop.onlink, "onlink"), (hop.dead, "dead"), (hop.linkdown, "linkdown")] {
        if set {
            let _ = write!(out, " {word}");
        }
    }
}

/// A route on one line, as `ip route show table all` prints it.
pub fn route_text(route: &Route) -> String {
    let mut out = String::new();
    if route.kind != RouteType::Unicast {
        let _ = write!(out, "{} ", route.kind.name());
    }
    out.push_str(&prefix_text(&route.dst));
    if route.tos != 0 {
        let _ = write!(out, " tos {:#04x}", route.tos);
    }
    let v4 = matches!(route.dst, IpNet::V4(_));
    if let [hop] = route.nexthops.as_slice() {
        hop_text(&mut out, hop, v4);
    }
    if route.table != TABLE_MAIN {
        let _ = write!(out, " table {}", table_text(route.table));
    }
    if !route.protocol.is_empty() && route.protocol != "boot" {
        let _ = write!(out, " proto {}", route.protocol);
    }
    if route.scope != scope::UNIVERSE {
        let _ = write!(out, " scope {}", scope_text(route.scope));
    }
    if let Some(src) = route.prefsrc {
        let _ = write!(out, " src {src}");
    }
    if route.metric != 0 {
        let _ = write!(out, " metric {}", route.metric);
    }
    if let Some(mtu) = route.mtu {
        let lock = if route.mtu_lock { "lock " } else { "" };
        let _ = write!(out, " mtu {lock}{mtu}");
    }
    if let Some(limit) = route.hop_limit {
        let _ = write!(out, " hoplimit {limit}");
    }
    match route.nexthops.as_slice() {
        [] => {}
        [hop] => hop_flags(&mut out, hop),
        hops => {
            for hop in hops {
                out.push_str(" nexthop");
                hop_text(&mut out, hop, v4);
                let _ = write!(out, " weight {}", hop.weight);
                hop_flags(&mut out, hop);
            }
        }
    }
    out
}

/// A routing rule on one line, as `ip rule` prints it (with a blank where it prints a tab).
pub fn routing_rule_text(rule: &RoutingRule) -> String {
    let mut out = format!("{}:", rule.priority);
    if rule.not {
        out.push_str(" not");
    }
    let _ = write!(out, " from {}", selector_text(&rule.from));
    if rule.to.is_some() {
        let _ = write!(out, " to {}", selector_text(&rule.to));
    }
    if let Some(tos) = rule.tos {
        let _ = write!(out, " tos {tos:#04x}");
    }
    if let Some((value, mask)) = rule.fwmark {
        let _ = write!(out, " fwmark {value:#x}");
        if mask != u32::MAX {
            let _ = write!(out, "/{mask:#x}");
        }
    }
    if let Some(dev) = &rule.iif {
        let _ = write!(out, " iif {dev}");
    }
    if let Some(dev) = &rule.oif {
        let _ = write!(out, " oif {dev}");
    }
    if let Some((first, last)) = rule.uid_range {
        let _ = write!(out, " uidrange {first}-{last}");
    }
    if let Some(number) = rule.ip_protocol {
        let _ = write!(out, " ipproto {}", protocol(number).trim_start_matches("proto "));
    }
    for (name, range) in [("sport", rule.sport), ("dport", rule.dport)] {
        match range {
            Some((first, last)) if first == last => {
                let _ = write!(out, " {name} {first}");
            }
            Some((first, last)) => {
                let _ = write!(out, " {name} {first}-{last}");
            }
            None => {}
        }
    }
    if let Some(selector) = &rule.unmodelled {
        let _ = write!(out, " {selector}");
    }
    match rule.action {
        RoutingAction::Lookup(table) => {
            let _ = write!(out, " lookup {}", table_text(table));
        }
        RoutingAction::Goto(priority) => {
            let _ = write!(out, " goto {priority}");
        }
        RoutingAction::Nop => out.push_str(" nop"),
        RoutingAction::Blackhole => out.push_str(" blackhole"),
        RoutingAction::Unreachable => out.push_str(" unreachable"),
        RoutingAction::Prohibit => out.push_str(" prohibit"),
    }
    if let Some(len) = rule.suppress_prefix_len {
        let _ = write!(out, " suppress_prefixlength {len}");
    }
    out
}

/// `(("sshd",pid=812,fd=3),("sshd",pid=813,fd=3))` of `ss` as `sshd pid 812, sshd pid 813`; anything else as it stands.
fn processes(users: &str) -> String {
    let inner = users.strip_prefix("((").and_then(|rest| rest.strip_suffix("))"));
    let Some(inner) = inner else { return users.to_owned() };
    let process = |text: &str| {
        let (name, rest) = text.strip_prefix('"')?.rsplit_once("\",pid=")?;
        let (pid, _) = rest.split_once(',')?;
        Some(format!("{name} pid {pid}"))
    };
    let read: Option<Vec<String>> = inner.split("),(").map(process).collect();
    read.map_or_else(|| users.to_owned(), |read| read.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> Route {
        let via = "192.0.2.1".parse().ok();
        Route { protocol: "boot".to_owned(), ..Route::new("0.0.0.0/0".parse().unwrap(), via, Some("eth0")) }
    }

    #[test]
    fn routes_read_as_ip_prints_them() {
        assert_eq!(route_text(&route()), "default via 192.0.2.1 dev eth0");
        let mut local = route();
        local.kind = RouteType::Local;
        local.dst = "10.0.0.1/32".parse().unwrap();
        local.table = TABLE_LOCAL;
        local.protocol = "kernel".to_owned();
        local.scope = scope::HOST;
        local.prefsrc = Some("10.0.0.1".parse().unwrap());
        local.nexthops[0].via = None;
        assert_eq!(
            route_text(&local),
            "local 10.0.0.1 dev eth0 table local proto kernel scope host src 10.0.0.1"
        );
        let mut multipath = route();
        multipath.nexthops.push(Nexthop { dev: Some("eth1".to_owned()), ..multipath.nexthops[0].clone() });
        assert_eq!(
            route_text(&multipath),
            "default nexthop via 192.0.2.1 dev eth0 weight 1 nexthop via 192.0.2.1 dev eth1 weight 1"
        );
    }

    #[test]
    fn routing_rules_read_as_ip_prints_them() {
        let rule = RoutingRule {
            priority: 100,
            not: true,
            from: Some("10.0.0.0/8".parse().unwrap()),
            to: None,
            iif: Some("eth0".to_owned()),
            oif: None,
            fwmark: Some((1, 0xff)),
            tos: None,
            ip_protocol: Some(6),
            sport: None,
            dport: Some((80, 80)),
            uid_range: None,
            action: RoutingAction::Lookup(100),
            suppress_prefix_len: Some(0),
            realms: 0,
            unmodelled: None,
            source: SourceLine::default(),
            origin: None,
        };
        assert_eq!(
            routing_rule_text(&rule),
            "100: not from 10.0.0.0/8 fwmark 0x1/0xff iif eth0 ipproto tcp dport 80 lookup 100 suppress_prefixlength 0"
        );
    }

    #[test]
    fn processes_read_well() {
        assert_eq!(
            processes(r#"(("sshd",pid=812,fd=3),("sd pam",pid=1,fd=46))"#),
            "sshd pid 812, sd pam pid 1"
        );
        assert_eq!(processes("the sender"), "the sender");
        assert_eq!(processes("((odd))"), "((odd))");
    }
}
