//! Generated namespaces, rules and packets, and their comparison on the kernel and the model.

pub mod differ;
pub mod matches;
pub mod packets;
pub mod pools;
pub mod rng;
pub mod rules;
pub mod targets;
pub mod world;
