//! Where netfilter runs: hooks, tables, and the priorities that order them (kernel `include/uapi/linux/netfilter_ipv4.h`).

use std::fmt;

/// Which IP version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A netfilter hook.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Hook {
    /// netdev ingress, before the protocol handler.
    Ingress,
    /// Every received packet, before routing.
    Prerouting,
    /// Packets for this namespace.
    Input,
    /// Packets that are routed through.
    Forward,
    /// Packets made here.
    Output,
    /// Every packet that leaves, after routing.
    Postrouting,
    /// netdev egress.
    Egress,
}

impl Hook {
    /// The five hooks of the IP families, in the kernel's numbering.
    pub const INET: [Hook; 5] =
        [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting];

    /// The kernel's spelling, which is also the name of the built-in chain (`PREROUTING`, ...).
    pub fn name(self) -> &'static str {
        match self {
            Hook::Ingress => "INGRESS",
            Hook::Prerouting => "PREROUTING",
            Hook::Input => "INPUT",
            Hook::Forward => "FORWARD",
            Hook::Output => "OUTPUT",
            Hook::Postrouting => "POSTROUTING",
            Hook::Egress => "EGRESS",
        }
    }

    /// The hook that a built-in chain of this name hangs on.
    pub fn from_chain_name(name: &str) -> Option<Hook> {
        Hook::INET.into_iter().find(|h| h.name() == name)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An iptables table. iptables knows no others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TableName {
    /// Before conntrack.
    Raw,
    /// Changes of packets and marks.
    Mangle,
    /// Address translation; sees the first packet of a connection only.
    Nat,
    /// Accept or drop.
    Filter,
    /// After filter, for mandatory access control.
    Security,
}

impl TableName {
    /// Every table, in hook order.
    pub const ALL: [TableName; 5] =
        [TableName::Raw, TableName::Mangle, TableName::Nat, TableName::Filter, TableName::Security];

    /// As in `*filter`.
    pub fn name(self) -> &'static str {
        match self {
            TableName::Raw => "raw",
            TableName::Mangle => "mangle",
            TableName::Nat => "nat",
            TableName::Filter => "filter",
            TableName::Security => "security",
        }
    }

    /// The inverse of [`TableName::name`].
    pub fn from_name(name: &str) -> Option<TableName> {
        TableName::ALL.into_iter().find(|t| t.name() == name)
    }

    /// The hooks at which the table has a built-in chain.
    pub fn hooks(self) -> &'static [Hook] {
        use Hook::*;
        match self {
            TableName::Raw => &[Prerouting, Output],
            TableName::Mangle => &[Prerouting, Input, Forward, Output, Postrouting],
            TableName::Nat => &[Prerouting, Input, Output, Postrouting],
            TableName::Filter | TableName::Security => &[Input, Forward, Output],
        }
    }

    /// The priority at `hook` (lower runs first; `NF_IP_PRI_*`). Conntrack sits at -200, so raw runs before it.
    pub fn priority(self, hook: Hook) -> i32 {
        match (self, hook) {
            (TableName::Raw, _) => -300,
            (TableName::Mangle, _) => -150,
            (TableName::Nat, Hook::Prerouting | Hook::Output) => -100,
            (TableName::Nat, _) => 100,
            (TableName::Filter, _) => 0,
            (TableName::Security, _) => 50,
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which kernel implementation runs a ruleset that iptables loaded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Backend {
    /// x_tables (`iptables-legacy`).
    Legacy,
    /// nf_tables through the compatibility layer (`iptables-nft`).
    Nft,
}

impl Backend {
    /// `legacy` or `nft`.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Legacy => "legacy",
            Backend::Nft => "nft",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
