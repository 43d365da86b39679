//! [`Names`]: what the ids of a trace are called, and where each was read.

use std::fmt;

use pktwalk_linux::hook::{Backend, TableName};
use pktwalk_linux::ids::{ChainId, DevId, RouteId, RoutingRuleId, RuleId, SetId};
use pktwalk_linux::netfilter::RuleTest;

/// A place in an input file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Location {
    /// As the bundle names it.
    pub file: String,
    /// 1-based; 0 for the file as a whole.
    pub line: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        Ok(())
    }
}

/// A thing in the words of the tool that prints it, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Described {
    /// Such as `10.0.0.0/24 dev eth0 table main`.
    pub text: String,
    /// Where it was read, where known.
    pub location: Option<Location>,
}

/// A chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChainName {
    /// Which implementation runs it.
    pub backend: Backend,
    /// Its table.
    pub table: TableName,
    /// Its name.
    pub chain: String,
    /// How many rules it has.
    pub rules: u32,
    /// Where it stands.
    pub location: Option<Location>,
}

/// A rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleName {
    /// The chain that it is in.
    pub chain: ChainName,
    /// Its id, to follow jumps.
    pub chain_id: ChainId,
    /// 1-based position in the chain.
    pub position: u32,
    /// What stands after `-A CHAIN `, as iptables-save prints it.
    pub spec: String,
    /// What stands after `-j` or `-g`, first word; empty for a rule without target.
    pub target: String,
    /// Where it stands.
    pub location: Option<Location>,
}

/// Names for the ids of one network namespace.
pub trait Names {
    /// The node; empty if there is only one and it has no name.
    fn node(&self) -> &str;
    /// The namespace within the node; empty for the node's own.
    fn netns(&self) -> &str;
    /// Device name.
    fn device(&self, dev: DevId) -> String;
    /// What a device is, such as `a device of kind vxlan`.
    fn device_kind(&self, dev: DevId) -> Described;
    /// Chain.
    fn chain(&self, chain: ChainId) -> ChainName;
    /// Rule.
    fn rule(&self, rule: RuleId) -> RuleName;
    /// The match at this 0-based position of a rule, such as `-m time --timestart 08:00:00`.
    fn rule_match(&self, rule: RuleId, position: u16) -> String;
    /// One test of a rule as written, such as `--dport 80` or `-m mark --mark 0x1`.
    fn rule_test(&self, rule: RuleId, test: RuleTest) -> String;
    /// Where sockets of this protocol and port listen that do not take just any packet for them, such as `127.0.0.1:80`.
    fn listens_at(&self, protocol: u8, port: u16) -> Vec<String>;
    /// Where a frame that leaves by this device is received, as `--at` takes it, if that namespace is in the bundle.
    fn goes_on_at(&self, dev: DevId) -> Option<String>;
    /// The first set that the rule asks for and that is not there.
    fn missing_set(&self, rule: RuleId) -> Option<String>;
    /// Route.
    fn route(&self, route: RouteId) -> Described;
    /// Routing rule.
    fn routing_rule(&self, rule: RoutingRuleId) -> Described;
    /// Set.
    fn set(&self, set: SetId) -> Described;
    /// State that is there but not modelled, by position.
    fn unmodelled(&self, position: u32) -> Described;
    /// Process and user of the socket at this position.
    fn socket(&self, position: u32) -> String;
    /// Whether rules of both backends are there, so that a report has to say which.
    fn two_backends(&self) -> bool;
    /// Whether the bundle has a list of neighbours, so that one that is assumed is none of it.
    fn lists_neighbours(&self) -> bool {
        false
    }
}
