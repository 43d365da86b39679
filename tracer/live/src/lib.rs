//! The kernel as an engine: network namespaces, the real tools, injection and the kernel's own trace.
pub mod fuzz;
