//! IPv4 fragmentation, as `ip_do_fragment` does it. Seen on Linux 6.18, byte for byte, with and without options, of whole packets and of fragments.

use thiserror::Error;

use crate::checksum::put_ipv4;
use crate::{Ipv4Error, Ipv4Fields};

/// Why a packet cannot be cut into fragments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FragmentError {
    /// The packet has no readable IPv4 header.
    #[error(transparent)]
    Header(#[from] Ipv4Error),
    /// A fragment of this MTU would carry no data.
    #[error("an MTU of {0} leaves no room for 8 bytes of data")]
    Mtu(usize),
    /// Bytes that the header counts are not there.
    #[error("the packet is cut off: its header counts {claimed} bytes, {there} are there")]
    CutOff {
        /// Total length.
        claimed: usize,
        /// What is there.
        there: usize,
    },
}

/// The fragments of the packet `l3` for `mtu` bytes, in order; the packet itself, unchanged, if it fits.
///
/// Pieces are multiples of 8 bytes except the last. MF and the offset go on from those of `l3`, which may be a fragment itself. In fragments
/// after the first, options without the copied bit are overwritten with NOP (`ip_options_fragment`): the header keeps its length. Pieces of
/// a later fragment have the options that it came with, whatever they are. The kernel clears DF in fragments unless the packet came as fragments with DF (`IPSKB_FRAG_PMTU`): `dont_fragment`.
pub fn fragment(l3: &[u8], mtu: usize, dont_fragment: bool) -> Result<Vec<Vec<u8>>, FragmentError> {
    let ip = Ipv4Fields::parse(l3)?;
    let total = usize::from(ip.total_len);
    let header_len = usize::from(ip.header_len);
    let (Some(packet), true) = (l3.get(..total), total >= header_len) else {
        return Err(FragmentError::CutOff { claimed: total, there: l3.len() });
    };
    if total <= mtu {
        return Ok(vec![packet.to_vec()]);
    }
    let room = mtu.saturating_sub(header_len) & !7;
    if room == 0 {
        return Err(FragmentError::Mtu(mtu));
    }
    let (head, data) = packet.split_at(header_len);
    let mut later = head.to_vec();
    if ip.frag_offset == 0 {
        blank_uncopied(&mut later[20..]);
    }
    let mut pieces = Vec::with_capacity(data.len().div_ceil(room));
    let mut offset = ip.frag_offset;
    let mut rest = data;
    // The last piece may use what the rounding to 8 bytes leaves unused.
    while !rest.is_empty() {
        let fits = rest.len() <= mtu - header_len;
        let (piece, after) = rest.split_at(if fits { rest.len() } else { room });
        let mut bytes = Vec::with_capacity(header_len + piece.len());
        bytes.extend_from_slice(if pieces.is_empty() { head } else { &later });
        bytes.extend_from_slice(piece);
        let len = bytes.len() as u16;
        let more = !after.is_empty() || ip.more_fragments;
        let word = (u16::from(dont_fragment) << 14) | (u16::from(more) << 13) | (offset & 0x1fff);
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        bytes[6..8].copy_from_slice(&word.to_be_bytes());
        put_ipv4(&mut bytes);
        pieces.push(bytes);
        offset = offset.wrapping_add((piece.len() / 8) as u16);
        rest = after;
    }
    Ok(pieces)
}

/// Overwrites options that only the first fragment carries with NOP.
fn blank_uncopied(options: &mut [u8]) {
    let mut at = 0;
    while let Some(&kind) = options.get(at) {
        let len = match kind {
            0 => return,
            1 => 1,
            _ => match options.get(at + 1) {
                Some(&len) if len >= 2 && at + usize::from(len) <= options.len() => usize::from(len),
                _ => return,
            },
        };
        if kind & 0x80 == 0 {
            options[at..at + len].fill(1);
        }
        at += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{Ipv4Header, ipv4};
    use crate::checksum::checksum;

    #[test]
    fn pieces_make_the_whole() {
        let data: Vec<u8> = (0..1001u32).map(|n| n as u8).collect();
        let options = [0x94, 4, 0, 0, 7, 3, 4, 0];
        let header = Ipv4Header { id: 9, options: &options, ..Ipv4Header::new(1, 2) };
        let packet = ipv4(&header, 17, &data).unwrap();
        let pieces = fragment(&packet, 300, false).unwrap();
        assert_eq!(pieces.len(), 4);
        let mut whole = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            let ip = Ipv4Fields::parse(piece).unwrap();
            assert!(piece.len() <= 300 && usize::from(ip.total_len) == piece.len());
            assert_eq!(usize::from(ip.frag_offset) * 8, whole.len());
            assert_eq!(ip.more_fragments, index < 3);
            assert_eq!(checksum(&piece[..28]), 0);
            let expected: [u8; 8] = if index == 0 { options } else { [0x94, 4, 0, 0, 1, 1, 1, 0] };
            assert_eq!(piece[20..28], expected);
            whole.extend_from_slice(&piece[28..]);
        }
        assert_eq!(whole, data);
        // Options that a later fragment should not have are its sender's, and stay.
        let mut odd = pieces[1].clone();
        odd[20..28].copy_from_slice(&options);
        put_ipv4(&mut odd);
        assert!(fragment(&odd, 100, false).unwrap().iter().all(|piece| piece[20..28] == options));
        // A fragment can be fragmented again.
        let again = fragment(&pieces[1], 100, false).unwrap();
        assert!(again.iter().all(|p| Ipv4Fields::parse(p).unwrap().more_fragments));
        assert_eq!(fragment(&packet, 30, false), Err(FragmentError::Mtu(30)));
        assert_eq!(fragment(&packet, 1500, false), Ok(vec![packet.clone()]));
        for len in 0..packet.len() {
            assert!(fragment(&packet[..len], 300, false).is_err());
        }
    }
}
