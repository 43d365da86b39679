//! A Linux network namespace: devices, netfilter, conntrack, NAT, routing, and the walk of a packet through them.
//!
//! Models Linux 6.18 where nothing else is said. The crate is pure: no files, sockets, environment, clock, threads or unseeded randomness; and
//! it cannot fail on a packet: whatever the bytes, a walk ends in a [`reason::Disposition`].
//!
//! * [`config`] is a namespace as its tools print it; [`netns::NetNs`] is that, compiled; [`netns::NetNsState`] is what packets change.
//! * [`iptables`] and [`ipset`] read and print the tools' own text.
//! * [`walk`] is the walk; [`netfilter`], [`conntrack`], [`nat`] and [`fib`] are the parts of the stack that it passes.
//! * [`trace`] says what it did.

pub mod choice;
pub mod config;
pub mod conntrack;
pub mod diag;
pub mod fib;
pub mod hook;
pub mod ids;
pub mod ipset;
pub mod iptables;
pub mod limits;
pub mod nat;
pub mod netfilter;
pub mod netns;
pub mod pipeline;
mod protocols;
pub mod reason;
pub mod skb;
pub mod sysctl;
pub mod trace;
pub mod walk;
