//! Model coverage: every match, target, hook with table, route type and drop code that is modelled is shown by a scenario.
//!
//! The lists are made by exhaustive matches over the model's own enums, so that something new cannot be forgotten here.

use std::collections::BTreeSet;

use pktwalk_linux::config::RouteType;
use pktwalk_linux::hook::TableName;
use pktwalk_linux::iptables::ast::{ConnmarkTarget, Match, RejectWith, Target, TcpmssTarget};
use pktwalk_linux::netns::NetNs;
use pktwalk_linux::reason::{DropCode, Locus};
use pktwalk_linux::trace::Step;
use pktwalk_scenario::file::Live;
use pktwalk_scenario::model::ModelEngine;
use pktwalk_scenario::runner;
use pktwalk_tests::repo_root;

/// Everything that a scenario shows, as `match tcp`, `target DNAT`, `hook raw PREROUTING`, `route local`, `code RULE_DROP`.
type Shown = BTreeSet<String>;

const MATCHES: [&str; 21] = [
    "tcp",
    "udp",
    "icmp",
    "multiport",
    "conntrack",
    "state",
    "mark",
    "connmark",
    "comment",
    "addrtype",
    "limit",
    "hashlimit",
    "recent",
    "mac",
    "physdev",
    "iprange",
    "set",
    "owner",
    "statistic",
    "rpfilter",
    "pkttype",
];

fn target_name(target: &Target) -> Option<&'static str> {
    Some(match target {
        Target::None => "none",
        Target::Accept => "ACCEPT",
        Target::Drop => "DROP",
        Target::Return => "RETURN",
        Target::Jump(_) => "jump",
        Target::Goto(_) => "goto",
        Target::Reject(with) => match with {
            RejectWith::IcmpNetUnreachable => "REJECT icmp-net-unreachable",
            RejectWith::IcmpHostUnreachable => "REJECT icmp-host-unreachable",
            RejectWith::IcmpProtoUnreachable => "REJECT icmp-proto-unreachable",
            RejectWith::IcmpPortUnreachable => "REJECT icmp-port-unreachable",
            RejectWith::IcmpNetProhibited => "REJECT icmp-net-prohibited",
            RejectWith::IcmpHostProhibited => "REJECT icmp-host-prohibited",
            RejectWith::IcmpAdminProhibited => "REJECT icmp-admin-prohibited",
            RejectWith::TcpReset => "REJECT tcp-reset",
            RejectWith::Icmp6NoRoute
            | RejectWith::Icmp6AdmProhibited
            | RejectWith::Icmp6AddrUnreachable
            | RejectWith::Icmp6PortUnreachable
            | RejectWith::Icmp6PolicyFail
            | RejectWith::Icmp6RejectRoute => return None,
        },
        Target::Log(_) => "LOG",
        Target::Nflog(_) => "NFLOG",
        Target::Mark(_) => "MARK",
        Target::Connmark(how) => match how {
            ConnmarkTarget::Set(_) => "CONNMARK set",
            ConnmarkTarget::Save { .. } => "CONNMARK save",
            ConnmarkTarget::Restore { .. } => "CONNMARK restore",
        },
        Target::Ct(ct) => match (ct.notrack, ct.zone) {
            (true, _) => "CT notrack",
            (false, Some(_)) => "CT zone",
            (false, None) => return None,
        },
        Target::Dnat(_) => "DNAT",
        Target::Snat(_) => "SNAT",
        Target::Masquerade(_) => "MASQUERADE",
        Target::Redirect(_) => "REDIRECT",
        Target::Tcpmss(how) => match how {
            TcpmssTarget::Set(_) => "TCPMSS set",
            TcpmssTarget::ClampToPmtu => "TCPMSS clamp",
        },
        Target::Checksum => "CHECKSUM",
        Target::Unmodelled(_) => return None,
    })
}

const TARGETS: [&str; 28] = [
    "none",
    "ACCEPT",
    "DROP",
    "RETURN",
    "jump",
    "goto",
    "REJECT icmp-net-unreachable",
    "REJECT icmp-host-unreachable",
    "REJECT icmp-proto-unreachable",
    "REJECT icmp-port-unreachable",
    "REJECT icmp-net-prohibited",
    "REJECT icmp-host-prohibited",
    "REJECT icmp-admin-prohibited",
    "REJECT tcp-reset",
    "LOG",
    "NFLOG",
    "MARK",
    "CONNMARK set",
    "CONNMARK save",
    "CONNMARK restore",
    "CT notrack",
    "CT zone",
    "DNAT",
    "SNAT",
    "MASQUERADE",
    "REDIRECT",
    "TCPMSS set",
    "TCPMSS clamp",
];

fn route_name(kind: RouteType) -> &'static str {
    match kind {
        RouteType::Unicast => "unicast",
        RouteType::Local => "local",
        RouteType::Broadcast => "broadcast",
        RouteType::Anycast => "anycast",
        RouteType::Multicast => "multicast",
        RouteType::Blackhole => "blackhole",
        RouteType::Unreachable => "unreachable",
        RouteType::Prohibit => "prohibit",
        RouteType::Throw => "throw",
    }
}

const ROUTE_TYPES: [&str; 9] = [
    "unicast",
    "local",
    "broadcast",
    "anycast",
    "multicast",
    "blackhole",
    "unreachable",
    "prohibit",
    "throw",
];

/// What no kernel-confirmed scenario shows, and why.
const NOT_SHOWN: &[(&str, &str)] = &[
    ("code DUMMY_DEVICE", "this kernel has no dummy devices"),
    (
        "code MESSAGE_TOO_LONG",
        "senders of scenarios are no raw sockets, except when the kernel confirms them",
    ),
];

fn wanted() -> Shown {
    let mut wanted = Shown::new();
    wanted.extend(MATCHES.map(|name| format!("match {name}")));
    wanted.extend(TARGETS.map(|name| format!("target {name}")));
    wanted.extend(["CHECKSUM"].map(|name| format!("target {name}")));
    wanted.extend(ROUTE_TYPES.map(|name| format!("route {name}")));
    wanted.extend(DropCode::ALL.iter().map(|code| format!("code {}", code.code())));
    for table in TableName::ALL {
        wanted.extend(table.hooks().iter().map(|hook| format!("hook {table} {hook}")));
    }
    wanted
}

fn note_route(ns: &NetNs, route: pktwalk_linux::ids::RouteId, shown: &mut Shown) {
    if let Some(route) = ns.fib.route(&ns.config, route) {
        shown.insert(format!("route {}", route_name(route.kind)));
    }
}

/// What the scenarios show that the kernel has confirmed on both backends.
fn shown() -> Shown {
    let mut shown = Shown::new();
    for folder in runner::find(&repo_root().join("scenarios")).expect("scenarios can be read") {
        let scenario = runner::load(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let kernel = scenario.golden.as_ref().and_then(|golden| golden.kernel.as_deref());
        if scenario.file.live != Live::Netns
            || !kernel.is_some_and(|kernel| kernel.ends_with("(legacy, nft)"))
        {
            continue;
        }
        let model = ModelEngine::new().walk(&scenario.case).expect("the model runs every scenario");
        let ns = &model.ns;
        for packet in model.run.sends.iter().filter_map(|send| send.record.as_ref()).flat_map(|record| {
            record.request.packets.iter().chain(record.reply.iter().flat_map(|reply| &reply.packets))
        }) {
            for recorded in &packet.steps {
                match recorded.step {
                    Step::Rule { hook, rule, .. } => {
                        let (Some(written), Some((chain, _))) =
                            (ns.netfilter.rule_ast(&ns.config, rule), ns.netfilter.rule(rule))
                        else {
                            continue;
                        };
                        shown.extend(
                            written.matches.iter().filter_map(Match::name).map(|n| format!("match {n}")),
                        );
                        shown.extend(target_name(&written.target).map(|n| format!("target {n}")));
                        if let Some(place) = ns.netfilter.chain(chain) {
                            shown.insert(format!("hook {} {hook}", place.table));
                        }
                    }
                    Step::Route { route: Some(route), .. } => note_route(ns, route, &mut shown),
                    _ => {}
                }
            }
            let Some(end) = packet.end else { continue };
            shown.extend(end.code.map(|code| format!("code {}", code.code())));
            if let Some(Locus::Route(route)) = end.locus {
                note_route(ns, route, &mut shown);
            }
        }
        // A throw route is passed over, so no step names it; that it stands there is what a scenario can show.
        shown.extend(
            ns.config.routes.iter().filter(|r| r.kind == RouteType::Throw).map(|_| "route throw".to_owned()),
        );
    }
    shown
}

#[test]
fn everything_modelled_is_shown_by_a_scenario() {
    let shown = shown();
    let excused: BTreeSet<&str> = NOT_SHOWN.iter().map(|(what, _)| *what).collect();
    let missing: Vec<String> = wanted()
        .into_iter()
        .filter(|what| !shown.contains(what) && !excused.contains(what.as_str()))
        .collect();
    assert!(missing.is_empty(), "no scenario shows:\n  {}", missing.join("\n  "));
    let needless: Vec<&&str> = excused.iter().filter(|what| shown.contains(**what)).collect();
    assert!(needless.is_empty(), "excused, but shown: {needless:?}");
}
