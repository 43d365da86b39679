//! The Internet checksum (RFC 1071), whole and updated incrementally (RFC 1624, kernel `csum_replace2`, `inet_proto_csum_replace4`).

/// Sum of the 16-bit words of `bytes` on top of `start`, not folded to 16 bits. An odd last byte counts as the high half of a word.
pub fn sum(bytes: &[u8], start: u32) -> u32 {
    // 2^16 is 1 in ones' complement arithmetic, so wider words have the same sum. A packet has too few of them for 64 bits to overflow.
    // The sum of swapped words is the swapped sum (RFC 1071 section 2 B), so words are read as the machine has them.
    let mut total = 0;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        total += u64::from(u32::from_ne_bytes(*word));
    }
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    total += u64::from(u32::from_ne_bytes(last));
    total = (total & 0xffff_ffff) + (total >> 32);
    total = (total & 0xffff) + (total >> 16);
    total = (total & 0xffff) + (total >> 16);
    total = (total & 0xffff) + (total >> 16);
    let (sum, over) = start.overflowing_add(u32::from(u16::from_be(total as u16)));
    sum + u32::from(over)
}

/// Folds a sum to 16 bits and inverts it: what stands in a header.
pub fn finish(sum: u32) -> u16 {
    let mut folded = sum;
    while folded > 0xffff {
        folded = (folded & 0xffff) + (folded >> 16);
    }
    !(folded as u16)
}

/// Checksum of `bytes`, as it stands in an IPv4 or ICMP header when the field itself is zero. Over bytes that hold a correct checksum, 0.
pub fn checksum(bytes: &[u8]) -> u16 {
    finish(sum(bytes, 0))
}

/// Writes the checksum of `bytes` (on top of `start`) into the field at `at`, where that is there.
pub fn put(bytes: &mut [u8], at: usize, start: u32) {
    let Some(field) = bytes.get_mut(at..at + 2) else { return };
    field.fill(0);
    let check = finish(sum(bytes, start)).to_be_bytes();
    if let Some(field) = bytes.get_mut(at..at + 2) {
        field.copy_from_slice(&check);
    }
}

/// Writes the checksum of the IPv4 header at the start of `l3` (`ip_send_check`).
pub fn put_ipv4(l3: &mut [u8]) {
    let len = l3.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
    if let Some(header) = l3.get_mut(..len)
        && len >= 20
    {
        put(header, 10, 0);
    }
}

/// Sum of the IPv4 pseudo header. Addresses in host order; `len` is the length of transport header and data in bytes.
pub fn pseudo_header(src: u32, dst: u32, protocol: u8, len: u32) -> u32 {
    let mut bytes = [0u8; 12];
    bytes[..4].copy_from_slice(&src.to_be_bytes());
    bytes[4..8].copy_from_slice(&dst.to_be_bytes());
    bytes[9] = protocol;
    bytes[10..].copy_from_slice(&(len as u16).to_be_bytes());
    sum(&bytes, len >> 16)
}

/// The checksum `old_checksum` after one of the words under it changed from `old` to `new` (`csum_replace2`).
pub fn replace16(old_checksum: u16, old: u16, new: u16) -> u16 {
    finish(u32::from(!old_checksum) + u32::from(!old) + u32::from(new))
}

/// As [`replace16`], for two adjacent words (`csum_replace4`).
pub fn replace32(old_checksum: u16, old: u32, new: u32) -> u16 {
    let halves = |value: u32| (value >> 16) + (value & 0xffff);
    finish(u32::from(!old_checksum) + halves(!old) + halves(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Word by word, as the RFC says it.
    fn by_words(bytes: &[u8], start: u32) -> u16 {
        let mut total = u64::from(start);
        for word in bytes.chunks(2) {
            total += u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0));
        }
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        !(total as u16)
    }

    #[test]
    fn wide_words_sum_like_narrow_ones() {
        for fill in [0u8, 1, 0x7f, 0x80, 0xff] {
            let bytes: Vec<u8> = (0..70u8).map(|at| at.wrapping_mul(37) ^ fill).collect();
            for start in [0, 0xffff, 0x1_0000, u32::MAX] {
                for len in 0..bytes.len() {
                    assert_eq!(finish(sum(&bytes[..len], start)), by_words(&bytes[..len], start));
                    let same = vec![fill; len];
                    assert_eq!(finish(sum(&same, start)), by_words(&same, start));
                }
            }
        }
    }

    #[test]
    fn incremental_equals_whole() {
        let mut bytes = [0x45, 0, 0, 0x54, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let before = checksum(&bytes);
        bytes[8] = 63;
        assert_eq!(replace16(before, 0x4006, 0x3f06), checksum(&bytes));
        bytes[8] = 64;
        bytes[16..20].copy_from_slice(&[192, 168, 50, 1]);
        assert_eq!(replace32(before, 0x0a00_0002, 0xc0a8_3201), checksum(&bytes));
    }
}
