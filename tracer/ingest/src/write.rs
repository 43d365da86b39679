//! The inverse of the readers: a namespace written as the files that the tools would have printed.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use pktwalk_linux::config::{
    Address, Device, DeviceKind, FdbEntry, MissingState, NetNsConfig, Nexthop, Route, RouteType,
    RoutingAction, RoutingRule, Socket,
};
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::{ipset, iptables};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::bundle::NodeInfo;
use crate::conntrack;
use crate::raw_sockets::{self, Listing};

/// A file that cannot be written.
#[derive(Debug, Error)]
#[error("{}: {error}", path.display())]
pub struct WriteError {
    /// Which.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

/// Writes `config` into `dir` (made if it is not there) as a bundle. What stands in [`NetNsConfig::missing`] has no file. Reading it again gives the
/// same namespace but for source lines and for what the tools' formats do not hold, which is given back, a line each: unmodelled
/// selectors, unmodelled state, and the like.
///
/// # Errors
/// The first file that cannot be written.
pub fn write_bundle(dir: &Path, node: &NodeInfo, config: &NetNsConfig) -> Result<Vec<String>, WriteError> {
    let mut out = Out { dir, lost: Vec::new() };
    std::fs::create_dir_all(dir).map_err(|error| WriteError { path: dir.to_owned(), error })?;
    let missing = |state| config.missing.contains(&state);

    let mut node = node.clone();
    if node.backend.is_none()
        && !missing(MissingState::Backend)
        && config.rulesets.iter().any(|r| r.backend == Backend::Nft)
    {
        node.backend = Some("nft".to_owned());
    }
    let yaml = node_yaml(&node);
    if !yaml.is_empty() {
        out.file("node.yaml", &yaml)?;
    }
    if !missing(MissingState::Devices) {
        out.array("ip-link.json", config.devices.iter().map(|device| link(device, config)))?;
        out.array("ip-addr.json", config.devices.iter().map(|device| addr(device, config)))?;
    }
    let of = |family| config.routes.iter().filter(move |route| net_family(&route.dst) == family);
    if !missing(MissingState::Routes) {
        let routes: Vec<Value> = of(Family::V4).map(route).collect();
        out.array("ip-route.json", routes)?;
    }
    if of(Family::V6).next().is_some() {
        let routes: Vec<Value> = of(Family::V6).map(route).collect();
        out.array("ip-6-route.json", routes)?;
    }
    if !missing(MissingState::RoutingRules) {
        let rules: Vec<Value> = config.routing_rules.iter().map(|r| routing_rule(r, &mut out.lost)).collect();
        out.array("ip-rule.json", rules)?;
    }
    if !missing(MissingState::Neighbours) {
        let entries = config.neighbours.iter().map(|n| {
            let mut entry = json!({"dst": n.addr.to_string(), "dev": n.dev});
            if let Some(mac) = n.mac {
                entry["lladdr"] = json!(mac.to_string());
            }
            entry["state"] = json!([n.state.name()]);
            entry
        });
        out.array("ip-neigh.json", entries)?;
    }
    if !config.proxy_neighbours.is_empty() {
        let mut text = String::new();
        for proxy in &config.proxy_neighbours {
            let dev = proxy.dev.as_ref().map(|dev| format!("dev {dev} ")).unwrap_or_default();
            let _ = writeln!(text, "{} {dev}proxy ", proxy.addr);
        }
        out.file("neigh-proxy", &text)?;
    }
    if !config.fdb.is_empty() {
        out.array("bridge-fdb.json", config.fdb.iter().map(|entry| fdb(entry, config)))?;
    }
    if !missing(MissingState::Sysctls) {
        let mut text = String::new();
        for (key, value) in &config.sysctls {
            let _ = writeln!(text, "{key} = {value}");
        }
        out.file("sysctl", &text)?;
    }
    rulesets(&mut out, config)?;
    if !missing(MissingState::Sets) {
        out.file("ipset-save", &ipset::print(&config.sets))?;
    }
    if !missing(MissingState::Conntrack) || !config.connections.is_empty() {
        out.file("conntrack", &conntrack::print(&config.connections))?;
    }
    if !missing(MissingState::OtherRules)
        && !missing(MissingState::NftRules)
        && !missing(MissingState::Rulesets)
    {
        out.file("nft.json", "{\"nftables\": []}\n")?;
        if config.rulesets.iter().all(|ruleset| ruleset.backend == Backend::Nft) {
            out.file("iptables-legacy-save", "")?;
        }
    }
    match &config.sockets {
        Some(sockets) => {
            let (others, raw): (Vec<&Socket>, Vec<&Socket>) =
                sockets.iter().partition(|socket| matches!(socket.protocol, 6 | 17 | 132 | 136));
            let text: String = others.into_iter().map(socket).collect();
            out.file("ss", &text)?;
            raw_and_ping(&mut out, &raw, missing(MissingState::RawSockets))?;
        }
        None if !missing(MissingState::Sockets) => {
            out.lost.push("that nothing is known of sockets".to_owned())
        }
        None => {}
    }
    out.lost
        .extend(config.unmodelled.iter().map(|state| format!("state that is not modelled: {}", state.what)));
    if !config.closed.is_empty() {
        out.lost.push("ports that the user said are closed".to_owned());
    }
    Ok(out.lost)
}

fn raw_and_ping(out: &mut Out<'_>, sockets: &[&Socket], missing: bool) -> Result<(), WriteError> {
    if missing {
        if !sockets.is_empty() {
            out.lost.push("raw and ping sockets, of which not all are known".to_owned());
        }
        return Ok(());
    }
    if sockets.iter().any(|s| s.local.is_ipv6() || s.dev.is_some() || s.owner.is_some() || s.uid.is_none()) {
        out.lost
            .push("of raw and ping sockets: IPv6, device, process, that the user is not known".to_owned());
    }
    let (ping, raw): (Vec<&Socket>, Vec<&Socket>) =
        sockets.iter().partition(|s| s.protocol == 1 && s.port != 0);
    out.file("proc-net-raw", &raw_sockets::print(&raw, Listing::Raw))?;
    out.file("proc-net-icmp", &raw_sockets::print(&ping, Listing::Ping))
}

struct Out<'a> {
    dir: &'a Path,
    lost: Vec<String>,
}

impl Out<'_> {
    fn file(&self, name: &str, text: &str) -> Result<(), WriteError> {
        let path = self.dir.join(name);
        std::fs::write(&path, text).map_err(|error| WriteError { path, error })
    }

    /// One object a line.
    fn array(&self, name: &str, objects: impl IntoIterator<Item = Value>) -> Result<(), WriteError> {
        let lines: Vec<String> = objects.into_iter().map(|object| object.to_string()).collect();
        self.file(
            name,
            &if lines.is_empty() { "[]\n".to_owned() } else { format!("[{}]\n", lines.join(",\n")) },
        )
    }
}

fn node_yaml(node: &NodeInfo) -> String {
    let mut text = String::new();
    for (key, value) in
        [("name", &node.name), ("time", &node.time), ("kernel", &node.kernel), ("backend", &node.backend)]
    {
        if let Some(value) = value {
            // A JSON string is a YAML one.
            let _ = writeln!(text, "{key}: {}", Value::from(value.as_str()));
        }
    }
    text
}

fn rulesets(out: &mut Out<'_>, config: &NetNsConfig) -> Result<(), WriteError> {
    let mut written = Vec::new();
    for ruleset in &config.rulesets {
        let name = match (ruleset.save.family, ruleset.backend) {
            (Family::V4, Backend::Nft) => "iptables-save",
            (Family::V4, Backend::Legacy) => "iptables-legacy-save",
            (Family::V6, Backend::Nft) => "ip6tables-save",
            (Family::V6, Backend::Legacy) => "ip6tables-legacy-save",
        };
        if written.contains(&name) {
            out.lost.push(format!("a second ruleset for {name}"));
            continue;
        }
        written.push(name);
        let mut text = String::new();
        if let Some(header) = &ruleset.save.header {
            let mark = if header.nf_tables { " (nf_tables)" } else { "" };
            let _ = writeln!(text, "# Generated by {} v{}{mark}", header.tool, header.version);
        }
        let chains = || ruleset.save.tables.iter().flat_map(|table| &table.chains);
        let counted = chains().any(|chain| chain.rules.iter().any(|rule| rule.counters.is_some()));
        text.push_str(&iptables::print(&ruleset.save, counted));
        out.file(name, &text)?;
    }
    if written.iter().all(|name| !name.starts_with("iptables"))
        && !config.missing.contains(&MissingState::Rulesets)
    {
        out.file("iptables-save", "")?;
    }
    Ok(())
}

/// What `ip link` and `ip addr` both say of a device.
fn common(device: &Device, config: &NetNsConfig) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("ifindex".into(), json!(device.ifindex));
    if let DeviceKind::Veth { peer_ifindex: Some(peer), peer_netns } = &device.kind {
        let here = config.devices.iter().find(|d| d.ifindex == *peer);
        match (peer_netns, here) {
            (None, Some(peer)) => map.insert("link".into(), json!(peer.name)),
            _ => map.insert("link_index".into(), json!(peer)),
        };
    }
    map.insert("ifname".into(), json!(device.name));
    let is_loopback = device.kind == DeviceKind::Loopback;
    let mut flags = if is_loopback { vec!["LOOPBACK"] } else { vec!["BROADCAST", "MULTICAST"] };
    for (set, flag) in [
        (device.no_arp, "NOARP"),
        (device.promisc, "PROMISC"),
        (device.up, "UP"),
        (device.carrier, "LOWER_UP"),
    ] {
        if set {
            flags.push(flag);
        }
    }
    map.insert("flags".into(), json!(flags));
    map.insert("mtu".into(), json!(device.mtu));
    if let Some(master) = &device.master {
        map.insert("master".into(), json!(master));
    }
    let group = if device.group == 0 { "default".to_owned() } else { device.group.to_string() };
    map.insert("group".into(), json!(group));
    // What only `-d` prints, and of every device.
    map.insert("promiscuity".into(), json!(u8::from(device.promisc)));
    let link_type = match (&device.kind, device.mac) {
        (DeviceKind::Loopback, _) => "loopback",
        (_, Some(_)) => "ether",
        // A device of these kinds is an Ethernet one, whether or not its address is known.
        (
            DeviceKind::Physical | DeviceKind::Veth { .. } | DeviceKind::Dummy | DeviceKind::Bridge { .. },
            None,
        ) => "ether",
        (DeviceKind::Other(_), None) => "none",
    };
    map.insert("link_type".into(), json!(link_type));
    if let Some(mac) = device.mac {
        map.insert("address".into(), json!(mac.to_string()));
    }
    if let DeviceKind::Veth { peer_netns: Some(id), .. } = device.kind {
        map.insert("link_netnsid".into(), json!(id));
    }
    map
}

fn link(device: &Device, config: &NetNsConfig) -> Value {
    let mut map = common(device, config);
    let mut info = Map::new();
    let kind = match &device.kind {
        DeviceKind::Loopback | DeviceKind::Physical => None,
        DeviceKind::Veth { .. } => Some("veth"),
        DeviceKind::Dummy => Some("dummy"),
        DeviceKind::Bridge { .. } => Some("bridge"),
        DeviceKind::Other(kind) => Some(kind.as_str()),
    };
    if let Some(kind) = kind {
        info.insert("info_kind".into(), json!(kind));
    }
    if let DeviceKind::Bridge { vlan_filtering, nf_call_iptables } = device.kind {
        let data = json!({
            "vlan_filtering": u8::from(vlan_filtering),
            "nf_call_iptables": u8::from(nf_call_iptables),
            "nf_call_ip6tables": u8::from(device.bridge.nf_call_ip6tables),
            "stp_state": u8::from(device.bridge.stp),
            "group_fwd_mask": format!("{:#x}", device.bridge.group_fwd_mask),
            "no_linklocal_learn": u8::from(device.bridge.no_linklocal_learn),
            "ageing_time": if device.bridge.no_learning { 0 } else { 30000 },
            "mcast_querier": u8::from(device.bridge.mcast_querier),
        });
        info.insert("info_data".into(), data);
    }
    let master = device.master.as_ref().and_then(|name| config.devices.iter().find(|d| d.name == *name));
    if master.is_some_and(|master| matches!(master.kind, DeviceKind::Bridge { .. })) {
        info.insert("info_slave_kind".into(), json!("bridge"));
        info.insert(
            "info_slave_data".into(),
            json!({
                "state": match (device.port.forwarding, device.port.learning_state) {
                    (true, _) => "forwarding",
                    (false, true) => "learning",
                    (false, false) => "disabled",
                },
                "mcast_flood": device.port.mcast_flood,
                "bcast_flood": device.port.bcast_flood,
                "neigh_suppress": device.port.answers_arp,
                "group_fwd_mask": format!("{:#x}", device.port.group_fwd_mask),
                "hairpin": device.port.hairpin,
                "learning": device.port.learning,
                "flood": device.port.flood,
                "isolated": device.port.isolated,
            }),
        );
    }
    if !info.is_empty() {
        map.insert("linkinfo".into(), Value::Object(info));
    }
    Value::Object(map)
}

fn addr(device: &Device, config: &NetNsConfig) -> Value {
    let mut map = common(device, config);
    map.insert("addr_info".into(), device.addresses.iter().map(address).collect());
    Value::Object(map)
}

fn scope(scope: u8) -> String {
    match scope {
        0 => "global".to_owned(),
        200 => "site".to_owned(),
        253 => "link".to_owned(),
        254 => "host".to_owned(),
        255 => "nowhere".to_owned(),
        other => other.to_string(),
    }
}

fn address(address: &Address) -> Value {
    let mut info = json!({
        "family": if address.local.is_ipv4() { "inet" } else { "inet6" },
        "local": address.local.to_string(),
        "prefixlen": address.prefix_len,
        "scope": scope(address.scope),
    });
    if let Some(peer) = address.peer {
        info["address"] = json!(peer.to_string());
    }
    if let Some(broadcast) = address.broadcast {
        info["broadcast"] = json!(broadcast.to_string());
    }
    if address.secondary {
        info["secondary"] = json!(true);
    }
    info
}

fn net_family(net: &IpNet) -> Family {
    match net {
        IpNet::V4(_) => Family::V4,
        IpNet::V6(_) => Family::V6,
    }
}

fn destination(net: &IpNet) -> String {
    match net.prefix_len() {
        0 => "default".to_owned(),
        len if len == net.max_prefix_len() => net.addr().to_string(),
        _ => net.to_string(),
    }
}

fn table(table: u32) -> String {
    match table {
        253 => "default".to_owned(),
        254 => "main".to_owned(),
        255 => "local".to_owned(),
        other => other.to_string(),
    }
}

fn nexthop(nexthop: &Nexthop, family: Family, object: &mut Map<String, Value>) {
    match nexthop.via {
        Some(via) if via.is_ipv4() == (family == Family::V4) => {
            object.insert("gateway".into(), json!(via.to_string()));
        }
        Some(via) => {
            let name = if via.is_ipv4() { "inet" } else { "inet6" };
            object.insert("via".into(), json!({"family": name, "host": via.to_string()}));
        }
        None => {}
    }
    if nexthop.realms != 0 {
        object.insert("flow".into(), flow(nexthop.realms));
    }
    if let Some(dev) = &nexthop.dev {
        object.insert("dev".into(), json!(dev));
    }
}

/// `RTA_FLOW` as the tool prints it.
fn flow(realms: u32) -> Value {
    let mut map = Map::new();
    if realms >> 16 != 0 {
        map.insert("from".into(), json!((realms >> 16).to_string()));
    }
    map.insert("to".into(), json!((realms & 0xffff).to_string()));
    Value::Object(map)
}

fn flags(nexthop: &Nexthop) -> Value {
    let all = [(nexthop.onlink, "onlink"), (nexthop.dead, "dead"), (nexthop.linkdown, "linkdown")];
    all.into_iter().filter(|(set, _)| *set).map(|(_, name)| Value::from(name)).collect()
}

fn route(route: &Route) -> Value {
    let family = net_family(&route.dst);
    let mut map = Map::new();
    if route.kind != RouteType::Unicast {
        map.insert("type".into(), json!(route.kind.name()));
    }
    map.insert("dst".into(), json!(destination(&route.dst)));
    if route.tos != 0 {
        map.insert("tos".into(), json!(format!("{:#x}", route.tos)));
    }
    let single = match route.nexthops.as_slice() {
        [one] if one.weight == 1 => Some(one),
        _ => None,
    };
    if let Some(one) = single {
        nexthop(one, family, &mut map);
    }
    if route.by_object {
        map.insert("nhid".into(), json!(1));
    }
    if route.table != 254 {
        map.insert("table".into(), json!(table(route.table)));
    }
    if route.protocol != "boot" {
        map.insert("protocol".into(), json!(route.protocol));
    }
    // Without it, nothing would tell a default route by a device from one of IPv6.
    let by_device = route.nexthops.first().is_some_and(|hop| hop.via.is_none());
    if route.scope != 0 || by_device {
        map.insert("scope".into(), json!(scope(route.scope)));
    }
    if let Some(prefsrc) = route.prefsrc {
        map.insert("prefsrc".into(), json!(prefsrc.to_string()));
    }
    if route.metric != 0 {
        map.insert("metric".into(), json!(route.metric));
    }
    map.insert("flags".into(), single.map_or_else(|| json!([]), flags));
    let mut metrics = Map::new();
    if let Some(mtu) = route.mtu {
        metrics.insert("mtu".into(), json!(mtu));
        metrics.insert("mtu_lock".into(), json!(route.mtu_lock));
    }
    if let Some(limit) = route.hop_limit {
        metrics.insert("hoplimit".into(), json!(limit));
    }
    if !metrics.is_empty() {
        map.insert("metrics".into(), json!([metrics]));
    }
    if single.is_none() && !route.nexthops.is_empty() {
        let list: Vec<Value> = route
            .nexthops
            .iter()
            .map(|one| {
                let mut member = Map::new();
                nexthop(one, family, &mut member);
                member.insert("weight".into(), json!(one.weight));
                member.insert("flags".into(), flags(one));
                Value::Object(member)
            })
            .collect();
        map.insert("nexthops".into(), Value::Array(list));
    }
    Value::Object(map)
}

fn routing_rule(rule: &RoutingRule, lost: &mut Vec<String>) -> Value {
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| {
        map.insert(key.to_owned(), value);
    };
    put("priority", json!(rule.priority));
    if rule.realms != 0 {
        put("flow_from", json!((rule.realms >> 16).to_string()));
        put("flow_to", json!((rule.realms & 0xffff).to_string()));
    }
    if rule.not {
        put("not", Value::Null);
    }
    match rule.from {
        None => put("src", json!("all")),
        Some(net) => {
            put("src", json!(net.addr().to_string()));
            put("srclen", json!(net.prefix_len()));
        }
    }
    if let Some(net) = rule.to {
        put("dst", json!(net.addr().to_string()));
        put("dstlen", json!(net.prefix_len()));
    }
    if let Some(tos) = rule.tos {
        put("tos", json!(format!("{tos:#x}")));
    }
    if let Some((mark, mask)) = rule.fwmark {
        put("fwmark", json!(format!("{mark:#x}")));
        if mask != u32::MAX {
            put("fwmask", json!(format!("{mask:#x}")));
        }
    }
    for (key, dev) in [("iif", &rule.iif), ("oif", &rule.oif)] {
        if let Some(dev) = dev {
            put(key, json!(dev));
        }
    }
    if let Some((first, last)) = rule.uid_range {
        put("uid_start", json!(first));
        put("uid_end", json!(last));
    }
    if let Some(protocol) = rule.ip_protocol {
        let name = match protocol {
            1 => "icmp".to_owned(),
            6 => "tcp".to_owned(),
            17 => "udp".to_owned(),
            other => other.to_string(),
        };
        put("ipproto", json!(name));
    }
    for (key, ports) in [("sport", rule.sport), ("dport", rule.dport)] {
        match ports {
            Some((first, last)) if first == last => put(key, json!(first)),
            Some((first, last)) => {
                put(&format!("{key}_start"), json!(first));
                put(&format!("{key}_end"), json!(last));
            }
            None => {}
        }
    }
    match rule.action {
        RoutingAction::Lookup(number) => put("table", json!(table(number))),
        RoutingAction::Goto(target) => put("goto", json!(target)),
        RoutingAction::Nop => put("nop", Value::Null),
        RoutingAction::Blackhole => put("action", json!("blackhole")),
        RoutingAction::Unreachable => put("action", json!("unreachable")),
        RoutingAction::Prohibit => put("action", json!("prohibit")),
    }
    if let Some(len) = rule.suppress_prefix_len {
        put("suppress_prefixlen", json!(len));
    }
    if let Some(what) = &rule.unmodelled {
        lost.push(format!("routing rule {}: {what}", rule.priority));
    }
    Value::Object(map)
}

fn fdb(entry: &FdbEntry, config: &NetNsConfig) -> Value {
    let mut object = json!({"mac": entry.mac.to_string(), "ifname": entry.dev});
    if let Some(vlan) = entry.vlan {
        object["vlan"] = json!(vlan);
    }
    match entry.remote {
        Some(remote) => {
            object["dst"] = json!(remote.to_string());
            object["flags"] = json!(["self"]);
        }
        None => {
            let device = config.devices.iter().find(|device| device.name == entry.dev);
            // An entry of the bridge itself has the bridge for its master.
            let master = device.and_then(|device| device.master.as_ref()).unwrap_or(&entry.dev);
            object["flags"] = if entry.sticky { json!(["sticky"]) } else { json!([]) };
            object["master"] = json!(master);
        }
    }
    object["state"] = json!(if entry.local { "permanent" } else { "static" });
    object
}

fn socket(socket: &Socket) -> String {
    let kind = match socket.protocol {
        6 => "tcp",
        17 => "udp",
        132 => "sctp",
        _ => "udplite",
    };
    let state = match (socket.listening, &socket.remote) {
        (true, _) => "LISTEN",
        (false, Some(_)) => "ESTAB",
        (false, None) => "UNCONN",
    };
    let any_v6 = socket.local.is_ipv6() && socket.local.is_unspecified();
    let dual = any_v6 && !socket.v6_only;
    let text = |addr: IpAddr| if addr.is_ipv4() { addr.to_string() } else { format!("[{addr}]") };
    let dev = socket.dev.as_ref().map(|dev| format!("%{dev}")).unwrap_or_default();
    let local = if dual { "*".to_owned() } else { text(socket.local) };
    let peer = match socket.remote {
        Some((addr, port)) => format!("{}:{port}", text(addr)),
        None if dual => "*:*".to_owned(),
        None if socket.local.is_ipv4() => "0.0.0.0:*".to_owned(),
        None => "[::]:*".to_owned(),
    };
    let mut line = format!("{kind} {state} 0 0 {local}{dev}:{} {peer}", socket.port);
    if let Some(owner) = &socket.owner {
        let _ = write!(line, " users:{owner}");
    }
    match socket.uid {
        Some(0) => line.push_str(" ino:0 sk:0"),
        Some(uid) => {
            let _ = write!(line, " uid:{uid} ino:0 sk:0");
        }
        None => {}
    }
    if socket.local.is_ipv6() {
        let _ = write!(line, " v6only:{}", u8::from(socket.v6_only));
    }
    line.push_str(" <->\n");
    line
}
