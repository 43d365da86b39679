//! State that is there but not modelled: it is named, so that a walk that meets it ends in `Unknown`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use pktwalk_linux::config::{Ruleset, UnmodelledPoint};
use pktwalk_linux::hook::{Backend, Family, TableName};

use crate::json;
use crate::keys;
use crate::reader::Reader;

/// Devices and hooks (`ingress`, `egress`) of which all filters are known.
pub(crate) type Listed = BTreeSet<(String, &'static str)>;

/// `tc -j filter show dev DEV HOOK` of each device and hook, as `filters` of an object with `dev` and `hook`: the tool says neither where it was
/// asked for it.
pub(crate) fn tc_filters(reader: &mut Reader<'_>, text: &[u8]) -> Listed {
    let mut listed = Listed::new();
    json::objects(reader, text, |reader, object| {
        keys::TC_FILTER.check(reader, &object.map, object.line);
        let hook = match object.text("hook").as_deref() {
            Some("ingress") => "ingress",
            Some("egress") => "egress",
            _ => return reader.error(object.line, "an entry whose hook is neither ingress nor egress"),
        };
        let Some(dev) = object.text("dev") else { return reader.error(object.line, "an entry without dev") };
        if object.map.get("filters").is_none_or(|filters| !filters.is_array()) {
            return reader.error(object.line, format!("no list 'filters' of {dev} at {hook}"));
        }
        // The tool says each filter twice or more: that it is there, and what it does.
        let kinds: BTreeSet<String> = object
            .list("filters")
            .iter()
            .map(|filter| {
                filter.get("kind").and_then(json::text).unwrap_or_else(|| "of unknown kind".to_owned())
            })
            .collect();
        for kind in kinds {
            let point = if hook == "egress" {
                UnmodelledPoint::Tx(dev.clone())
            } else {
                UnmodelledPoint::Rx(dev.clone())
            };
            reader.unmodelled(object.line, format!("TC filter {kind} at {hook} on {dev}"), point);
        }
        listed.insert((dev, hook));
    });
    listed
}

/// `tc -j qdisc` (and filters, if they were appended). `bpf-net.json` tells of programs only: a qdisc that filters hang on is without any where
/// `listed` says so.
pub(crate) fn tc(reader: &mut Reader<'_>, text: &[u8], listed: &Listed) {
    json::objects(reader, text, |reader, object| {
        keys::TC.check(reader, &object.map, object.line);
        let Some(kind) = object.text("kind") else {
            reader.error(object.line, "an entry without kind");
            return;
        };
        let dev = object.text("dev");
        if object.has("protocol") && object.has("pref") {
            let (what, point) = match dev {
                Some(dev) => (
                    format!("tc filter {kind} on {dev}"),
                    vec![UnmodelledPoint::Rx(dev.clone()), UnmodelledPoint::Tx(dev)],
                ),
                None => (format!("tc filter {kind}"), vec![UnmodelledPoint::Everywhere]),
            };
            for point in point {
                reader.unmodelled(object.line, what.clone(), point);
            }
            return;
        }
        let Some(dev) = dev else {
            reader.error(object.line, format!("qdisc {kind} without dev"));
            return;
        };
        match kind.as_str() {
            "clsact" | "ingress" => {
                let what = format!("qdisc {kind} on {dev}, whose filters the bundle does not hold");
                if !listed.contains(&(dev.clone(), "ingress")) {
                    reader.unmodelled(object.line, what.clone(), UnmodelledPoint::Rx(dev.clone()));
                }
                if kind == "clsact" && !listed.contains(&(dev.clone(), "egress")) {
                    reader.unmodelled(object.line, what, UnmodelledPoint::Tx(dev));
                }
            }
            // Queues: they drop under load only, which no walk of one packet is about.
            "noqueue" | "pfifo_fast" | "pfifo" | "bfifo" | "fq_codel" | "fq" | "mq" | "codel" | "sfq"
            | "pfifo_head_drop" | "mqprio" => {}
            _ => reader.unmodelled(object.line, format!("qdisc {kind} on {dev}"), UnmodelledPoint::Tx(dev)),
        }
    });
}

/// `bpftool -j net`.
pub(crate) fn bpf_net(reader: &mut Reader<'_>, text: &[u8]) {
    // What is named already; and devices of whose XDP program `ip -d link` tells.
    let mut known: HashSet<String> = HashSet::new();
    let mut xdp: HashSet<String> = HashSet::new();
    for state in &reader.config.unmodelled {
        if let UnmodelledPoint::Rx(dev) = &state.point
            && state.what.starts_with("XDP program")
        {
            xdp.insert(dev.clone());
        }
        known.insert(state.what.clone());
    }
    json::objects(reader, text, |reader, object| {
        for (section, value) in &object.map {
            for program in value.as_array().into_iter().flatten() {
                let field = |key: &str| program.get(key).and_then(json::text);
                let dev = field("devname").or_else(|| field("dev"));
                let id =
                    field("id").or_else(|| field("prog_id")).unwrap_or_else(|| "of unknown id".to_owned());
                let name = field("name").map(|name| format!(" ({name})")).unwrap_or_default();
                let kind = field("kind").unwrap_or_default();
                let on = dev.as_deref().map(|dev| format!(" on {dev}")).unwrap_or_default();
                let (what, point) = match (section.as_str(), dev) {
                    ("xdp", Some(dev)) => (format!("XDP program {id}{name}{on}"), UnmodelledPoint::Rx(dev)),
                    ("tc", Some(dev)) if kind.contains("egress") || kind == "netkit/peer" => {
                        (format!("TC program {id}{name} at egress{on}"), UnmodelledPoint::Tx(dev))
                    }
                    ("tc", Some(dev)) => {
                        (format!("TC program {id}{name} at ingress{on}"), UnmodelledPoint::Rx(dev))
                    }
                    // It takes packets apart for hashing; it drops none.
                    ("flow_dissector", _) => continue,
                    (other, _) => (format!("{other} program {id}{name}{on}"), UnmodelledPoint::Everywhere),
                };
                let source = reader.at(object.line);
                let twice = match &point {
                    UnmodelledPoint::Rx(dev) if section == "xdp" => !xdp.insert(dev.clone()),
                    _ => false,
                };
                if !twice && known.insert(what.clone()) {
                    reader.config.unmodelled.push(pktwalk_linux::config::UnmodelledState {
                        what,
                        point,
                        source,
                    });
                }
            }
        }
    });
}

/// `ip xfrm policy` and `ip xfrm state`: transformations may take any packet.
pub(crate) fn xfrm(reader: &mut Reader<'_>, text: &[u8]) {
    let mut first = true;
    reader.lines(text, |reader, number, _| {
        if std::mem::take(&mut first) {
            reader.unmodelled(number, "IPsec (xfrm) policies or states", UnmodelledPoint::Everywhere);
        }
    });
}

/// `ipvsadm -Sn` or `ipvsadm -Ln`.
pub(crate) fn ipvs(reader: &mut Reader<'_>, text: &[u8]) {
    let mut first = true;
    reader.lines(text, |reader, number, line| {
        let service = matches!(line.split_whitespace().next(), Some("-A" | "TCP" | "UDP" | "SCTP" | "FWM"));
        if service && std::mem::take(&mut first) {
            let what = format!("IPVS services (the first: {})", line.trim());
            reader.unmodelled(number, what, UnmodelledPoint::Everywhere);
        }
    });
}

/// `wg show` or `wg show all dump`.
pub(crate) fn wg(reader: &mut Reader<'_>, text: &[u8]) {
    let mut seen = BTreeSet::new();
    reader.lines(text, |reader, number, line| {
        let dev = match line.split_once('\t') {
            Some((dev, _)) => dev,
            None => match line.trim().strip_prefix("interface:") {
                Some(dev) => dev.trim(),
                None => return,
            },
        };
        if seen.insert(dev.to_owned()) {
            reader.unmodelled(number, format!("WireGuard on {dev}"), UnmodelledPoint::Rx(dev.to_owned()));
            reader.unmodelled(number, format!("WireGuard on {dev}"), UnmodelledPoint::Tx(dev.to_owned()));
        }
    });
}

/// A file that is read for its form only.
pub(crate) fn form_only(reader: &mut Reader<'_>, text: &[u8]) {
    json::objects(reader, text, |_, _| {});
}

struct NftTable {
    line: u32,
    /// Names of its base chains with their hooks; `dev` of netdev chains.
    base: Vec<(String, String, Option<String>)>,
    chains: BTreeSet<String>,
    /// Whether something in it can decide about a packet: a rule, or a policy other than accept.
    acts: bool,
}

/// `nft -j list ruleset`: native tables are not modelled. Tables of the names that iptables-nft uses, whose chains stand in `iptables-save`, are
/// its own and are left out.
pub(crate) fn nft(reader: &mut Reader<'_>, text: &[u8]) {
    if text.trim_ascii().is_empty() {
        return;
    }
    let mut tables: BTreeMap<(String, String), NftTable> = BTreeMap::new();
    let read = json::objects_in(reader, text, "nftables", |reader, item| {
        let Some((kind, body)) = item.map.iter().next() else { return };
        // Of connection tracking: helpers, timeouts, expectations.
        if kind.starts_with("ct ") {
            return;
        }
        keys::NFT_KIND.check(reader, &item.map, item.line);
        let keys = match kind.as_str() {
            "table" => &keys::NFT_TABLE,
            "chain" => &keys::NFT_CHAIN,
            "rule" | "flowtable" => &keys::NFT_RULE,
            _ => return,
        };
        if let Some(body) = body.as_object() {
            keys.check(reader, body, item.line);
        }
        let field = |key: &str| body.get(key).and_then(json::text);
        let table = if kind == "table" { field("name") } else { field("table") };
        let (Some(family), Some(table)) = (field("family"), table) else {
            return reader.error(item.line, format!("a {kind} without its family or table"));
        };
        let entry = tables.entry((family, table.clone())).or_insert_with(|| NftTable {
            line: item.line,
            base: Vec::new(),
            chains: BTreeSet::new(),
            acts: false,
        });
        match kind.as_str() {
            "chain" => {
                let name = field("name").unwrap_or_default();
                if let Some(hook) = field("hook") {
                    if field("policy").is_none() {
                        reader.error(item.line, format!("base chain {name} of table {table} without policy"));
                    }
                    entry.base.push((name.clone(), hook, field("dev")));
                    entry.acts |= field("policy").is_some_and(|policy| policy != "accept");
                }
                entry.chains.insert(name);
            }
            "rule" => entry.acts = true,
            "flowtable" => entry.acts = true,
            _ => {}
        }
    });
    if !read {
        reader.error(1, "not the JSON of nft: no list 'nftables'");
    }
    for ((family, name), table) in tables {
        if is_iptables_own(reader, &family, &name, &table) {
            continue;
        }
        let hooks: Vec<&str> = table.base.iter().map(|(_, hook, _)| hook.as_str()).collect();
        let whose = if is_unsaved(reader, &family, &name, &table) {
            "rules of iptables-nft, which no file iptables-save holds: "
        } else {
            ""
        };
        let what = format!("{whose}nft table {family} {name} (base chains at {})", hooks.join(", "));
        match family.as_str() {
            _ if hooks.is_empty() || !table.acts => {}
            "ip6" => reader.note(table.line, format!("{what}: IPv6 only")),
            "arp" => reader.note(table.line, format!("{what}: ARP only, not modelled")),
            "netdev" => {
                for (chain, hook, dev) in &table.base {
                    let what = format!("nft chain netdev {name} {chain}");
                    let point = match (dev, hook.as_str()) {
                        (Some(dev), "egress") => UnmodelledPoint::Tx(dev.clone()),
                        (Some(dev), _) => UnmodelledPoint::Rx(dev.clone()),
                        (None, _) => UnmodelledPoint::Everywhere,
                    };
                    reader.unmodelled(table.line, what, point);
                }
            }
            _ => reader.unmodelled(table.line, what, UnmodelledPoint::Everywhere),
        }
    }
}

/// Whether it looks as what iptables-nft writes, where no file holds rules of that backend: a table of its names, whose base chains are called as its
/// own are.
fn is_unsaved(reader: &Reader<'_>, family: &str, name: &str, table: &NftTable) -> bool {
    const OWN: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
    let saved = |ruleset: &Ruleset| ruleset.backend == Backend::Nft && ruleset.save.family == Family::V4;
    family == "ip"
        && TableName::from_name(name).is_some()
        && table.base.iter().all(|(chain, ..)| OWN.contains(&chain.as_str()))
        && !reader.config.rulesets.iter().any(saved)
}

fn is_iptables_own(reader: &Reader<'_>, family: &str, name: &str, table: &NftTable) -> bool {
    let family = match family {
        "ip" => Family::V4,
        "ip6" => Family::V6,
        _ => return false,
    };
    let Some(name) = TableName::from_name(name) else { return false };
    let mut saved = reader
        .config
        .rulesets
        .iter()
        .filter(|ruleset| ruleset.save.family == family)
        .flat_map(|ruleset| &ruleset.save.tables)
        .filter(|saved| saved.name == name)
        .peekable();
    saved.peek().is_some()
        && saved.any(|saved| {
            table.chains.iter().all(|chain| saved.chains.iter().any(|known| known.name == *chain))
        })
}
