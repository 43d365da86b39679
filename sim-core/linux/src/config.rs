//! A namespace as its tools tell of it: the source form that readers fill, [`NetNs::compile`](crate::netns::NetNs::compile) turns into
//! flat arrays, and the kernel engine programs into a real namespace.
//!
//! Names are names here (devices are named by their routes, sets by their rules). Everything carries its [`SourceLine`].

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use pktwalk_packet::MacAddr;

use crate::conntrack::TcpState;
use crate::conntrack::tuple::CtTuple;
use crate::hook::Backend;
use crate::ids::{OriginId, SourceLine};
use crate::ipset::IpSet;
use crate::iptables::ast::SaveFile;

mod stacked;

pub use stacked::Takes;

/// Everything known of one network namespace.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct NetNsConfig {
    /// Its name within its node; empty for the node's own (host) namespace.
    pub name: String,
    /// Names of the input files, for [`SourceLine::file`].
    pub files: Vec<String>,
    /// In ifindex order. `lo` is among them.
    pub devices: Vec<Device>,
    /// Of every table. Where no route of table local (255) is given, the kernel's own ones are derived from the addresses.
    pub routes: Vec<Route>,
    /// `ip rule`. Empty means the kernel's three default rules.
    pub routing_rules: Vec<RoutingRule>,
    /// `ip neigh`.
    pub neighbours: Vec<Neighbour>,
    /// `ip neigh show proxy`.
    pub proxy_neighbours: Vec<ProxyNeighbour>,
    /// `bridge fdb`.
    pub fdb: Vec<FdbEntry>,
    /// As `sysctl -a` names them, with dots (`net.ipv4.conf.eth0.rp_filter`; a dot inside a device name is `/` there). A key that is absent
    /// has the kernel's default.
    pub sysctls: BTreeMap<String, String>,
    /// iptables rulesets, in order of registration (the first was loaded first) as far as known.
    pub rulesets: Vec<Ruleset>,
    /// ipsets.
    pub sets: Vec<IpSet>,
    /// Connections that exist before the first packet.
    pub connections: Vec<Connection>,
    /// Sockets, where known. `None`: nobody said, so delivery is an assumption.
    pub sockets: Option<Vec<Socket>>,
    /// While `sockets` is not known: IP protocol and port (0: every port) where nothing listens all the same, because the user says so.
    pub closed: Vec<(u8, u16)>,
    /// Things that are there but not modelled, and at which point of the walk they matter.
    pub unmodelled: Vec<UnmodelledState>,
    /// What was not given, so that a default stands in for it.
    pub missing: Vec<MissingState>,
}

impl NetNsConfig {
    /// Whether a device is a bridge that asks for netfilter itself, and can have it: bridge netfilter is there, as its settings show.
    pub fn calls_iptables(&self, device: &Device) -> bool {
        matches!(device.kind, DeviceKind::Bridge { nf_call_iptables: true, .. })
            && (self.sysctls.contains_key("net.bridge.bridge-nf-call-iptables")
                || self.missing.contains(&MissingState::Sysctls))
    }
}

/// One backend's rules of one family.
#[derive(Clone, PartialEq, Debug)]
pub struct Ruleset {
    /// Which kernel implementation runs them.
    pub backend: Backend,
    /// The rules: shared by the copies of a namespace, as they may be millions.
    pub save: Arc<SaveFile>,
}

impl Ruleset {
    /// The rules, to be changed here and in no other copy.
    pub fn save_mut(&mut self) -> &mut SaveFile {
        Arc::make_mut(&mut self.save)
    }
}

/// A kind of state that a bundle may lack.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MissingState {
    /// No `ip rule`: the three default rules.
    RoutingRules,
    /// No `ip route`: no routes but those of the addresses.
    Routes,
    /// No `ip addr`/`ip link`: no devices known.
    Devices,
    /// No `ip neigh`: every neighbour answers.
    Neighbours,
    /// No `sysctl`: kernel defaults, with forwarding on.
    Sysctls,
    /// No iptables rules.
    Rulesets,
    /// No `ipset save`.
    Sets,
    /// No `conntrack -L`, or lines of it are lost: no connection but those that are known.
    Conntrack,
    /// The list of sockets has no connected ones (`ss -l`): there are none.
    ConnectedSockets,
    /// No `nft list ruleset`, or nothing of the other backend: no rules but those that are known.
    OtherRules,
    /// Neither rules of the backend nft nor `nft list ruleset`: no rules but those of legacy.
    NftRules,
    /// No `ss`, or lines of it are lost: something listens wherever a packet is delivered.
    Sockets,
    /// The list of sockets may lack raw and ping sockets, which come from files of their own.
    RawSockets,
    /// Nothing says which backend the rules run on.
    Backend,
    /// Both backends have rules, and nothing says which was registered first.
    RegistrationOrder,
}

/// Something present in the namespace that the walk cannot evaluate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnmodelledState {
    /// What it is, such as `XDP program 17 on eth0`.
    pub what: String,
    /// Where a packet meets it.
    pub point: UnmodelledPoint,
    /// Where it was read.
    pub source: SourceLine,
}

/// Where an [`UnmodelledState`] can change what happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UnmodelledPoint {
    /// On receipt at the device of this name.
    Rx(String),
    /// On transmission at the device of this name.
    Tx(String),
    /// On delivery to this UDP port: the kernel's own socket of a tunnel.
    Udp(u16),
    /// On receipt at the device of name `on`, for the frames that a device which stands on it takes.
    Stacked {
        /// The device below.
        on: String,
        /// Which frames.
        takes: Takes,
    },
    /// On receipt at the device of name `on`: the device of name `by`, which stands on it, gets a copy of frames to many.
    Copies {
        /// The device below.
        on: String,
        /// The stacked device, of the same namespace.
        by: String,
    },
    /// Anywhere: no walk through this namespace can be trusted.
    Everywhere,
}

/// A network device with its addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Such as `eth0`.
    pub name: String,
    /// The kernel's number.
    pub ifindex: u32,
    /// What it is.
    pub kind: DeviceKind,
    /// Hardware address; all zero for `lo`, none for devices without one.
    pub mac: Option<MacAddr>,
    /// Bytes of an IP packet.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Has carrier (`LOWER_UP`).
    pub carrier: bool,
    /// `NOARP`.
    pub no_arp: bool,
    /// Promiscuous.
    pub promisc: bool,
    /// The bridge (or VRF, bond) that it is a port of.
    pub master: Option<String>,
    /// Settings as a bridge port; defaults where it is none.
    pub port: BridgePort,
    /// Settings as a bridge; defaults where it is none.
    pub bridge: BridgeOptions,
    /// Device group number.
    pub group: u32,
    /// In the order of `ip addr`, which decides source selection.
    pub addresses: Vec<Address>,
    /// Where it was read.
    pub source: SourceLine,
}

impl Device {
    /// A device with the given hardware address (`lo` has none), up, with carrier and an Ethernet device's MTU (`lo`: 65536), without IP addresses.
    pub fn new(name: &str, ifindex: u32, kind: DeviceKind, mac: MacAddr) -> Device {
        let loopback = kind == DeviceKind::Loopback;
        Device {
            name: name.to_owned(),
            ifindex,
            kind,
            mac: Some(if loopback { MacAddr::default() } else { mac }),
            mtu: if loopback { 65_536 } else { 1500 },
            up: true,
            carrier: true,
            no_arp: false,
            promisc: false,
            master: None,
            port: BridgePort::default(),
            bridge: BridgeOptions::default(),
            group: 0,
            addresses: Vec::new(),
            source: SourceLine::default(),
        }
    }
}

/// What a device is. Kinds that only stand here by name are not modelled: a packet that reaches one ends `Unknown`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeviceKind {
    /// `lo`.
    Loopback,
    /// A physical (or virtio, ...) Ethernet device.
    Physical,
    /// One end of a veth pair.
    Veth {
        /// The other end's ifindex, where known.
        peer_ifindex: Option<u32>,
        /// The other end's namespace id (`link-netnsid`); none if it is in this namespace.
        peer_netns: Option<i32>,
    },
    /// Drops everything sent to it.
    Dummy,
    /// A bridge.
    Bridge {
        /// `vlan_filtering 1`: not modelled.
        vlan_filtering: bool,
        /// `nf_call_iptables 1`: its IPv4 frames pass netfilter even where the setting of the namespace is off.
        nf_call_iptables: bool,
    },
    /// Everything else, by the name that `ip -d link` gives the kind.
    Other(String),
}

/// The kind of a device of which nothing tells the kind, in [`DeviceKind::Other`]: `ip link` prints none without `-d`.
pub const UNTOLD_KIND: &str = "untold";

/// A bridge port's settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BridgePort {
    /// Frames may go back out of the port they came in by.
    pub hairpin: bool,
    /// Isolated ports do not talk to each other.
    pub isolated: bool,
    /// STP state allows forwarding.
    pub forwarding: bool,
    /// Where it does not: the state is LEARNING, in which a port learns from what it receives, and sends nothing on.
    pub learning_state: bool,
    /// Learns source addresses.
    pub learning: bool,
    /// Unknown unicast is flooded to it.
    pub flood: bool,
    /// Multicast is flooded to it (`BR_MCAST_FLOOD`).
    pub mcast_flood: bool,
    /// Broadcasts are flooded to it (`BR_BCAST_FLOOD`).
    pub bcast_flood: bool,
    /// Which of the group addresses 01:80:c2:00:00:0X are bridged when this port receives them, by bit X.
    pub group_fwd_mask: u16,
    /// The bridge answers ARP for what is behind it, or keeps ARP from it (`neigh_suppress`, `proxy_arp` and their kin): not modelled.
    pub answers_arp: bool,
}

impl Default for BridgePort {
    fn default() -> BridgePort {
        BridgePort {
            hairpin: false,
            isolated: false,
            forwarding: true,
            learning_state: false,
            learning: true,
            flood: true,
            mcast_flood: true,
            bcast_flood: true,
            group_fwd_mask: 0,
            answers_arp: false,
        }
    }
}

/// A bridge's settings, beside what [`DeviceKind::Bridge`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BridgeOptions {
    /// `stp_state`: frames to 01:80:c2:00:00:00 are not bridged (`br_handle_frame`).
    pub stp: bool,
    /// Which of the group addresses 01:80:c2:00:00:0X are bridged, by bit X. Those of a port come beside it.
    pub group_fwd_mask: u16,
    /// `no_linklocal_learn`: nothing is learned of frames that stay on the link (`BROPT_NO_LL_LEARN`).
    pub no_linklocal_learn: bool,
    /// `ageing_time 0`: nothing is learned at all (`br_fdb_update`).
    pub no_learning: bool,
    /// `mcast_querier`: with a querier, IGMP snooping decides who gets a multicast: not modelled.
    pub mcast_querier: bool,
    /// `nf_call_ip6tables`: its IPv6 frames pass netfilter: not modelled.
    pub nf_call_ip6tables: bool,
}

/// An address of a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The local address.
    pub local: IpAddr,
    /// Prefix length of the subnet (of the peer's, if there is a peer).
    pub prefix_len: u8,
    /// The other end of a point-to-point address.
    pub peer: Option<IpAddr>,
    /// Broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// The kernel's `RT_SCOPE_*`: 0 universe, 253 link, 254 host.
    pub scope: u8,
    /// Not the first of its subnet.
    pub secondary: bool,
}

/// An enum whose variants have the names that a tool prints and reads.
macro_rules! named {
    (
        $(#[$about:meta])*
        pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal;)* }
    ) => {
        $(#[$about])*
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// Every one.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                }
            }

            /// The one of this name.
            pub fn from_name(name: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|each| each.name() == name)
            }
        }
    };
}

named! {
    /// What a route does with a packet (`RTN_*`). Names are those of `ip route`.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    pub enum RouteType {
        /// Sends it on.
        Unicast = "unicast";
        /// Delivers it here.
        Local = "local";
        /// Delivers it here as a broadcast.
        Broadcast = "broadcast";
        /// Delivers it here as an anycast.
        Anycast = "anycast";
        /// Multicast.
        Multicast = "multicast";
        /// Drops it silently.
        Blackhole = "blackhole";
        /// Answers host unreachable.
        Unreachable = "unreachable";
        /// Answers communication prohibited.
        Prohibit = "prohibit";
        /// Goes on with the next routing rule.
        Throw = "throw";
    }
}

/// One route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Table number: 254 main, 255 local, 253 default.
    pub table: u32,
    /// What it does.
    pub kind: RouteType,
    /// `0.0.0.0/0` for `default`.
    pub dst: IpNet,
    /// 0 matches any.
    pub tos: u8,
    /// Lower wins.
    pub metric: u32,
    /// `RT_SCOPE_*`: 0 universe (via a gateway), 253 link (on-link), 254 host.
    pub scope: u8,
    /// As printed (`kernel`, `boot`, `bird`, `80`, ...).
    pub protocol: String,
    /// Preferred source.
    pub prefsrc: Option<IpAddr>,
    /// None for types without, one mostly, several for multipath.
    pub nexthops: Vec<Nexthop>,
    /// The nexthops are those of a nexthop object (`nhid`): several of them are a group, among which the kernel chooses otherwise than among those
    /// of a route of its own (`nexthop_select_path`).
    pub by_object: bool,
    /// `mtu N`.
    pub mtu: Option<u32>,
    /// `mtu lock N`.
    pub mtu_lock: bool,
    /// `hoplimit N`: the TTL of what is made here and goes by it.
    pub hop_limit: Option<u32>,
    /// Where it was read.
    pub source: SourceLine,
    /// The caller's note of where it came from.
    pub origin: Option<OriginId>,
}

impl Route {
    /// A unicast route of table main, by a gateway, a device, or both; by none, what a route of a type without a nexthop is made from.
    pub fn new(dst: IpNet, via: Option<IpAddr>, dev: Option<&str>) -> Route {
        let nexthop = Nexthop {
            via,
            dev: dev.map(str::to_owned),
            weight: 1,
            onlink: false,
            dead: false,
            linkdown: false,
            realms: 0,
        };
        Route {
            table: 254,
            kind: RouteType::Unicast,
            dst,
            tos: 0,
            metric: 0,
            scope: if via.is_some() { 0 } else { 253 },
            protocol: "static".to_owned(),
            prefsrc: None,
            nexthops: (via.is_some() || dev.is_some()).then_some(nexthop).into_iter().collect(),
            by_object: false,
            mtu: None,
            mtu_lock: false,
            hop_limit: None,
            source: SourceLine::default(),
            origin: None,
        }
    }
}

/// Where a route sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nexthop {
    /// Gateway; none if on-link.
    pub via: Option<IpAddr>,
    /// Output device; none for types without.
    pub dev: Option<String>,
    /// 1 unless said (the kernel's stored weight plus one).
    pub weight: u32,
    /// Treat the gateway as on-link.
    pub onlink: bool,
    /// `dead`.
    pub dead: bool,
    /// `linkdown`.
    pub linkdown: bool,
    /// `realms FROM/TO`: the first 16 bits above the last (`RTA_FLOW`); 0 where there are none.
    pub realms: u32,
}

/// A routing rule (`ip rule`). Every selector present must hold; `not` inverts the whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoutingRule {
    /// Lower first.
    pub priority: u32,
    /// `not`.
    pub not: bool,
    /// `from`.
    pub from: Option<IpNet>,
    /// `to`.
    pub to: Option<IpNet>,
    /// `iif`; `lo` means made here.
    pub iif: Option<String>,
    /// `oif`.
    pub oif: Option<String>,
    /// `fwmark value/mask`.
    pub fwmark: Option<(u32, u32)>,
    /// `tos`/`dsfield`.
    pub tos: Option<u8>,
    /// `ipproto`.
    pub ip_protocol: Option<u8>,
    /// `sport`.
    pub sport: Option<(u16, u16)>,
    /// `dport`.
    pub dport: Option<(u16, u16)>,
    /// `uidrange`.
    pub uid_range: Option<(u32, u32)>,
    /// What it does.
    pub action: RoutingAction,
    /// Ignore a found route with a prefix of at most this length.
    pub suppress_prefix_len: Option<u8>,
    /// As [`Nexthop::realms`].
    pub realms: u32,
    /// Selectors that were read but are not modelled (`l3mdev`, `tun_id`, `suppress_ifgroup`), by name.
    pub unmodelled: Option<String>,
    /// Where it was read.
    pub source: SourceLine,
    /// The caller's note of where it came from.
    pub origin: Option<OriginId>,
}

impl RoutingRule {
    /// A rule for every packet.
    pub fn new(priority: u32, action: RoutingAction) -> RoutingRule {
        RoutingRule {
            priority,
            not: false,
            from: None,
            to: None,
            iif: None,
            oif: None,
            fwmark: None,
            tos: None,
            ip_protocol: None,
            sport: None,
            dport: None,
            uid_range: None,
            action,
            suppress_prefix_len: None,
            realms: 0,
            unmodelled: None,
            source: SourceLine::default(),
            origin: None,
        }
    }
}

/// What a routing rule does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoutingAction {
    /// Looks the destination up in a table.
    Lookup(u32),
    /// Goes on with the rule of this priority.
    Goto(u32),
    /// Nothing.
    Nop,
    /// Drops silently.
    Blackhole,
    /// Answers net unreachable.
    Unreachable,
    /// Answers communication prohibited.
    Prohibit,
}

named! {
    /// State of a neighbour entry (`NUD_*`). Names are those of `ip neigh`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum NudState {
        /// Set by hand.
        Permanent = "PERMANENT";
        /// Needs no resolution.
        NoArp = "NOARP";
        /// Confirmed.
        Reachable = "REACHABLE";
        /// Not confirmed lately; used all the same.
        Stale = "STALE";
        /// About to be probed; used.
        Delay = "DELAY";
        /// Being probed; used.
        Probe = "PROBE";
        /// Being resolved: packets wait.
        Incomplete = "INCOMPLETE";
        /// Resolution failed.
        Failed = "FAILED";
        /// Nothing known.
        None = "NONE";
    }
}

/// `ip neigh`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// Device.
    pub dev: String,
    /// Address.
    pub addr: IpAddr,
    /// Hardware address, where resolved.
    pub mac: Option<MacAddr>,
    /// State.
    pub state: NudState,
    /// Where it was read.
    pub source: SourceLine,
}

/// A line of `conntrack -L`: a connection of IPv4.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connection {
    /// Original direction.
    pub original: CtTuple,
    /// Reply direction: with NAT not the mirror of `original`.
    pub reply: CtTuple,
    /// Zone of the original direction.
    pub zone_original: u16,
    /// Zone of the reply direction.
    pub zone_reply: u16,
    /// Packets in one direction only.
    pub unreplied: bool,
    /// `[ASSURED]`.
    pub assured: bool,
    /// Its mark.
    pub mark: u32,
    /// Seconds until it is forgotten.
    pub timeout: u32,
    /// State, for TCP.
    pub tcp: Option<TcpState>,
    /// What of it is not modelled, so that its packets end `Unknown`.
    pub unmodelled: Option<&'static str>,
    /// Where it was read.
    pub source: SourceLine,
}

/// `ip neigh add proxy`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyNeighbour {
    /// Device; none means all.
    pub dev: Option<String>,
    /// Answered for.
    pub addr: IpAddr,
}

/// `bridge fdb`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FdbEntry {
    /// Hardware address.
    pub mac: MacAddr,
    /// The port (or the bridge itself for local entries).
    pub dev: String,
    /// VLAN, where given.
    pub vlan: Option<u16>,
    /// The address is the bridge's own (`permanent`/`local`).
    pub local: bool,
    /// It stays at its port, wherever its address is seen (`sticky`).
    pub sticky: bool,
    /// Remote tunnel endpoint, on VXLAN devices.
    pub remote: Option<IpAddr>,
    /// Where it was read.
    pub source: SourceLine,
}

/// A socket that could receive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Socket {
    /// 6 TCP, 17 UDP, ...
    pub protocol: u8,
    /// `0.0.0.0` or `::` for any. `::` receives IPv4 too unless `v6_only`.
    pub local: IpAddr,
    /// Local port.
    pub port: u16,
    /// Connected to.
    pub remote: Option<(IpAddr, u16)>,
    /// Bound to a device.
    pub dev: Option<String>,
    /// `v6only`.
    pub v6_only: bool,
    /// TCP: in state LISTEN.
    pub listening: bool,
    /// User and process, as printed.
    pub owner: Option<String>,
    /// User id.
    pub uid: Option<u32>,
}
