//! Settings that change what happens to packets: kernel defaults overlaid with what `sysctl -a` said.
//!
//! Defaults are those of a fresh namespace of Linux 6.18 (`unshare -n sysctl -a`). Per-device values are merged with `conf.all` by the
//! accessors of [`Sysctls`], each in the way that the kernel merges it (`include/linux/inetdevice.h`): `IN_DEV_ORCONF`, `IN_DEV_ANDCONF`,
//! `IN_DEV_MAXCONF` or the device's own value.
//!
//! A device that has no value of its own takes `conf.default`'s, and for `forwarding` that of `conf.all` (writing either writes all
//! devices). Where no settings were given at all, forwarding is taken to be on: [`Sysctls::forwarding_assumed`].

mod ranges;

use std::collections::BTreeMap;

use crate::config::{MissingState, NetNsConfig};
use crate::conntrack::CtSettings;
use crate::diag::Diagnostic;
use crate::ids::{DevId, SourceLine};

pub use ranges::{Misfit, check, is_read};

/// What `conf.all`, `conf.default` or a device holds. Every value as the kernel keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Conf {
    forwarding: i32,
    rp_filter: i32,
    accept_local: i32,
    route_localnet: i32,
    src_valid_mark: i32,
    proxy_arp: i32,
    proxy_arp_pvlan: i32,
    medium_id: i32,
    send_redirects: i32,
    shared_media: i32,
    secure_redirects: i32,
    accept_redirects: i32,
    arp_ignore: i32,
    arp_filter: i32,
    arp_accept: i32,
    bc_forwarding: i32,
    accept_source_route: i32,
    ignore_routes_with_linkdown: i32,
    drop_unicast_in_l2_multicast: i32,
    mc_forwarding: i32,
}

impl Conf {
    /// `ipv4_devconf_dflt`: what a new device starts with.
    const DEFAULT: Conf = Conf {
        forwarding: 0,
        rp_filter: 0,
        accept_local: 0,
        route_localnet: 0,
        src_valid_mark: 0,
        proxy_arp: 0,
        proxy_arp_pvlan: 0,
        medium_id: 0,
        send_redirects: 1,
        shared_media: 1,
        secure_redirects: 1,
        accept_redirects: 1,
        arp_ignore: 0,
        arp_filter: 0,
        arp_accept: 0,
        bc_forwarding: 0,
        accept_source_route: 1,
        ignore_routes_with_linkdown: 0,
        drop_unicast_in_l2_multicast: 0,
        mc_forwarding: 0,
    };
    /// `ipv4_devconf`: what `conf.all` starts with.
    const ALL: Conf = Conf { accept_source_route: 0, ..Conf::DEFAULT };

    /// Overlays what the map holds for `net.ipv4.conf.<name>.*`.
    fn overlay(mut self, name: &str, reader: &mut Reader<'_>) -> Conf {
        let mut key = format!("net.ipv4.conf.{name}.");
        let prefix = key.len();
        let fresh = if name == "all" { Conf::ALL } else { Conf::DEFAULT };
        let mut read = |field: &str, value: &mut i32, default: i32| {
            key.truncate(prefix);
            key.push_str(field);
            if let Some(given) = reader.number(&key) {
                *value = given.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
            }
            if name != "default" {
                reader.note(&key, i64::from(*value), i64::from(default));
            }
        };
        read("forwarding", &mut self.forwarding, fresh.forwarding);
        read("rp_filter", &mut self.rp_filter, fresh.rp_filter);
        read("accept_local", &mut self.accept_local, fresh.accept_local);
        read("route_localnet", &mut self.route_localnet, fresh.route_localnet);
        read("src_valid_mark", &mut self.src_valid_mark, fresh.src_valid_mark);
        read("proxy_arp", &mut self.proxy_arp, fresh.proxy_arp);
        read("proxy_arp_pvlan", &mut self.proxy_arp_pvlan, fresh.proxy_arp_pvlan);
        read("medium_id", &mut self.medium_id, fresh.medium_id);
        read("send_redirects", &mut self.send_redirects, fresh.send_redirects);
        read("shared_media", &mut self.shared_media, fresh.shared_media);
        read("secure_redirects", &mut self.secure_redirects, fresh.secure_redirects);
        read("accept_redirects", &mut self.accept_redirects, fresh.accept_redirects);
        read("arp_ignore", &mut self.arp_ignore, fresh.arp_ignore);
        read("arp_filter", &mut self.arp_filter, fresh.arp_filter);
        read("arp_accept", &mut self.arp_accept, fresh.arp_accept);
        read("bc_forwarding", &mut self.bc_forwarding, fresh.bc_forwarding);
        read("accept_source_route", &mut self.accept_source_route, fresh.accept_source_route);
        read(
            "ignore_routes_with_linkdown",
            &mut self.ignore_routes_with_linkdown,
            fresh.ignore_routes_with_linkdown,
        );
        read(
            "drop_unicast_in_l2_multicast",
            &mut self.drop_unicast_in_l2_multicast,
            fresh.drop_unicast_in_l2_multicast,
        );
        read("mc_forwarding", &mut self.mc_forwarding, fresh.mc_forwarding);
        self
    }
}

/// What is read of `net.ipv4.conf.<name>`.
const FIELDS: [&str; 19] = [
    "forwarding",
    "rp_filter",
    "accept_local",
    "route_localnet",
    "src_valid_mark",
    "proxy_arp",
    "proxy_arp_pvlan",
    "medium_id",
    "send_redirects",
    "shared_media",
    "secure_redirects",
    "accept_redirects",
    "arp_ignore",
    "arp_filter",
    "arp_accept",
    "bc_forwarding",
    "accept_source_route",
    "ignore_routes_with_linkdown",
    "drop_unicast_in_l2_multicast",
];

/// What is read beside it, and beside `net.netfilter.nf_conntrack_*`.
const KEYS: [&str; 20] = [
    "net.ipv4.ip_forward",
    "net.ipv4.ip_default_ttl",
    "net.ipv4.icmp_echo_ignore_all",
    "net.ipv4.icmp_echo_ignore_broadcasts",
    "net.ipv4.icmp_errors_use_inbound_ifaddr",
    "net.ipv4.icmp_ratelimit",
    "net.ipv4.icmp_ratemask",
    "net.ipv4.icmp_msgs_per_sec",
    "net.ipv4.icmp_msgs_burst",
    "net.ipv4.fwmark_reflect",
    "net.ipv4.fib_multipath_hash_policy",
    "net.ipv4.fib_multipath_use_neigh",
    "net.ipv4.ip_forward_use_pmtu",
    "net.ipv4.ip_no_pmtu_disc",
    "net.ipv4.ip_forward_update_priority",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-arptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.bridge.bridge-nf-filter-vlan-tagged",
    "net.bridge.bridge-nf-filter-pppoe-tagged",
];

/// A setting that a walk reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// As `sysctl` names it.
    pub key: String,
    /// The value that the walk takes it to have.
    pub value: i64,
    /// What it has in a fresh namespace.
    pub default: i64,
}

/// Every setting that a walk through `config` reads: what a kernel has to be told to do the same, also where `config` says nothing. A device has all
/// values of its own, so that `conf.default` is not among them, and `conf.all.forwarding` stands for `ip_forward`. What writes others comes first.
pub fn settings(config: &NetNsConfig) -> Vec<Setting> {
    let mut read = Vec::new();
    let sysctls = Sysctls::read(config, &mut Vec::new(), Some(&mut read));
    read.extend(CtSettings::settings(&sysctls));
    read
}

/// Reads numbers out of the raw map and remarks on what is none.
struct Reader<'a> {
    raw: &'a BTreeMap<String, String>,
    diagnostics: &'a mut Vec<Diagnostic>,
    /// The file of settings.
    source: SourceLine,
    /// What was read, for who asks.
    read: Option<&'a mut Vec<Setting>>,
}

impl Reader<'_> {
    fn number(&mut self, key: &str) -> Option<i64> {
        let text = self.raw.get(key)?;
        match text.trim().parse() {
            Ok(number) => Some(number),
            Err(_) => {
                self.diagnostics.push(Diagnostic::warning(
                    self.source,
                    format!("{key} = {text:?} is not a number: the kernel's default stands in for it"),
                ));
                None
            }
        }
    }

    fn or(&mut self, key: &str, default: i64) -> i64 {
        let value = self.number(key).unwrap_or(default);
        self.note(key, value, default);
        value
    }

    fn note(&mut self, key: &str, value: i64, default: i64) {
        if let Some(read) = &mut self.read {
            read.push(Setting { key: key.to_owned(), value, default });
        }
    }
}

/// Typed settings; per-device ones are merged with `conf.all` by the accessors, each in the way that the kernel merges it.
#[derive(Clone, Debug)]
pub struct Sysctls {
    all: Conf,
    devices: Vec<Conf>,
    forwarding_assumed: bool,
    /// `net.ipv4.ip_default_ttl`.
    pub ip_default_ttl: u8,
    /// `net.ipv4.icmp_echo_ignore_all`.
    pub icmp_echo_ignore_all: bool,
    /// `net.ipv4.icmp_echo_ignore_broadcasts`.
    pub icmp_echo_ignore_broadcasts: bool,
    /// `net.ipv4.icmp_errors_use_inbound_ifaddr`.
    pub icmp_errors_use_inbound_ifaddr: bool,
    /// `net.ipv4.icmp_ratelimit` in milliseconds; 0 switches the limit per destination off.
    pub icmp_ratelimit_ms: u32,
    /// `net.ipv4.icmp_ratemask`: bit n set means that ICMP type n is limited.
    pub icmp_ratemask: u32,
    /// `net.ipv4.icmp_msgs_per_sec`.
    pub icmp_msgs_per_sec: u32,
    /// `net.ipv4.icmp_msgs_burst`.
    pub icmp_msgs_burst: u32,
    /// `net.ipv4.fwmark_reflect`.
    pub fwmark_reflect: bool,
    /// `net.ipv4.fib_multipath_hash_policy`: 0 addresses, 1 ports too, 2 inner addresses, 3 chosen fields.
    pub fib_multipath_hash_policy: u32,
    /// `net.ipv4.fib_multipath_use_neigh`.
    pub fib_multipath_use_neigh: bool,
    /// `net.ipv4.ip_forward_use_pmtu`.
    pub ip_forward_use_pmtu: bool,
    /// `net.ipv4.ip_no_pmtu_disc`.
    pub ip_no_pmtu_disc: u32,
    /// `net.ipv4.ip_forward_update_priority`.
    pub ip_forward_update_priority: bool,
    /// `net.bridge.bridge-nf-call-iptables`: bridged IPv4 frames pass netfilter. Off where the key is absent (module not loaded).
    pub bridge_nf_call_iptables: bool,
    /// `net.bridge.bridge-nf-call-arptables`.
    pub bridge_nf_call_arptables: bool,
    /// `net.bridge.bridge-nf-call-ip6tables`: bridged IPv6 frames pass netfilter.
    pub bridge_nf_call_ip6tables: bool,
    /// `net.bridge.bridge-nf-filter-vlan-tagged`: so do those with a VLAN tag.
    pub bridge_nf_filter_vlan_tagged: bool,
    /// `net.bridge.bridge-nf-filter-pppoe-tagged`: so do those in PPPoE.
    pub bridge_nf_filter_pppoe_tagged: bool,
    raw: BTreeMap<String, String>,
}

/// Sets `key` of a namespace as a write on a running node does. Forwarding of all devices is one switch: it writes the devices' own values too
/// (`inet_forward_change`), if it changes.
///
/// # Errors
/// If there is no such setting that is modelled, or the value is no number.
pub fn write(config: &mut NetNsConfig, key: &str, value: &str) -> Result<(), String> {
    if let Some((name, field)) = key.strip_prefix("net.ipv4.conf.").and_then(|rest| rest.rsplit_once('.')) {
        if !FIELDS.contains(&field) {
            return Err(format!("no setting {field} of devices is modelled"));
        }
        let device = |name: &str| config.devices.iter().any(|device| device.name.replace('.', "/") == name);
        if !matches!(name, "all" | "default") && !device(name) {
            return Err(format!("there is no device {}", name.replace('/', ".")));
        }
    } else if !KEYS.contains(&key)
        && !key.strip_prefix("net.netfilter.nf_conntrack_").is_some_and(CtSettings::has)
    {
        return Err("no setting that is modelled is called so".to_owned());
    }
    let number: i64 = value.trim().parse().map_err(|_| format!("'{value}' is no number"))?;
    if let Err(Misfit::Unusable(why) | Misfit::Odd(why)) = check(key, value) {
        return Err(why);
    }
    if matches!(key, "net.ipv4.ip_forward" | "net.ipv4.conf.all.forwarding") {
        let before = Sysctls::compile(config, &mut Vec::new()).all.forwarding;
        if i64::from(before) != number {
            config
                .sysctls
                .retain(|key, _| !(key.starts_with("net.ipv4.conf.") && key.ends_with(".forwarding")));
            config.sysctls.remove("net.ipv4.ip_forward");
            let redirects = "net.ipv4.conf.all.accept_redirects".to_owned();
            config.sysctls.insert(redirects, i32::from(number == 0).to_string());
        }
    }
    config.sysctls.insert(key.to_owned(), number.to_string());
    Ok(())
}

/// Names of settings that [`write`] knows, of the same device as `key`.
pub fn similar(key: &str) -> Vec<String> {
    let device = key.strip_prefix("net.ipv4.conf.").and_then(|rest| rest.rsplit_once('.'));
    match device {
        Some((device, _)) => FIELDS.iter().map(|field| format!("net.ipv4.conf.{device}.{field}")).collect(),
        None => KEYS.iter().map(|key| (*key).to_owned()).collect(),
    }
}

impl Sysctls {
    /// Reads the settings of `config`.
    pub fn compile(config: &NetNsConfig, diagnostics: &mut Vec<Diagnostic>) -> Sysctls {
        Sysctls::read(config, diagnostics, None)
    }

    fn read(
        config: &NetNsConfig,
        diagnostics: &mut Vec<Diagnostic>,
        read: Option<&mut Vec<Setting>>,
    ) -> Sysctls {
        let missing = config.missing.contains(&MissingState::Sysctls);
        // Settings are kept without their lines.
        let file = config.files.iter().position(|file| file == "sysctl" || file.ends_with("/sysctl"));
        let source = SourceLine { file: file.map_or(u32::MAX, |file| file as u32), line: 0 };
        let mut reader = Reader { raw: &config.sysctls, diagnostics, source, read };
        let mut all = Conf::ALL.overlay("all", &mut reader);
        // `ip_forward` and `conf.all.forwarding` are one variable.
        if let Some(ip_forward) = reader.number("net.ipv4.ip_forward") {
            all.forwarding = i32::from(ip_forward != 0);
        }
        let forwarding_said = ["net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"]
            .into_iter()
            .any(|key| config.sysctls.contains_key(key));
        let forwarding_assumed = missing && !forwarding_said;
        if forwarding_assumed {
            all.forwarding = 1;
        }
        let of_all = reader.read.iter_mut().flat_map(|read| read.iter_mut());
        for setting in of_all.filter(|setting| setting.key == "net.ipv4.conf.all.forwarding") {
            setting.value = i64::from(all.forwarding);
        }
        let mut default = Conf::DEFAULT.overlay("default", &mut reader);
        if forwarding_said || forwarding_assumed {
            default.forwarding = all.forwarding;
        }
        let devices = config
            .devices
            .iter()
            .map(|device| default.overlay(&device.name.replace('.', "/"), &mut reader))
            .collect();
        let positive = |value: i64| value.clamp(0, i64::from(u32::MAX)) as u32;
        Sysctls {
            all,
            devices,
            forwarding_assumed,
            ip_default_ttl: reader.or("net.ipv4.ip_default_ttl", 64).clamp(1, 255) as u8,
            icmp_echo_ignore_all: reader.or("net.ipv4.icmp_echo_ignore_all", 0) != 0,
            icmp_echo_ignore_broadcasts: reader.or("net.ipv4.icmp_echo_ignore_broadcasts", 1) != 0,
            icmp_errors_use_inbound_ifaddr: reader.or("net.ipv4.icmp_errors_use_inbound_ifaddr", 0) != 0,
            icmp_ratelimit_ms: positive(reader.or("net.ipv4.icmp_ratelimit", 1000)),
            // Printed as a signed number: all types are -1.
            icmp_ratemask: reader.or("net.ipv4.icmp_ratemask", 6168) as u32,
            icmp_msgs_per_sec: positive(reader.or("net.ipv4.icmp_msgs_per_sec", 1000)),
            icmp_msgs_burst: positive(reader.or("net.ipv4.icmp_msgs_burst", 50)),
            fwmark_reflect: reader.or("net.ipv4.fwmark_reflect", 0) != 0,
            fib_multipath_hash_policy: positive(reader.or("net.ipv4.fib_multipath_hash_policy", 0)),
            fib_multipath_use_neigh: reader.or("net.ipv4.fib_multipath_use_neigh", 0) != 0,
            ip_forward_use_pmtu: reader.or("net.ipv4.ip_forward_use_pmtu", 0) != 0,
            ip_no_pmtu_disc: positive(reader.or("net.ipv4.ip_no_pmtu_disc", 0)),
            ip_forward_update_priority: reader.or("net.ipv4.ip_forward_update_priority", 1) != 0,
            bridge_nf_call_iptables: reader.or("net.bridge.bridge-nf-call-iptables", 0) != 0,
            bridge_nf_call_arptables: reader.or("net.bridge.bridge-nf-call-arptables", 0) != 0,
            bridge_nf_call_ip6tables: reader.or("net.bridge.bridge-nf-call-ip6tables", 0) != 0,
            bridge_nf_filter_vlan_tagged: reader.or("net.bridge.bridge-nf-filter-vlan-tagged", 0) != 0,
            bridge_nf_filter_pppoe_tagged: reader.or("net.bridge.bridge-nf-filter-pppoe-tagged", 0) != 0,
            raw: config.sysctls.clone(),
        }
    }

    /// The number that the map holds under `key`, if it holds one: for settings of other parts (`net.netfilter.nf_conntrack_*`).
    pub fn number(&self, key: &str) -> Option<i64> {
        self.raw.get(key).and_then(|text| text.trim().parse().ok())
    }

    /// The text that the map holds under `key`.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.raw.get(key).map(String::as_str)
    }

    fn dev(&self, dev: DevId) -> &Conf {
        self.devices.get(dev.index()).unwrap_or(&Conf::DEFAULT)
    }

    /// Whether forwarding is on only because nothing said otherwise.
    pub fn forwarding_assumed(&self) -> bool {
        self.forwarding_assumed
    }

    /// Forwards what this device receives (`IN_DEV_FORWARD`: the device's own).
    pub fn forwarding(&self, dev: DevId) -> bool {
        self.dev(dev).forwarding != 0
    }

    /// Reverse path filter: 0 off, 1 strict, 2 loose (`IN_DEV_RPFILTER`: the larger of all and the device). The kernel takes any number, and
    /// asks for 0 and 1 only.
    pub fn rp_filter(&self, dev: DevId) -> u8 {
        match self.all.rp_filter.max(self.dev(dev).rp_filter) {
            0 => 0,
            1 => 1,
            _ => 2,
        }
    }

    /// Takes packets whose source is local (`IN_DEV_ACCEPT_LOCAL`: either).
    pub fn accept_local(&self, dev: DevId) -> bool {
        self.all.accept_local != 0 || self.dev(dev).accept_local != 0
    }

    /// 127.0.0.0/8 is routable (`IN_DEV_ROUTE_LOCALNET`, `IN_DEV_NET_ROUTE_LOCALNET`: either).
    pub fn route_localnet(&self, dev: DevId) -> bool {
        self.all.route_localnet != 0 || self.dev(dev).route_localnet != 0
    }

    /// The mark counts in source validation (`IN_DEV_SRC_VMARK`: either).
    pub fn src_valid_mark(&self, dev: DevId) -> bool {
        self.all.src_valid_mark != 0 || self.dev(dev).src_valid_mark != 0
    }

    /// Answers ARP for what it routes (`IN_DEV_PROXY_ARP`: either).
    pub fn proxy_arp(&self, dev: DevId) -> bool {
        self.all.proxy_arp != 0 || self.dev(dev).proxy_arp != 0
    }

    /// As proxy_arp, for what is behind the same device (`IN_DEV_PROXY_ARP_PVLAN`: either).
    pub fn proxy_arp_pvlan(&self, dev: DevId) -> bool {
        self.all.proxy_arp_pvlan != 0 || self.dev(dev).proxy_arp_pvlan != 0
    }

    /// Whether what is heard on `dev` is on another medium than `out`, so that it is answered for what is there (`arp_fwd_proxy`). A device is of no
    /// medium (0), or of one with a number; -1 answers for nobody and is answered for by nobody.
    pub fn other_medium(&self, dev: DevId, out: DevId) -> bool {
        match (self.dev(dev).medium_id, self.dev(out).medium_id) {
            (0, _) => true,
            (-1, _) | (_, -1) => false,
            (heard, behind) => heard != behind,
        }
    }

    /// Sends ICMP redirects (`IN_DEV_TX_REDIRECTS`: either).
    pub fn send_redirects(&self, dev: DevId) -> bool {
        self.all.send_redirects != 0 || self.dev(dev).send_redirects != 0
    }

    /// Several subnets on one medium (`IN_DEV_SHARED_MEDIA`: either).
    pub fn shared_media(&self, dev: DevId) -> bool {
        self.all.shared_media != 0 || self.dev(dev).shared_media != 0
    }

    /// Takes redirects from known gateways only (`IN_DEV_SEC_REDIRECTS`: either).
    pub fn secure_redirects(&self, dev: DevId) -> bool {
        self.all.secure_redirects != 0 || self.dev(dev).secure_redirects != 0
    }

    /// Takes redirects (`IN_DEV_RX_REDIRECTS`: both while forwarding, either otherwise).
    pub fn accept_redirects(&self, dev: DevId) -> bool {
        let (all, own) = (self.all.accept_redirects != 0, self.dev(dev).accept_redirects != 0);
        if self.forwarding(dev) { all && own } else { all || own }
    }

    /// Which ARP requests are ignored (`IN_DEV_ARP_IGNORE`: the larger).
    pub fn arp_ignore(&self, dev: DevId) -> u8 {
        self.all.arp_ignore.max(self.dev(dev).arp_ignore).clamp(0, 255) as u8
    }

    /// Who becomes a neighbour by telling of himself (`IN_DEV_ARP_ACCEPT`: the larger one). 0: nobody; 2: who is of a subnet of the device;
    /// else everybody.
    pub fn arp_accept(&self, dev: DevId) -> i32 {
        self.all.arp_accept.max(self.dev(dev).arp_accept)
    }

    /// Answers ARP only where the route back uses the device (`IN_DEV_ARPFILTER`: either).
    pub fn arp_filter(&self, dev: DevId) -> bool {
        self.all.arp_filter != 0 || self.dev(dev).arp_filter != 0
    }

    /// Forwards directed broadcasts (`IN_DEV_BFORWARD`: both).
    pub fn bc_forwarding(&self, dev: DevId) -> bool {
        self.all.bc_forwarding != 0 && self.dev(dev).bc_forwarding != 0
    }

    /// Routes multicast, for a daemon that keeps its routes (`IN_DEV_MFORWARD`: both).
    pub fn mc_forwarding(&self, dev: DevId) -> bool {
        self.all.mc_forwarding != 0 && self.dev(dev).mc_forwarding != 0
    }

    /// Takes source-routed packets (`IN_DEV_SOURCE_ROUTE`: both).
    pub fn accept_source_route(&self, dev: DevId) -> bool {
        self.all.accept_source_route != 0 && self.dev(dev).accept_source_route != 0
    }

    /// Passes over nexthops without carrier (`IN_DEV_IGNORE_ROUTES_WITH_LINKDOWN`: either).
    pub fn ignore_routes_with_linkdown(&self, dev: DevId) -> bool {
        self.all.ignore_routes_with_linkdown != 0 || self.dev(dev).ignore_routes_with_linkdown != 0
    }

    /// Drops packets for one host in frames for many (`drop_unicast_in_l2_multicast`: either).
    pub fn drop_unicast_in_l2_multicast(&self, dev: DevId) -> bool {
        self.all.drop_unicast_in_l2_multicast != 0 || self.dev(dev).drop_unicast_in_l2_multicast != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarding(config: &NetNsConfig) -> (bool, i32) {
        let compiled = Sysctls::compile(config, &mut Vec::new());
        (compiled.forwarding(DevId(0)), compiled.all.accept_redirects)
    }

    /// Seen on Linux 6.18: the switch writes what devices have of their own, unless it is written what it was.
    #[test]
    fn the_switch_of_forwarding_writes_all_devices() {
        let mut config = NetNsConfig::default();
        let mac = pktwalk_packet::MacAddr::default();
        config.devices.push(crate::config::Device::new(
            "eth0.5",
            2,
            crate::config::DeviceKind::Physical,
            mac,
        ));
        for key in ["net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding", "net.ipv4.conf.eth0/5.forwarding"]
        {
            config.sysctls.insert(key.to_owned(), "1".to_owned());
        }
        assert_eq!(forwarding(&config), (true, 1));
        let mut off = config.clone();
        write(&mut off, "net.ipv4.ip_forward", "0").unwrap();
        assert_eq!(forwarding(&off), (false, 1));
        write(&mut off, "net.ipv4.conf.all.forwarding", "1").unwrap();
        assert_eq!(forwarding(&off), (true, 0));
        write(&mut config, "net.ipv4.conf.eth0/5.forwarding", "0").unwrap();
        write(&mut config, "net.ipv4.ip_forward", "1").unwrap();
        assert!(!forwarding(&config).0, "nothing changes");
    }

    #[test]
    fn settings_that_are_not_there_are_refused() {
        let mut config = NetNsConfig::default();
        for (key, value) in [
            ("net.ipv4.ip_forwrd", "0"),
            ("net.ipv4.conf.all.forwrding", "0"),
            ("net.ipv4.conf.eth0.forwarding", "0"),
            ("net.netfilter.nf_conntrack_x", "0"),
            ("net.ipv4.ip_forward", "off"),
        ] {
            assert!(write(&mut config, key, value).is_err(), "{key}");
        }
        assert!(config.sysctls.is_empty());
        for key in [
            "net.netfilter.nf_conntrack_tcp_loose",
            "net.ipv4.conf.default.rp_filter",
            "net.ipv4.ip_default_ttl",
        ] {
            write(&mut config, key, "1").unwrap();
        }
    }

    #[test]
    fn what_is_no_number_is_said_of_the_file_of_settings() {
        let mut config = NetNsConfig {
            files: vec!["b/ip-link.json".to_owned(), "b/sysctl".to_owned()],
            ..NetNsConfig::default()
        };
        config.sysctls.insert("net.ipv4.ip_default_ttl".to_owned(), "x".to_owned());
        let mut diagnostics = Vec::new();
        let _ = Sysctls::compile(&config, &mut diagnostics);
        assert_eq!(diagnostics[0].source, SourceLine { file: 1, line: 0 });
    }
}

#[cfg(test)]
mod settings_tests {
    use pktwalk_packet::MacAddr;

    use super::*;
    use crate::config::{Device, DeviceKind};

    fn value(config: &NetNsConfig, key: &str) -> Option<i64> {
        let settings = settings(config);
        let mut found = settings.iter().filter(|setting| setting.key == key);
        let value = found.next().map(|setting| setting.value);
        assert_eq!(found.next(), None, "{key} stands twice");
        value
    }

    #[test]
    fn settings_are_what_a_walk_takes_them_to_be() {
        let mut config = NetNsConfig {
            devices: vec![Device::new("eth0.7", 2, DeviceKind::Physical, MacAddr::default())],
            missing: vec![MissingState::Sysctls],
            ..NetNsConfig::default()
        };
        // Nothing was said: forwarding is assumed, and the rest is that of a fresh namespace.
        assert_eq!(value(&config, "net.ipv4.conf.all.forwarding"), Some(1));
        assert_eq!(value(&config, "net.ipv4.conf.eth0/7.forwarding"), Some(1));
        assert_eq!(value(&config, "net.ipv4.conf.eth0/7.accept_source_route"), Some(1));
        assert_eq!(value(&config, "net.netfilter.nf_conntrack_udp_timeout"), Some(30));
        config.missing.clear();
        for (key, text) in [
            ("net.ipv4.ip_forward", "0"),
            ("net.ipv4.conf.all.forwarding", "1"),
            ("net.ipv4.conf.default.rp_filter", "2"),
            ("net.netfilter.nf_conntrack_udp_timeout", "31"),
            ("net.ipv4.icmp_ratelimit", "many"),
            ("net.ipv4.tcp_syncookies", "2"),
        ] {
            config.sysctls.insert(key.to_owned(), text.to_owned());
        }
        assert_eq!(value(&config, "net.ipv4.conf.all.forwarding"), Some(0));
        assert_eq!(value(&config, "net.ipv4.conf.eth0/7.forwarding"), Some(0));
        assert_eq!(value(&config, "net.ipv4.conf.eth0/7.rp_filter"), Some(2));
        assert_eq!(value(&config, "net.netfilter.nf_conntrack_udp_timeout"), Some(31));
        assert_eq!(value(&config, "net.ipv4.icmp_ratelimit"), Some(1000));
        for unread in ["net.ipv4.ip_forward", "net.ipv4.conf.default.rp_filter", "net.ipv4.tcp_syncookies"] {
            assert_eq!(value(&config, unread), None);
        }
    }
}
