//! Which socket takes a packet (`__udp4_lib_lookup`, `__inet_lookup`, `raw_local_deliver`).

use super::links::SocketKey;
use crate::ids::DevId;

/// What a delivered packet is asked of sockets by. Host order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub protocol: u8,
    pub src: u32,
    pub sport: u16,
    pub dst: u32,
    pub dport: u16,
    /// The device that it was received by, or that has the address that this namespace sent it to (`inet_iif`).
    pub dev: DevId,
    /// Addressed to many.
    pub broadcast: bool,
}

/// How well a socket fits, `None` if it does not: address, connection, device, family, in the weights of `compute_score`.
fn score(socket: &SocketKey, to: &Arrival) -> Option<u32> {
    if socket.protocol != to.protocol || socket.port != to.dport {
        return None;
    }
    if socket.local != 0 && socket.local != to.dst {
        return None;
    }
    let mut score = if socket.v4 { 2 } else { 1 };
    if let Some((addr, port)) = socket.remote {
        if (addr, port) != (to.src, to.sport) {
            return None;
        }
        score += 8;
    }
    if let Some(dev) = socket.dev {
        if dev != Some(to.dev) {
            return None;
        }
        score += 4;
    }
    Some(score)
}

/// The best of the sockets that fit: a connected one, else one of the very address, else one of any address; of equals the first.
fn best<'a>(sockets: impl Iterator<Item = &'a SocketKey>, to: &Arrival) -> Option<u32> {
    let mut best: Option<((bool, bool, u32), u32)> = None;
    for socket in sockets {
        let Some(score) = score(socket, to) else { continue };
        let rank = (socket.remote.is_some() && socket.local != 0, socket.local != 0, score);
        if best.is_none_or(|(known, _)| rank > known) {
            best = Some((rank, socket.index));
        }
    }
    best.map(|(_, index)| index)
}

/// A UDP (or UDP-Lite) socket: its position in the configuration.
pub(super) fn udp(sockets: &[SocketKey], to: &Arrival) -> Option<u32> {
    best(sockets.iter(), to)
}

/// A TCP socket: the connection, else a listener.
pub(super) fn tcp(sockets: &[SocketKey], to: &Arrival) -> Option<u32> {
    let of = |connected: bool| {
        sockets.iter().filter(move |s| s.remote.is_some() == connected && s.listening != connected)
    };
    best(of(true), to).or_else(|| best(of(false), to))
}

/// A ping socket (`ping_lookup`), whose port is the ICMP id, or a raw socket of ICMP, which has none.
pub(super) fn ping(sockets: &[SocketKey], to: &Arrival) -> Option<u32> {
    let fits = |s: &&SocketKey| {
        s.protocol == to.protocol
            && (s.port == 0 || s.port == to.dport)
            && (s.local == 0 || s.local == to.dst)
    };
    sockets.iter().find(fits).map(|s| s.index)
}

/// A raw socket of the protocol.
pub(super) fn raw(sockets: &[SocketKey], to: &Arrival) -> Option<u32> {
    let fits = |s: &&SocketKey| {
        s.protocol == to.protocol
            // One of ICMP that has a port (an id) is a ping socket.
            && (s.protocol != 1 || s.port == 0)
            && (s.local == 0 || s.local == to.dst)
            && s.remote.is_none_or(|(addr, _)| addr == 0 || addr == to.src)
            && s.dev.is_none_or(|dev| dev == Some(to.dev))
    };
    sockets.iter().find(fits).map(|s| s.index)
}
