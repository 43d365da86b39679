//! What is modelled, and what of it a walk shows: for tests that ask whether everything is shown by something.
//!
//! The lists are made by exhaustive matches over the model's own enums, so that something new cannot be forgotten here.

use std::collections::BTreeSet;

use pktwalk_linux::config::{Route, RouteType};
use pktwalk_linux::hook::TableName;
use pktwalk_linux::iptables::ast::{ConnmarkTarget, Match, RejectWith, Target, TcpmssTarget};
use pktwalk_linux::netns::NetNs;
use pktwalk_linux::reason::{DropCode, Locus};
use pktwalk_linux::skb::MadeBy;
use pktwalk_linux::trace::{PacketTrace, Step};
use pktwalk_scenario::case::Case;
use pktwalk_scenario::compare::compare;
use pktwalk_scenario::engine::Engine as _;
use pktwalk_scenario::event::EngineRun;
use pktwalk_scenario::model::ModelEngine;

/// Everything that something shows, as `match tcp`, `target DNAT`, `hook raw PREROUTING`, `route local`, `made echo reply`, `code RULE_DROP`.
pub type Shown = BTreeSet<String>;

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

/// Name of a target, with what it does where that is more than one thing; none for IPv6 and what is not modelled.
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
        Target::Connmark(how, _) => match how {
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

/// What a packet is that a walk made.
fn maker(by: MadeBy) -> &'static str {
    match by {
        MadeBy::Injected => "nothing",
        MadeBy::IcmpError => "ICMP error",
        MadeBy::RejectIcmp => "REJECT's ICMP error",
        MadeBy::RejectReset => "REJECT's RST",
        MadeBy::TcpReset => "RST",
        MadeBy::EchoReply => "echo reply",
        MadeBy::TimestampReply => "timestamp reply",
        MadeBy::Arp => "ARP",
        MadeBy::Fragment => "fragment",
        MadeBy::Copy => "copy",
    }
}

const MAKERS: [&str; 9] = [
    "ICMP error",
    "REJECT's ICMP error",
    "REJECT's RST",
    "RST",
    "echo reply",
    "timestamp reply",
    "ARP",
    "fragment",
    "copy",
];

/// Everything that there is to be shown.
pub fn wanted() -> Shown {
    let mut wanted = Shown::new();
    wanted.extend(MATCHES.map(|name| format!("match {name}")));
    wanted.extend(TARGETS.map(|name| format!("target {name}")));
    wanted.extend(["CHECKSUM"].map(|name| format!("target {name}")));
    wanted.extend(MAKERS.map(|name| format!("made {name}")));
    wanted.extend(RouteType::ALL.iter().map(|kind| format!("route {}", kind.name())));
    wanted.extend(DropCode::ALL.iter().map(|code| format!("code {}", code.code())));
    for table in TableName::ALL {
        wanted.extend(table.hooks().iter().map(|hook| format!("hook {table} {hook}")));
    }
    wanted
}

fn note_route(ns: &NetNs, route: pktwalk_linux::ids::RouteId, shown: &mut Shown) {
    if let Some(route) = ns.fib.route(&ns.config, route) {
        shown.insert(format!("route {}", route.kind.name()));
    }
}

/// Notes what the walk of one packet shows.
pub fn note(ns: &NetNs, packet: &PacketTrace, shown: &mut Shown) {
    shown.insert(format!("made {}", maker(packet.made_by)));
    for recorded in &packet.steps {
        match recorded.step {
            Step::Rule { hook, rule, .. } => {
                let (Some(written), Some((chain, _))) =
                    (ns.netfilter.rule_ast(&ns.config, rule), ns.netfilter.rule(rule))
                else {
                    continue;
                };
                shown.extend(written.matches.iter().filter_map(Match::name).map(|n| format!("match {n}")));
                shown.extend(target_name(&written.target).map(|n| format!("target {n}")));
                if let Some(place) = ns.netfilter.chain(chain) {
                    shown.insert(format!("hook {} {hook}", place.table));
                }
            }
            Step::Route { route: Some(route), .. } => note_route(ns, route, shown),
            _ => {}
        }
    }
    let Some(end) = packet.end else { return };
    shown.extend(end.code.map(|code| format!("code {}", code.code())));
    if let Some(Locus::Route(route)) = end.locus {
        note_route(ns, route, shown);
    }
}

/// Notes throw routes of a case that a packet met: lookups pass them over, so that no step names them. One was met if a packet fares otherwise
/// without it.
///
/// # Panics
/// If the model cannot run the case.
pub fn note_throw(case: &Case, run: &EngineRun, shown: &mut Shown) {
    let thrown = |route: &Route| route.kind == RouteType::Throw;
    if !case.config.routes.iter().any(thrown) || shown.contains("route throw") {
        return;
    }
    let mut without = case.clone();
    without.config.routes.retain(|route| !thrown(route));
    let other = ModelEngine::new().run(&without).expect("the model runs every case");
    if !compare(run, &other).is_empty() {
        shown.insert("route throw".to_owned());
    }
}

/// What is neither shown nor excused, and what is excused though it is shown.
pub fn missing(shown: &Shown, excused: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let excuse = |what: &str| excused.iter().any(|(excused, _)| *excused == what);
    let missing = wanted().into_iter().filter(|what| !shown.contains(what) && !excuse(what)).collect();
    let needless = excused
        .iter()
        .filter(|(what, _)| shown.contains(*what))
        .map(|(what, _)| (*what).to_owned())
        .collect();
    (missing, needless)
}
