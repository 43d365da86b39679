//! The walk of a packet through a namespace: receive, route, deliver, forward, send.

/// What the stack remembers between packets, apart from conntrack and rules.
#[derive(Clone, Debug, Default)]
pub struct StackState {}
