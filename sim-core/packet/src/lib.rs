//! Bytes to headers and back: parsing, building, checksums and the packet mini-language.
//!
//! A [`Packet`] owns the bytes of one frame and knows where its network header starts, as a kernel `sk_buff` does
//! after the driver handed it over. Header views borrow from it. Nothing in here knows of rules or routes, and nothing
//! panics on any bytes.

pub mod checksum;
mod ipv4;
mod packet;
mod transport;

pub use ipv4::{Ipv4Error, Ipv4Fields};
pub use packet::{EtherType, MacAddr, Packet};
pub use transport::{IcmpFields, TcpFields, UdpFields, tcp_flag};
