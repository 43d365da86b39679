//! `iprange`, `addrtype`: what the addresses are (`xt_iprange`, `xt_addrtype`).

use std::net::IpAddr;

use super::Outcome;
use crate::fib::AddrType;
use crate::iptables::ast::{AddrTypeSet, AddrtypeMatch, IprangeMatch, Neg};
use crate::netfilter::HookState;
use crate::netns::NetNs;
use crate::skb::Skb;

/// `iprange_mt4`.
pub(super) fn iprange(skb: &Skb, test: &IprangeMatch) -> Outcome {
    for (test, addr) in [(test.src, skb.ip.src), (test.dst, skb.ip.dst)] {
        let Some(Neg { not, value }) = test else { continue };
        let (IpAddr::V4(lo), IpAddr::V4(hi)) = value else { return Outcome::Unknown };
        if (u32::from(lo) <= addr && addr <= u32::from(hi)) == not {
            return Outcome::No;
        }
    }
    Outcome::Yes
}

/// `RTN_*` as a bit of [`AddrTypeSet`].
fn bit(addr_type: AddrType) -> u16 {
    match addr_type {
        AddrType::Unicast => 1 << 1,
        AddrType::Local => 1 << 2,
        AddrType::Broadcast => 1 << 3,
        AddrType::Anycast => 1 << 4,
        AddrType::Multicast => 1 << 5,
    }
}

/// `addrtype_mt_v1`.
pub(super) fn addrtype(ns: &NetNs, at: HookState, skb: &Skb, test: &AddrtypeMatch) -> bool {
    let dev = match (test.limit_iface_in, test.limit_iface_out) {
        (true, _) => at.in_dev,
        (false, true) => at.out_dev,
        (false, false) => None,
    };
    let holds = |test: Option<Neg<AddrTypeSet>>, addr: u32| {
        test.is_none_or(|test| (test.value.0 & bit(ns.fib.addr_type(addr, dev)) != 0) != test.not)
    };
    holds(test.src, skb.ip.src) && holds(test.dst, skb.ip.dst)
}
