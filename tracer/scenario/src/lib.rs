//! Scenarios: a namespace, packets for it, and what is expected of them; and the engines that can run one.
//!
//! A scenario folder holds `scenario.yaml` (see [`file`]), the bundle that it names, and `trace.txt`, the summary that was last blessed. A [`case::Case`]
//! is the folder read whole: the bytes of every packet and the namespace in source form, so that every engine gets the very same. What an
//! engine saw is an [`event::EngineRun`], which says nothing of ids or of how the engine works: two of them can be compared.

pub mod assume;
pub mod case;
pub mod compare;
pub mod confirm;
pub mod engine;
pub mod event;
pub mod expect;
pub mod file;
pub mod fingerprint;
pub mod golden;
pub mod model;
pub mod offload;
pub mod outcomes;
pub mod packets;
mod peers;
pub mod reply;
pub mod runner;
pub mod world;
