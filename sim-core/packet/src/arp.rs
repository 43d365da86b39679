//! ARP for IPv4 over Ethernet.

use crate::MacAddr;

/// Operation codes of [`ArpFields::operation`].
pub mod arp_op {
    /// Who has the target address?
    pub const REQUEST: u16 = 1;
    /// The sender has the sender address.
    pub const REPLY: u16 = 2;
}

/// An ARP packet that maps IPv4 to Ethernet addresses. Numbers in host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArpFields {
    /// Operation, see [`arp_op`].
    pub operation: u16,
    /// Hardware address of the sender.
    pub sender_mac: MacAddr,
    /// IPv4 address of the sender.
    pub sender: u32,
    /// Hardware address of the target; zero in requests.
    pub target_mac: MacAddr,
    /// IPv4 address of the target.
    pub target: u32,
}

impl ArpFields {
    /// `None` if fewer than 28 bytes are there, or the packet is not of IPv4 over Ethernet (`arp_rcv` and `arp_process` drop those for an
    /// Ethernet device).
    pub fn parse(l3: &[u8]) -> Option<ArpFields> {
        let bytes: &[u8; 28] = l3.first_chunk()?;
        let mac = |at: usize| {
            let mut mac = [0; 6];
            mac.copy_from_slice(&bytes[at..at + 6]);
            MacAddr(mac)
        };
        let addr = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        (bytes[..6] == [0, 1, 8, 0, 6, 4]).then(|| ArpFields {
            operation: u16::from_be_bytes([bytes[6], bytes[7]]),
            sender_mac: mac(8),
            sender: addr(14),
            target_mac: mac(18),
            target: addr(24),
        })
    }
}
