//! Connection tracking.

pub mod tuple;

/// The connections of one namespace.
#[derive(Clone, Debug, Default)]
pub struct Conntrack {}
