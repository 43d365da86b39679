//! [`Packet`]: the bytes of one frame and where its network header starts.

use std::fmt;

/// A 48-bit hardware address, in transmission order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);

    /// Whether every bit is set.
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// Whether the group bit is set (broadcast included), as the kernel's `is_multicast_ether_addr`.
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The protocol of the network header, as Ethernet numbers it (host byte order).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4, 0x0800.
    pub const IPV4: EtherType = EtherType(0x0800);
    /// ARP, 0x0806.
    pub const ARP: EtherType = EtherType(0x0806);
    /// VLAN tag, 0x8100.
    pub const VLAN: EtherType = EtherType(0x8100);
    /// Service VLAN tag (802.1ad), 0x88a8.
    pub const SERVICE_VLAN: EtherType = EtherType(0x88a8);
    /// IPv6, 0x86dd.
    pub const IPV6: EtherType = EtherType(0x86dd);
}

/// One frame: its bytes, where its network header starts, and how many bytes of it a capture cut off.
///
/// A packet without a link-layer header (from a raw IP capture, or generated locally and not yet sent) starts with its
/// network header. The kernel's `skb->len` at the IP layer is [`Packet::l3_wire_len`].
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    bytes: Vec<u8>,
    l3: usize,
    ethertype: EtherType,
    missing: usize,
}

impl Packet {
    /// A frame with its Ethernet header. `None` if it is shorter than one (14 bytes).
    pub fn from_ethernet(bytes: Vec<u8>) -> Option<Packet> {
        let ethertype = EtherType(u16::from_be_bytes([*bytes.get(12)?, *bytes.get(13)?]));
        Some(Packet { bytes, l3: 14, ethertype, missing: 0 })
    }

    /// A packet that starts with its network header.
    pub fn from_l3(ethertype: EtherType, bytes: Vec<u8>) -> Packet {
        Packet { bytes, l3: 0, ethertype, missing: 0 }
    }

    /// Says that a capture kept only the first bytes of a frame, and how many it cut off.
    #[must_use]
    pub fn with_missing(mut self, missing: usize) -> Packet {
        self.missing = missing;
        self
    }

    /// Every byte, from the link-layer header on if there is one.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The Ethernet header, destination first; `None` without a link-layer header.
    pub fn mac_header(&self) -> Option<&[u8]> {
        (self.l3 >= 14).then(|| &self.bytes[..self.l3])
    }

    /// Destination hardware address.
    pub fn mac_dst(&self) -> Option<MacAddr> {
        self.mac_header().and_then(|h| h[..6].try_into().ok()).map(MacAddr)
    }

    /// Source hardware address.
    pub fn mac_src(&self) -> Option<MacAddr> {
        self.mac_header().and_then(|h| h[6..12].try_into().ok()).map(MacAddr)
    }

    /// The protocol of [`Packet::l3`].
    pub fn ethertype(&self) -> EtherType {
        self.ethertype
    }

    /// From the network header to the end of what is there.
    pub fn l3(&self) -> &[u8] {
        &self.bytes[self.l3..]
    }

    /// As [`Packet::l3`], to be written. Lengths do not change; use [`Packet::set_l3`] for that.
    pub fn l3_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.l3..]
    }

    /// Replaces everything from the network header on.
    pub fn set_l3(&mut self, bytes: &[u8]) {
        self.bytes.truncate(self.l3);
        self.bytes.extend_from_slice(bytes);
    }

    /// Cuts or keeps the bytes from the network header on to at most `len` (the kernel's `pskb_trim_rcsum`).
    pub fn trim_l3(&mut self, len: usize) {
        let have = self.l3().len();
        if have.saturating_add(self.missing) > len {
            self.missing = len.saturating_sub(have);
            self.bytes.truncate(self.l3 + len.min(have));
        }
    }

    /// Length from the network header on, including what a capture cut off: the kernel's `skb->len` at the IP layer.
    pub fn l3_wire_len(&self) -> usize {
        self.l3().len().saturating_add(self.missing)
    }

    /// How many bytes of the frame a capture cut off.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Puts an Ethernet header before the network header, replacing one that is there.
    pub fn set_mac_header(&mut self, dst: MacAddr, src: MacAddr) {
        let mut header = [0u8; 14];
        header[..6].copy_from_slice(&dst.0);
        header[6..12].copy_from_slice(&src.0);
        header[12..].copy_from_slice(&self.ethertype.0.to_be_bytes());
        match self.bytes.get_mut(..14) {
            // In place: what every forwarded frame comes by.
            Some(old) if self.l3 == 14 => old.copy_from_slice(&header),
            _ => {
                self.bytes.splice(..self.l3, header);
                self.l3 = 14;
            }
        }
    }

    /// The protocol behind all VLAN tags that stand in the bytes, and what follows them. A tag that is cut off ends it.
    pub fn behind_tags(&self) -> (EtherType, &[u8]) {
        let (mut ethertype, mut rest) = (self.ethertype, self.l3());
        while matches!(ethertype, EtherType::VLAN | EtherType::SERVICE_VLAN)
            && let [_, _, high, low, inner @ ..] = rest
        {
            ethertype = EtherType(u16::from_be_bytes([*high, *low]));
            rest = inner;
        }
        (ethertype, rest)
    }

    /// Takes the link-layer header off.
    pub fn clear_mac_header(&mut self) {
        self.bytes.drain(..self.l3);
        self.l3 = 0;
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packet({:#06x} l3@{} ", self.ethertype.0, self.l3)?;
        for byte in &self.bytes {
            write!(f, "{byte:02x}")?;
        }
        if self.missing > 0 {
            write!(f, " +{} missing", self.missing)?;
        }
        f.write_str(")")
    }
}
