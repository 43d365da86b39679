//! `ip -j rule`.

use ipnet::IpNet;
use pktwalk_linux::config::{RoutingAction, RoutingRule, UnmodelledPoint};
use pktwalk_linux::hook::Family;
use serde_json::Value;

use crate::json::{self, Object};
use crate::keys;
use crate::reader::Reader;
use crate::routes;

/// Keys that are read below, or say nothing about a packet.
const KNOWN: [&str; 33] = [
    "priority",
    "not",
    "src",
    "srclen",
    "dst",
    "dstlen",
    "iif",
    "oif",
    "fwmark",
    "fwmask",
    "tos",
    "ipproto",
    "sport",
    "sport_start",
    "sport_end",
    "dport",
    "dport_start",
    "dport_end",
    "uid_start",
    "uid_end",
    "table",
    "goto",
    "nop",
    "action",
    "unresolved",
    "suppress_prefixlen",
    "suppress_ifgroup",
    "protocol",
    "iif_detached",
    "oif_detached",
    "realms",
    "flow_from",
    "flow_to",
];

/// Reads the rules of one family.
pub(crate) fn rules(reader: &mut Reader<'_>, text: &[u8], family: Family) {
    json::objects(reader, text, |reader, object| {
        keys::RULE.check(reader, &object.map, object.line);
        match rule(reader, &object, family) {
            Ok(rule) => reader.config.routing_rules.push(rule),
            Err(message) => {
                reader.error(object.line, message.clone());
                reader.unmodelled(
                    object.line,
                    format!("routing rule that cannot be read: {message}"),
                    UnmodelledPoint::Everywhere,
                );
            }
        }
    });
}

/// Protocols that the tool prints by name.
fn ip_protocol(text: &str) -> Option<u8> {
    Some(match text {
        "icmp" => 1,
        "igmp" => 2,
        "tcp" => 6,
        "udp" => 17,
        "dccp" => 33,
        "gre" => 47,
        "esp" => 50,
        "ah" => 51,
        "ipv6-icmp" => 58,
        "sctp" => 132,
        "udplite" => 136,
        other => return other.trim_start_matches("ipproto-").parse().ok(),
    })
}

fn narrow<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    T::try_from(json::number(value)?).ok()
}

/// A selector that cannot be read makes the whole rule unreadable: the rule without it would take other packets.
fn selector<T>(object: &Object, key: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>, String> {
    match object.map.get(key) {
        None => Ok(None),
        Some(value) => read(value).map(Some).ok_or_else(|| format!("{key} {value} cannot be read")),
    }
}

fn range<T: TryFrom<u64> + Copy>(
    object: &Object,
    one: &str,
    first: &str,
    last: &str,
) -> Result<Option<(T, T)>, String> {
    if let Some(one) = selector(object, one, narrow::<T>)? {
        return Ok(Some((one, one)));
    }
    match (selector(object, first, narrow::<T>)?, selector(object, last, narrow::<T>)?) {
        (Some(first), Some(last)) => Ok(Some((first, last))),
        (None, None) => Ok(None),
        _ => Err(format!("{first} stands without {last}, or the other way round")),
    }
}

fn net(object: &Object, key: &str, len_key: &str, family: Family) -> Result<Option<IpNet>, String> {
    let Some(text) = object.text(key) else { return Ok(None) };
    if text == "all" {
        return Ok(None);
    }
    let bad = || format!("{key} '{text}' is no prefix");
    let base = json::prefix(&text, family).ok_or_else(bad)?;
    match selector(object, len_key, narrow::<u8>)? {
        None => Ok(Some(base)),
        Some(len) => IpNet::new(base.addr(), len).map(Some).map_err(|_| bad()),
    }
}

fn rule(reader: &mut Reader<'_>, object: &Object, family: Family) -> Result<RoutingRule, String> {
    if let Some(key) = object.repeated.first() {
        return Err(format!("'{key}' of a rule stands twice"));
    }
    // The tool always prints it, `all` where it selects nothing.
    if !object.has("src") {
        return Err("a rule without src".to_owned());
    }
    let priority = selector(object, "priority", narrow::<u32>)?.ok_or("a rule without priority")?;
    let fwmark = match selector(object, "fwmark", narrow::<u32>)? {
        Some(mark) => Some((mark, selector(object, "fwmask", narrow::<u32>)?.unwrap_or(u32::MAX))),
        None => selector(object, "fwmask", narrow::<u32>)?.map(|mask| (0, mask)),
    };
    let mut unmodelled: Vec<String> =
        object.map.keys().filter(|key| !KNOWN.contains(&key.as_str())).cloned().collect();
    if object.text("suppress_ifgroup").is_some_and(|group| group != "-1") {
        unmodelled.push("suppress_ifgroup".to_owned());
    }
    let action = action(object, &unmodelled)?;
    let mut realm = |key: &str| routes::realm(reader, object.line, object.map.get(key));
    let realms = realm("flow_from") << 16 | realm("flow_to");
    Ok(RoutingRule {
        priority,
        not: object.has("not"),
        from: net(object, "src", "srclen", family)?,
        to: net(object, "dst", "dstlen", family)?,
        iif: object.text("iif"),
        oif: object.text("oif"),
        fwmark,
        tos: selector(object, "tos", json::tos)?,
        ip_protocol: selector(object, "ipproto", |value| ip_protocol(&json::text(value)?))?,
        sport: range(object, "sport", "sport_start", "sport_end")?,
        dport: range(object, "dport", "dport_start", "dport_end")?,
        uid_range: range(object, "uid", "uid_start", "uid_end")?,
        action,
        suppress_prefix_len: selector(object, "suppress_prefixlen", narrow::<u8>)?,
        realms,
        unmodelled: (!unmodelled.is_empty()).then(|| unmodelled.join(", ")),
        source: reader.at(object.line),
        origin: None,
    })
}

fn action(object: &Object, unmodelled: &[String]) -> Result<RoutingAction, String> {
    if let Some(target) = selector(object, "goto", narrow::<u32>)? {
        return Ok(RoutingAction::Goto(target));
    }
    if object.has("nop") {
        return Ok(RoutingAction::Nop);
    }
    match object.text("action").as_deref() {
        Some("blackhole") => return Ok(RoutingAction::Blackhole),
        Some("unreachable") => return Ok(RoutingAction::Unreachable),
        Some("prohibit") => return Ok(RoutingAction::Prohibit),
        Some("nop") => return Ok(RoutingAction::Nop),
        Some("to_tbl" | "lookup") | None => {}
        Some(other) => return Err(format!("action '{other}' is not known")),
    }
    match object.text("table") {
        Some(text) => routes::table(&text)
            .map(RoutingAction::Lookup)
            .ok_or_else(|| format!("the number of table '{text}' is not known")),
        // `l3mdev` takes the table of the device; the rule is named as not modelled.
        None if unmodelled.iter().any(|key| key == "l3mdev") => Ok(RoutingAction::Nop),
        None => Err("a rule without table or action".to_owned()),
    }
}
