//! Tests across crates: scenarios on every engine, conformance with the kernel, command line, tidiness.
