//! `TCPMSS` (`tcpmss_tg4`): lowers the MSS option of a SYN, or adds one to a SYN without.

use pktwalk_packet::checksum::{replace16, replace32};

use crate::config::RouteType;
use crate::fib::{self, FibResult, FlowKey};
use crate::iptables::ast::TcpmssTarget;
use crate::netns::Cx;
use crate::reason::Because;
use crate::skb::Skb;
use crate::trace::Sink;

/// What came of it.
pub(super) enum Outcome {
    Continue,
    /// The header is malformed, or the path's MTU leaves no room.
    Drop,
    Unknown(Because),
}

/// Bytes of the option.
const MSS_LEN: usize = 4;
/// Bytes of an IPv4 and a TCP header without options.
const HEADERS: u32 = 40;
/// The most that a SYN without the option allows (RFC 1122).
const DEFAULT_MSS: u16 = 536;
/// `IP_MAX_MTU`.
const MAX_MTU: u32 = 65_535;

/// How far to go from one option to the next.
fn option_len(tcp: &[u8], at: usize) -> usize {
    match (tcp.get(at), tcp.get(at + 1)) {
        (Some(0 | 1), _) | (_, Some(0) | None) | (None, _) => 1,
        (_, Some(&len)) => usize::from(len),
    }
}

/// `tcpmss_reverse_mtu`: the MTU of the way back to the source, asked without anything else of the packet.
fn reverse_mtu<S: Sink>(cx: &mut Cx<'_, S>, skb: &Skb) -> Result<u32, Because> {
    let ns = cx.ns;
    let loopback = || ns.loopback().map_or(u32::MAX, |dev| ns.device(dev).mtu);
    if skb.ip.src == 0 {
        return Ok(loopback());
    }
    let key = FlowKey { dst: skb.ip.src, ..FlowKey::default() };
    match fib::lookup(ns, &key, cx.choice) {
        FibResult::Unknown(because) => Err(because),
        FibResult::Failed { .. } => Ok(u32::MAX),
        FibResult::Found(found) if found.kind == RouteType::Local => Ok(loopback()),
        FibResult::Found(found) => {
            let dev = ns.fib.nexthop(&found).and_then(|nexthop| nexthop.dev);
            Ok(match (ns.fib.route_mtu(found.route), dev) {
                (Some((mtu, _)), _) => mtu,
                (None, Some(dev)) => ns.device(dev).mtu,
                (None, None) => u32::MAX,
            })
        }
    }
}

pub(super) fn run<S: Sink>(cx: &mut Cx<'_, S>, skb: &mut Skb, target: TcpmssTarget) -> Outcome {
    if skb.ip.frag_offset != 0 {
        return Outcome::Continue;
    }
    let ip_len = usize::from(skb.ip.header_len);
    let Some(len) = skb.packet.l3_wire_len().checked_sub(ip_len).filter(|len| *len >= 20) else {
        return Outcome::Drop;
    };
    let Some(&offset) = skb.l4().get(12) else { return Outcome::Unknown(Because::CutPacket) };
    let header_len = usize::from(offset >> 4) * 4;
    if len < header_len || header_len < 20 {
        return Outcome::Drop;
    }
    if skb.l4().len() < header_len {
        return Outcome::Unknown(Because::CutPacket);
    }
    let mss = match target {
        TcpmssTarget::Set(mss) => mss,
        TcpmssTarget::ClampToPmtu => {
            let back = match reverse_mtu(cx, skb) {
                Ok(mtu) => mtu.min(MAX_MTU),
                Err(because) => return Outcome::Unknown(because),
            };
            let Some(dst) = skb.dst else {
                return Outcome::Unknown(Because::NotModelled(
                    "the path MTU of a packet that is not routed yet",
                ));
            };
            match dst.mtu.min(back).checked_sub(HEADERS) {
                None | Some(0) => return Outcome::Drop,
                Some(mss) => mss as u16,
            }
        }
    };
    if lower(skb, ip_len, header_len, mss) || len > header_len || header_len >= 60 {
        return Outcome::Continue;
    }
    insert(skb, ip_len, mss.min(DEFAULT_MSS));
    Outcome::Continue
}

/// Lowers the option if there is one; whether there is.
fn lower(skb: &mut Skb, ip_len: usize, header_len: usize, mss: u16) -> bool {
    let Some(tcp) = skb.packet.l3_mut().get_mut(ip_len..) else { return false };
    let mut at = 20;
    while at + MSS_LEN <= header_len {
        if let Some(&[2, 4, high, low]) = tcp.get(at..at + MSS_LEN) {
            let old = u16::from_be_bytes([high, low]);
            if old > mss {
                let check = replace16(u16::from_be_bytes([tcp[16], tcp[17]]), old, mss);
                tcp[at + 2..at + 4].copy_from_slice(&mss.to_be_bytes());
                tcp[16..18].copy_from_slice(&check.to_be_bytes());
            }
            return true;
        }
        at += option_len(tcp, at);
    }
    false
}

/// Puts the option in front of the others, into a segment without data.
fn insert(skb: &mut Skb, ip_len: usize, mss: u16) {
    let mut l3 = skb.packet.l3().to_vec();
    let word = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let len = l3.len() - ip_len;
    let [high, low] = mss.to_be_bytes();
    let option = [2, MSS_LEN as u8, high, low];
    l3.splice(ip_len + 20..ip_len + 20, option);

    let tcp = &mut l3[ip_len..];
    let mut check = replace16(word(tcp, 16), len as u16, (len + MSS_LEN) as u16);
    check = replace32(check, 0, u32::from_be_bytes(option));
    let old = word(tcp, 12);
    tcp[12] = tcp[12].wrapping_add(0x10);
    check = replace16(check, old, word(tcp, 12));
    tcp[16..18].copy_from_slice(&check.to_be_bytes());

    let old = word(&l3, 2);
    let new = old.wrapping_add(MSS_LEN as u16);
    let check = replace16(word(&l3, 10), old, new);
    l3[2..4].copy_from_slice(&new.to_be_bytes());
    l3[10..12].copy_from_slice(&check.to_be_bytes());
    skb.packet.set_l3(&l3);
    skb.reparse();
}
