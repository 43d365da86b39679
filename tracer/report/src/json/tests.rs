//! Every key that is emitted stands in the committed schema, and every step kind of the schema is emitted.

use std::collections::BTreeSet;

use pktwalk_linux::hook::{Hook, TableName};
use pktwalk_linux::ids::{CtId, DevId, RouteId, RoutingRuleId};
use pktwalk_linux::iptables::ast::Policy;
use pktwalk_linux::reason::{Because, Disposition, DropCode};
use pktwalk_linux::skb::MadeBy;
use pktwalk_linux::trace::{
    Assumption, BridgeDecision, CtResult, Manip, MssChange, NeighResult, RecordedStep, RouteCause,
    RouteResult, Step,
};
use pktwalk_packet::MacAddr;
use serde_json::Value;

use super::*;
use crate::names::Location;
use crate::testing::{publishing_node, rejected_after_dnat};

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../../docs/schema/pktwalk.trace-1.json")).unwrap()
}

/// Checks the keywords that the schema uses; says the first thing that is wrong.
fn check(value: &Value, schema: &Value, root: &Value, path: &str) -> Result<(), String> {
    for key in schema.as_object().unwrap().keys() {
        let known = [
            "$schema",
            "$id",
            "$defs",
            "title",
            "description",
            "type",
            "enum",
            "const",
            "minimum",
            "required",
            "properties",
            "additionalProperties",
            "items",
            "anyOf",
            "$ref",
        ];
        assert!(known.contains(&key.as_str()), "the checker does not know {key}");
    }
    if let Some(to) = schema.get("$ref").and_then(Value::as_str) {
        return check(value, root.pointer(&to[1..]).unwrap(), root, path);
    }
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
        let errors: Vec<String> = any.iter().filter_map(|one| check(value, one, root, path).err()).collect();
        return if errors.len() < any.len() { Ok(()) } else { Err(errors.join("; ")) };
    }
    if let Some(types) = schema.get("type") {
        let is = |name: &Value| match name.as_str().unwrap() {
            "string" => value.is_string(),
            "integer" => value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("type {other}"),
        };
        let fits = types.as_array().map_or_else(|| is(types), |types| types.iter().any(is));
        if !fits {
            return Err(format!("{path}: {value} is no {types}"));
        }
    }
    if let Some(constant) = schema.get("const")
        && constant != value
    {
        return Err(format!("{path}: {value} is not {constant}"));
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array)
        && !values.contains(value)
    {
        return Err(format!("{path}: {value} is none of {values:?}"));
    }
    if let (Some(object), Some(properties)) = (value.as_object(), schema.get("properties")) {
        for required in schema["required"].as_array().unwrap() {
            if !object.contains_key(required.as_str().unwrap()) {
                return Err(format!("{path}: {required} is missing"));
            }
        }
        for (key, value) in object {
            let Some(schema) = properties.get(key) else { return Err(format!("{path}: {key} is new")) };
            check(value, schema, root, &format!("{path}.{key}"))?;
        }
    }
    if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
        for (at, item) in items.iter().enumerate() {
            check(item, schema, root, &format!("{path}[{at}]"))?;
        }
    }
    Ok(())
}

fn kinds(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            if let Some(kind) = object.get("kind").and_then(Value::as_str) {
                found.insert(kind.to_owned());
            }
            object.values().for_each(|value| kinds(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| kinds(value, found)),
        _ => {}
    }
}

#[test]
fn every_key_stands_in_the_schema() {
    let names = publishing_node();
    let mut send = rejected_after_dnat(&names);
    let chain = names.chain_id(TableName::Filter, "FORWARD");
    let tuple = send.request.connections[&CtId(0)].original;
    let (hook, dev) = (Hook::Forward, DevId(1));
    let more = [
        Step::Bridge { bridge: dev, from: None, decision: BridgeDecision::Forward(dev) },
        Step::Bridge { bridge: dev, from: Some(dev), decision: BridgeDecision::LocalAndFlood },
        Step::CtMark { old: 0, new: 1 },
        Step::CtLookup { hook, result: CtResult::Invalid("why") },
        Step::CtLookup { hook, result: CtResult::Untracked },
        Step::CtConfirm { hook, id: CtId(0) },
        Step::NatSetup { hook, manip: Manip::Src, rule: None, old_reply: tuple, new_reply: tuple },
        Step::Route {
            cause: RouteCause::Reroute,
            rule: Some(RoutingRuleId(0)),
            route: Some(RouteId(0)),
            result: RouteResult::Error(DropCode::NoRoute),
        },
        Step::Route {
            cause: RouteCause::Output,
            rule: None,
            route: None,
            result: RouteResult::Unknown(Because::CutPacket),
        },
        Step::SourceCheck { rp_filter: 2, route: None, failed: Some(DropCode::RpFilterNoRoute) },
        Step::Mtu { len: 1500, mtu: 1400, fragments: 2 },
        Step::Neighbour { dev, addr: 1, result: NeighResult::Known(MacAddr([2; 6])) },
        Step::Deliver { protocol: 6, port: 80, socket: None },
        Step::Made { by: MadeBy::TcpReset },
        Step::NotAnswered { why: "a broadcast" },
        Step::Assumed(Assumption::ConntrackEmpty),
        Step::ChainPolicy { hook, chain, passed: 1, policy: Policy::Drop },
    ];
    send.request.packets[0]
        .steps
        .extend(more.map(|step| RecordedStep { mark: 1, ..RecordedStep::from(step) }));
    for recorded in &mut send.request.packets[0].steps {
        if matches!(recorded.step, Step::Rule { .. }) {
            recorded.mss = Some(MssChange { old: None, new: 1400 });
        }
    }
    send.reply = Some(rejected_after_dnat(&names).request);
    let remark = Remark {
        severity: Severity::Warning,
        message: "odd".to_owned(),
        location: Some(Location { file: "iptables-save".to_owned(), line: 0 }),
    };
    let value = serde_json::to_value(document(&send, &[remark], &names)).unwrap();
    let schema = schema();
    check(&value, &schema, &schema, "trace").unwrap();
    let (mut emitted, mut known) = (BTreeSet::new(), BTreeSet::new());
    kinds(&value, &mut emitted);
    for step in schema["$defs"]["step"]["anyOf"].as_array().unwrap() {
        known.insert(step["properties"]["kind"]["const"].as_str().unwrap().to_owned());
    }
    assert_eq!(emitted, known);
}

/// What the schema allows at a place: the words of an `enum`.
fn allowed(schema: &Value, pointer: &str) -> BTreeSet<String> {
    let words = schema.pointer(pointer).and_then(Value::as_array).unwrap_or_else(|| panic!("{pointer}"));
    words.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn every_word_that_a_field_can_have_stands_in_the_schema() {
    // Whoever adds a variant is stopped here.
    let makers: BTreeSet<String> = [
        MadeBy::Injected,
        MadeBy::IcmpError,
        MadeBy::RejectIcmp,
        MadeBy::RejectReset,
        MadeBy::TcpReset,
        MadeBy::EchoReply,
        MadeBy::TimestampReply,
        MadeBy::Arp,
        MadeBy::Fragment,
        MadeBy::Copy,
    ]
    .map(|by| match by {
        MadeBy::Injected
        | MadeBy::IcmpError
        | MadeBy::RejectIcmp
        | MadeBy::RejectReset
        | MadeBy::TcpReset
        | MadeBy::EchoReply
        | MadeBy::TimestampReply
        | MadeBy::Arp
        | MadeBy::Fragment
        | MadeBy::Copy => made_by_key(by).to_owned(),
    })
    .into();
    let dispositions: BTreeSet<String> = Disposition::ALL
        .map(|end| match end {
            Disposition::Delivered
            | Disposition::Forwarded
            | Disposition::Dropped
            | Disposition::Rejected
            | Disposition::Consumed
            | Disposition::Loop
            | Disposition::LimitReached
            | Disposition::Unknown => end.name().to_owned(),
        })
        .into();
    let schema = schema();
    for walk in ["/properties", "/$defs/walk/properties"] {
        assert_eq!(allowed(&schema, &format!("{walk}/made_by/enum")), makers, "{walk}");
        assert_eq!(allowed(&schema, &format!("{walk}/disposition/enum")), dispositions, "{walk}");
    }
    let steps = schema["$defs"]["step"]["anyOf"].as_array().unwrap();
    let made = steps.iter().find(|step| step["properties"]["kind"]["const"] == "made").unwrap();
    assert_eq!(allowed(made, "/properties/by/enum"), makers);
}

#[test]
fn a_walk_that_ends_unknown_names_its_rule() {
    let names = publishing_node();
    let mut send = rejected_after_dnat(&names);
    let rule = names.rule_id(TableName::Filter, "GUARD", 1);
    send.request.packets[0].end = Some(End::unknown(Because::Match { rule, position: 0 }));
    let document = document(&send, &[], &names);
    assert_eq!(document.walk.code, Some("UNKNOWN_MATCH"));
    assert_eq!(document.walk.at.chain.as_deref(), Some("GUARD"));
    assert_eq!((document.walk.at.hook, document.walk.at.rule), (Some("FORWARD"), Some(1)));
    assert_eq!(document.walk.children[0].made_by, "reject-icmp");
}
