//! The MSS option, as the TCPMSS target writes it.

use thiserror::Error;

use crate::checksum::{replace16, replace32};
use crate::names::proto;
use crate::{Ipv4Fields, TcpFields};

/// Why TCPMSS cannot handle a packet (it drops those, except where noted).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum MssError {
    /// It is a later fragment: the target lets it pass.
    #[error("a later fragment has no TCP header")]
    LaterFragment,
    /// No readable IPv4 or TCP header, or the data offset points beyond the packet.
    #[error("there is no whole TCP header")]
    NoHeader,
}

/// What [`set_mss`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    At { offset: usize, old: u16 },
    No,
}

/// Where the value of the first well-formed MSS option stands, from the start of `l4`, found as `tcpmss_mangle_packet` does: an option whose
/// length is 0 counts as one byte long.
fn find(l4: &[u8], header_len: usize) -> Found {
    let mut at = 20;
    // The kernel stops where the four bytes of an MSS option no longer fit.
    while at + 4 <= header_len {
        if l4[at] == 2 && l4[at + 1] == 4 {
            return Found::At { offset: at + 2, old: u16::from_be_bytes([l4[at + 2], l4[at + 3]]) };
        }
        at += if l4[at] <= 1 || l4[at + 1] == 0 { 1 } else { usize::from(l4[at + 1]) };
    }
    Found::No
}

/// Does what the target does to a packet (its bytes from the IPv4 header on): lowers the MSS option to `mss`, never raises it; where there is
/// none and the segment carries no data, inserts one in front of the other options, at most 536 (RFC 879's default) for IPv4. Returns whether
/// the bytes changed.
///
/// The lengths and checksums follow by their differences. The kernel does not mind where the option stands: if it starts at an odd byte, the
/// checksum becomes wrong, here as there. Bytes beyond the total length are not counted as data of the segment.
pub fn set_mss(l3: &mut Vec<u8>, mss: u16) -> Result<bool, MssError> {
    let ip = Ipv4Fields::parse(l3).map_err(|_| MssError::NoHeader)?;
    if ip.frag_offset != 0 {
        return Err(MssError::LaterFragment);
    }
    let start = usize::from(ip.header_len);
    let end = usize::from(ip.total_len).min(l3.len());
    let l4 = l3.get(start..end).ok_or(MssError::NoHeader)?;
    let tcp = TcpFields::parse(l4).filter(|_| ip.protocol == proto::TCP).ok_or(MssError::NoHeader)?;
    let header_len = usize::from(tcp.header_len);
    if header_len < 20 || l4.len() < header_len {
        return Err(MssError::NoHeader);
    }
    if let Found::At { offset, old } = find(l4, header_len) {
        if old <= mss {
            return Ok(false);
        }
        let at = start + offset;
        l3[at..at + 2].copy_from_slice(&mss.to_be_bytes());
        let new_check = replace16(tcp.checksum, old, mss);
        l3[start + 16..start + 18].copy_from_slice(&new_check.to_be_bytes());
        return Ok(true);
    }
    // An option more changes the length: only where nothing follows the header, and the data offset has room.
    if usize::from(ip.total_len) > start + header_len || header_len >= 60 {
        return Ok(false);
    }
    let mss = mss.min(536);
    let option = [2, 4, (mss >> 8) as u8, mss as u8];
    let at = start + 20;
    l3.splice(at..at, option);
    let old_len = (header_len) as u16;
    let old_word = u16::from_be_bytes([l3[start + 12], l3[start + 13]]);
    l3[start + 12] = l3[start + 12].wrapping_add(0x10);
    let new_word = u16::from_be_bytes([l3[start + 12], l3[start + 13]]);
    let check = replace16(tcp.checksum, old_len, old_len + 4);
    let check = replace32(check, 0, u32::from_be_bytes(option));
    let check = replace16(check, old_word, new_word);
    l3[start + 16..start + 18].copy_from_slice(&check.to_be_bytes());
    let new_total = ip.total_len.saturating_add(4);
    let ip_check = replace16(u16::from_be_bytes([l3[10], l3[11]]), ip.total_len, new_total);
    l3[2..4].copy_from_slice(&new_total.to_be_bytes());
    l3[10..12].copy_from_slice(&ip_check.to_be_bytes());
    Ok(true)
}

/// The MSS that `--clamp-mss-to-pmtu` means for a path MTU: less the IPv4 and TCP header, as much of it as 16 bits hold. `None` if the MTU
/// leaves nothing: the target drops the packet.
pub fn clamp_mss(mtu: u32) -> Option<u16> {
    mtu.checked_sub(40).filter(|mss| *mss > 0).map(|mss| mss as u16)
}
