//! IPv4 headers.

use etherparse::Ipv4HeaderSlice;
use thiserror::Error;

/// Why bytes are no IPv4 header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Ipv4Error {
    /// Fewer bytes than the header needs.
    #[error("the IPv4 header is cut off")]
    TooShort,
    /// The version field is not 4.
    #[error("the IP version is not 4")]
    Version,
    /// The header length is below 20 bytes.
    #[error("the IPv4 header length is below 20 bytes")]
    HeaderLength,
}

/// What rules and routing ask of an IPv4 header, read once. Addresses and numbers in host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv4Fields {
    /// Source address.
    pub src: u32,
    /// Destination address.
    pub dst: u32,
    /// Protocol number.
    pub protocol: u8,
    /// Type of service (DSCP and ECN).
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
    /// Bytes of the header, options included: 20 to 60.
    pub header_len: u8,
    /// Total length field.
    pub total_len: u16,
    /// Identification.
    pub id: u16,
    /// DF.
    pub dont_fragment: bool,
    /// MF.
    pub more_fragments: bool,
    /// Fragment offset in units of 8 bytes.
    pub frag_offset: u16,
}

impl Ipv4Fields {
    /// Reads the header at the start of `l3`. Neither checksum nor total length is checked.
    pub fn parse(l3: &[u8]) -> Result<Ipv4Fields, Ipv4Error> {
        use etherparse::err::ipv4::{HeaderError, HeaderSliceError};
        let header = Ipv4HeaderSlice::from_slice(l3).map_err(|error| match error {
            HeaderSliceError::Len(_) => Ipv4Error::TooShort,
            HeaderSliceError::Content(HeaderError::UnexpectedVersion { .. }) => Ipv4Error::Version,
            HeaderSliceError::Content(HeaderError::HeaderLengthSmallerThanHeader { .. }) => {
                Ipv4Error::HeaderLength
            }
        })?;
        Ok(Ipv4Fields {
            src: u32::from_be_bytes(header.source()),
            dst: u32::from_be_bytes(header.destination()),
            protocol: header.protocol().0,
            tos: l3[1],
            ttl: header.ttl(),
            header_len: header.slice().len() as u8,
            total_len: header.total_len(),
            id: header.identification(),
            dont_fragment: header.dont_fragment(),
            more_fragments: header.more_fragments(),
            frag_offset: header.fragments_offset().value(),
        })
    }

    /// Whether it is a piece of a larger packet.
    pub fn is_fragment(&self) -> bool {
        self.more_fragments || self.frag_offset != 0
    }
}
