//! Values of options, from text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pktwalk_packet::MacAddr;

use crate::hook::Family;

use super::ast::{AddrMask, DevPattern, MarkMask, NatTarget, PortRange};
use super::names::{number, service_port};

/// A value, or why there is none (to follow `OPTION: `).
pub(super) type Parsed<T> = Result<T, String>;

/// `text` is no `what`.
pub(super) fn bad<T>(text: &str, what: &str) -> Parsed<T> {
    // What is quoted of the input is bounded, as diagnostics are kept.
    let shown: String = text.chars().take(60).collect();
    Err(format!("`{shown}` is not {what}"))
}

/// A number that fits.
pub(super) fn int<T: TryFrom<u64>>(text: &str) -> Parsed<T> {
    match number(text).and_then(|n| T::try_from(n).ok()) {
        Some(n) => Ok(n),
        None => bad(text, "a number in range"),
    }
}

/// A port by number or by a well-known name.
pub(super) fn port(text: &str) -> Parsed<u16> {
    match number(text).map(u16::try_from) {
        Some(Ok(port)) => Ok(port),
        Some(Err(_)) => bad(text, "a port"),
        None => service_port(text).map_or_else(|| bad(text, "a port or a service that is known here"), Ok),
    }
}

/// `a`, `a:b`, `a:`, `:b`.
pub(super) fn ports(text: &str) -> Parsed<PortRange> {
    let Some((lo, hi)) = text.split_once(':') else {
        let port = port(text)?;
        return Ok(PortRange { lo: port, hi: port });
    };
    let lo = if lo.is_empty() { 0 } else { port(lo)? };
    let hi = if hi.is_empty() { u16::MAX } else { port(hi)? };
    if lo > hi { bad(text, "a range of ports (it is reversed)") } else { Ok(PortRange { lo, hi }) }
}

/// `a`, `a:b`, `a:`, `:b`.
pub(super) fn u32_range(text: &str) -> Parsed<(u32, u32)> {
    let Some((lo, hi)) = text.split_once(':') else {
        let one = int(text)?;
        return Ok((one, one));
    };
    let lo = if lo.is_empty() { 0 } else { int(lo)? };
    let hi = if hi.is_empty() { u32::MAX } else { int(hi)? };
    if lo > hi { bad(text, "a range (it is reversed)") } else { Ok((lo, hi)) }
}

/// `a` or `a-b`: ids of users or groups.
pub(super) fn ids(text: &str) -> Parsed<(u32, u32)> {
    let (lo, hi) = text.split_once('-').unwrap_or((text, text));
    match (number(lo).map(u32::try_from), number(hi).map(u32::try_from)) {
        (Some(Ok(lo)), Some(Ok(hi))) if lo <= hi => Ok((lo, hi)),
        _ => bad(text, "an id or a range of ids (names are not resolved)"),
    }
}

/// An address of the family, as the tools read that of `-s`, `-d`: in the form of a network, or else as [`host`] reads it.
pub(super) fn addr(text: &str, family: Family) -> Parsed<IpAddr> {
    network(text, family).or_else(|_| host(text, family))
}

/// An address as the tools read those of `-m iprange`: missing parts at the end are zero (`xtables_numeric_to_ipaddr`).
fn network(text: &str, family: Family) -> Parsed<IpAddr> {
    match family {
        Family::V4 => octets(text, 1).map_or_else(|| no_addr(text), |addr| Ok(IpAddr::V4(addr))),
        Family::V6 => plain(text, family),
    }
}

/// An address as the C library reads that of a host (`inet_aton`): the last part fills what is missing, so that `127.1` is 127.0.0.1.
pub(super) fn host(text: &str, family: Family) -> Parsed<IpAddr> {
    if family == Family::V6 {
        return plain(text, family);
    }
    let read = || {
        let parts: Vec<&str> = text.split('.').collect();
        let (last, first) = parts.split_last().filter(|(_, first)| first.len() < 4)?;
        let filled = u32::MAX >> (8 * first.len());
        let last = u32::try_from(number(last)?).ok().filter(|last| *last <= filled)?;
        let mut addr = last;
        for (place, part) in first.iter().enumerate() {
            addr |= u32::from(u8::try_from(number(part)?).ok()?) << (24 - 8 * place);
        }
        Some(Ipv4Addr::from(addr))
    };
    read().map_or_else(|| no_addr(text), |addr| Ok(IpAddr::V4(addr)))
}

/// An address in its one form, as `inet_pton` reads it: those of NAT.
fn plain(text: &str, family: Family) -> Parsed<IpAddr> {
    let parsed = match family {
        Family::V4 => text.parse().ok().map(IpAddr::V4),
        Family::V6 => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
    };
    parsed.map_or_else(|| no_addr(text), Ok)
}

fn no_addr<T>(text: &str) -> Parsed<T> {
    bad(text, "an address (host names are not resolved)")
}

/// `least` to four parts below 256; missing ones are zero. A leading 0 says octal, 0x hexadecimal (`xtables_strtoui`).
fn octets(text: &str, least: usize) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut places = octets.iter_mut();
    let mut parts = 0;
    for part in text.split('.') {
        *places.next()? = u8::try_from(number(part)?).ok()?;
        parts += 1;
    }
    (parts >= least).then(|| Ipv4Addr::from(octets))
}

/// `addr`, `addr/len`, `addr/mask` of a host, which the tools keep as it is written (`XTTYPE_HOSTMASK`).
pub(super) fn host_mask(text: &str, family: Family) -> Parsed<AddrMask> {
    let (addr, length) = match text.split_once('/') {
        Some((addr, length)) => (addr, Some(length)),
        None => (text, None),
    };
    let mask = length.map_or_else(|| Ok(prefix_mask(128, family)), |length| mask(length, family))?;
    Ok(AddrMask { addr: host(addr, family)?, mask })
}

/// `addr`, `addr/len`, `addr/mask`, already masked.
pub(super) fn addr_mask(text: &str, family: Family) -> Parsed<AddrMask> {
    let (host, mask) = match text.split_once('/') {
        Some((host, mask)) => (host, Some(mask)),
        None => (text, None),
    };
    let addr = match (host, mask) {
        ("any" | "anywhere", Some("0")) => unspecified(family),
        _ => addr(host, family)?,
    };
    let mask = match mask {
        None => prefix_mask(128, family),
        Some(mask) => self::mask(mask, family)?,
    };
    let addr = match (addr, mask) {
        (IpAddr::V4(a), IpAddr::V4(m)) => IpAddr::V4(Ipv4Addr::from(u32::from(a) & u32::from(m))),
        (IpAddr::V6(a), IpAddr::V6(m)) => IpAddr::V6(Ipv6Addr::from(u128::from(a) & u128::from(m))),
        _ => addr,
    };
    Ok(AddrMask { addr, mask })
}

fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// Leading ones; a length beyond the family's counts as whole.
pub(super) fn prefix_mask(length: u32, family: Family) -> IpAddr {
    match family {
        Family::V4 => {
            IpAddr::V4(Ipv4Addr::from(u32::MAX.checked_shl(32u32.saturating_sub(length)).unwrap_or(0)))
        }
        Family::V6 => {
            IpAddr::V6(Ipv6Addr::from(u128::MAX.checked_shl(128u32.saturating_sub(length)).unwrap_or(0)))
        }
    }
}

/// A length or a mask in the form of an address.
fn mask(text: &str, family: Family) -> Parsed<IpAddr> {
    let whole = if family == Family::V4 { 32 } else { 128 };
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return match int::<u32>(text) {
            Ok(length) if length <= whole => Ok(prefix_mask(length, family)),
            _ => bad(text, "a prefix length"),
        };
    }
    let mask = match family {
        Family::V4 => octets(text, 4).map(IpAddr::V4),
        Family::V6 => text.parse().ok().map(IpAddr::V6),
    };
    mask.map_or_else(|| bad(text, "a mask"), Ok)
}

/// A prefix length of the family.
pub(super) fn prefix(text: &str, family: Family) -> Parsed<u8> {
    let whole = if family == Family::V4 { 32 } else { 128 };
    match text.parse::<u8>() {
        Ok(length) if length <= whole => Ok(length),
        _ => bad(text, "a prefix length"),
    }
}

/// A device name of at most 15 bytes, with `+` at the end for any rest.
pub(super) fn device(text: &str) -> Parsed<DevPattern> {
    if text.is_empty() || text.len() > 15 {
        return bad(text, "a device name (1 to 15 bytes)");
    }
    Ok(match text.strip_suffix('+') {
        Some(name) => DevPattern { name: name.to_owned(), prefix: true },
        None => DevPattern { name: text.to_owned(), prefix: false },
    })
}

/// `value` or `value/mask`.
pub(super) fn mark(text: &str) -> Parsed<(u32, Option<u32>)> {
    match text.split_once('/') {
        Some((value, mask)) => Ok((int(value)?, Some(int(mask)?))),
        None => Ok((int(text)?, None)),
    }
}

/// [`mark`] with all ones for no mask.
pub(super) fn mark_mask(text: &str) -> Parsed<MarkMask> {
    mark(text).map(|(value, mask)| MarkMask { value, mask: mask.unwrap_or(u32::MAX) })
}

/// Six bytes with colons.
pub(super) fn mac(text: &str) -> Parsed<MacAddr> {
    let mut bytes = [0u8; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|p| matches!(p.len(), 1 | 2) && !p.starts_with('+'));
        match part.and_then(|p| u8::from_str_radix(p, 16).ok()) {
            Some(value) => *byte = value,
            None => return bad(text, "a MAC address"),
        }
    }
    if parts.next().is_some() { bad(text, "a MAC address") } else { Ok(MacAddr(bytes)) }
}

/// `a` or `a-b` of `-m iprange`.
pub(super) fn addr_range(text: &str, family: Family) -> Parsed<(IpAddr, IpAddr)> {
    range_of(text, |one| network(one, family))
}

fn range_of(text: &str, addr: impl Fn(&str) -> Parsed<IpAddr>) -> Parsed<(IpAddr, IpAddr)> {
    match text.split_once('-') {
        Some((lo, hi)) => Ok((addr(lo)?, addr(hi)?)),
        None => addr(text).map(|one| (one, one)),
    }
}

/// Where NAT goes: `[ADDR[-ADDR]][:PORT[-PORT[/BASE]]]`; IPv6 addresses with ports in brackets. Fills `nat`.
pub(super) fn nat_range(text: &str, family: Family, shifted: bool, nat: &mut NatTarget) -> Parsed<()> {
    let (addrs, ports) = match family {
        Family::V4 => match text.split_once(':') {
            Some((addrs, ports)) => (addrs, Some(ports)),
            None => (text, None),
        },
        Family::V6 => match (text.rfind(']'), text.strip_prefix(':')) {
            // `:80` alone; `::1` is an address.
            (None, Some(ports)) if !ports.contains(':') => ("", Some(ports)),
            (None, _) => (text, None),
            (Some(end), _) => match text.get(end + 1..) {
                Some("") | None => (text, None),
                Some(rest) => match rest.strip_prefix(':') {
                    Some(ports) => (text.get(..=end).unwrap_or(text), Some(ports)),
                    None => return bad(text, "addresses and ports"),
                },
            },
        },
    };
    if !addrs.is_empty() {
        let bare: String = addrs.chars().filter(|c| !matches!(c, '[' | ']')).collect();
        nat.addrs = Some(range_of(&bare, |one| plain(one, family))?);
    }
    match ports {
        Some(ports) => nat_ports(ports, shifted, nat),
        None if addrs.is_empty() => bad(text, "addresses and ports"),
        None => Ok(()),
    }
}

/// `PORT[-PORT[/BASE]]`. Fills `nat`.
pub(super) fn nat_ports(text: &str, shifted: bool, nat: &mut NatTarget) -> Parsed<()> {
    let (range, base) = match text.split_once('/') {
        Some((range, base)) if shifted => (range, Some(port(base)?)),
        Some(_) => return bad(text, "a range of ports (only DNAT can shift it)"),
        None => (text, None),
    };
    // A service name may hold a dash, so a whole word is tried first.
    let (lo, hi) = match (port(range), range.split_once('-')) {
        (Ok(one), _) => (one, one),
        (Err(_), Some((lo, hi))) => (port(lo)?, port(hi)?),
        (Err(why), None) => return Err(why),
    };
    if lo > hi {
        return bad(text, "a range of ports (it is reversed)");
    }
    nat.ports = Some(PortRange { lo, hi });
    nat.port_base = base;
    Ok(())
}

/// Bits of a list of names separated by commas, each found by its place in `names`, in either case.
pub(super) fn name_bits(text: &str, names: &[&str], what: &str) -> Parsed<u32> {
    let mut bits = 0;
    for part in text.split(',') {
        match names.iter().position(|name| name.eq_ignore_ascii_case(part)) {
            Some(bit) => bits |= 1u32 << bit,
            None => return bad(part, what),
        }
    }
    Ok(bits)
}
