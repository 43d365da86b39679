//! What network cards do for the stack, and a capture shows undone: checksums that are filled in later, and segments that are sent and received
//! as one long packet (TSO, GRO).

use pktwalk_linux::config::{DeviceKind, NetNsConfig};
use pktwalk_linux::diag::Severity;
use pktwalk_packet::checksum::{finish, pseudo_header, put, put_ipv4, sum};
use pktwalk_packet::{EtherType, Ipv4Fields, Packet, TcpFields, tcp_flag};
use pktwalk_report::Remark;

use crate::case::{CaseSend, Entry};

/// A TCP or UDP packet of the sender's own stack, captured before its device summed it up, holds the sum of the pseudo header alone. It is given the
/// checksum that it has on the wire; whether it needed one.
pub(crate) fn fill_in_checksum(packet: &mut Packet) -> bool {
    if packet.ethertype() != EtherType::IPV4 || packet.missing() > 0 {
        return false;
    }
    let Ok(ip) = Ipv4Fields::parse(packet.l3()) else { return false };
    let at = match ip.protocol {
        6 => 16,
        17 => 6,
        _ => return false,
    };
    let (begin, end) = (usize::from(ip.header_len), usize::from(ip.total_len));
    let fragment = packet.l3().get(6..8).is_none_or(|bytes| bytes[0] & 0x3f != 0 || bytes[1] != 0);
    let Some(l4) = packet.l3_mut().get_mut(begin..end).filter(|l4| !fragment && l4.len() >= at + 4) else {
        return false;
    };
    let Ok(len) = u32::try_from(l4.len()) else { return false };
    let pseudo = pseudo_header(ip.src, ip.dst, ip.protocol, len);
    let held = u16::from_be_bytes([l4[at], l4[at + 1]]);
    if held != !finish(pseudo) || finish(sum(l4, pseudo)) == 0 {
        return false;
    }
    l4[at..at + 2].fill(0);
    let right = finish(sum(l4, pseudo));
    let right = if right == 0 && ip.protocol == 17 { u16::MAX } else { right };
    l4[at..at + 2].copy_from_slice(&right.to_be_bytes());
    true
}

/// Packets of a capture that are longer than their device's MTU allows are several, merged before they were captured: each is replaced by the
/// segments that the MTU allows, under the same number. The kernel forwards such a packet as these segments, and looks at its rules once.
///
/// What stands beside a packet stands beside each of its segments.
pub fn cut_merged<T: Clone>(
    sends: Vec<(CaseSend, T)>,
    config: &NetNsConfig,
) -> (Vec<(CaseSend, T)>, Option<Remark>) {
    let mtu_of = |entry: &Entry| match entry {
        Entry::Device(name) => {
            config.devices.iter().find(|device| device.name == *name).map(|device| device.mtu)
        }
        // Which device it leaves by is not known yet: what the smallest can carry, all can.
        Entry::Local(_) => {
            let wires = config.devices.iter().filter(|device| device.kind != DeviceKind::Loopback);
            wires.map(|device| device.mtu).min()
        }
    };
    let (mut merged, mut pieces) = (0usize, 0usize);
    let mut out = Vec::with_capacity(sends.len());
    for (send, beside) in sends {
        match mtu_of(&send.entry).and_then(|mtu| segments(&send.packet, mtu)) {
            Some(segments) if send.number.is_some() => {
                merged += 1;
                pieces += segments.len();
                let segment = |packet| (CaseSend { packet, ..send.clone() }, beside.clone());
                out.extend(segments.into_iter().map(segment));
            }
            _ => out.push((send, beside)),
        }
    }
    let (what, are) = if merged == 1 { ("packet", "is") } else { ("packets", "are") };
    let message = format!(
        "assumed: {merged} TCP {what} of the capture, longer than the MTU of the device, {are} of several segments that a card had merged (GRO, TSO); walked as {pieces} of the MTU's length"
    );
    (out, (merged > 0).then_some(Remark { severity: Severity::Note, message, location: None }))
}

/// The TCP segments that a longer packet is made of; none if it fits.
fn segments(packet: &Packet, mtu: u32) -> Option<Vec<Packet>> {
    let ip = Ipv4Fields::parse(packet.l3()).ok()?;
    if packet.ethertype() != EtherType::IPV4
        || ip.protocol != 6
        || ip.more_fragments
        || ip.frag_offset > 0
        || u32::from(ip.total_len) <= mtu
    {
        return None;
    }
    let ip_len = usize::from(ip.header_len);
    let tcp = TcpFields::parse(packet.l3().get(ip_len..)?)?;
    let headers = ip_len + usize::from(tcp.header_len);
    let header = packet.l3().get(..headers)?;
    let each = (mtu as usize).checked_sub(headers).filter(|each| *each > 0)?;
    let end = usize::from(ip.total_len);
    // What a capture cut off is missing in the segments too.
    let there = packet.l3().get(headers..end.min(packet.l3().len())).unwrap_or(&[]);
    let len = end.checked_sub(headers)?;
    let mut out = Vec::with_capacity(len.div_ceil(each));
    for (number, from) in (0..len).step_by(each).enumerate() {
        let to = (from + each).min(len);
        let data = there.get(from.min(there.len())..to.min(there.len())).unwrap_or(&[]);
        let mut l3 = [header, data].concat();
        let total = u16::try_from(headers + to - from).ok()?;
        l3.get_mut(2..4)?.copy_from_slice(&total.to_be_bytes());
        let id = u16::from_be_bytes([*l3.get(4)?, *l3.get(5)?]).wrapping_add(number as u16);
        l3.get_mut(4..6)?.copy_from_slice(&id.to_be_bytes());
        put_ipv4(&mut l3);
        let segment = l3.get_mut(ip_len..)?;
        segment.get_mut(4..8)?.copy_from_slice(&tcp.seq.wrapping_add(from as u32).to_be_bytes());
        let flags = segment.get_mut(13)?;
        if to < len {
            *flags &= !(tcp_flag::FIN | tcp_flag::PSH);
        }
        if from > 0 {
            *flags &= !tcp_flag::CWR;
        }
        let missing = to - from - data.len();
        if missing == 0 {
            let whole = u32::try_from(segment.len()).ok()?;
            segment.get_mut(16..18)?.fill(0);
            put(segment, 16, pseudo_header(ip.src, ip.dst, 6, whole));
        }
        let mut one = packet.clone().with_missing(missing);
        one.set_l3(&l3);
        out.push(one);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pktwalk_packet::spec::{parse, print};

    #[test]
    fn a_long_packet_is_its_segments() {
        let long = parse("tcp 10.0.0.1:1 > 10.0.0.2:2 flags=PA seq=7 data=61+2999 df id=5").unwrap();
        let texts: Vec<String> = segments(&long, 1500).unwrap().iter().map(print).collect();
        assert_eq!(
            texts,
            [
                "tcp 10.0.0.1:1 > 10.0.0.2:2 flags=A seq=7 data=61+1459 id=5 df",
                "tcp 10.0.0.1:1 > 10.0.0.2:2 flags=A seq=1467 len=1460 id=6 df",
                "tcp 10.0.0.1:1 > 10.0.0.2:2 flags=PA seq=2927 len=80 id=7 df",
            ]
        );
        for text in ["tcp 10.0.0.1:1 > 10.0.0.2:2 flags=A len=1460", "udp 10.0.0.1:1 > 10.0.0.2:2 len=3000"] {
            assert_eq!(segments(&parse(text).unwrap(), 1500), None, "{text}");
        }
    }

    #[test]
    fn what_was_cut_off_stays_missing() {
        let long = parse("tcp 10.0.0.1:1 > 10.0.0.2:2 flags=A len=3000 cut=2990").unwrap();
        let segments = segments(&long, 1500).unwrap();
        let missing: Vec<usize> = segments.iter().map(Packet::missing).collect();
        assert_eq!(missing, [1450, 1460, 80]);
        assert!(segments.iter().all(|segment| segment.l3_wire_len() <= 1500));
    }
}
