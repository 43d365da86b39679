//! What a walk is told as: text in three levels, and JSON.
//!
//! A report is drawn from a [`SendRecord`] (the recorded steps of one packet, of what it caused, and of the reply) and from [`Names`] (what the
//! numbers in those steps are called). It decides nothing and evaluates nothing. The same record gives the same report, byte for byte.

pub mod assume;
mod chains;
pub mod flow;
pub mod json;
mod json_step;
mod layout;
pub mod names;
mod nearest;
pub mod netns_names;
pub mod record;
mod sentence;
mod steps;
#[cfg(test)]
mod testing;
pub mod text;

pub use json_step::{JsonStep, NetfilterStep};
pub use layout::fold;
pub use names::{ChainName, Described, Location, Names, RuleName};
pub use netns_names::NetNsNames;
pub use record::{Connection, Remark, SendRecord, WalkRecord};
pub use sentence::{code, sentence};
