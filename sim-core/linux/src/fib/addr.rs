//! Addresses: what kind an address is, and which one a packet gets as its source (`net/ipv4/devinet.c`, `fib_frontend.c`).

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use super::lookup::{Links, TableResult};
use super::table::mask;
use super::{Fib, FibMatch, FlowKey, scope};
use crate::config::{NetNsConfig, RouteType};
use crate::ids::DevId;
use crate::sysctl::Sysctls;

/// What an address is to this namespace (`RTN_*`, the answer of `inet_addr_type`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AddrType {
    /// None of the others.
    Unicast,
    /// An address of this namespace.
    Local,
    /// A broadcast address: of a subnet of this namespace, 255.255.255.255, or 0.0.0.0.
    Broadcast,
    /// An anycast address.
    Anycast,
    /// 224.0.0.0/4.
    Multicast,
}

/// An IPv4 address of a device, host order.
#[derive(Clone, Copy, Debug)]
pub(super) struct DevAddr {
    pub local: u32,
    /// The network side: the peer of a point-to-point address, else the address itself.
    pub address: u32,
    pub mask: u32,
    pub scope: u8,
    pub secondary: bool,
}

impl DevAddr {
    /// `inet_ifa_match`.
    fn holds(&self, addr: u32) -> bool {
        (addr ^ self.address) & self.mask == 0
    }
}

/// The IPv4 addresses of one device in the kernel's order.
#[derive(Clone, Debug, Default)]
pub(super) struct DevAddrs {
    pub addrs: Vec<DevAddr>,
    /// `route_localnet`: addresses of scope host serve where scope link is asked for.
    pub route_localnet: bool,
}

impl DevAddrs {
    /// The scope that an address counts as.
    fn scope(&self, addr: &DevAddr) -> u8 {
        addr.scope.min(if self.route_localnet { scope::LINK } else { scope::HOST })
    }
}

pub(super) fn compile(config: &NetNsConfig, sysctls: &Sysctls) -> Vec<DevAddrs> {
    let v4 = |addr: &IpAddr| match addr {
        IpAddr::V4(addr) => Some(u32::from(*addr)),
        IpAddr::V6(_) => None,
    };
    config
        .devices
        .iter()
        .enumerate()
        .map(|(index, device)| DevAddrs {
            route_localnet: sysctls.route_localnet(DevId(index as u32)),
            addrs: device
                .addresses
                .iter()
                .filter_map(|address| {
                    let local = v4(&address.local)?;
                    Some(DevAddr {
                        local,
                        address: address.peer.as_ref().and_then(v4).unwrap_or(local),
                        mask: mask(address.prefix_len),
                        scope: address.scope,
                        secondary: address.secondary,
                    })
                })
                .collect(),
        })
        .collect()
}

/// Every address, and the first device that has it.
pub(super) fn own(devs: &[DevAddrs]) -> FxHashMap<u32, DevId> {
    let mut own = FxHashMap::default();
    for (index, dev) in devs.iter().enumerate() {
        for addr in &dev.addrs {
            own.entry(addr.local).or_insert(DevId(index as u32));
        }
    }
    own
}

/// 224.0.0.0/4.
pub(crate) fn is_multicast(addr: u32) -> bool {
    addr >> 28 == 0xe
}

/// 224.0.0.0/24.
pub(crate) fn is_local_multicast(addr: u32) -> bool {
    addr >> 8 == 0x00e0_0000
}

impl Fib {
    fn addrs(&self, dev: DevId) -> &[DevAddr] {
        self.devs.get(dev.index()).map_or(&[], |dev| &dev.addrs)
    }

    /// What `addr` is: `inet_addr_type`, or `inet_dev_addr_type` when an answer of table local only counts if it is of `limit_dev`. Asks
    /// table local alone (which the kernel keeps in one with main until the first routing rule is added; no route of main changes the answer
    /// then, except one of type local, broadcast or anycast).
    pub fn addr_type(&self, addr: u32, limit_dev: Option<DevId>) -> AddrType {
        if addr == 0 || addr == u32::MAX {
            return AddrType::Broadcast;
        }
        if is_multicast(addr) {
            return AddrType::Multicast;
        }
        let Some(table) = self.local_table() else { return AddrType::Unicast };
        let key = FlowKey { dst: addr, ..FlowKey::default() };
        match self.table_lookup(table, &key, Links::Ignore) {
            TableResult::Found(found) => {
                let dev = self.nexthop(&found).and_then(|nexthop| nexthop.dev);
                if limit_dev.is_some() && limit_dev != dev {
                    return AddrType::Unicast;
                }
                match found.kind {
                    RouteType::Local => AddrType::Local,
                    RouteType::Broadcast => AddrType::Broadcast,
                    RouteType::Anycast => AddrType::Anycast,
                    RouteType::Multicast => AddrType::Multicast,
                    RouteType::Unicast
                    | RouteType::Blackhole
                    | RouteType::Unreachable
                    | RouteType::Prohibit
                    | RouteType::Throw => AddrType::Unicast,
                }
            }
            TableResult::Failed(..) | TableResult::Next => AddrType::Unicast,
        }
    }

    /// Whether [`Fib::addr_type`] calls `addr` a broadcast address, of whatever device (`arp_constructor`, which does not ask of which): asked of
    /// every packet that is sent, so most are told from where broadcast routes are at all.
    pub fn is_broadcast(&self, addr: u32) -> bool {
        let after = self.broadcasts.partition_point(|&(first, _)| first <= addr);
        let held = after.checked_sub(1).and_then(|at| self.broadcasts.get(at)).is_some_and(|r| addr <= r.1);
        (held || addr == 0 || addr == u32::MAX) && self.addr_type(addr, None) == AddrType::Broadcast
    }

    /// Whether a device has `addr` (`inet_lookup_ifaddr_rcu`: the exact address, not 127.0.0.0/8).
    pub fn is_own_address(&self, addr: u32) -> bool {
        self.own.contains_key(&addr)
    }

    /// The device that a packet with this source belongs to (`__ip_dev_find`): the holder of the address, else the device of the local route
    /// to it (so all of 127.0.0.0/8 is `lo`'s).
    pub fn dev_of_address(&self, addr: u32) -> Option<DevId> {
        if let Some(&dev) = self.own.get(&addr) {
            return Some(dev);
        }
        let table = self.local_table()?;
        let key = FlowKey { dst: addr, ..FlowKey::default() };
        match self.table_lookup(table, &key, Links::Ignore) {
            TableResult::Found(found) if found.kind == RouteType::Local => self.nexthop(&found)?.dev,
            _ => None,
        }
    }

    /// Whether the device has any IPv4 address.
    pub fn has_address(&self, dev: DevId) -> bool {
        !self.addrs(dev).is_empty()
    }

    /// The source address for packets that leave by `dev` towards `nexthop` (0 if there is none), for destinations of `scope`
    /// (`RT_SCOPE_*`): `inet_select_addr`. The first primary address of the device whose subnet holds `nexthop`, else its first of the
    /// scope, else the first of any device (`lo` first) that is not of scope link.
    pub fn select_source(&self, dev: DevId, nexthop: u32, scope: u8) -> Option<u32> {
        let mut fallback = None;
        if let Some(own) = self.devs.get(dev.index()) {
            for addr in own.addrs.iter().filter(|a| !a.secondary && own.scope(a) <= scope) {
                if nexthop == 0 || addr.holds(nexthop) {
                    return Some(addr.local);
                }
                fallback = fallback.or(Some(addr.local));
            }
        }
        // `lo` is the first of all devices, so an address of it that is not of scope host is preferred here.
        fallback.or_else(|| {
            self.devs
                .iter()
                .flat_map(|dev| &dev.addrs)
                .find_map(|a| (!a.secondary && a.scope != scope::LINK && a.scope <= scope).then_some(a.local))
        })
    }

    /// The first address of a device, whatever its scope: what REDIRECT in PREROUTING sends to.
    pub fn first_address(&self, dev: DevId) -> Option<u32> {
        self.addrs(dev).first().map(|a| a.local)
    }

    /// Whether `a`, and `b` if it is not 0, are of one subnet of `dev` (`inet_addr_onlink`).
    pub fn on_link(&self, dev: DevId, a: u32, b: u32) -> bool {
        self.addrs(dev).iter().any(|addr| addr.holds(a) && (b == 0 || addr.holds(b)))
    }

    /// Whether `local` is an address of at most `scope` of `dev` (of any device if none), and one of its subnets holds both that and `dst`
    /// (unless `dst` is 0): `inet_confirm_addr`.
    pub fn confirm_address(&self, dev: Option<DevId>, dst: u32, local: u32, scope: u8) -> bool {
        let confirms = |dev: &DevAddrs| {
            dev.addrs.iter().any(|a| a.local == local && dev.scope(a) <= scope)
                && dev.addrs.iter().any(|a| a.holds(local) && (dst == 0 || a.holds(dst)))
        };
        match dev {
            Some(dev) => self.devs.get(dev.index()).is_some_and(confirms),
            None => self.devs.iter().any(confirms),
        }
    }

    /// The address that a nexthop gives as source (`fib_info_update_nhc_saddr`).
    pub(super) fn nexthop_source(&self, dev: Option<DevId>, gateway: Option<u32>, scope: u8) -> Option<u32> {
        self.select_source(dev?, gateway.unwrap_or(0), scope)
    }

    /// `fib_result_prefsrc`: the route's preferred source, else that of its nexthop.
    pub fn source_of(&self, found: &FibMatch) -> Option<u32> {
        self.prefsrc(found.route).or_else(|| {
            let nexthop = self.nexthop(found)?;
            self.nexthop_source(nexthop.dev, nexthop.gateway, found.scope)
        })
    }
}
