//! The steps of the JSON report.

use pktwalk_linux::hook::Hook;
use pktwalk_linux::iptables::ast::Policy;
use pktwalk_linux::trace::{
    BridgeDecision, CtResult, Manip, MssChange, NeighResult, RecordedStep, RouteCause, RouteResult,
    RuleVerdict, Step,
};
use serde::Serialize;

use crate::assume::assumed;
use crate::flow::{protocol, tuple_line};
use crate::json::{ct_state, dotted};
use crate::names::{Location, Names};
use crate::record::WalkRecord;
use crate::steps::made_by_key;

/// The kernel's spelling.
pub(crate) fn hook_name(hook: Hook) -> &'static str {
    hook.name()
}

/// What every step of a ruleset has.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct NetfilterStep {
    /// Hook.
    pub hook: &'static str,
    /// `legacy` or `nft`.
    pub backend: &'static str,
    /// Table.
    pub table: &'static str,
    /// Chain.
    pub chain: String,
    /// 1-based position of the rule in the chain; null for `enter`, `end` and `policy`.
    pub rule: Option<u32>,
    /// First word after `-j` or `-g` (null for a rule without a target), or the policy; null for `enter` and `end`.
    pub target: Option<String>,
    /// `accept`, `drop`, `return`, `continue`, `jump`, `goto`, `stolen` or `unknown`; null for `enter`.
    pub verdict: Option<&'static str>,
    /// Rules of the chain passed over since the last step in it.
    pub passed: u32,
    /// The packet's mark after the step.
    pub mark: u32,
    /// What stands after `-A CHAIN `, as iptables-save prints it; null where `rule` is.
    pub spec: Option<String>,
    /// Where it was read.
    pub source: Option<String>,
    /// The maximum segment size of a TCP packet, where the rule changed it.
    pub mss: Option<JsonMss>,
}

/// A change of the maximum segment size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct JsonMss {
    /// Before; null if the packet announced none.
    pub old: Option<u16>,
    /// After.
    pub new: u16,
}

/// One step. `kind` tells which; the other fields depend on it.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum JsonStep {
    /// Received by a device.
    Rx {
        /// Which.
        dev: String,
    },
    /// A bridge decided.
    Bridge {
        /// The bridge.
        bridge: String,
        /// The port that it came in by; null if sent by the namespace itself.
        from: Option<String>,
        /// `local`, `forward`, `flood`, `local-and-flood` or `drop`.
        decision: &'static str,
        /// The port of `forward`.
        to: Option<String>,
    },
    /// A base chain begins.
    Enter(NetfilterStep),
    /// A rule matched.
    Rule(NetfilterStep),
    /// A user-defined chain ran off its end.
    End(NetfilterStep),
    /// A built-in chain's policy decided.
    Policy(NetfilterStep),
    /// The connection's mark changed, by the rule of the step before.
    CtMark {
        /// Before.
        old: u32,
        /// After.
        new: u32,
    },
    /// Conntrack looked the packet up.
    CtLookup {
        /// Hook.
        hook: &'static str,
        /// `NEW`, `ESTABLISHED`, `RELATED`, `INVALID`, `UNTRACKED`; `KEPT` if it had its connection already.
        state: &'static str,
        /// Whether the packet made the connection.
        created: bool,
        /// The tuple of the original direction.
        original: Option<String>,
        /// Why it is invalid.
        why: Option<&'static str>,
    },
    /// The connection is in the table from here on.
    CtConfirm {
        /// Hook.
        hook: &'static str,
        /// The tuple of the original direction.
        original: Option<String>,
    },
    /// A translation was chosen for the connection.
    NatSetup {
        /// Hook.
        hook: &'static str,
        /// `source` or `destination`.
        half: &'static str,
        /// The chain of the rule that chose it; null for the kernel's own binding.
        chain: Option<String>,
        /// 1-based position of that rule.
        rule: Option<u32>,
        /// The reply tuple before.
        old: String,
        /// The reply tuple after.
        new: String,
    },
    /// The packet was rewritten.
    NatApply {
        /// Hook.
        hook: &'static str,
        /// `source` or `destination`.
        half: &'static str,
        /// Address before.
        old_addr: String,
        /// Port or ICMP id before.
        old_port: u16,
        /// Address after.
        new_addr: String,
        /// Port or ICMP id after.
        new_port: u16,
    },
    /// A routing decision.
    Route {
        /// `input`, `output` or `reroute`.
        cause: &'static str,
        /// `unicast`, `local`, `broadcast`, `error` or `unknown`.
        result: &'static str,
        /// Output device of `unicast`.
        dev: Option<String>,
        /// Gateway of `unicast`; null if on-link.
        gateway: Option<String>,
        /// The code of `error` and `unknown`.
        code: Option<&'static str>,
        /// The routing rule, as `ip rule` prints it.
        routing_rule: Option<String>,
        /// The route, as `ip route` prints it.
        route: Option<String>,
        /// Where the route was read.
        source: Option<String>,
    },
    /// The route back to the source was asked.
    SourceCheck {
        /// Effective rp_filter: 0, 1 strict, 2 loose.
        rp_filter: u8,
        /// The route back.
        route: Option<String>,
        /// The code, if it failed.
        code: Option<&'static str>,
    },
    /// TTL was lowered.
    Ttl {
        /// Before.
        old: u8,
        /// After.
        new: u8,
    },
    /// Compared with the MTU of the way out.
    Mtu {
        /// Bytes of the packet.
        len: u32,
        /// Bytes that fit.
        mtu: u32,
        /// Pieces: 1 if it fits, 0 if refused.
        fragments: u16,
    },
    /// The next hop's hardware address.
    Neighbour {
        /// Device.
        dev: String,
        /// Next hop.
        addr: String,
        /// `known`, `assumed`, `failed` or `not-needed`.
        result: &'static str,
        /// The hardware address, if known.
        mac: Option<String>,
    },
    /// Handed to a device for sending.
    Xmit {
        /// Which.
        dev: String,
    },
    /// Given to the transport layer.
    Deliver {
        /// `tcp`, `udp`, ...
        protocol: String,
        /// Local port; 0 for protocols without.
        port: u16,
        /// Who owns the socket, where known.
        owner: Option<String>,
    },
    /// The stack made another packet: a child.
    Made {
        /// What made it, as in `made_by` of the child.
        by: &'static str,
    },
    /// The stack would have answered, but may not.
    NotAnswered {
        /// Why.
        why: &'static str,
    },
    /// Something was taken for granted.
    Assumption {
        /// Stable key.
        key: &'static str,
        /// One sentence.
        text: String,
        /// What overrides it.
        instead: String,
    },
}

fn source(location: Option<Location>) -> Option<String> {
    location.map(|location| location.to_string())
}

fn half(manip: Manip) -> &'static str {
    match manip {
        Manip::Src => "source",
        Manip::Dst => "destination",
    }
}

pub(crate) fn json_step(recorded: &RecordedStep, walk: &WalkRecord, names: &dyn Names) -> JsonStep {
    let original = |id| walk.connections.get(&id).map(|connection| tuple_line(&connection.original));
    let chain_step = |hook, chain, target: Option<&str>, verdict, passed| {
        let chain = names.chain(chain);
        NetfilterStep {
            hook: hook_name(hook),
            backend: chain.backend.name(),
            table: chain.table.name(),
            chain: chain.chain,
            rule: None,
            target: target.map(str::to_owned),
            verdict,
            passed,
            mark: recorded.mark,
            spec: None,
            source: source(chain.location),
            mss: None,
        }
    };
    match recorded.step {
        Step::Rx { dev } => JsonStep::Rx { dev: names.device(dev) },
        Step::Bridge { bridge, from, decision } => {
            let (decision, to) = match decision {
                BridgeDecision::Local => ("local", None),
                BridgeDecision::Forward(dev) => ("forward", Some(names.device(dev))),
                BridgeDecision::Flood => ("flood", None),
                BridgeDecision::LocalAndFlood => ("local-and-flood", None),
                BridgeDecision::Drop => ("drop", None),
            };
            JsonStep::Bridge {
                bridge: names.device(bridge),
                from: from.map(|dev| names.device(dev)),
                decision,
                to,
            }
        }
        Step::ChainEnter { hook, chain } => JsonStep::Enter(chain_step(hook, chain, None, None, 0)),
        Step::Rule { hook, rule, passed, verdict, mark, .. } => {
            let rule = names.rule(rule);
            JsonStep::Rule(NetfilterStep {
                hook: hook_name(hook),
                backend: rule.chain.backend.name(),
                table: rule.chain.table.name(),
                chain: rule.chain.chain,
                rule: Some(rule.position),
                target: Some(rule.target).filter(|target| !target.is_empty()),
                verdict: Some(match verdict {
                    RuleVerdict::Accept => "accept",
                    RuleVerdict::Drop => "drop",
                    RuleVerdict::Return => "return",
                    RuleVerdict::Continue => "continue",
                    RuleVerdict::Jump(_) => "jump",
                    RuleVerdict::Goto(_) => "goto",
                    RuleVerdict::Stolen => "stolen",
                    RuleVerdict::Unknown => "unknown",
                }),
                passed,
                mark,
                spec: Some(rule.spec),
                source: source(rule.location),
                mss: recorded.mss.map(|MssChange { old, new }| JsonMss { old, new }),
            })
        }
        Step::ChainEnd { hook, chain, passed } => {
            JsonStep::End(chain_step(hook, chain, None, Some("return"), passed))
        }
        Step::ChainPolicy { hook, chain, passed, policy } => {
            let (target, verdict) = match policy {
                Policy::Accept => ("ACCEPT", "accept"),
                Policy::Drop => ("DROP", "drop"),
            };
            JsonStep::Policy(chain_step(hook, chain, Some(target), Some(verdict), passed))
        }
        Step::CtMark { old, new } => JsonStep::CtMark { old, new },
        Step::CtLookup { hook, result } => {
            let (state, created, original, why) = match result {
                CtResult::Invalid(why) => ("INVALID", false, None, Some(why)),
                CtResult::Untracked => ("UNTRACKED", false, None, None),
                CtResult::Kept => ("KEPT", false, None, None),
                CtResult::Entry { id, info, created } => (ct_state(info), created, original(id), None),
            };
            JsonStep::CtLookup { hook: hook_name(hook), state, created, original, why }
        }
        Step::CtConfirm { hook, id } => JsonStep::CtConfirm { hook: hook_name(hook), original: original(id) },
        Step::NatSetup { hook, manip, rule, old_reply, new_reply } => {
            let rule = rule.map(|rule| names.rule(rule));
            JsonStep::NatSetup {
                hook: hook_name(hook),
                half: half(manip),
                rule: rule.as_ref().map(|rule| rule.position),
                chain: rule.map(|rule| rule.chain.chain),
                old: tuple_line(&old_reply),
                new: tuple_line(&new_reply),
            }
        }
        Step::NatApply { hook, manip, old, new } => JsonStep::NatApply {
            hook: hook_name(hook),
            half: half(manip),
            old_addr: dotted(old.0),
            old_port: old.1,
            new_addr: dotted(new.0),
            new_port: new.1,
        },
        Step::Route { cause, rule, route, result } => {
            let route = route.map(|route| names.route(route));
            let (result, dev, gateway, code) = match result {
                RouteResult::Unicast { dev, gateway } => {
                    ("unicast", Some(names.device(dev)), gateway.map(dotted), None)
                }
                RouteResult::Local => ("local", None, None, None),
                RouteResult::Broadcast => ("broadcast", None, None, None),
                RouteResult::Error(code) => ("error", None, None, Some(code.code())),
                RouteResult::Unknown(because) => ("unknown", None, None, Some(because.code())),
            };
            JsonStep::Route {
                cause: match cause {
                    RouteCause::Input => "input",
                    RouteCause::Output => "output",
                    RouteCause::Reroute => "reroute",
                },
                result,
                dev,
                gateway,
                code,
                routing_rule: rule.map(|rule| names.routing_rule(rule).text),
                source: route.as_ref().and_then(|route| source(route.location.clone())),
                route: route.map(|route| route.text),
            }
        }
        Step::SourceCheck { rp_filter, route, failed } => JsonStep::SourceCheck {
            rp_filter,
            route: route.map(|route| names.route(route).text),
            code: failed.map(|code| code.code()),
        },
        Step::Ttl { old, new } => JsonStep::Ttl { old, new },
        Step::Mtu { len, mtu, fragments } => JsonStep::Mtu { len, mtu, fragments },
        Step::Neighbour { dev, addr, result } => {
            let (result, mac) = match result {
                NeighResult::Known(mac) => ("known", Some(mac.to_string())),
                NeighResult::Assumed => ("assumed", None),
                NeighResult::Failed => ("failed", None),
                NeighResult::NotNeeded => ("not-needed", None),
            };
            JsonStep::Neighbour { dev: names.device(dev), addr: dotted(addr), result, mac }
        }
        Step::Xmit { dev } => JsonStep::Xmit { dev: names.device(dev) },
        Step::Deliver { protocol: number, port, socket } => JsonStep::Deliver {
            protocol: protocol(number),
            port,
            owner: socket.map(|socket| names.socket(socket)).filter(|owner| !owner.is_empty()),
        },
        Step::Made { by } => JsonStep::Made { by: made_by_key(by) },
        Step::NotAnswered { why } => JsonStep::NotAnswered { why },
        Step::Assumed(assumption) => {
            let assumed = assumed(assumption, names);
            JsonStep::Assumption { key: assumed.key, text: assumed.text, instead: assumed.instead }
        }
    }
}
