//! Every bound of a walk, in one place. Reaching one is a disposition, never a hang.

/// Depth of chain jumps (the kernel refuses deeper ones: 15 in nf_tables, the number of user chains in x_tables).
pub const JUMP_DEPTH: usize = 512;

/// How many times packets may visit a namespace's receive or output path within one walk, children included.
pub const VISITS: u32 = 64;

/// Rules evaluated for one packet at one hook.
pub const RULES_PER_HOOK: u64 = 50_000_000;

/// Conntrack entries, where `nf_conntrack_max` is not given.
pub const CONNTRACK_MAX: u32 = 262_144;
