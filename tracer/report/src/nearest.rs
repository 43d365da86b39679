//! The rule that a dropped packet came nearest to: which test failed, and what the packet has there.

use std::net::Ipv4Addr;

use pktwalk_linux::ids::DevId;
use pktwalk_linux::netfilter::{NearMiss, RuleTest};
use pktwalk_linux::skb::SkbCt;
use pktwalk_linux::trace::PacketTrace;

use crate::flow::{Flow, L4, protocol};
use crate::json::ct_state;
use crate::names::{Names, RuleName};
use crate::sentence::last_flow;

/// A near miss in words.
pub(crate) struct Near {
    /// The rule.
    pub rule: RuleName,
    /// The test that failed, as written, such as `--dport 443`.
    pub test: String,
    /// What the packet has there.
    pub has: Option<String>,
    /// What it had there before it was translated, if that was another.
    pub had: Option<String>,
    /// Rules that were as near.
    pub others: u32,
}

/// Words for the near miss of a packet, if it has one.
pub(crate) fn near(packet: &PacketTrace, names: &dyn Names) -> Option<Near> {
    let near = packet.nearest?;
    let test = names.rule_test(near.rule, near.failed);
    let now = last_flow(packet);
    let has = has(packet, &near, &test, now.as_ref(), names);
    let start = Flow::of(&packet.start);
    let had = self::has(packet, &near, &test, start.as_ref(), names).filter(|had| Some(had) != has.as_ref());
    Some(Near { rule: names.rule(near.rule), test, has, had, others: near.others })
}

fn has(
    packet: &PacketTrace,
    near: &NearMiss,
    test: &str,
    flow: Option<&Flow>,
    names: &dyn Names,
) -> Option<String> {
    let device = |dev: Option<DevId>| Some(dev.map_or("none".to_owned(), |dev| names.device(dev)));
    let addr = |addr: u32| Ipv4Addr::from(addr).to_string();
    let (sport, dport, flags) = match flow.map(|flow| &flow.l4) {
        Some(L4::Tcp { sport, dport, flags }) => (Some(*sport), Some(*dport), Some(*flags)),
        Some(L4::Ports { sport, dport }) => (Some(*sport), Some(*dport), None),
        _ => (None, None, None),
    };
    let says = |word: &str| test.split_whitespace().any(|each| each == word);
    match near.failed {
        RuleTest::Src => flow.map(|flow| addr(flow.src)),
        RuleTest::Dst => flow.map(|flow| addr(flow.dst)),
        RuleTest::InDev => device(near.in_dev),
        RuleTest::OutDev => device(near.out_dev),
        RuleTest::Protocol => flow.map(|flow| protocol(flow.protocol)),
        RuleTest::SrcPort(_) => sport.map(|port| port.to_string()),
        RuleTest::DstPort(_) => dport.map(|port| port.to_string()),
        RuleTest::TcpFlags(_) => flags.map(crate::flow::tcp_flags),
        RuleTest::Match(_) if says("--sports") => sport.map(|port| port.to_string()),
        RuleTest::Match(_) if says("--dports") => dport.map(|port| port.to_string()),
        RuleTest::Match(_) if says("mark") => Some(format!("{:#x}", packet.mark)),
        RuleTest::Match(_) if says("--src-range") && !says("--dst-range") => flow.map(|flow| addr(flow.src)),
        RuleTest::Match(_) if says("--dst-range") && !says("--src-range") => flow.map(|flow| addr(flow.dst)),
        RuleTest::Match(_) if says("--ctstate") || says("--state") => match packet.ct {
            SkbCt::Entry { info, .. } => Some(ct_state(info).to_owned()),
            SkbCt::Untracked => Some("UNTRACKED".to_owned()),
            SkbCt::None | SkbCt::Attached => Some("INVALID".to_owned()),
        },
        RuleTest::Match(_) => None,
    }
}

impl Near {
    /// What is said behind the rule: `failed on --dport 443 alone (the packet has 8443; 443 before NAT)`.
    pub fn why(&self) -> String {
        let has = match (&self.has, &self.had) {
            (Some(has), Some(had)) => format!(" (the packet has {has}; {had} before NAT)"),
            (Some(has), None) => format!(" (the packet has {has})"),
            (None, _) => String::new(),
        };
        let others = match self.others {
            0 => String::new(),
            1 => "; another rule is as near".to_owned(),
            more => format!("; {more} other rules are as near"),
        };
        format!("failed on {} alone{has}{others}", self.test)
    }
}
