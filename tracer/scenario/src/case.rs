//! [`Case`]: a namespace and packets for it, ready to run.

use std::collections::{BTreeMap, BTreeSet};

use pktwalk_linux::config::NetNsConfig;
use pktwalk_linux::skb::SkbSocket;
use pktwalk_packet::Packet;
use pktwalk_report::Remark;

/// What an engine runs.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// For messages: the scenario's folder name, or what the command line gave.
    pub name: String,
    /// Name of the node; empty if there is only one without a name.
    pub node: String,
    /// The namespace.
    pub config: NetNsConfig,
    /// What readers had to say of the input.
    pub remarks: Vec<Remark>,
    /// Where frames are received that leave by these devices: as `--at` takes it. For reports.
    pub peers: BTreeMap<String, String>,
    /// In order.
    pub sends: Vec<CaseSend>,
    /// Seed of the model's random choices.
    pub seed: u64,
    /// Whether the reply to a packet that arrived is walked too.
    pub replies: bool,
    /// IP protocol and port (of ICMP, identifier) of sockets that the model assumed, where the configuration tells of none
    /// (`Assumption::SocketListens`). An engine that runs a real stack opens them, and they take whatever comes. The model does not look at them.
    pub assumed: BTreeSet<(u8, u16)>,
}

/// One packet and where it enters.
#[derive(Clone, PartialEq, Debug)]
pub struct CaseSend {
    /// The bytes. A frame with its link-layer header enters as it is; one without gets the header that a neighbour would give it.
    pub packet: Packet,
    /// Where.
    pub entry: Entry,
    /// What reports call it: its number in the capture that it is of. None for its place among the packets of the case, from 1.
    pub number: Option<u32>,
}

impl CaseSend {
    /// A packet of no capture.
    pub fn new(packet: Packet, entry: Entry) -> CaseSend {
        CaseSend { packet, entry, number: None }
    }
}

/// Where a packet enters the namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Received by the device of this name.
    Device(String),
    /// Sent by a socket of the namespace.
    Local(SkbSocket),
}
