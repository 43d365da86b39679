//! SCTP's checksum. It is no Internet checksum: CRC32c (RFC 4960 appendix B, kernel `sctp_compute_cksum`), stored least significant byte first.

const TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

/// CRC32c of an SCTP packet (from its common header on) with the checksum field, bytes 8 to 11, taken as zero.
pub fn crc32c(packet: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for (index, byte) in packet.iter().enumerate() {
        let byte = if (8..12).contains(&index) { 0 } else { *byte };
        crc = TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn known_value() {
        // The check value of CRC32c is of "123456789"; bytes 8 to 11 are taken as zero here, so it is of "12345678" and a zero byte.
        assert_eq!(crc32c(b"12345678"), 0x6087_809a);
        assert_eq!(crc32c(b"12345678\xff"), crc32c(b"12345678\x00"));
    }
}
