//! Readers of node bundles.
