//! Routing rules as commands of `ip -batch`.

use std::fmt::Write;

use pktwalk_linux::config::{NetNsConfig, RoutingAction, RoutingRule};
use pktwalk_scenario::engine::EngineError;

use crate::ns::unsupported;

/// Whether `ip rule` says more or less than the kernel's three. The kernel keeps tables local and main in one trie until it does.
pub(crate) fn has_custom_rules(config: &NetNsConfig) -> bool {
    let defaults = [(0, 255), (32766, 254), (32767, 253)];
    let plain = |rule: &RoutingRule, (priority, table): (u32, u32)| {
        rule.priority == priority
            && rule.action == RoutingAction::Lookup(table)
            && selectors(rule).is_empty()
            && !rule.not
    };
    let rules = &config.routing_rules;
    !rules.is_empty()
        && (rules.len() != defaults.len()
            || !rules.iter().zip(defaults).all(|(rule, default)| plain(rule, default)))
}

/// Realms in words of `ip`.
pub(super) fn realms(realms: u32) -> String {
    format!("{}/{}", realms >> 16, realms & 0xffff)
}

/// What a rule looks at, in words of `ip rule`.
pub(super) fn selectors(rule: &RoutingRule) -> String {
    let mut text = String::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(text, " {name} {value}");
        }
    };
    let range = |(lo, hi): (u16, u16)| if lo == hi { lo.to_string() } else { format!("{lo}-{hi}") };
    add("from", rule.from.map(|net| net.to_string()));
    add("to", rule.to.map(|net| net.to_string()));
    add("iif", rule.iif.clone());
    add("oif", rule.oif.clone());
    add("fwmark", rule.fwmark.map(|(value, mask)| format!("{value:#x}/{mask:#x}")));
    add("tos", rule.tos.map(|tos| format!("{tos:#x}")));
    add("ipproto", rule.ip_protocol.map(|protocol| protocol.to_string()));
    add("sport", rule.sport.map(range));
    add("dport", rule.dport.map(range));
    add("uidrange", rule.uid_range.map(|(lo, hi)| format!("{lo}-{hi}")));
    add("realms", (rule.realms != 0).then(|| realms(rule.realms)));
    add("suppress_prefixlength", rule.suppress_prefix_len.map(|len| len.to_string()));
    text
}

/// Whether a rule is there from the start, at the top.
fn is_first(rule: &RoutingRule) -> bool {
    rule.priority == 0 && rule.action == RoutingAction::Lookup(255) && selectors(rule).is_empty() && !rule.not
}

/// Commands that take the rules away and make those of the dump.
pub(super) fn routing_rules(text: &mut String, config: &NetNsConfig) -> Result<(), EngineError> {
    // Leaves rules of priority 0 alone.
    text.push_str("rule flush\n");
    let rules = &config.routing_rules;
    let keeps = rules.first().is_some_and(is_first);
    if !keeps {
        text.push_str("rule del priority 0\n");
    }
    rules.iter().skip(usize::from(keeps)).try_for_each(|rule| routing_rule(text, rule))
}

/// Commands that bring the kernel's three rules back; one may fail for each rule of priority 0.
pub(super) fn default_rules(text: &mut String, config: &NetNsConfig) {
    text.push_str("rule flush\n");
    for _ in config.routing_rules.iter().filter(|rule| rule.priority == 0) {
        text.push_str("rule del priority 0\n");
    }
    text.push_str("rule add priority 0 table 255\nrule add priority 32766 table 254\n");
    text.push_str("rule add priority 32767 table 253\n");
}

fn routing_rule(text: &mut String, rule: &RoutingRule) -> Result<(), EngineError> {
    if let Some(what) = &rule.unmodelled {
        return Err(unsupported(format!("routing rule {} has {what}", rule.priority)));
    }
    let not = if rule.not { " not" } else { "" };
    let action = match rule.action {
        RoutingAction::Lookup(table) => format!("table {table}"),
        RoutingAction::Goto(priority) => format!("goto {priority}"),
        RoutingAction::Nop => "nop".to_owned(),
        RoutingAction::Blackhole => "blackhole".to_owned(),
        RoutingAction::Unreachable => "unreachable".to_owned(),
        RoutingAction::Prohibit => "prohibit".to_owned(),
    };
    let _ = writeln!(text, "rule add{not}{} priority {} {action}", selectors(rule), rule.priority);
    Ok(())
}
