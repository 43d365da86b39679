//! What was taken for granted: its key, one sentence, and how to say otherwise.

use std::net::Ipv4Addr;

use pktwalk_linux::config::MissingState;
use pktwalk_linux::trace::Assumption;

use crate::flow::protocol;
use crate::names::Names;

/// An assumption as a report prints it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Assumed {
    /// Stable, for scripts.
    pub key: &'static str,
    /// One sentence, without full stop.
    pub text: String,
    /// The flag, or the file of the bundle, that overrides it.
    pub instead: String,
}

/// Words for `assumption`.
pub fn assumed(assumption: Assumption, names: &dyn Names) -> Assumed {
    let make = |key, text: String, instead: String| Assumed { key, text, instead };
    match assumption {
        Assumption::SocketListens { protocol: number, port } => {
            let protocol = protocol(number);
            let (what, value) = if port == 0 {
                (protocol.clone(), protocol.clone())
            } else {
                (format!("{protocol} port {port}"), format!("{protocol}/{port}"))
            };
            make(
                "socket-listens",
                format!("something listens on {what}"),
                format!("--assume closed={value}, or file ss in the bundle"),
            )
        }
        Assumption::NoModule { protocol: number } => {
            let protocol = protocol(number);
            make(
                "no-module",
                format!("no module of the kernel takes {protocol}"),
                "none; /proc/net/protocols of the node lists what is taken".to_owned(),
            )
        }
        Assumption::NeighbourAnswers { dev, addr } => {
            let addr = Ipv4Addr::from(addr);
            make(
                "neighbour-answers",
                format!("{addr} answers ARP on {}", names.device(dev)),
                if names.lists_neighbours() {
                    format!("--assume no-neighbour={addr}; it is not in ip-neigh.json")
                } else {
                    format!("--assume no-neighbour={addr}, or file ip-neigh.json in the bundle")
                },
            )
        }
        Assumption::ConntrackEmpty => make(
            "conntrack-empty",
            "no connection existed before the first packet".to_owned(),
            "file conntrack in the bundle, or the earlier packets first (-p can be repeated)".to_owned(),
        ),
        Assumption::TcpWindow => make(
            "tcp-window",
            "the segment is in the window of its connection, which conntrack -L does not tell".to_owned(),
            "the packets that the connection began with, first (-p), and no line of it in file conntrack"
                .to_owned(),
        ),
        Assumption::Default(missing) => defaulted(missing),
        Assumption::Choice(what) => make(
            "choice",
            format!("the kernel's random choice of {what}"),
            "--seed N for another one".to_owned(),
        ),
        Assumption::AsLoaded { rule, what } => {
            let rule = names.rule(rule);
            make(
                "as-loaded",
                format!(
                    "-m {what} of {} rule {} has seen no packets before this run",
                    rule.chain.chain, rule.position
                ),
                "the rule may match or not, by what came before".to_owned(),
            )
        }
        Assumption::TimeOfDay => make(
            "time-of-day",
            "the time of day, which a timestamp reply tells".to_owned(),
            "--seed N for another one".to_owned(),
        ),
    }
}

/// Words for what stands in for state that was not given.
pub fn defaulted(missing: MissingState) -> Assumed {
    let (key, text, instead) = missing_state(missing);
    Assumed { key, text: text.to_owned(), instead: instead.to_owned() }
}

fn missing_state(missing: MissingState) -> (&'static str, &'static str, &'static str) {
    match missing {
        MissingState::RoutingRules => (
            "default-routing-rules",
            "the kernel's three default routing rules",
            "file ip-rule.json in the bundle",
        ),
        MissingState::Routes => {
            ("no-routes", "no routes but those of the addresses", "file ip-route.json in the bundle")
        }
        MissingState::Devices => {
            ("no-devices", "no devices are known", "files ip-link.json and ip-addr.json in the bundle")
        }
        MissingState::Neighbours => {
            ("neighbours-answer", "every neighbour answers", "file ip-neigh.json in the bundle")
        }
        MissingState::Sysctls => (
            "default-sysctls",
            "kernel default settings, with forwarding on",
            "file sysctl in the bundle, or --assume net.ipv4.ip_forward=0",
        ),
        MissingState::Rulesets => ("no-rules", "no iptables rules", "file iptables-save in the bundle"),
        MissingState::Sets => ("no-sets", "no ipsets", "file ipset-save in the bundle"),
        MissingState::Conntrack => (
            "conntrack-empty",
            "no connection existed before the first packet",
            "file conntrack in the bundle, or the earlier packets first (-p can be repeated)",
        ),
        MissingState::ConnectedSockets => (
            "no-connected-sockets",
            "no connected socket takes the packet",
            "rows of connected sockets in file ss of the bundle (ss -Htuanpe)",
        ),
        MissingState::OtherRules => (
            "no-other-rules",
            "no rules but those of iptables-save",
            "files nft.json and iptables-legacy-save in the bundle",
        ),
        MissingState::NftRules => (
            "no-nft-rules",
            "no rules but those of iptables-legacy-save",
            "files iptables-save and nft.json in the bundle",
        ),
        MissingState::Sockets => (
            "sockets-listen",
            "something listens wherever a packet is delivered",
            "file ss in the bundle, or --assume closed=tcp/80",
        ),
        MissingState::RawSockets => (
            "no-raw-sockets",
            "no process has a raw socket that takes the packet's protocol",
            "files proc-net-raw and proc-net-icmp in the bundle",
        ),
        MissingState::Backend => {
            ("backend", "the rules run on nft", "--assume backend=legacy or backend=nft")
        }
        MissingState::RegistrationOrder => (
            "backend-order",
            "which backend's rules run first at a hook",
            "--assume backend-order=nft,legacy or backend-order=legacy,nft",
        ),
    }
}
