//! Packets that the stack makes as an answer to another: ICMP errors, echo replies, resets.
//!
//! Seen on Linux 6.18, byte for byte. There, the resets of the stack itself have DF, id 0 and the TOS of the segment; echo and timestamp replies the TOS of the request without DF; ICMP
//! errors TOS `0xc0 | (tos & 0x1e)` without DF, and, where the original had options, the options that `__ip_options_echo` answers with.

use super::{BuildError, Ipv4Header, TcpHeader, icmp, tcp};
use crate::{Ipv4Fields, TcpFields, tcp_flag};

/// The longest ICMP error that the kernel sends, IPv4 header included (`icmp_send`: RFC 1812 section 4.3.2.3).
pub const ICMP_ERROR_MAX: usize = 576;

/// What the caller decides about an ICMP error. Numbers in host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpErrorHeader<'a> {
    /// Source, destination (of the error, not of the packet that it is about), TTL, TOS, id, options.
    pub ip: Ipv4Header<'a>,
    /// Type.
    pub icmp_type: u8,
    /// Code.
    pub code: u8,
    /// Bytes 4 to 7 of the ICMP header: the MTU (in the last two) of 3/4, the gateway of a redirect, the pointer of a parameter problem.
    pub rest: [u8; 4],
    /// MTU of the way back in bytes.
    pub mtu: usize,
}

/// An ICMP error about `original` (its bytes from the IPv4 header on), as `icmp_send` shapes it: as much of the original is quoted as fits
/// the smaller of the path's MTU and 576 bytes.
pub fn icmp_error(header: &IcmpErrorHeader<'_>, original: &[u8]) -> Result<Vec<u8>, BuildError> {
    let room = header
        .mtu
        .min(ICMP_ERROR_MAX)
        .saturating_sub(20 + header.ip.options.len().next_multiple_of(4))
        .saturating_sub(8);
    let quote = &original[..original.len().min(room)];
    icmp(&header.ip, header.icmp_type, header.code, header.rest, quote)
}

/// What the caller decides about a reply's IPv4 header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyHeader {
    /// Time to live.
    pub ttl: u8,
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// DF.
    pub dont_fragment: bool,
}

impl ReplyHeader {
    fn ip(self, original: &Ipv4Fields) -> Ipv4Header<'static> {
        Ipv4Header {
            ttl: self.ttl,
            tos: self.tos,
            id: self.id,
            dont_fragment: self.dont_fragment,
            ..Ipv4Header::new(original.dst, original.src)
        }
    }
}

/// The RST that answers the TCP segment `original`, from its destination to its source (`nf_reject_ip_tcphdr_put` and `tcp_v4_send_reset`
/// make the same): sequence number as acknowledged, or RST with ACK of everything received. `None` if the segment's header is not there or
/// it is a later fragment. Whether it is a RST itself is for the caller to see.
pub fn tcp_reset(original: &[u8], header: ReplyHeader) -> Option<Vec<u8>> {
    let ip = Ipv4Fields::parse(original).ok()?;
    if ip.frag_offset != 0 {
        return None;
    }
    let segment = TcpFields::parse(original.get(usize::from(ip.header_len)..)?)?;
    let mut reset = TcpHeader {
        sport: segment.dport,
        dport: segment.sport,
        flags: tcp_flag::RST,
        ..TcpHeader::default()
    };
    if segment.flags & tcp_flag::ACK != 0 {
        reset.seq = segment.ack;
    } else {
        let flags =
            u32::from(segment.flags & tcp_flag::SYN != 0) + u32::from(segment.flags & tcp_flag::FIN != 0);
        let len = u32::from(ip.total_len.saturating_sub(u16::from(ip.header_len)));
        reset.flags |= tcp_flag::ACK;
        reset.ack =
            segment.seq.wrapping_add(flags).wrapping_add(len).wrapping_sub(u32::from(segment.header_len));
    }
    tcp(&header.ip(&ip), &reset, &[]).ok()
}

/// The echo reply to the echo request `original` (`icmp_echo`, `icmp_reply`), from `src`: the same code, identifier, sequence number and data.
/// `None` if the ICMP header is not there.
pub fn echo_reply(original: &[u8], src: u32, header: ReplyHeader) -> Option<Vec<u8>> {
    let ip = Ipv4Fields::parse(original).ok()?;
    let end = usize::from(ip.total_len).min(original.len());
    let message = original.get(usize::from(ip.header_len)..end)?;
    let (fixed, payload) = message.split_first_chunk::<8>()?;
    let rest = [fixed[4], fixed[5], fixed[6], fixed[7]];
    let reply = Ipv4Header { src, ..header.ip(&ip) };
    let mut bytes = icmp(&reply, 0, fixed[1], rest, payload).ok()?;
    // Of zeros only: `csum_partial_copy_nocheck` adds them to minus zero, so that the kernel writes 0 where others write 0xffff.
    if let Some(sum) = bytes.get_mut(22..24).filter(|sum| **sum == [0xff, 0xff]) {
        sum.fill(0);
    }
    Some(bytes)
}

/// The timestamp reply to the timestamp request `original` (`icmp_timestamp`, `icmp_reply`), from `src`, received and sent at `now` (milliseconds
/// since midnight UTC): code 0, the same identifier, sequence number and originate time, and nothing of what stands behind that. `None` if
/// these are not all there.
pub fn timestamp_reply(original: &[u8], src: u32, header: ReplyHeader, now: u32) -> Option<Vec<u8>> {
    let ip = Ipv4Fields::parse(original).ok()?;
    let end = usize::from(ip.total_len).min(original.len());
    let message = original.get(usize::from(ip.header_len)..end)?;
    let (fixed, rest) = message.split_first_chunk::<8>()?;
    let mut times = rest.first_chunk::<4>()?.to_vec();
    times.extend_from_slice(&now.to_be_bytes());
    times.extend_from_slice(&now.to_be_bytes());
    let reply = Ipv4Header { src, ..header.ip(&ip) };
    icmp(&reply, 14, 0, [fixed[4], fixed[5], fixed[6], fixed[7]], &times).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::udp;
    use crate::checksum::checksum;

    const REPLY: ReplyHeader = ReplyHeader { ttl: 64, tos: 0, id: 0, dont_fragment: true };

    #[test]
    fn reset_of_syn_and_of_ack() {
        let ip = Ipv4Header::new(0x0a00_0001, 0x0a00_0002);
        let syn = TcpHeader { sport: 40000, dport: 80, seq: 7, flags: tcp_flag::SYN, ..TcpHeader::default() };
        let reset = tcp_reset(&tcp(&ip, &syn, b"abc").unwrap(), REPLY).unwrap();
        let fields = TcpFields::parse(&reset[20..]).unwrap();
        assert_eq!((fields.sport, fields.dport, fields.seq, fields.ack), (80, 40000, 0, 11));
        assert_eq!(fields.flags, tcp_flag::RST | tcp_flag::ACK);

        let data = TcpHeader { ack: 99, flags: tcp_flag::ACK, ..syn };
        let reset = tcp_reset(&tcp(&ip, &data, b"abc").unwrap(), REPLY).unwrap();
        let fields = TcpFields::parse(&reset[20..]).unwrap();
        assert_eq!((fields.seq, fields.ack, fields.flags), (99, 0, tcp_flag::RST));
    }

    #[test]
    fn the_checksum_of_zeros_is_zero() {
        let ip = Ipv4Header::new(0x0a00_0001, 0x0a00_0002);
        let reply = |seq, data: &[u8]| {
            let request = icmp(&ip, 8, 0, [0, 0, 0, seq], data).unwrap();
            let reply = echo_reply(&request, ip.dst, REPLY).unwrap();
            assert_eq!(checksum(&reply[20..]), if reply[22..24] == [0, 0] { 0xffff } else { 0 });
            [reply[22], reply[23]]
        };
        assert_eq!(reply(0, b""), [0, 0]);
        assert_eq!(reply(0, &[0; 56]), [0, 0]);
        assert_eq!(reply(1, b""), [0xff, 0xfe]);
    }

    #[test]
    fn errors_quote_up_to_576_bytes() {
        let original = udp(&Ipv4Header::new(1, 2), 3, 4, &[0; 1000]).unwrap();
        let mut header =
            IcmpErrorHeader { ip: Ipv4Header::new(5, 1), icmp_type: 3, code: 3, rest: [0; 4], mtu: 1500 };
        let error = icmp_error(&header, &original).unwrap();
        assert_eq!(error.len(), 576);
        assert_eq!(error[28..], original[..548]);
        assert_eq!(checksum(&error[20..]), 0);
        header.mtu = 68;
        assert_eq!(icmp_error(&header, &original).unwrap().len(), 68);
    }

    #[test]
    fn timestamp_replies_have_twenty_bytes() {
        // As the kernel answered one of code 3 with 24 bytes of data.
        let request = icmp(&Ipv4Header::new(1, 2), 13, 3, [0, 5, 0, 9], b"abcdefghijklmnopqrstuvwx").unwrap();
        let reply = timestamp_reply(&request, 2, REPLY, 0x0010_456e).unwrap();
        assert_eq!(reply[20..22], [14, 0]);
        assert_eq!(reply[24..], *b"\x00\x05\x00\x09abcd\x00\x10\x45\x6e\x00\x10\x45\x6e");
        assert_eq!((checksum(&reply[20..]), &reply[22..24]), (0, &[0xa2, 0x2e][..]));
        for len in 0..request.len() {
            assert_eq!(timestamp_reply(&request[..len], 2, REPLY, 0).is_some(), len >= 32);
        }
    }

    #[test]
    fn echo_reply_keeps_what_was_sent() {
        let request = icmp(&Ipv4Header::new(1, 2), 8, 5, [0, 1, 0, 2], b"hello").unwrap();
        let reply = echo_reply(&request, 2, REPLY).unwrap();
        assert_eq!(reply[20..22], [0, 5]);
        assert_eq!(reply[24..], request[24..]);
        assert_eq!(checksum(&reply[20..]), 0);
        for len in 0..request.len() {
            let _ = echo_reply(&request[..len], 2, REPLY);
            let _ = tcp_reset(&request[..len], REPLY);
        }
    }
}
