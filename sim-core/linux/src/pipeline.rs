//! The pipeline as a picture: the points that a packet can be at, and the moves between them. Every recorded walk is a path in it
//! ([`check`]). Documents and charts are drawn from [`graph`]; the walk itself does not use it.

use std::fmt;

use petgraph::graph::DiGraph;

use crate::hook::Hook;
use crate::trace::{PacketTrace, RouteCause, Step};

/// A point that a packet can be at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Point {
    /// Where every packet starts: given to the walk, or made by the stack.
    Start,
    /// Received by a device.
    Receive,
    /// Decided on by a bridge.
    Bridge,
    /// PREROUTING.
    Prerouting,
    /// Routing of a received packet.
    InputRoute,
    /// Source validation.
    SourceCheck,
    /// INPUT.
    Input,
    /// The transport protocol, or a socket.
    Deliver,
    /// TTL lowered on the way through.
    Ttl,
    /// FORWARD.
    Forward,
    /// Routing of a packet made here.
    OutputRoute,
    /// OUTPUT.
    Output,
    /// Routing once more, as OUTPUT changed something.
    Reroute,
    /// POSTROUTING.
    Postrouting,
    /// Compared with an MTU.
    Mtu,
    /// The next hop's hardware address.
    Neighbour,
    /// Sent by a device.
    Transmit,
}

impl Point {
    /// Every point, in the order of a forwarded packet.
    pub const ALL: [Point; 17] = [
        Point::Start,
        Point::Receive,
        Point::Bridge,
        Point::Prerouting,
        Point::InputRoute,
        Point::SourceCheck,
        Point::Input,
        Point::Deliver,
        Point::Ttl,
        Point::Forward,
        Point::OutputRoute,
        Point::Output,
        Point::Reroute,
        Point::Postrouting,
        Point::Mtu,
        Point::Neighbour,
        Point::Transmit,
    ];

    /// A name for charts: the hook's own, where it is one.
    pub fn name(self) -> &'static str {
        match self {
            Point::Start => "start",
            Point::Receive => "receive",
            Point::Bridge => "bridge",
            Point::Prerouting => "PREROUTING",
            Point::InputRoute => "routing",
            Point::SourceCheck => "source check",
            Point::Input => "INPUT",
            Point::Deliver => "deliver",
            Point::Ttl => "ttl",
            Point::Forward => "FORWARD",
            Point::OutputRoute => "output routing",
            Point::Output => "OUTPUT",
            Point::Reroute => "routing again",
            Point::Postrouting => "POSTROUTING",
            Point::Mtu => "mtu",
            Point::Neighbour => "neighbour",
            Point::Transmit => "transmit",
        }
    }

    fn of_hook(hook: Hook) -> Option<Point> {
        match hook {
            Hook::Prerouting => Some(Point::Prerouting),
            Hook::Input => Some(Point::Input),
            Hook::Forward => Some(Point::Forward),
            Hook::Output => Some(Point::Output),
            Hook::Postrouting => Some(Point::Postrouting),
            Hook::Ingress | Hook::Egress => None,
        }
    }

    /// The point that a step tells of; `None` for remarks, which move nothing.
    pub fn of(step: &Step) -> Option<Point> {
        match *step {
            Step::Rx { .. } => Some(Point::Receive),
            Step::Bridge { .. } => Some(Point::Bridge),
            Step::ChainEnter { hook, .. }
            | Step::Rule { hook, .. }
            | Step::ChainEnd { hook, .. }
            | Step::ChainPolicy { hook, .. }
            | Step::CtLookup { hook, .. }
            | Step::CtConfirm { hook, .. }
            | Step::NatSetup { hook, .. }
            | Step::NatApply { hook, .. } => Point::of_hook(hook),
            Step::Route { cause: RouteCause::Input, .. } => Some(Point::InputRoute),
            Step::Route { cause: RouteCause::Output, .. } => Some(Point::OutputRoute),
            Step::Route { cause: RouteCause::Reroute, .. } => Some(Point::Reroute),
            Step::SourceCheck { .. } => Some(Point::SourceCheck),
            Step::Ttl { .. } => Some(Point::Ttl),
            Step::Mtu { .. } => Some(Point::Mtu),
            Step::Neighbour { .. } => Some(Point::Neighbour),
            Step::Xmit { .. } => Some(Point::Transmit),
            Step::Deliver { .. } => Some(Point::Deliver),
            Step::CtMark { .. } | Step::Made { .. } | Step::NotAnswered { .. } | Step::Assumed(_) => None,
        }
    }

    /// Where a packet may be next. Points that leave no step (a hook without chains, an MTU that is large enough) may be passed over, so
    /// these are moves between steps, not between functions.
    pub fn next(self) -> &'static [Point] {
        use Point::*;
        match self {
            Start => &[Receive, OutputRoute, Output, Forward, Postrouting, Mtu, Neighbour, Transmit],
            Receive => &[Bridge, Prerouting, InputRoute, Input, Deliver],
            Bridge => &[Receive, Forward, Postrouting, Mtu, Transmit],
            Prerouting => &[Prerouting, Bridge, InputRoute, Input, Deliver],
            InputRoute => &[Bridge, SourceCheck, Input, Deliver, Ttl, Mtu, Neighbour],
            SourceCheck => &[Input, Deliver, Ttl, Mtu],
            Input => &[Input, Deliver],
            Deliver => &[],
            Ttl => &[Forward, Postrouting, Mtu, Neighbour],
            Forward => &[Forward, Postrouting, Mtu, Neighbour, Transmit],
            OutputRoute => &[Output, Postrouting, Mtu, Neighbour, Receive],
            Output => &[Output, Reroute, Postrouting, Mtu, Neighbour],
            Reroute => &[Output, Postrouting, Mtu, Neighbour],
            // A broadcast's own copy is received right behind POSTROUTING.
            Postrouting => &[Postrouting, Mtu, Neighbour, Receive, Transmit],
            // Of a bridged packet, the hardware address is known.
            Mtu => &[Neighbour, Transmit],
            Neighbour => &[Bridge, Transmit],
            // To the pieces after the first, back in by a loopback or veth device, into a bridge.
            Transmit => &[Transmit, Receive, Bridge],
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The pipeline as a graph: an edge for each allowed move between two points.
pub fn graph() -> DiGraph<Point, ()> {
    let mut graph = DiGraph::new();
    let nodes: Vec<_> = Point::ALL.into_iter().map(|point| (point, graph.add_node(point))).collect();
    for (point, from) in &nodes {
        for (other, to) in &nodes {
            if point.next().contains(other) {
                graph.add_edge(*from, *to, ());
            }
        }
    }
    graph
}

/// A move of a recorded walk that the pipeline does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("step {index} moves from {from} to {to}, which the pipeline does not allow")]
pub struct Misstep {
    /// Position of the step.
    pub index: usize,
    /// Where the packet was.
    pub from: Point,
    /// Where it claims to be.
    pub to: Point,
}

/// Whether a recorded walk is a path in the pipeline.
///
/// # Errors
/// The first move that is not in it.
pub fn check(trace: &PacketTrace) -> Result<(), Misstep> {
    let mut from = Point::Start;
    for (index, recorded) in trace.steps.iter().enumerate() {
        let Some(to) = Point::of(&recorded.step) else { continue };
        if !from.next().contains(&to) {
            return Err(Misstep { index, from, to });
        }
        from = to;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use petgraph::visit::{Dfs, Walker};

    use super::*;

    #[test]
    fn every_point_can_be_reached() {
        let graph = graph();
        let start = graph.node_indices().find(|&n| graph[n] == Point::Start).expect("start");
        assert_eq!(Dfs::new(&graph, start).iter(&graph).count(), Point::ALL.len());
        assert_eq!(graph.edge_count(), Point::ALL.iter().map(|p| p.next().len()).sum::<usize>());
    }
}
