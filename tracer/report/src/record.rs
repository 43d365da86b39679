//! What a report is drawn from.

use std::collections::BTreeMap;

use pktwalk_linux::conntrack::tuple::CtTuple;
use pktwalk_linux::diag::Severity;
use pktwalk_linux::ids::CtId;
use pktwalk_linux::reason::End;
use pktwalk_linux::trace::PacketTrace;

use crate::names::Location;

/// A connection as it stood when the walk had ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connection {
    /// Original direction.
    pub original: CtTuple,
    /// Reply direction.
    pub reply: CtTuple,
    /// `ct mark`.
    pub mark: u32,
    /// `IPS_*` bits.
    pub status: u32,
    /// TCP state, as `conntrack -L` prints it.
    pub tcp_state: Option<&'static str>,
}

/// One given packet and all that was made because of it.
#[derive(Clone, Debug, Default)]
pub struct WalkRecord {
    /// The first is the given one; each other names its parent by position.
    pub packets: Vec<PacketTrace>,
    /// The connections that the packets belong to.
    pub connections: BTreeMap<CtId, Connection>,
}

impl WalkRecord {
    /// How the given packet ended.
    pub fn end(&self) -> Option<&End> {
        self.packets.first().and_then(|packet| packet.end.as_ref())
    }

    /// The packets made because of the one at `position`, in order.
    pub fn children(&self, position: usize) -> impl Iterator<Item = usize> + '_ {
        self.packets
            .iter()
            .enumerate()
            .skip(position + 1)
            .filter(move |(_, packet)| packet.parent == Some(position as u32))
            .map(|(child, _)| child)
    }
}

/// One packet that was sent, and the reply to it if that was walked.
#[derive(Clone, Debug, Default)]
pub struct SendRecord {
    /// Position among the packets of the run, from 0.
    pub index: u32,
    /// What texts call it: its number in the capture, or its place among the packets of the run, from 1.
    pub number: u32,
    /// The packet.
    pub request: WalkRecord,
    /// The reply.
    pub reply: Option<WalkRecord>,
}

/// A [`Diagnostic`](pktwalk_linux::diag::Diagnostic) with its place named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// How bad.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// Where.
    pub location: Option<Location>,
}
