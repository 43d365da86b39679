//! Devices that stand on another one, and which of its frames they take before its own stack sees them.

use std::net::Ipv4Addr;

use pktwalk_packet::MacAddr;

/// Which frames a stacked device takes of what the device below receives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Takes {
    /// Those with this outermost VLAN tag (`vlan_do_receive`; a VLAN device that is down drops them).
    Vlan {
        /// The tag's protocol: 0x8100 or 0x88a8. None: either.
        protocol: Option<u16>,
        /// The VLAN. None: any.
        id: Option<u16>,
    },
    /// Those to a hardware address (`macvlan_handle_frame`).
    To {
        /// The address.
        mac: MacAddr,
        /// The IPv4 addresses of the stacked device: a neighbour sends what is for them to this hardware address.
        addresses: Vec<Ipv4Addr>,
    },
    /// Those from one of these hardware addresses (`macvlan_forward_source`).
    From(Vec<MacAddr>),
    /// Those to one host, whatever its hardware address, and fragments to many (a macvlan in mode passthru).
    Unicast,
    /// Fragments to many: a macvlan puts them together first (`ip_check_defrag`), up or down.
    GroupFragments,
    /// IPv4 to these addresses, and ARP that asks for them (`ipvlan_addr_lookup`).
    Addresses {
        /// The addresses.
        addresses: Vec<Ipv4Addr>,
        /// Of frames to one host only (`ipvlan_handle_mode_l2`): the device below keeps those to many.
        unicast_only: bool,
    },
    /// Those of an Ethernet protocol.
    Protocol(u16),
    /// May be any.
    Everything,
}
