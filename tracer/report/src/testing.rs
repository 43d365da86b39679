//! A small namespace of names, and packets, for tests of reports.

use pktwalk_linux::conntrack::tuple::{CtL4, CtTuple};
use pktwalk_linux::hook::{Backend, Hook, TableName};
use pktwalk_linux::ids::{ChainId, CtId, DevId, RouteId, RoutingRuleId, RuleId, SetId};
use pktwalk_linux::iptables::ast::Policy;
use pktwalk_linux::netfilter::RuleTest;
use pktwalk_linux::reason::{Disposition, DropCode, End, Locus};
use pktwalk_linux::skb::{CtInfo, MadeBy, SkbCt};
use pktwalk_linux::trace::{
    Assumption, CtResult, Manip, NeighResult, PacketTrace, RecordedStep, RouteCause, RouteResult,
    RuleVerdict, Step,
};
use pktwalk_packet::{EtherType, Packet};

use crate::names::{ChainName, Described, Location, Names, RuleName};
use crate::record::{Connection, SendRecord, WalkRecord};

/// Chains with their rules; rule ids count on from chain to chain.
pub(crate) struct Table {
    pub(crate) devices: Vec<&'static str>,
    pub(crate) chains: Vec<(TableName, &'static str, Vec<&'static str>)>,
    pub(crate) routes: Vec<&'static str>,
}

impl Table {
    /// The id of the rule at a 1-based position of a chain.
    pub(crate) fn rule_id(&self, table: TableName, chain: &str, position: u32) -> RuleId {
        let chain = self.chain_id(table, chain).index();
        let before: usize = self.chains[..chain].iter().map(|(_, _, rules)| rules.len()).sum();
        RuleId(before as u32 + position - 1)
    }

    /// The id of a chain.
    pub(crate) fn chain_id(&self, table: TableName, chain: &str) -> ChainId {
        ChainId(self.chains.iter().position(|(t, name, _)| *t == table && *name == chain).unwrap() as u32)
    }

    fn line(&self, rule: RuleId) -> u32 {
        10 + rule.0
    }
}

fn at(file: &str, line: u32) -> Option<Location> {
    Some(Location { file: file.to_owned(), line })
}

impl Names for Table {
    fn node(&self) -> &str {
        ""
    }

    fn netns(&self) -> &str {
        ""
    }

    fn device_kind(&self, _: DevId) -> Described {
        Described { text: "a device of kind wireguard".to_owned(), location: None }
    }

    fn device(&self, dev: DevId) -> String {
        self.devices[dev.index()].to_owned()
    }

    fn chain(&self, chain: ChainId) -> ChainName {
        let (table, name, rules) = &self.chains[chain.index()];
        ChainName {
            backend: Backend::Nft,
            table: *table,
            chain: (*name).to_owned(),
            rules: rules.len() as u32,
            location: at("iptables-save", 2 + chain.0),
        }
    }

    fn rule(&self, rule: RuleId) -> RuleName {
        let mut left = rule.index();
        for (id, (_, _, rules)) in self.chains.iter().enumerate() {
            if let Some(spec) = rules.get(left) {
                let chain_id = ChainId(id as u32);
                let target = spec.rsplit_once("-j ").or(spec.rsplit_once("-g ")).map_or("", |(_, t)| t);
                return RuleName {
                    chain: self.chain(chain_id),
                    chain_id,
                    position: left as u32 + 1,
                    spec: (*spec).to_owned(),
                    target: target.split(' ').next().unwrap().to_owned(),
                    location: at("iptables-save", self.line(rule)),
                };
            }
            left -= rules.len();
        }
        panic!("no rule {rule:?}")
    }

    fn rule_match(&self, _: RuleId, _: u16) -> String {
        "-m time --timestart 08:00:00".to_owned()
    }

    fn rule_test(&self, _: RuleId, _: RuleTest) -> String {
        "--dport 443".to_owned()
    }

    fn listens_at(&self, _: u8, _: u16) -> Vec<String> {
        Vec::new()
    }

    fn goes_on_at(&self, _: DevId) -> Option<String> {
        None
    }

    fn missing_set(&self, _: RuleId) -> Option<String> {
        Some("allowed".to_owned())
    }

    fn route(&self, route: RouteId) -> Described {
        Described { text: self.routes[route.index()].to_owned(), location: at("ip-route.json", 1) }
    }

    fn routing_rule(&self, _: RoutingRuleId) -> Described {
        Described { text: "32766: from all lookup main".to_owned(), location: at("ip-rule.json", 1) }
    }

    fn set(&self, _: SetId) -> Described {
        Described { text: "blocked".to_owned(), location: at("ipset-save", 1) }
    }

    fn unmodelled(&self, _: u32) -> Described {
        Described { text: "XDP program 17 on eth0".to_owned(), location: at("bpf-net.json", 1) }
    }

    fn socket(&self, _: u32) -> String {
        String::new()
    }

    fn two_backends(&self) -> bool {
        false
    }
}

fn ipv4(src: [u8; 4], dst: [u8; 4], protocol: u8, l4: &[u8]) -> Packet {
    let mut bytes = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0];
    bytes.extend(src);
    bytes.extend(dst);
    bytes.extend(l4);
    let len = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
    Packet::from_l3(EtherType::IPV4, bytes)
}

/// A SYN; checksums are left out.
pub(crate) fn tcp_syn(src: [u8; 4], sport: u16, dst: [u8; 4], dport: u16) -> Packet {
    let mut l4 = Vec::new();
    l4.extend(sport.to_be_bytes());
    l4.extend(dport.to_be_bytes());
    l4.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    ipv4(src, dst, 6, &l4)
}

/// An ICMP destination unreachable about a packet.
pub(crate) fn icmp_unreachable(src: [u8; 4], dst: [u8; 4], code: u8, about: &Packet) -> Packet {
    let mut l4 = vec![3, code, 0, 0, 0, 0, 0, 0];
    l4.extend(about.l3());
    ipv4(src, dst, 1, &l4)
}

/// A node that publishes port 8080 of a container, and a filter that does not let it through.
pub(crate) fn publishing_node() -> Table {
    Table {
        devices: vec!["lo", "eth0", "br-web"],
        chains: vec![
            (TableName::Mangle, "PREROUTING", vec!["-i eth0 -j MARK --set-xmark 0x10/0xffffffff"]),
            (
                TableName::Nat,
                "PREROUTING",
                vec!["-d 10.1.0.0/16 -j ACCEPT", "-m addrtype --dst-type LOCAL -j PUBLISH"],
            ),
            (
                TableName::Nat,
                "PUBLISH",
                vec![
                    "-i br-web -j RETURN",
                    "! -i br-web -p tcp -m tcp --dport 8080 -m comment --comment \"the web server, as published on every address\" -j DNAT --to-destination 172.17.0.2:80",
                ],
            ),
            (
                TableName::Filter,
                "FORWARD",
                vec![
                    "-j COUNT",
                    "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                    "-o br-web -j GUARD",
                ],
            ),
            (TableName::Filter, "COUNT", vec![""]),
            (
                TableName::Filter,
                "GUARD",
                vec!["-s 192.0.2.0/24 -j ACCEPT", "-j REJECT --reject-with icmp-port-unreachable"],
            ),
        ],
        routes: vec![
            "172.17.0.0/16 dev br-web proto kernel scope link src 172.17.0.1",
            "default via 198.51.100.1 dev eth0",
        ],
    }
}

fn tuple(src: [u8; 4], sport: u16, dst: [u8; 4], dport: u16) -> CtTuple {
    CtTuple {
        src: u32::from_be_bytes(src),
        dst: u32::from_be_bytes(dst),
        protocol: 6,
        l4: CtL4::Ports { src: sport, dst: dport },
    }
}

/// A SYN to the published port of [`publishing_node`]: translated, then rejected, with the ICMP error sent back.
pub(crate) fn rejected_after_dnat(names: &Table) -> SendRecord {
    let syn = tcp_syn([203, 0, 113, 5], 40000, [198, 51, 100, 7], 8080);
    let (eth0, bridge) = (DevId(1), DevId(2));
    let connection = CtId(0);
    let node = u32::from_be_bytes([198, 51, 100, 7]);
    let web = u32::from_be_bytes([172, 17, 0, 2]);
    let rule = |hook, table, chain: &str, position, passed, verdict| Step::Rule {
        hook,
        rule: names.rule_id(table, chain, position),
        passed,
        verdict,
        mark_before: 0x10,
        mark: 0x10,
    };
    let chain = |table, name: &str| names.chain_id(table, name);
    let pre = Hook::Prerouting;
    let forward = Hook::Forward;
    let reject = Locus::Rule { hook: forward, rule: names.rule_id(TableName::Filter, "GUARD", 2) };
    let steps = vec![
        Step::Rx { dev: eth0 },
        Step::CtLookup {
            hook: pre,
            result: CtResult::Entry { id: connection, info: CtInfo::New, created: true },
        },
        Step::ChainEnter { hook: pre, chain: chain(TableName::Mangle, "PREROUTING") },
        Step::Rule {
            hook: pre,
            rule: RuleId(0),
            passed: 0,
            verdict: RuleVerdict::Continue,
            mark_before: 0,
            mark: 0x10,
        },
        Step::ChainPolicy {
            hook: pre,
            chain: chain(TableName::Mangle, "PREROUTING"),
            passed: 0,
            policy: Policy::Accept,
        },
        Step::ChainEnter { hook: pre, chain: chain(TableName::Nat, "PREROUTING") },
        rule(pre, TableName::Nat, "PREROUTING", 2, 1, RuleVerdict::Jump(chain(TableName::Nat, "PUBLISH"))),
        rule(pre, TableName::Nat, "PUBLISH", 2, 1, RuleVerdict::Accept),
        Step::NatSetup {
            hook: pre,
            manip: Manip::Dst,
            rule: Some(names.rule_id(TableName::Nat, "PUBLISH", 2)),
            old_reply: tuple([198, 51, 100, 7], 8080, [203, 0, 113, 5], 40000),
            new_reply: tuple([172, 17, 0, 2], 80, [203, 0, 113, 5], 40000),
        },
        Step::NatApply { hook: pre, manip: Manip::Dst, old: (node, 8080), new: (web, 80) },
        Step::Route {
            cause: RouteCause::Input,
            rule: Some(RoutingRuleId(1)),
            route: Some(RouteId(0)),
            result: RouteResult::Unicast { dev: bridge, gateway: None },
        },
        Step::SourceCheck { rp_filter: 1, route: Some(RouteId(1)), failed: None },
        Step::Ttl { old: 64, new: 63 },
        Step::ChainEnter { hook: forward, chain: chain(TableName::Filter, "FORWARD") },
        rule(
            forward,
            TableName::Filter,
            "FORWARD",
            1,
            0,
            RuleVerdict::Jump(chain(TableName::Filter, "COUNT")),
        ),
        rule(forward, TableName::Filter, "COUNT", 1, 0, RuleVerdict::Continue),
        Step::ChainEnd { hook: forward, chain: chain(TableName::Filter, "COUNT"), passed: 0 },
        rule(
            forward,
            TableName::Filter,
            "FORWARD",
            3,
            1,
            RuleVerdict::Jump(chain(TableName::Filter, "GUARD")),
        ),
        rule(forward, TableName::Filter, "GUARD", 2, 1, RuleVerdict::Drop),
        Step::Made { by: MadeBy::RejectIcmp },
    ];
    let steps =
        steps.into_iter().map(|step| RecordedStep { mark: 0x10, ..RecordedStep::from(step) }).collect();
    let error = icmp_unreachable([198, 51, 100, 7], [203, 0, 113, 5], 3, &syn);
    let child = PacketTrace {
        parent: Some(0),
        made_by: MadeBy::RejectIcmp,
        start: error.clone(),
        mac_dst: error.mac_dst(),
        ethertype: error.ethertype(),
        in_dev: None,
        steps: [
            Step::Route {
                cause: RouteCause::Output,
                rule: Some(RoutingRuleId(1)),
                route: Some(RouteId(1)),
                result: RouteResult::Unicast {
                    dev: eth0,
                    gateway: Some(u32::from_be_bytes([198, 51, 100, 1])),
                },
            },
            Step::CtLookup { hook: Hook::Output, result: CtResult::Kept },
            Step::Assumed(Assumption::NeighbourAnswers {
                dev: eth0,
                addr: u32::from_be_bytes([198, 51, 100, 1]),
            }),
            Step::Neighbour {
                dev: eth0,
                addr: u32::from_be_bytes([198, 51, 100, 1]),
                result: NeighResult::Assumed,
            },
            Step::Xmit { dev: eth0 },
        ]
        .into_iter()
        .map(RecordedStep::from)
        .collect(),
        frames: vec![(eth0, error)],
        end: Some(End::plain(Disposition::Forwarded)),
        mark: 0,
        ct: SkbCt::Entry { id: connection, info: CtInfo::RelatedReply },
        nearest: None,
    };
    let request = PacketTrace {
        parent: None,
        made_by: MadeBy::Injected,
        mac_dst: syn.mac_dst(),
        ethertype: syn.ethertype(),
        start: syn,
        in_dev: Some(eth0),
        steps,
        frames: Vec::new(),
        end: Some(End::rejected(DropCode::RuleReject, reject)),
        mark: 0x10,
        ct: SkbCt::Entry { id: connection, info: CtInfo::New },
        nearest: None,
    };
    let connections = [(
        connection,
        Connection {
            original: tuple([203, 0, 113, 5], 40000, [198, 51, 100, 7], 8080),
            reply: tuple([172, 17, 0, 2], 80, [203, 0, 113, 5], 40000),
            mark: 0,
            status: 0x1a0,
            tcp_state: Some("SYN_SENT"),
        },
    )];
    SendRecord {
        index: 0,
        number: 1,
        request: WalkRecord { packets: vec![request, child], connections: connections.into_iter().collect() },
        reply: None,
    }
}
