//! Bytes to headers and back: parsing, building, checksums and the packet mini-language.
//!
//! A [`Packet`] owns the bytes of one frame and knows where its network header starts, as a kernel `sk_buff` does
//! after the driver handed it over. Header views borrow from it. Nothing in here knows of rules or routes, and nothing
//! panics on any bytes.

mod arp;
pub mod build;
pub mod checksum;
mod ipv4;
mod ipv6;
pub mod names;
mod packet;
pub mod sctp;
pub mod spec;
mod summary;
mod tcp_options;
mod transport;
pub mod verify;
mod vlan;

pub use arp::{ArpFields, arp_op};
pub use ipv4::{Ipv4Error, Ipv4Fields};
pub use ipv6::{Ipv6Error, Ipv6Fields, Ipv6Transport};
pub use packet::{EtherType, MacAddr, Packet};
pub use summary::{Summary, summary};
pub use tcp_options::{MalformedTcpOption, TcpOption, TcpOptions};
pub use transport::{IcmpFields, IcmpTime, TcpFields, UdpFields, tcp_flag};
pub use vlan::VlanTag;
