//! iptables-save syntax, in and out.

pub mod ast;
