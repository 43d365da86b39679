//! VLAN tags (IEEE 802.1Q), as far as a frame carries one in its bytes.

use crate::{EtherType, Packet};

/// The tag of a frame whose EtherType is [`EtherType::VLAN`]: it stands where the network header would.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VlanTag {
    /// VLAN number, 12 bits; 0 is priority only.
    pub id: u16,
    /// Priority, 3 bits.
    pub priority: u8,
    /// Drop eligible.
    pub drop_eligible: bool,
    /// Protocol of what follows the tag.
    pub inner: EtherType,
}

impl VlanTag {
    /// The outermost tag; `None` if there is none or it is cut off.
    pub fn of(packet: &Packet) -> Option<VlanTag> {
        if packet.ethertype() != EtherType::VLAN {
            return None;
        }
        let [a, b, c, d]: [u8; 4] = *packet.l3().first_chunk()?;
        let tci = u16::from_be_bytes([a, b]);
        Some(VlanTag {
            id: tci & 0xfff,
            priority: (tci >> 13) as u8,
            drop_eligible: tci & 0x1000 != 0,
            inner: EtherType(u16::from_be_bytes([c, d])),
        })
    }
}
