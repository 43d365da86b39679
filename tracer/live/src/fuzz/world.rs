//! Generated namespaces without rules: devices, addresses, routes, routing rules, neighbours, settings.
//!
//! The shape is always the same (an uplink, two pods on veths, a bridge with two ports), so that the value pools mean something; everything that
//! decides about packets varies.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use pktwalk_linux::config::{
    Address, Device, DeviceKind, Neighbour, NetNsConfig, NudState, Route, RouteType, RoutingAction,
    RoutingRule,
};
use pktwalk_linux::ids::SourceLine;

use super::pools::{
    BRIDGE, BRIDGE_HOST, BRIDGE_HOST_2, FAR_HOST, GATEWAY, NEAR_HOST, NODE, NODE_SECOND, POD_A, POD_B,
    dev_mac, neighbour_mac,
};
use super::rng::Rng;

/// Devices that packets can be given to, with the hosts that live behind each.
pub const PORTS: [(&str, u32, &[Ipv4Addr]); 5] = [
    ("eth0", 2, &[FAR_HOST, NEAR_HOST, GATEWAY]),
    ("vetha", 3, &[POD_A]),
    ("vethb", 4, &[POD_B]),
    ("brp0", 6, &[BRIDGE_HOST]),
    ("brp1", 7, &[BRIDGE_HOST_2]),
];

/// The bridge's ifindex.
pub const BRIDGE_IFINDEX: u32 = 5;

fn device(name: &str, ifindex: u32, kind: DeviceKind) -> Device {
    Device::new(name, ifindex, kind, dev_mac(ifindex))
}

fn address(local: Ipv4Addr, prefix_len: u8, secondary: bool) -> Address {
    let net = Ipv4Net::new(local, prefix_len).map(|net| net.broadcast()).ok().filter(|_| prefix_len < 31);
    Address { local: IpAddr::V4(local), prefix_len, peer: None, broadcast: net, scope: 0, secondary }
}

/// A unicast route of table main.
pub fn route(dst: &str, via: Option<Ipv4Addr>, dev: Option<&str>) -> Route {
    let dst = dst.parse().unwrap_or(IpNet::V4(Ipv4Net::default()));
    Route::new(dst, via.map(IpAddr::V4), dev)
}

fn without_nexthop(kind: RouteType, dst: &str) -> Route {
    Route { kind, scope: 0, ..route(dst, None, None) }
}

fn connected(net: &str, dev: &str, src: Ipv4Addr) -> Route {
    Route { protocol: "kernel".to_owned(), prefsrc: Some(IpAddr::V4(src)), ..route(net, None, Some(dev)) }
}

/// A namespace without rules and sets.
pub fn world(rng: &mut Rng) -> NetNsConfig {
    let mut lo = device("lo", 1, DeviceKind::Loopback);
    lo.addresses.push(Address { scope: 254, broadcast: None, ..address(Ipv4Addr::LOCALHOST, 8, false) });
    let mut eth0 = device("eth0", 2, DeviceKind::Physical);
    eth0.addresses.push(address(NODE, 24, false));
    if rng.chance(50) {
        eth0.addresses.push(address(NODE_SECOND, 24, true));
    }
    let veth = |name: &str, ifindex: u32, rng: &mut Rng| {
        let mut dev =
            device(name, ifindex, DeviceKind::Veth { peer_ifindex: None, peer_netns: Some(ifindex as i32) });
        if rng.chance(15) {
            dev.mtu = 1000;
        }
        dev
    };
    let mut veth_a = veth("vetha", 3, rng);
    let veth_b = veth("vethb", 4, rng);
    let mut routes =
        vec![connected("192.168.50.0/24", "eth0", NODE), connected("172.20.0.0/16", "br0", BRIDGE)];
    if rng.chance(30) {
        // A pod network with the node's own address on the pod's device, as a bridge-less plugin would do it.
        veth_a.addresses.push(address(Ipv4Addr::new(10, 0, 1, 1), 24, false));
        routes.push(connected("10.0.1.0/24", "vetha", Ipv4Addr::new(10, 0, 1, 1)));
    } else {
        routes.push(route("10.0.1.2/32", None, Some("vetha")));
    }
    routes.push(route("10.0.2.2/32", None, Some("vethb")));
    let mut bridge =
        device("br0", BRIDGE_IFINDEX, DeviceKind::Bridge { vlan_filtering: false, nf_call_iptables: false });
    bridge.addresses.push(address(BRIDGE, 16, false));
    let mut ports: Vec<Device> =
        [("brp0", 6), ("brp1", 7)].map(|(name, index)| veth(name, index, rng)).into();
    for port in &mut ports {
        port.master = Some("br0".to_owned());
        port.mtu = 1500;
        port.port.hairpin = rng.chance(30);
    }
    let mut devices = vec![lo, eth0, veth_a, veth_b, bridge];
    devices.extend(ports);

    if rng.chance(90) {
        routes.push(route("0.0.0.0/0", Some(GATEWAY), Some("eth0")));
    }
    extra_routes(rng, &mut routes);
    let neighbours = [
        ("eth0", GATEWAY),
        ("eth0", NEAR_HOST),
        ("vetha", POD_A),
        ("vethb", POD_B),
        ("br0", BRIDGE_HOST),
        ("br0", BRIDGE_HOST_2),
    ]
    .map(|(dev, addr)| Neighbour {
        dev: dev.to_owned(),
        addr: IpAddr::V4(addr),
        mac: Some(neighbour_mac(addr)),
        state: NudState::Permanent,
        source: SourceLine::default(),
    });
    NetNsConfig {
        name: String::new(),
        devices,
        routes,
        routing_rules: routing_rules(rng),
        neighbours: neighbours.into(),
        sysctls: sysctls(rng),
        sockets: Some(Vec::new()),
        ..NetNsConfig::default()
    }
}

fn extra_routes(rng: &mut Rng, routes: &mut Vec<Route>) {
    if rng.chance(20) {
        let kind =
            *rng.pick(&[RouteType::Blackhole, RouteType::Unreachable, RouteType::Prohibit, RouteType::Throw]);
        let dst = *rng.pick(&["203.0.113.0/24", "10.96.0.0/16", "10.0.0.0/8", "198.18.0.0/15"]);
        routes.push(without_nexthop(kind, dst));
    }
    if rng.chance(20) {
        // A longer prefix through a pod, so that the route back differs from the way in.
        routes.push(route("203.0.113.0/25", None, Some("vethb")));
    }
    if rng.chance(15) {
        let mut second = route("10.0.2.2/32", Some(NEAR_HOST), Some("eth0"));
        second.metric = 100;
        routes.push(second);
    }
    if rng.chance(15) {
        let mut small = route("198.51.100.0/24", Some(GATEWAY), Some("eth0"));
        small.mtu = Some(1200);
        small.mtu_lock = rng.chance(50);
        routes.push(small);
    }
    if rng.chance(15) {
        let mut preferred = route("198.51.100.128/25", Some(NEAR_HOST), Some("eth0"));
        preferred.prefsrc = Some(IpAddr::V4(BRIDGE));
        routes.push(preferred);
    }
    if rng.chance(40) {
        // Table 100 is only reached by routing rules.
        let mut other = route("0.0.0.0/0", Some(NEAR_HOST), Some("eth0"));
        other.table = 100;
        routes.push(other);
        if rng.chance(50) {
            let mut refuse = without_nexthop(RouteType::Unreachable, "10.0.2.0/24");
            refuse.table = 100;
            routes.push(refuse);
        }
    }
}

fn routing_rules(rng: &mut Rng) -> Vec<RoutingRule> {
    let mut rules = vec![
        RoutingRule::new(0, RoutingAction::Lookup(255)),
        RoutingRule::new(32766, RoutingAction::Lookup(254)),
        RoutingRule::new(32767, RoutingAction::Lookup(253)),
    ];
    if rng.chance(50) {
        return rules;
    }
    for number in 0..rng.between(1, 3) {
        let action = match rng.below(12) {
            0 => RoutingAction::Blackhole,
            1 => RoutingAction::Unreachable,
            2 => RoutingAction::Prohibit,
            3 => RoutingAction::Goto(32766),
            4 => RoutingAction::Nop,
            5 | 6 => RoutingAction::Lookup(254),
            _ => RoutingAction::Lookup(100),
        };
        let mut custom = RoutingRule::new(1000 + number, action);
        match rng.below(8) {
            0 => custom.from = Some(IpNet::V4(Ipv4Net::from(POD_A))),
            1 => custom.to = "203.0.113.0/24".parse().ok(),
            2 => custom.iif = Some(rng.pick(&["vetha", "eth0", "lo"]).to_string()),
            3 => custom.tos = Some(0x10),
            4 => {
                custom.ip_protocol = Some(*rng.pick(&[6u8, 17]));
                custom.dport = Some(*rng.pick(&[(80u16, 80u16), (53, 100), (8080, 8080)]));
            }
            _ => {
                custom.fwmark =
                    Some((*rng.pick(&[1u32, 0x4000, 0x55]), *rng.pick(&[0xffff_ffffu32, 0x4000, 0xff])))
            }
        }
        custom.not = rng.chance(10);
        if action == RoutingAction::Lookup(254) && rng.chance(50) {
            custom.suppress_prefix_len = Some(0);
        }
        rules.push(custom);
    }
    rules.sort_by_key(|rule| rule.priority);
    rules
}

fn sysctls(rng: &mut Rng) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    let mut set = |key: String, value: u32| {
        map.insert(key, value.to_string());
    };
    set("net.ipv4.ip_forward".to_owned(), u32::from(rng.chance(95)));
    set("net.ipv4.conf.all.rp_filter".to_owned(), *rng.pick(&[0, 0, 0, 1, 2]));
    // Rates of real time would make the comparison depend on the machine's speed.
    set("net.ipv4.icmp_ratemask".to_owned(), 0);
    set("net.ipv4.icmp_msgs_per_sec".to_owned(), 1_000_000);
    set("net.ipv4.icmp_msgs_burst".to_owned(), 1_000_000);
    // How many redirects a host gets depends on real time as well.
    set("net.ipv4.conf.all.send_redirects".to_owned(), 0);
    for dev in ["eth0", "vetha", "vethb", "br0"] {
        set(format!("net.ipv4.conf.{dev}.rp_filter"), *rng.pick(&[0, 0, 1, 2]));
        set(format!("net.ipv4.conf.{dev}.route_localnet"), u32::from(rng.chance(20)));
        set(format!("net.ipv4.conf.{dev}.accept_local"), u32::from(rng.chance(15)));
        set(format!("net.ipv4.conf.{dev}.src_valid_mark"), u32::from(rng.chance(20)));
        set(format!("net.ipv4.conf.{dev}.proxy_arp"), u32::from(rng.chance(30)));
        set(format!("net.ipv4.conf.{dev}.send_redirects"), 0);
        if rng.chance(5) {
            set(format!("net.ipv4.conf.{dev}.forwarding"), 0);
        }
    }
    set("net.netfilter.nf_conntrack_tcp_loose".to_owned(), u32::from(rng.chance(80)));
    map
}
