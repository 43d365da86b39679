//! Elements of the modelled types: what `ipset add` takes, and what `ipset save` prints for it.

use std::net::Ipv4Addr;

use super::{IpSet, SetType, names};

/// An IPv4 element before it is expanded, numbers in host byte order. Both ends of ranges are included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Element {
    /// `hash:ip`.
    Ip(u32, u32),
    /// `hash:net`, one block.
    Net(u32, u8),
    /// `hash:net`, a range that the tool splits into blocks.
    NetRange(u32, u32),
    /// `hash:ip,port`: addresses, protocol, ports (of ICMP: type and code).
    IpPort((u32, u32), u8, (u16, u16)),
}

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const SCTP: u8 = 132;
pub(super) const UDPLITE: u8 = 136;
pub(super) const ICMP: u8 = 1;
pub(super) const ICMPV6: u8 = 58;

/// The mask of a prefix length; 0 for lengths beyond 32 does not happen (callers check).
pub(super) fn mask(len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(len.min(32))).unwrap_or(0)
}

/// Reads an element of an IPv4 set of a modelled type.
pub(super) fn parse(set_type: &SetType, text: &str) -> Result<Element, String> {
    match set_type {
        SetType::HashIp => addresses(text).map(|(first, last)| Element::Ip(first, last)),
        SetType::HashNet => net(text),
        SetType::HashIpPort => {
            let (address, port) =
                text.split_once(',').ok_or_else(|| format!("'{text}' has no port after the address"))?;
            let addresses = addresses(address)?;
            let (protocol, ports) = ports(port)?;
            Ok(Element::IpPort(addresses, protocol, ports))
        }
        SetType::Unmodelled(name) => Err(format!("elements of type {name} are not read")),
    }
}

fn address(text: &str) -> Result<u32, String> {
    text.parse::<Ipv4Addr>().map(u32::from).map_err(|_| format!("'{text}' is no IPv4 address"))
}

fn prefix(text: &str) -> Result<Option<(u32, u8)>, String> {
    let Some((base, len)) = text.split_once('/') else { return Ok(None) };
    let base = address(base)?;
    // A block of all addresses is refused by the tool for these types.
    match len.parse::<u8>() {
        Ok(len) if (1..=32).contains(&len) => Ok(Some((base & mask(len), len))),
        _ => Err(format!("'/{len}' is no prefix length of 1 to 32")),
    }
}

/// `A`, `A/LEN`, `A-B`.
fn addresses(text: &str) -> Result<(u32, u32), String> {
    if let Some((base, len)) = prefix(text)? {
        return Ok((base, base | !mask(len)));
    }
    let Some((first, last)) = text.split_once('-') else {
        let one = address(text)?;
        return Ok((one, one));
    };
    let (first, last) = (address(first)?, address(last)?);
    // The kernel turns a range round that is written backwards.
    Ok((first.min(last), first.max(last)))
}

fn net(text: &str) -> Result<Element, String> {
    if let Some((base, len)) = prefix(text)? {
        return Ok(Element::Net(base, len));
    }
    let (first, last) = addresses(text)?;
    Ok(if first == last { Element::Net(first, 32) } else { Element::NetRange(first, last) })
}

/// `[PROTO:]PORT[-PORT]`, `icmp:NAME|TYPE/CODE`, `PROTO:0`.
fn ports(text: &str) -> Result<(u8, (u16, u16)), String> {
    let (protocol, port) = match text.split_once(':') {
        None => (TCP, text),
        Some((name, port)) => {
            (names::protocol(name).ok_or_else(|| format!("'{name}' is no protocol known here"))?, port)
        }
    };
    match protocol {
        TCP | UDP | SCTP | UDPLITE => {
            let number = |text: &str| {
                text.parse::<u16>()
                    .map_err(|_| format!("'{text}' is no port number (names of services are not resolved)"))
            };
            let (first, last) = port.split_once('-').unwrap_or((port, port));
            let (first, last) = (number(first)?, number(last)?);
            Ok((protocol, (first.min(last), first.max(last))))
        }
        ICMP => {
            let port = names::icmp(port).ok_or_else(|| format!("'{port}' is no ICMP type known here"))?;
            Ok((protocol, (port, port)))
        }
        ICMPV6 => Err("ICMPv6 in a set of family inet".to_owned()),
        _ if port == "0" => Ok((protocol, (0, 0))),
        _ => Err(format!("protocol {protocol} has no ports: only 0 can stand after it, not '{port}'")),
    }
}

/// One element as the kernel holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum One {
    /// `hash:ip`.
    Ip(u32),
    /// `hash:net`.
    Net(u32, u8),
    /// `hash:ip,port`.
    IpPort(u32, u8, u16),
}

impl One {
    /// As `ipset save` prints it.
    pub(super) fn text(self) -> String {
        match self {
            One::Ip(addr) | One::Net(addr, 32) => Ipv4Addr::from(addr).to_string(),
            One::Net(base, len) => format!("{}/{len}", Ipv4Addr::from(base)),
            One::IpPort(addr, protocol, port) => {
                let (addr, name) = (Ipv4Addr::from(addr), names::protocol_name(protocol));
                match protocol {
                    ICMP => format!("{addr},{name}:{}", names::icmp_name(port)),
                    _ => format!("{addr},{name}:{port}"),
                }
            }
        }
    }
}

impl Element {
    /// How many elements it is at most (before a mask makes some the same).
    pub(super) fn count(self) -> u64 {
        let size = |first: u32, last: u32| u64::from(last) - u64::from(first) + 1;
        match self {
            Element::Ip(first, last) => size(first, last),
            Element::Net(..) => 1,
            Element::NetRange(first, last) => blocks(first, last).count() as u64,
            Element::IpPort((first, last), _, (low, high)) => {
                size(first, last) * (u64::from(high) - u64::from(low) + 1)
            }
        }
    }
}

/// The elements that one `add` line adds, ascending; the same one may come several times where the set has a mask.
pub(super) struct Expand {
    element: Element,
    mask: u32,
    /// The next address.
    next: Option<u32>,
    /// The next port.
    port: u16,
}

impl Expand {
    pub(super) fn new(element: Element, mask: u32) -> Expand {
        let (next, port) = match element {
            Element::Ip(first, _) | Element::Net(first, _) | Element::NetRange(first, _) => (first, 0),
            Element::IpPort((first, _), _, (low, _)) => (first, low),
        };
        Expand { element, mask, next: Some(next), port }
    }
}

impl Iterator for Expand {
    type Item = One;

    fn next(&mut self) -> Option<One> {
        let at = self.next?;
        let after = |last: u32| if at < last { at.checked_add(1) } else { None };
        match self.element {
            Element::Ip(_, last) => {
                self.next = after(last);
                Some(One::Ip(at & self.mask))
            }
            Element::Net(base, len) => {
                self.next = None;
                Some(One::Net(base, len))
            }
            Element::NetRange(_, last) => {
                let (base, len) = blocks(at, last).next()?;
                self.next = (base | !mask(len)).checked_add(1).filter(|&next| next <= last);
                Some(One::Net(base, len))
            }
            Element::IpPort((_, last), protocol, (low, high)) => {
                let port = self.port;
                if port < high {
                    self.port += 1;
                } else {
                    self.port = low;
                    self.next = after(last);
                }
                Some(One::IpPort(at & self.mask, protocol, port))
            }
        }
    }
}

/// What `netmask` or `bitmask` leaves of an address; all ones where neither stands, or where it cannot be read (see [`mask_problem`]).
pub(super) fn set_mask(set: &IpSet) -> u32 {
    if let Some(len) = set.option("netmask").and_then(|len| len.parse::<u8>().ok()) {
        return mask(len);
    }
    set.option("bitmask").and_then(|bits| address(bits).ok()).unwrap_or(u32::MAX)
}

/// Why the mask of a set of family inet cannot be applied.
pub(super) fn mask_problem(set: &IpSet) -> Option<String> {
    let netmask = set.option("netmask");
    let bitmask = set.option("bitmask");
    if set.set_type == SetType::HashNet && (netmask.is_some() || bitmask.is_some()) {
        return Some("a mask on hash:net is not modelled".to_owned());
    }
    match (netmask, bitmask) {
        (Some(len), _) if !matches!(len.parse::<u8>(), Ok(1..=32)) => {
            Some(format!("netmask {len} is no length of 1 to 32"))
        }
        (None, Some(bits)) if !matches!(address(bits), Ok(1..)) => Some(format!("bitmask {bits} is no mask")),
        _ => None,
    }
}

/// The blocks that cover a range, as the kernel splits it (`ip_set_range_to_cidr`): from the left, the largest aligned block that fits.
pub(super) fn blocks(first: u32, last: u32) -> impl Iterator<Item = (u32, u8)> {
    let mut next = Some(first);
    std::iter::from_fn(move || {
        let base = next?;
        if base > last {
            return None;
        }
        // No block of all addresses: a hash:net cannot hold it.
        let len = (1..=32u8).find(|&len| base & !mask(len) == 0 && (base | !mask(len)) <= last).unwrap_or(32);
        next = (base | !mask(len)).checked_add(1);
        Some((base, len))
    })
}
