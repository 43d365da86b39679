//! IPv6 headers: fields, and the way through extension headers. The walk of IPv6 packets is not part of this version.

use thiserror::Error;

/// Why bytes are no IPv6 header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Ipv6Error {
    /// Fewer than 40 bytes.
    #[error("the IPv6 header is cut off")]
    TooShort,
    /// The version field is not 6.
    #[error("the IP version is not 6")]
    Version,
}

/// The fixed header. Numbers in host byte order, addresses in transmission order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv6Fields {
    /// Source address.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
    /// Traffic class (DSCP and ECN).
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Bytes behind the fixed header, extension headers included.
    pub payload_len: u16,
    /// What follows the fixed header.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
}

/// Where extension headers end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv6Transport {
    /// The first header that is no known extension header.
    pub protocol: u8,
    /// Where it starts, in bytes from the start of the IPv6 header; may be beyond the end. In a later fragment, of the fragment header.
    pub offset: usize,
    /// Offset of the last fragment header in units of 8 bytes; 0 if there is none.
    pub frag_offset: u16,
    /// More fragments.
    pub more_fragments: bool,
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const NO_NEXT: u8 = 59;
const DESTINATION: u8 = 60;

impl Ipv6Fields {
    /// Reads the header at the start of `l3`. The payload length is not checked.
    pub fn parse(l3: &[u8]) -> Result<Ipv6Fields, Ipv6Error> {
        let bytes: &[u8; 40] = l3.first_chunk().ok_or(Ipv6Error::TooShort)?;
        let first = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if first >> 28 != 6 {
            return Err(Ipv6Error::Version);
        }
        let addr = |at: usize| {
            let mut addr = [0; 16];
            addr.copy_from_slice(&bytes[at..at + 16]);
            addr
        };
        Ok(Ipv6Fields {
            src: addr(8),
            dst: addr(24),
            traffic_class: (first >> 20) as u8,
            flow_label: first & 0xf_ffff,
            payload_len: u16::from_be_bytes([bytes[4], bytes[5]]),
            next_header: bytes[6],
            hop_limit: bytes[7],
        })
    }

    /// Skips extension headers as `ipv6_skip_exthdr` does. `None` if one of them is cut off, or nothing follows them (next header 59).
    pub fn transport(&self, l3: &[u8]) -> Option<Ipv6Transport> {
        let mut found =
            Ipv6Transport { protocol: self.next_header, offset: 40, frag_offset: 0, more_fragments: false };
        loop {
            match found.protocol {
                HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION => {}
                NO_NEXT => return None,
                _ => return Some(found),
            }
            let header = l3.get(found.offset..)?;
            let (&next, &len) = (header.first()?, header.get(1)?);
            let len = usize::from(len);
            let skip = match found.protocol {
                FRAGMENT => {
                    let word = u16::from_be_bytes([*header.get(2)?, *header.get(3)?]);
                    found.frag_offset = word >> 3;
                    found.more_fragments = word & 1 != 0;
                    if found.frag_offset != 0 {
                        // Nothing can be said about what follows; the kernel stops in front of the fragment header.
                        return Some(found);
                    }
                    8
                }
                AUTHENTICATION => (len + 2) * 4,
                _ => (len + 1) * 8,
            };
            found.protocol = next;
            found.offset += skip;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x61, 0x23, 0x45, 0x67, 0, rest.len() as u8, next, 64];
        bytes.extend_from_slice(&[1; 16]);
        bytes.extend_from_slice(&[2; 16]);
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn fields_and_extension_headers() {
        let mut rest = vec![FRAGMENT, 0, 1, 4, 0, 0, 0, 0];
        rest.extend_from_slice(&[AUTHENTICATION, 0, 0, 1, 0, 0, 0, 9]);
        rest.extend_from_slice(&[6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        rest.extend_from_slice(&[0; 20]);
        let bytes = packet(HOP_BY_HOP, &rest);
        let fields = Ipv6Fields::parse(&bytes).unwrap();
        assert_eq!((fields.traffic_class, fields.flow_label), (0x12, 0x34567));
        assert_eq!(
            fields.transport(&bytes),
            Some(Ipv6Transport { protocol: 6, offset: 68, frag_offset: 0, more_fragments: true })
        );
        for len in 0..bytes.len() {
            let cut = &bytes[..len];
            if let Ok(fields) = Ipv6Fields::parse(cut) {
                let _ = fields.transport(cut);
            }
        }
        let later = packet(FRAGMENT, &[17, 0, 0, 0x10, 0, 0, 0, 9]);
        let found = Ipv6Fields::parse(&later).unwrap().transport(&later).unwrap();
        assert_eq!((found.protocol, found.offset, found.frag_offset), (FRAGMENT, 40, 2));
        let none = packet(NO_NEXT, &[]);
        assert_eq!(Ipv6Fields::parse(&none).unwrap().transport(&none), None);
    }
}
