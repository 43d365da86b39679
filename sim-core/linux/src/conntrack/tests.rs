//! Tests of connection tracking.
