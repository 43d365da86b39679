//! IPv4 options of received packets (`ip_rcv_options`, `ip_options_compile`, `ip_forward_options`).
//!
//! Record route is written as the kernel writes it. The timestamp option needs the wall clock, and source routing (which is refused unless
//! `accept_source_route` is on) sends packets elsewhere: packets that get that far end `Unknown`.

use pktwalk_packet::checksum::put_ipv4;

use super::{Flight, icmp};
use crate::fib::{FibResult, FlowKey, scope};
use crate::ids::DevId;
use crate::netns::{Cx, NetNs};
use crate::reason::{Because, DropCode, End, Locus};
use crate::skb::{MadeBy, Skb};
use crate::trace::Sink;

const END: u8 = 0;
const NOOP: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const CIPSO: u8 = 134;
const STRICT_SOURCE_ROUTE: u8 = 137;
const ROUTER_ALERT: u8 = 148;

/// What was found (`struct ip_options`): offsets from the start of the header, 0 for none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Options {
    pub source_route: usize,
    pub record_route: usize,
    pub record_needs_addr: bool,
    pub timestamp: usize,
    pub router_alert: usize,
    pub changed: bool,
}

/// What reading the options came to.
enum Read {
    Good(Options),
    /// Malformed at this offset from the start of the header.
    Bad(usize),
    Unknown(Because),
}

/// `__ip_options_compile` for a received packet. `own` is what record route writes.
fn read(header: &mut [u8], own: Result<u32, Because>) -> Read {
    let mut options = Options::default();
    let mut at = 20;
    while let Some(&kind) = header.get(at) {
        match kind {
            END => {
                for byte in header.iter_mut().skip(at + 1) {
                    options.changed |= *byte != END;
                    *byte = END;
                }
                break;
            }
            NOOP => {
                at += 1;
                continue;
            }
            _ => {}
        }
        let left = header.len() - at;
        let len = match header.get(at + 1) {
            Some(&len) if len >= 2 && usize::from(len) <= left => usize::from(len),
            _ => return Read::Bad(at),
        };
        let pointer = if len > 2 { header.get(at + 2).copied().map_or(0, usize::from) } else { 0 };
        match kind {
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => {
                if len < 3 {
                    return Read::Bad(at + 1);
                }
                if pointer < 4 {
                    return Read::Bad(at + 2);
                }
                if options.source_route != 0 {
                    return Read::Bad(at);
                }
                options.source_route = at;
            }
            RECORD_ROUTE => {
                if options.record_route != 0 {
                    return Read::Bad(at);
                }
                if len < 3 {
                    return Read::Bad(at + 1);
                }
                if pointer < 4 {
                    return Read::Bad(at + 2);
                }
                if pointer <= len {
                    if pointer + 3 > len {
                        return Read::Bad(at + 2);
                    }
                    let addr = match own {
                        Ok(addr) => addr,
                        Err(because) => return Read::Unknown(because),
                    };
                    if let Some(slot) = header.get_mut(at + pointer - 1..at + pointer + 3) {
                        slot.copy_from_slice(&addr.to_be_bytes());
                    }
                    header[at + 2] = (pointer + 4) as u8;
                    options.record_needs_addr = true;
                    options.changed = true;
                }
                options.record_route = at;
            }
            TIMESTAMP => {
                if options.timestamp != 0 {
                    return Read::Bad(at);
                }
                if len < 4 {
                    return Read::Bad(at + 1);
                }
                if pointer < 5 {
                    return Read::Bad(at + 2);
                }
                let flags = header[at + 3];
                if pointer <= len {
                    let room = if flags & 0x0f == 0 { 3 } else { 7 };
                    if pointer + 3 > len || matches!(flags & 0x0f, 1 | 3) && pointer + room > len {
                        return Read::Bad(at + 2);
                    }
                    return Read::Unknown(Because::NotModelled("the IP timestamp option"));
                } else if flags & 0x0f != 3 {
                    if flags >> 4 == 15 {
                        return Read::Bad(at + 3);
                    }
                    header[at + 3] = (flags & 0x0f) | (((flags >> 4) + 1) << 4);
                    options.changed = true;
                }
                options.timestamp = at;
            }
            ROUTER_ALERT => {
                if len < 4 {
                    return Read::Bad(at + 1);
                }
                if pointer == 0 && header[at + 3] == 0 {
                    options.router_alert = at;
                }
            }
            CIPSO => {
                // Without a definition of the domain (`netlabelctl`), of which dumps do not tell, none is valid.
                return Read::Bad(at + if len < 8 { 1 } else { 2 });
            }
            _ => {}
        }
        at += len;
    }
    Read::Good(options)
}

/// The address that this host is known by to the sender of a received packet (`fib_compute_spec_dst`). `Err`: something not modelled decides.
pub(super) fn spec_dst(ns: &NetNs, skb: &Skb, dev: DevId) -> Result<u32, Because> {
    if skb.dst.is_some_and(|dst| dst.local && !dst.broadcast) {
        return Ok(skb.ip.dst);
    }
    if skb.ip.src == 0 {
        return Ok(ns.fib.select_source(dev, 0, scope::LINK).unwrap_or(0));
    }
    let key = FlowKey {
        dst: skb.ip.src,
        tos: skb.ip.tos,
        mark: if ns.sysctls.src_valid_mark(dev) { skb.mark } else { 0 },
        ..FlowKey::default()
    };
    let src = match ns.fib.lookup_plain(&key) {
        FibResult::Found(found) => ns.fib.source_of(&found),
        FibResult::Failed { .. } => ns.fib.select_source(dev, skb.ip.src, scope::UNIVERSE),
        FibResult::Unknown(because) => return Err(because),
    };
    Ok(src.unwrap_or(0))
}

/// `ip_rcv_options`: reads the options of a routed packet. Malformed ones are told to the sender.
pub(super) fn receive<S: Sink>(cx: &mut Cx<'_, S>, flight: &mut Flight, dev: DevId) -> Result<(), End> {
    let locus = Locus::Subsystem("ip_rcv_options");
    let len = usize::from(flight.skb.ip.header_len);
    let own = spec_dst(cx.ns, &flight.skb, dev);
    let Some(header) = flight.skb.packet.l3_mut().get_mut(..len) else {
        return Err(End::dropped(DropCode::BadIpOptions, locus));
    };
    let options = match read(header, own) {
        Read::Good(options) => options,
        Read::Unknown(because) => return Err(End::unknown(because)),
        Read::Bad(at) => {
            let error = icmp::Error::new(12, 0, (at as u32) << 24);
            return Err(if icmp::send(cx, &flight.skb, error, MadeBy::IcmpError) {
                End::rejected(DropCode::BadIpOptions, locus)
            } else {
                End::dropped(DropCode::BadIpOptions, locus)
            });
        }
    };
    if options.source_route != 0 {
        if !cx.ns.sysctls.accept_source_route(dev) {
            return Err(End::dropped(DropCode::SourceRouteRefused, locus));
        }
        return Err(End::unknown(Because::NotModelled("source routing")));
    }
    flight.options = Some(options);
    Ok(())
}

/// `ip_forward_options`: the address of the way out is recorded, and the checksum made right again. `Err`: something not modelled decides
/// which address that is.
pub(super) fn forward(ns: &NetNs, flight: &mut Flight) -> Result<(), Because> {
    let Some(options) = &mut flight.options else { return Ok(()) };
    let (Some(dst), Some(dev)) = (flight.skb.dst, flight.skb.in_dev) else { return Ok(()) };
    if options.record_needs_addr {
        let ip = &flight.skb.ip;
        let key = FlowKey {
            dst: ip.dst,
            src: ip.src,
            iif: Some(dev),
            oif: Some(dst.dev),
            mark: flight.skb.mark,
            tos: ip.tos,
            ..FlowKey::default()
        };
        let own = match ns.fib.lookup_plain(&key) {
            FibResult::Found(found) => ns.fib.source_of(&found),
            FibResult::Failed { .. } => {
                ns.fib.select_source(dst.dev, dst.gateway.unwrap_or(ip.dst), scope::UNIVERSE)
            }
            FibResult::Unknown(because) => return Err(because),
        };
        let at = options.record_route;
        let l3 = flight.skb.packet.l3_mut();
        let pointer = l3.get(at + 2).copied().map_or(0, usize::from);
        if let Some(slot) = (at + pointer).checked_sub(5).and_then(|start| l3.get_mut(start..start + 4)) {
            slot.copy_from_slice(&own.unwrap_or(0).to_be_bytes());
        }
        options.changed = true;
    }
    if options.changed {
        options.changed = false;
        put_ipv4(flight.skb.packet.l3_mut());
    }
    Ok(())
}

/// What is not modelled of them.
pub(super) const ECHOED: &str = "an answer that carries IP options of the packet that it answers";

/// Whether an answer to this packet would carry options of it (`ip_options_echo`).
pub(super) fn echoed(skb: &Skb) -> bool {
    let len = usize::from(skb.ip.header_len);
    let Some(options) = skb.packet.l3().get(20..len) else { return false };
    let mut at = 0;
    while let Some(&kind) = options.get(at) {
        match kind {
            END => return false,
            NOOP => at += 1,
            RECORD_ROUTE | TIMESTAMP | LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE | CIPSO => return true,
            _ => match options.get(at + 1) {
                Some(&len) if len >= 2 => at += usize::from(len),
                _ => return false,
            },
        }
    }
    false
}
