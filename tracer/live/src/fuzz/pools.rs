//! The values that generated rules and packets draw from: few enough that rules match, odd enough that edges are met.

use std::net::Ipv4Addr;

use pktwalk_linux::walk::assumed_mac;
use pktwalk_packet::MacAddr;

use super::rng::Rng;

/// The first pod.
pub const POD_A: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
/// The second pod.
pub const POD_B: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// The node, on its uplink.
pub const NODE: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 1);
/// The node's second address on its uplink.
pub const NODE_SECOND: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 3);
/// The uplink's gateway.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 254);
/// A host on the uplink's subnet.
pub const NEAR_HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 20);
/// A host behind the gateway.
pub const FAR_HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
/// A host on the bridge.
pub const BRIDGE_HOST: Ipv4Addr = Ipv4Addr::new(172, 20, 0, 10);
/// Another host on the bridge.
pub const BRIDGE_HOST_2: Ipv4Addr = Ipv4Addr::new(172, 20, 0, 11);
/// The bridge's own address.
pub const BRIDGE: Ipv4Addr = Ipv4Addr::new(172, 20, 0, 1);
/// Service addresses: nobody has them, DNAT rules give them meaning.
pub const VIPS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 96, 0, 1), Ipv4Addr::new(10, 96, 0, 10)];

/// A host behind the gateway, in a net that some worlds have a route of its own for.
pub const FAR_NET_HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// A gateway in no subnet of the node.
pub const ONLINK_GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 9);
/// The hardware address of nobody.
pub const STRANGER_MAC: MacAddr = MacAddr([0x02, 0, 0, 0, 1, 0x63]);

/// Hardware address of the peer on the other end of a node's device.
pub fn peer_mac(ifindex: u32) -> MacAddr {
    MacAddr([0x02, 0, 0, 0, 1, ifindex as u8])
}

/// Hardware address of the second host behind the uplink.
pub const NEAR_MAC: MacAddr = MacAddr([0x02, 0, 0, 0, 1, 20]);

/// Hardware address of a neighbour. Each has its own, so that a frame tells who the next hop was; that of somebody whom no configuration names is
/// the one that an engine answers with.
pub fn neighbour_mac(addr: Ipv4Addr) -> MacAddr {
    match addr {
        GATEWAY => peer_mac(2),
        NEAR_HOST => NEAR_MAC,
        POD_A => peer_mac(3),
        POD_B => peer_mac(4),
        BRIDGE_HOST => peer_mac(6),
        BRIDGE_HOST_2 => peer_mac(7),
        _ => assumed_mac(addr.into()),
    }
}

/// Hardware address of a node's device.
pub fn dev_mac(ifindex: u32) -> MacAddr {
    MacAddr([0x02, 0, 0, 0, 0, ifindex as u8])
}

/// Addresses that packets come from and go to.
pub const ADDRS: [Ipv4Addr; 12] = [
    POD_A,
    POD_B,
    POD_A,
    POD_B,
    NODE,
    FAR_HOST,
    VIPS[0],
    VIPS[1],
    NEAR_HOST,
    NODE_SECOND,
    BRIDGE_HOST,
    BRIDGE,
];

/// Addresses that few packets go to: those that only some worlds have a route or a device for, hosts that nobody knows, groups, broadcasts.
pub const RARE_ADDRS: [Ipv4Addr; 10] = [
    FAR_NET_HOST,
    Ipv4Addr::new(198, 51, 100, 200),
    Ipv4Addr::new(10, 0, 2, 1),
    Ipv4Addr::new(169, 254, 1, 1),
    Ipv4Addr::new(10, 0, 1, 1),
    Ipv4Addr::new(172, 20, 0, 99),
    Ipv4Addr::new(192, 168, 50, 77),
    Ipv4Addr::new(10, 0, 1, 255),
    Ipv4Addr::new(224, 0, 0, 9),
    BRIDGE_HOST_2,
];

/// Destination ports.
pub const SERVICE_PORTS: [u16; 6] = [53, 80, 443, 8080, 100, 600];
/// Source ports.
pub const CLIENT_PORTS: [u16; 6] = [40000, 40001, 40002, 1023, 53, 511];
/// Marks.
pub const MARKS: [u32; 6] = [0, 0x1, 0x4000, 0x10000, 0x8000_0000, 0x55];
/// Masks of marks.
pub const MASKS: [u32; 5] = [0xffff_ffff, 0x4000, 0x1_0000, 0xff, 0];

/// An address out of the pool, sometimes any.
pub fn addr(rng: &mut Rng) -> Ipv4Addr {
    match rng.below(100) {
        0..=2 => Ipv4Addr::from(rng.bits() as u32),
        3..=12 => *rng.pick(&RARE_ADDRS),
        _ => *rng.pick(&ADDRS),
    }
}
