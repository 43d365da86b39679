//! The kernel as an engine: network namespaces, the real tools, injection and the kernel's own trace.
//!
//! [`KernelEngine`](engine::KernelEngine) programs a [`NetNsConfig`](pktwalk_linux::config::NetNsConfig) into an unnamed namespace, gives it the packets of a
//! case one at a time, and reads from the kernel which rules each of them matched, what left, and which connections there are afterwards.
//! [`fuzz`] generates cases and compares engines on them.
//!
//! Everything happens on one thread of the engine's own, which lives in the namespace: nothing outside is touched, and the namespaces end
//! with the thread's file descriptors, however the process ends.

mod both;
mod bpf;
mod connections;
mod dummy;
pub mod engine;
mod fill;
pub mod fuzz;
mod identity;
mod neigh;
mod netlink;
mod normal;
mod ns;
mod offload;
mod passes;
mod perf;
mod program;
pub mod replay;
mod rules;
mod state;
mod trace;
mod wire;
mod world;
