//! `ip -j route show table all` and `ip -j nexthop`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use pktwalk_linux::config::{Nexthop, Route, RouteType, UnmodelledPoint};
use pktwalk_linux::hook::Family;
use pktwalk_linux::ids::SourceLine;

use crate::devices;
use crate::json::{self, Object};
use crate::keys;
use crate::reader::Reader;

/// Table number by name or number.
pub(crate) fn table(text: &str) -> Option<u32> {
    match text {
        "local" => Some(255),
        "main" => Some(254),
        "default" => Some(253),
        "unspec" => Some(0),
        other => other.parse().ok(),
    }
}

/// Nexthop objects by id.
#[derive(Default)]
pub(crate) struct NexthopObjects {
    single: BTreeMap<u64, Nexthop>,
    /// Members and their weights.
    groups: BTreeMap<u64, Vec<(u64, u32)>>,
}

impl NexthopObjects {
    /// What a route by this id sends to; `None` if the id is not known.
    fn resolve(&self, id: u64) -> Option<Vec<Nexthop>> {
        if let Some(one) = self.single.get(&id) {
            return Some(vec![one.clone()]);
        }
        let members = self.groups.get(&id)?;
        members
            .iter()
            .map(|(member, weight)| self.single.get(member).map(|n| Nexthop { weight: *weight, ..n.clone() }))
            .collect()
    }
}

/// `ip -j nexthop`.
pub(crate) fn nexthop_objects(reader: &mut Reader<'_>, text: &[u8]) -> NexthopObjects {
    let mut all = NexthopObjects::default();
    json::objects(reader, text, |reader, object| {
        keys::NEXTHOP.check(reader, &object.map, object.line);
        let Some(id) = object.number("id") else {
            reader.error(object.line, "a nexthop without id");
            return;
        };
        if object.has("group") {
            for member in object.list("group") {
                match member.as_object() {
                    Some(map) => keys::NEXTHOP_MEMBER.check(reader, map, object.line),
                    None => reader.error(object.line, format!("a member of group {id} that is no object")),
                }
                if member.get("id").and_then(json::number).is_none() {
                    reader.error(object.line, format!("a member of nexthop group {id} without id"));
                }
            }
            let members = object
                .list("group")
                .iter()
                .filter_map(|member| {
                    let weight = member.get("weight").and_then(json::number_u32).unwrap_or(1);
                    Some((json::number(member.get("id")?)?, weight))
                })
                .collect();
            all.groups.insert(id, members);
            if object.text("type").is_some_and(|kind| kind != "mpath") {
                reader.unmodelled(
                    object.line,
                    format!("nexthop group {id} of type {}", object.text("type").unwrap_or_default()),
                    UnmodelledPoint::Everywhere,
                );
            }
        } else {
            let nexthop = nexthop(reader, &object, &object);
            if object.has("encap") {
                encap(reader, &object, &format!("nexthop {id}"), nexthop.dev.as_deref());
            }
            all.single.insert(id, nexthop);
        }
    });
    all
}

fn encap(reader: &mut Reader<'_>, object: &Object, what: &str, dev: Option<&str>) {
    let kind = object.text("encap").unwrap_or_else(|| "of a kind not told".to_owned());
    let point = dev.map_or(UnmodelledPoint::Everywhere, |dev| UnmodelledPoint::Tx(dev.to_owned()));
    reader.unmodelled(object.line, format!("encap {kind} of {what}"), point);
}

fn nexthop(reader: &mut Reader<'_>, object: &Object, route: &Object) -> Nexthop {
    let mut via = object.read(reader, "gateway", json::address);
    if let Some(other) = object.map.get("via") {
        // A gateway of the other family: {"family": "inet6", "host": "fe80::1"}.
        via = other.get("host").and_then(json::address);
        if via.is_none() {
            reader.error(route.line, format!("via {other} cannot be read"));
        }
    }
    let flags = object.strings("flags");
    for flag in &flags {
        if !matches!(
            *flag,
            "onlink"
                | "linkdown"
                | "dead"
                | "pervasive"
                | "offload"
                | "trap"
                | "rt_offload"
                | "rt_trap"
                | "rt_offload_failed"
                | "notify"
                | "unresolved"
        ) {
            reader.warning(route.line, format!("flag '{flag}' is not known and left out"));
        }
    }
    let realms = realms(reader, object);
    Nexthop {
        via,
        realms,
        dev: object.text("dev"),
        weight: object.read(reader, "weight", json::number_u32).unwrap_or(1).max(1),
        onlink: flags.contains(&"onlink"),
        dead: flags.contains(&"dead"),
        linkdown: flags.contains(&"linkdown"),
    }
}

/// The realms of a route or nexthop: `{"from": "3", "to": "5"}`.
fn realms(reader: &mut Reader<'_>, object: &Object) -> u32 {
    let Some(flow) = object.map.get("flow") else { return 0 };
    let flow = flow.as_object();
    let mut side = |key: &str| realm(reader, object.line, flow.and_then(|flow| flow.get(key)));
    side("from") << 16 | side("to")
}

/// The number of a realm.
pub(crate) fn realm(reader: &mut Reader<'_>, line: u32, value: Option<&serde_json::Value>) -> u32 {
    let Some(value) = value else { return 0 };
    let number = json::number(value).and_then(|number| u16::try_from(number).ok());
    match (number, value.as_str()) {
        (Some(number), _) => u32::from(number),
        // The one that every machine has a name for.
        (None, Some("cosmos")) => 0,
        _ => {
            reader.warning(
                line,
                format!("the number of realm {value} is not known: 1 is taken, which does the same"),
            );
            1
        }
    }
}

/// What tells routes apart: destination, table, tos and metric.
type Key = (IpNet, u32, u8, u32);

/// What the text of `ip route show table all` tells beyond its JSON.
pub(crate) struct RouteText {
    /// Routes whose mtu is locked.
    locked: BTreeSet<Key>,
    /// Where each IPv4 route stands.
    lines: BTreeMap<Key, SourceLine>,
}

/// The text form is asked for nothing but what the JSON form of the tool leaves out: which mtu is locked, and lines.
pub(crate) fn route_text(reader: &mut Reader<'_>, text: &[u8]) -> RouteText {
    let mut found = RouteText { locked: BTreeSet::new(), lines: BTreeMap::new() };
    reader.lines(text, |reader, number, line| {
        // Nexthops of the route above.
        if line.starts_with([' ', '\t']) {
            return;
        }
        let locked = line.contains(" mtu lock ");
        let words: Vec<&str> = line.split_whitespace().collect();
        // `default` may be of IPv6; what is has a preference.
        if words.contains(&"pref") {
            return;
        }
        let dst = words
            .iter()
            .find(|word| RouteType::from_name(word).is_none())
            .and_then(|word| json::prefix(word, Family::V4));
        let after =
            |key: &str| words.iter().position(|word| *word == key).and_then(|at| words.get(at + 1)).copied();
        let number_after = |key: &str| match after(key) {
            None => Some(0),
            Some(text) => json::number(&serde_json::Value::from(text)).and_then(|n| u32::try_from(n).ok()),
        };
        let tos = match after("tos") {
            None => Some(0),
            Some(text) => json::tos(&serde_json::Value::from(text)),
        };
        match (dst, after("table").map_or(Some(254), table), tos, number_after("metric")) {
            (Some(dst), Some(table), Some(tos), Some(metric)) => {
                let key = (dst, table, tos, metric);
                found.lines.entry(key).or_insert(reader.at(number));
                if locked {
                    found.locked.insert(key);
                }
            }
            // Routes of IPv6, mostly.
            _ if !locked => {}
            _ => reader.error(number, "a route with a locked mtu that cannot be read"),
        }
    });
    found
}

/// What stands beside a route in other files.
pub(crate) struct Beside<'a> {
    pub(crate) nexthops: &'a NexthopObjects,
    /// None where there is no text that tells.
    pub(crate) text: Option<&'a RouteText>,
}

/// `ip -j route show table all`.
pub(crate) fn routes(reader: &mut Reader<'_>, text: &[u8], family: Family, beside: &Beside<'_>) {
    // The tool prints one line, which tells nobody where a route stands.
    let one_line = !text.trim_ascii().contains(&b'\n');
    let lines = beside.text.filter(|_| one_line && family == Family::V4).map(|text| &text.lines);
    json::objects(reader, text, |reader, object| {
        keys::ROUTE.check(reader, &object.map, object.line);
        match route(reader, &object, family, beside) {
            Ok(mut route) => {
                let key = (route.dst, route.table, route.tos, route.metric);
                if let Some(line) =
                    lines.and_then(|lines| lines.get(&key)).filter(|_| route.dst.addr().is_ipv4())
                {
                    route.source = *line;
                }
                reader.config.routes.push(route);
            }
            Err(message) => {
                reader.error(object.line, message.clone());
                // A route that is lost may be the one that a packet takes.
                reader.unmodelled(
                    object.line,
                    format!("route that cannot be read: {message}"),
                    UnmodelledPoint::Everywhere,
                );
            }
        }
    });
}

/// Which family a route is of: `ip -j route show table all` prints both, and `default` does not tell. Routes of IPv6 have a preference, and where
/// they have addresses these tell.
fn route_family(object: &Object, dst: &str, told: Family) -> Result<Family, String> {
    let of =
        |text: &str| text.split('/').next().and_then(|addr| addr.parse::<IpAddr>().ok()).map(|a| family(&a));
    // `via` is a gateway of the other family.
    let own = ["gateway", "prefsrc"].into_iter().find_map(|key| of(&object.text(key)?));
    let nexthop = || object.list("nexthops").iter().find_map(|one| of(one.get("gateway")?.as_str()?));
    if let Some(family) = of(dst).or(own).or_else(nexthop) {
        return Ok(family);
    }
    if told == Family::V6 || object.has("pref") {
        return Ok(Family::V6);
    }
    // What of IPv4 goes to a device without a gateway has a scope, and what goes nowhere has no device: that of IPv6 has one.
    if object.has("dev") && !object.has("scope") && !object.has("via") {
        return Err(format!(
            "whether the route {dst} is of IPv4 or IPv6 is not told (`ip -4 -j route` does)"
        ));
    }
    Ok(Family::V4)
}

fn route(
    reader: &mut Reader<'_>,
    object: &Object,
    family: Family,
    beside: &Beside<'_>,
) -> Result<Route, String> {
    let dst_text = object.text("dst").ok_or("a route without dst")?;
    // Keys of an encap stand among those of the route, and some are called the same: `dst`, which stands after that of the route, and `tos`.
    let encap = object.has("encap");
    if let Some(key) = object.repeated.iter().find(|key| !encap || !matches!(key.as_str(), "dst" | "flags")) {
        return Err(format!("'{key}' of route {dst_text} stands twice"));
    }
    if encap && object.has("tos") {
        return Err(format!("whether tos of route {dst_text} is that of its encap is not told"));
    }
    let family = route_family(object, &dst_text, family)?;
    let dst = json::prefix(&dst_text, family).ok_or_else(|| format!("'{dst_text}' is no destination"))?;
    let kind_text = object.text("type").unwrap_or_else(|| "unicast".to_owned());
    let kind =
        RouteType::from_name(&kind_text).ok_or_else(|| format!("route type '{kind_text}' is not known"))?;
    let table_text = object.text("table").unwrap_or_else(|| "main".to_owned());
    let table =
        table(&table_text).ok_or_else(|| format!("the number of table '{table_text}' is not known"))?;
    let scope_text = object.text("scope").unwrap_or_else(|| "global".to_owned());
    let scope = devices::scope(&scope_text).ok_or_else(|| format!("scope '{scope_text}' is not known"))?;
    let tos = match object.map.get("tos") {
        None => 0,
        Some(value) => json::tos(value).ok_or_else(|| format!("tos {value} cannot be read"))?,
    };
    let metric = match object.map.get("metric") {
        None => 0,
        Some(value) => json::number_u32(value).ok_or_else(|| format!("metric {value} cannot be read"))?,
    };
    if object.has("from") {
        let from = object.text("from").unwrap_or_default();
        reader.unmodelled(object.line, format!("route {dst_text} from {from}"), UnmodelledPoint::Everywhere);
    }
    let prefsrc = object.read(reader, "prefsrc", json::address);
    let (mut mtu, mut mtu_lock, mut hop_limit) = (None, false, None);
    // The others are for the ends of connections (`window`, `advmss`, `rto_min`, ...).
    for metrics in object.list("metrics") {
        let metrics = metrics.as_object().ok_or("metrics that are no object")?;
        keys::METRICS.check(reader, metrics, object.line);
        if let Some(value) = metrics.get("mtu") {
            mtu = json::number_u32(value);
            // The JSON of the tool leaves `lock` out (its text has it); our own writer adds a key for it.
            match (metrics.get("mtu_lock").map(|lock| lock.as_bool()), beside.text) {
                (Some(Some(lock)), _) => mtu_lock = lock,
                (Some(None), _) => reader.error(object.line, "mtu_lock is neither true nor false"),
                (None, Some(text)) => mtu_lock = text.locked.contains(&(dst, table, tos, metric)),
                (None, None) => reader.warning(
                    object.line,
                    format!("route {dst_text}: `ip -j` does not tell whether its mtu is locked (the text in a file ip-route does); not locked is taken"),
                ),
            }
            if mtu.is_none() {
                reader.error(object.line, format!("mtu {value} cannot be read"));
            }
        }
        if let Some(value) = metrics.get("hoplimit") {
            hop_limit = json::number_u32(value);
            if hop_limit.is_none() {
                reader.error(object.line, format!("hoplimit {value} cannot be read"));
            }
        }
    }
    let nexthops = nexthops(reader, object, kind, &dst_text, beside.nexthops)?;
    Ok(Route {
        table,
        kind,
        dst,
        tos,
        metric,
        scope,
        protocol: object.text("protocol").unwrap_or_else(|| "boot".to_owned()),
        prefsrc,
        nexthops,
        by_object: object.has("nhid"),
        mtu,
        mtu_lock,
        hop_limit,
        source: reader.at(object.line),
        origin: None,
    })
}

fn nexthops(
    reader: &mut Reader<'_>,
    object: &Object,
    kind: RouteType,
    dst: &str,
    objects: &NexthopObjects,
) -> Result<Vec<Nexthop>, String> {
    let sends = !matches!(
        kind,
        RouteType::Blackhole | RouteType::Unreachable | RouteType::Prohibit | RouteType::Throw
    );
    if !sends {
        return Ok(Vec::new());
    }
    let list = object.list("nexthops");
    if !list.is_empty() {
        let mut nexthops = Vec::with_capacity(list.len());
        for member in list {
            let map = member.as_object().ok_or("a nexthop that is no object")?.clone();
            keys::ROUTE_NEXTHOP.check(reader, &map, object.line);
            let member = Object { map, repeated: Vec::new(), line: object.line };
            let one = nexthop(reader, &member, object);
            if member.has("encap") {
                encap(reader, &member, &format!("route {dst}"), one.dev.as_deref());
            }
            nexthops.push(one);
        }
        return Ok(nexthops);
    }
    if object.has("dev") || object.has("gateway") || object.has("via") {
        let one = nexthop(reader, object, object);
        if object.has("encap") {
            encap(reader, object, &format!("route {dst}"), one.dev.as_deref());
        }
        return Ok(vec![one]);
    }
    match object.number("nhid") {
        Some(id) => objects.resolve(id).ok_or_else(|| {
            format!("route {dst} goes by nexthop object {id}, which no ip-nexthop.json tells of")
        }),
        None if kind == RouteType::Unicast => Err(format!("route {dst} has neither device nor nexthop")),
        None => Ok(Vec::new()),
    }
}

/// An address family of an address.
pub(crate) fn family(addr: &IpAddr) -> Family {
    if addr.is_ipv4() { Family::V4 } else { Family::V6 }
}
