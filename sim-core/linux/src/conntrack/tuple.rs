//! Tuples: what identifies one direction of a connection (`struct nf_conntrack_tuple`).

use std::net::Ipv4Addr;

/// IP protocol numbers that conntrack knows.
pub(crate) mod proto {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// GRE.
    pub const GRE: u8 = 47;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// UDPlite.
    pub const UDPLITE: u8 = 136;
}

/// The two directions of a connection (`enum ip_conntrack_dir`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CtDirection {
    /// That of the first packet.
    Original,
    /// The other.
    Reply,
}

impl CtDirection {
    /// The other direction.
    pub fn opposite(self) -> CtDirection {
        match self {
            CtDirection::Original => CtDirection::Reply,
            CtDirection::Reply => CtDirection::Original,
        }
    }

    /// 0 for original, 1 for reply: the kernel's numbering.
    pub fn index(self) -> usize {
        self as usize
    }
}

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
    /// TCP, UDP, UDPlite, SCTP; the keys of PPTP's GRE.
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

    /// The tuple of the other direction, before any translation (`nf_ct_invert_tuple`). None for an ICMP type that answers nothing and is
    /// not answered.
    pub fn invert(&self) -> Option<CtTuple> {
        let l4 = match self.l4 {
            CtL4::Ports { src, dst } => CtL4::Ports { src: dst, dst: src },
            CtL4::Icmp { id, icmp_type, code } => {
                CtL4::Icmp { id, icmp_type: inverse_icmp_type(icmp_type)?, code }
            }
            CtL4::None => CtL4::None,
        };
        Some(CtTuple { src: self.dst, dst: self.src, protocol: self.protocol, l4 })
    }

    /// The part that a translation of the source can change (`src.u.all`): source port or ICMP identifier, 0 where there is none.
    pub(crate) fn src_part(&self) -> u16 {
        match self.l4 {
            CtL4::Ports { src, .. } => src,
            CtL4::Icmp { id, .. } => id,
            CtL4::None => 0,
        }
    }

    /// The same for the destination. ICMP has one identifier for both ways.
    pub(crate) fn dst_part(&self) -> u16 {
        match self.l4 {
            CtL4::Ports { dst, .. } => dst,
            CtL4::Icmp { id, .. } => id,
            CtL4::None => 0,
        }
    }

    /// Writes [`CtTuple::src_part`].
    pub(crate) fn set_src_part(&mut self, value: u16) {
        match &mut self.l4 {
            CtL4::Ports { src, .. } => *src = value,
            CtL4::Icmp { id, .. } => *id = value,
            CtL4::None => {}
        }
    }

    /// Writes [`CtTuple::dst_part`].
    pub(crate) fn set_dst_part(&mut self, value: u16) {
        match &mut self.l4 {
            CtL4::Ports { dst, .. } => *dst = value,
            CtL4::Icmp { id, .. } => *id = value,
            CtL4::None => {}
        }
    }

    /// The tuple of a packet with these addresses, whose transport header is `l4` (`nf_ct_get_tuple`).
    pub(crate) fn of_packet(src: u32, dst: u32, protocol: u8, l4: &[u8]) -> Result<CtTuple, TupleError> {
        let word = |at: usize| match l4.get(at..at + 2) {
            Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
            _ => Err(TupleError::Short),
        };
        let l4 = match protocol {
            proto::TCP | proto::UDP | proto::UDPLITE | proto::SCTP => {
                CtL4::Ports { src: word(0)?, dst: word(2)? }
            }
            proto::ICMP => match l4 {
                &[icmp_type, code, _, _, id_high, id_low, _, _, ..] => {
                    CtL4::Icmp { id: u16::from_be_bytes([id_high, id_low]), icmp_type, code }
                }
                _ => return Err(TupleError::Short),
            },
            proto::GRE => gre(l4)?,
            _ => CtL4::None,
        };
        Ok(CtTuple { src, dst, protocol, l4 })
    }
}

/// Why a packet has no tuple.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TupleError {
    /// The header is not there in full.
    Short,
    /// GRE version 1 that carries something else than PPP.
    Gre,
}

/// The keys of a GRE packet (`gre_pkt_to_tuple`): none but for PPTP's version 1, whose call id is the destination key. The source key would
/// come from PPTP's helper, which is not modelled.
fn gre(l4: &[u8]) -> Result<CtL4, TupleError> {
    match l4 {
        &[_, flags, proto_high, proto_low, _, _, key_high, key_low, ..] if flags & 7 == 1 => {
            if (proto_high, proto_low) != (0x88, 0x0b) {
                return Err(TupleError::Gre);
            }
            match u16::from_be_bytes([key_high, key_low]) {
                0 => Ok(CtL4::None),
                key => Ok(CtL4::Ports { src: 0, dst: key }),
            }
        }
        _ => Ok(CtL4::None),
    }
}

/// The ICMP type that answers `icmp_type`, or that it answers (`invmap`).
fn inverse_icmp_type(icmp_type: u8) -> Option<u8> {
    Some(match icmp_type {
        0 => 8,
        8 => 0,
        13 => 14,
        14 => 13,
        15 => 16,
        16 => 15,
        17 => 18,
        18 => 17,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverting_twice_is_the_identity() {
        let tuples = [
            CtTuple { src: 1, dst: 2, protocol: proto::TCP, l4: CtL4::Ports { src: 3, dst: 4 } },
            CtTuple {
                src: 1,
                dst: 2,
                protocol: proto::ICMP,
                l4: CtL4::Icmp { id: 3, icmp_type: 13, code: 0 },
            },
            CtTuple { src: 1, dst: 2, protocol: 50, l4: CtL4::None },
        ];
        for tuple in tuples {
            assert_eq!(tuple.invert().and_then(|inverse| inverse.invert()), Some(tuple));
        }
        let error = CtTuple { src: 1, dst: 2, protocol: 1, l4: CtL4::Icmp { id: 3, icmp_type: 3, code: 0 } };
        assert_eq!(error.invert(), None, "an ICMP error answers nothing");
    }

    #[test]
    fn short_headers_have_no_tuple() {
        assert_eq!(CtTuple::of_packet(1, 2, proto::UDP, &[0, 1, 2]), Err(TupleError::Short));
        assert_eq!(CtTuple::of_packet(1, 2, proto::ICMP, &[8; 7]), Err(TupleError::Short));
        assert!(CtTuple::of_packet(1, 2, proto::TCP, &[0, 1, 2, 3]).is_ok(), "ports are enough");
        assert_eq!(CtTuple::of_packet(1, 2, 50, &[]).map(|t| t.l4), Ok(CtL4::None));
    }
}
