//! Tuples: what identifies one direction of a connection (`struct nf_conntrack_tuple`).

use std::net::Ipv4Addr;

/// One direction of an IPv4 connection. Addresses and ports in host byte order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CtTuple {
    /// Source address.
    pub src: u32,
    /// Destination address.
    pub dst: u32,
    /// IP protocol.
    pub protocol: u8,
    /// The protocol's part.
    pub l4: CtL4,
}

/// The protocol's part of a tuple.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CtL4 {
    /// TCP, UDP, UDPlite, SCTP, DCCP.
    Ports {
        /// Source.
        src: u16,
        /// Destination.
        dst: u16,
    },
    /// ICMP queries.
    Icmp {
        /// Identifier.
        id: u16,
        /// Type.
        icmp_type: u8,
        /// Code.
        code: u8,
    },
    /// Nothing: one connection per pair of addresses.
    None,
}

impl CtTuple {
    /// Source as an address.
    pub fn src_addr(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.src)
    }

    /// Destination as an address.
    pub fn dst_addr(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.dst)
    }
}
