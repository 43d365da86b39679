//! Small numbers that stand for things of one [`NetNs`](crate::netns::NetNs): the walk compares and carries these, never names.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub u32);

        impl $name {
            /// As an index into the array that holds these.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// A device: position in [`NetNsConfig::devices`](crate::config::NetNsConfig), not the kernel's ifindex.
    DevId
);
id!(
    /// A compiled netfilter chain of any backend and table.
    ChainId
);
id!(
    /// A compiled netfilter rule of any chain. Rules of one chain are contiguous.
    RuleId
);
id!(
    /// An ipset: position in [`NetNsConfig::sets`](crate::config::NetNsConfig).
    SetId
);
id!(
    /// A routing table, by its kernel number (main is 254, local 255).
    FibTableId
);
id!(
    /// A route: position in the namespace's compiled route list.
    RouteId
);
id!(
    /// A routing rule (`ip rule`): position in the compiled, priority-ordered list.
    RoutingRuleId
);
id!(
    /// A conntrack entry. Never reused within one run.
    CtId
);
id!(
    /// Where a configured thing came from. The namespace carries it and gives it back; its meaning is the caller's.
    OriginId
);

/// A place in an input file: which of the namespace's files, and the 1-based line (0: the file as a whole).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SourceLine {
    /// Position in [`NetNsConfig::files`](crate::config::NetNsConfig).
    pub file: u32,
    /// 1-based; 0 when the line is not known or the thing is the whole file.
    pub line: u32,
}
