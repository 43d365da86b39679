//! `mac`, `physdev`, `owner`: where the packet came from (`xt_mac`, `xt_physdev`, `xt_owner`).

use pktwalk_packet::MacAddr;

use super::Outcome;
use crate::config::DeviceKind;
use crate::iptables::ast::OwnerMatch;
use crate::netfilter::HookState;
use crate::netfilter::program::{PhysdevTest, Program};
use crate::netns::NetNs;
use crate::skb::Skb;

/// `mac_mt`: false, inverted or not, for a packet without an Ethernet header. The loopback device is of another hardware type.
pub(super) fn mac(ns: &NetNs, at: HookState, skb: &Skb, addr: MacAddr, not: bool) -> bool {
    let Some(dev) = at.in_dev else { return false };
    match &ns.device(dev).kind {
        DeviceKind::Loopback => false,
        DeviceKind::Physical
        | DeviceKind::Veth { .. }
        | DeviceKind::Dummy
        | DeviceKind::Bridge { .. }
        | DeviceKind::Other(_) => skb.packet.mac_src().is_some_and(|src| (src == addr) != not),
    }
}

/// `physdev_mt`.
pub(super) fn physdev(program: &Program, at: HookState, test: &PhysdevTest) -> bool {
    if at.phys_in.is_none() && at.phys_out.is_none() {
        // Not handed over by a bridge: only inverted options hold.
        return test.is_bridged != Some(true)
            && test.is_in != Some(true)
            && test.is_out != Some(true)
            && test.in_dev.is_none_or(|(_, not)| not)
            && test.out_dev.is_none_or(|(_, not)| not);
    }
    let flag = |wanted: Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
    if !flag(test.is_bridged, at.phys_out.is_some())
        || !flag(test.is_in, at.phys_in.is_some())
        || !flag(test.is_out, at.phys_out.is_some())
    {
        return false;
    }
    if let (Some((pattern, not)), Some(dev)) = (test.in_dev, at.phys_in)
        && program.devs.row(Some(dev)).passes(pattern) == not
    {
        return false;
    }
    match (test.out_dev, at.phys_out) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some((pattern, not)), Some(dev)) => program.devs.row(Some(dev)).passes(pattern) != not,
    }
}

/// `owner_mt`.
pub(super) fn owner(skb: &Skb, test: &OwnerMatch) -> Outcome {
    let inverted = |not: Option<bool>| not.unwrap_or(true);
    let uid_not = inverted(test.uid.map(|uid| uid.not));
    let gid_not = inverted(test.gid.map(|gid| gid.not));
    let Some(socket) = skb.sk else {
        // No socket: only inverted options hold.
        return (uid_not && gid_not && test.socket_exists != Some(true) && !test.suppl_groups).into();
    };
    if test.socket_exists == Some(false) {
        return Outcome::No;
    }
    if socket.uid.is_none() && socket.gid.is_none() {
        return (uid_not && gid_not).into();
    }
    let within = |(lo, hi): (u32, u32), id: u32| lo <= id && id <= hi;
    if let Some(wanted) = test.uid {
        match socket.uid {
            None => return Outcome::Unknown,
            Some(uid) if within(wanted.value, uid) == wanted.not => return Outcome::No,
            Some(_) => {}
        }
    }
    if let Some(wanted) = test.gid {
        match socket.gid {
            None => return Outcome::Unknown,
            Some(gid) if within(wanted.value, gid) => {
                if wanted.not {
                    return Outcome::No;
                }
            }
            // Which supplementary groups the owner has is not known.
            Some(_) if test.suppl_groups => return Outcome::Unknown,
            Some(_) if !wanted.not => return Outcome::No,
            Some(_) => {}
        }
    }
    Outcome::Yes
}
