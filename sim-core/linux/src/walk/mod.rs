//! The walk of a packet through a namespace: receive, route, deliver, forward, send.
//!
//! A packet goes from stage to stage ([`Stage`]) in a loop; nothing recurses. What the stack makes because of it (ICMP errors, resets, echo
//! replies, ARP answers) is queued and walked after it; copies and redirects, which the kernel sends at once, are walked before it goes on.
//!
//! Models Linux 6.18, IPv4. Left out: early demux (it changes no decision that is modelled), IPsec, multicast routing, VLAN devices and VLAN
//! filtering, tunnels, traffic control and XDP (a walk that meets one ends `Unknown`), TCP state machines behind a socket.

mod arp;
mod bridge;
mod deliver;
mod forward;
mod icmp;
mod input;
mod limit;
pub(crate) mod links;
mod options;
mod output;
mod reject;
mod rx;
mod socket;
mod stacked;
#[cfg(test)]
mod tests;
mod xmit;

use std::collections::VecDeque;

use pktwalk_packet::{EtherType, Ipv4Fields, MacAddr, Packet};
use rustc_hash::{FxHashMap, FxHashSet};

pub use output::source_for;
pub use rx::as_neighbour;
pub use xmit::assumed_mac;

use crate::choice::Choice;
use crate::ids::DevId;
use crate::limits;
use crate::netns::{Cx, NetNs, NetNsState};
use crate::reason::{Because, Disposition, End};
use crate::skb::{MadeBy, Skb, SkbSocket};
use crate::trace::{Sink, Step};

pub(crate) use output::reroute;
pub(crate) use reject::reject;

/// What the stack remembers between packets, apart from conntrack and rules.
#[derive(Clone, Debug, Default)]
pub struct StackState {
    /// Learned addresses of bridges.
    fdb: FxHashMap<(DevId, MacAddr), DevId>,
    /// Neighbours that the namespace asked for, or that told of themselves by ARP, by device and address.
    heard: FxHashMap<(DevId, u32), arp::Heard>,
    /// Rate limits of ICMP errors and redirects.
    rates: limit::Rates,
    /// Connections whose SYN a listening socket took: addresses and ports of who asked and of who was asked.
    begun: FxHashSet<(u32, u16, u32, u16)>,
}

/// Where a packet enters.
#[derive(Clone, Debug)]
pub enum Inject {
    /// A frame is received by a device. Without a link-layer header it gets the one that its neighbour would give it.
    Rx {
        /// The device.
        dev: DevId,
        /// The frame.
        packet: Packet,
    },
    /// A socket of the namespace sends it. The packet starts with its IPv4 header; a source address of 0.0.0.0 is chosen by routing.
    Local {
        /// The packet.
        packet: Packet,
        /// Who sends it.
        socket: SkbSocket,
    },
}

/// A packet that was made because of another, and where it starts.
#[derive(Clone, Debug)]
pub struct Made {
    skb: Skb,
    stage: Stage,
    /// What was found out about it when it was made.
    steps: Vec<Step>,
    bridged: Option<Bridged>,
}

/// What bridge netfilter keeps with a packet (`struct nf_bridge_info`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Bridged {
    /// The port that it came in by.
    phys_in: DevId,
    /// It was addressed to another host.
    other_host: bool,
    /// The MTU of the route that it has within the bridge: the bridge's own (`fake_mtu`), or that of the route that DNAT led to.
    mtu: u32,
}

/// Where a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Received by `skb.in_dev`.
    Receive,
    /// Of the bridge itself, after it was flooded.
    BridgeUp { bridge: DevId, port: DevId },
    /// To be sent by the bridge by one port (`__br_forward`). `local`: the namespace itself sends it.
    BridgePort { bridge: DevId, port: DevId, local: bool },
    /// At the beginning of local output, with a route.
    LocalOut,
    /// Complete with its link-layer header, at a device.
    Transmit(DevId),
    /// Received, for the IP layer.
    Ip,
    /// Routed to this namespace.
    Deliver,
    /// Routed through.
    Forward,
    /// In front of FORWARD.
    Forwarded,
    /// On its way out, heard here or not.
    Output,
    /// In front of POSTROUTING.
    Postrouting,
    /// The copy of a broadcast made here that the namespace hears itself. `at_once`: a process sent it.
    LoopCopy { at_once: bool },
    /// That copy, received.
    Looped,
    /// ARP.
    Arp,
}

/// What a stage says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Go(Stage),
    /// As [`Next::Go`], after what was made so far is walked to its end: the kernel sends it at once.
    After(Stage),
    /// As [`Next::Go`], after everything else under way: it waits in the queue of received packets.
    Later(Stage),
    End(End),
}

impl Next {
    fn unknown(because: Because) -> Next {
        Next::End(End::unknown(because))
    }

    fn not_modelled(what: &'static str) -> Next {
        Next::unknown(Because::NotModelled(what))
    }
}

/// A packet that is walked, and where it is.
struct Walked {
    /// Its number, in the order of [`Sink::begin`].
    number: u32,
    flight: Flight,
    stage: Stage,
    circle: Circle,
    /// [`Cx::undecided`] of it, while others are walked.
    undecided: Option<Because>,
}

impl Walked {
    fn new(number: u32, flight: Flight, stage: Stage) -> Walked {
        Walked { number, flight, stage, circle: Circle::default(), undecided: None }
    }
}

/// How far a packet came.
enum Flown {
    Ends(End),
    /// What it made goes first.
    Waits,
    /// Everything else goes first.
    Queues,
}

/// What is still to be walked.
enum Due {
    /// A packet that was made because of the packet of this number.
    Made(u32, Box<Made>),
    /// The rest of the way of one that waited.
    Rest(Box<Walked>),
}

/// A packet under way, with what the kernel keeps in its control block.
struct Flight {
    skb: Skb,
    /// Bridge netfilter has it, or had it on its way here.
    bridged: Option<Bridged>,
    /// PREROUTING was done by bridge netfilter (`ip_sabotage_in`).
    prerouted: bool,
    /// `IPSKB_FORWARDED`.
    forwarded: bool,
    /// Options were read and stand at these places.
    options: Option<options::Options>,
}

/// A header of nothing, for frames that are not IPv4.
const NO_IP: Ipv4Fields = Ipv4Fields {
    src: 0,
    dst: 0,
    protocol: 0,
    tos: 0,
    ttl: 0,
    header_len: 20,
    total_len: 0,
    id: 0,
    dont_fragment: false,
    more_fragments: false,
    frag_offset: 0,
};

fn skb_of(packet: Packet, made_by: MadeBy) -> Skb {
    let ip = match packet.ethertype() {
        EtherType::IPV4 => Ipv4Fields::parse(packet.l3()).unwrap_or(NO_IP),
        _ => NO_IP,
    };
    Skb {
        // The stack sends its ICMP messages and resets by sockets of its own, which nobody owns. REJECT's resets have none.
        sk: matches!(
            made_by,
            MadeBy::IcmpError
                | MadeBy::RejectIcmp
                | MadeBy::EchoReply
                | MadeBy::TimestampReply
                | MadeBy::TcpReset
        )
        .then(SkbSocket::default),
        made_by,
        ..Skb::new(packet, ip)
    }
}

/// Walks one packet and everything that is made because of it. The end is the given packet's; those of the others go to the sink.
pub fn walk<S: Sink>(
    ns: &NetNs,
    state: &mut NetNsState,
    inject: Inject,
    choice: &mut dyn Choice,
    sink: &mut S,
) -> End {
    let backend_untold = ns.netfilter.backend_assumed();
    let mut cx = Cx { ns, state, choice, sink, made: Vec::new(), undecided: None, backend_untold };
    let mut visits = 0;
    cx.choice.begin(None, false);
    let mut walked = match inject {
        Inject::Rx { dev, mut packet } => {
            as_neighbour(ns, dev, &mut packet);
            let mut skb = skb_of(packet, MadeBy::Injected);
            skb.in_dev = Some(dev);
            cx.sink.begin(None, &skb);
            Walked::new(0, Flight::new(skb), Stage::Receive)
        }
        Inject::Local { packet, socket } => {
            let mut skb = skb_of(packet, MadeBy::Injected);
            skb.sk = Some(socket);
            cx.sink.begin(None, &skb);
            if let Err(end) = output::local_packet(&mut cx, &mut skb) {
                cx.sink.end(&skb, &end);
                return end;
            }
            Walked::new(0, Flight::new(skb), Stage::LocalOut)
        }
    };
    // Set before it is returned: the first packet is walked to its end before the queue is asked.
    let mut first = End::plain(Disposition::LimitReached);
    let mut last = 0;
    let mut due: Vec<Due> = Vec::new();
    let mut queue: VecDeque<Due> = VecDeque::new();
    // The kernel's backlog: what is received within the namespace while something else is worked on.
    let mut received: VecDeque<Due> = VecDeque::new();
    loop {
        let number = walked.number;
        match fly(&mut cx, &mut walked, &mut visits) {
            Flown::Ends(end) => {
                cx.sink.end(&walked.flight.skb, &end);
                if number == 0 {
                    first = end;
                }
                queue.extend(cx.made.drain(..).map(|made| Due::Made(number, Box::new(made))));
            }
            Flown::Queues => {
                queue.extend(cx.made.drain(..).map(|made| Due::Made(number, Box::new(made))));
                received.push_back(Due::Rest(Box::new(walked)));
            }
            Flown::Waits => {
                due.push(Due::Rest(Box::new(walked)));
                due.extend(cx.made.drain(..).rev().map(|made| Due::Made(number, Box::new(made))));
            }
        }
        walked = match due.pop().or_else(|| queue.pop_front()).or_else(|| received.pop_front()) {
            None => return first,
            Some(Due::Rest(rest)) => {
                cx.choice.resume(rest.number);
                cx.sink.resume(rest.number);
                cx.undecided = rest.undecided;
                *rest
            }
            Some(Due::Made(parent, made)) => {
                last += 1;
                cx.choice.begin(Some(parent), matches!(made.skb.made_by, MadeBy::Copy | MadeBy::Fragment));
                cx.sink.begin(Some(parent), &made.skb);
                for step in made.steps {
                    cx.sink.step(&made.skb, step);
                }
                let flight = Flight { bridged: made.bridged, ..Flight::new(made.skb) };
                Walked::new(last, flight, made.stage)
            }
        };
    }
}

/// Takes a packet from stage to stage to its end, or until others go first.
fn fly<S: Sink>(cx: &mut Cx<'_, S>, walked: &mut Walked, visits: &mut u32) -> Flown {
    let Walked { flight, circle, .. } = walked;
    loop {
        let stage = walked.stage;
        if stage == Stage::Receive && circle.closes(&flight.skb) {
            return Flown::Ends(End::plain(Disposition::Loop));
        }
        if matches!(stage, Stage::Receive | Stage::LocalOut) {
            if *visits >= limits::VISITS {
                return Flown::Ends(End::plain(Disposition::LimitReached));
            }
            *visits += 1;
        }
        let next = match stage {
            Stage::Receive => rx::receive(cx, flight),
            Stage::BridgePort { bridge, port, local } => bridge::port_send(cx, flight, bridge, port, local),
            Stage::BridgeUp { bridge, port } => bridge::pass_up(cx, flight, bridge, port),
            Stage::LocalOut => output::local_out(cx, flight),
            Stage::Transmit(dev) => xmit::transmit(cx, flight, dev),
            Stage::Ip => rx::ip_receive(cx, flight),
            Stage::Deliver => deliver::deliver(cx, flight),
            Stage::Forward => forward::forward(cx, flight),
            Stage::Forwarded => forward::forwarded(cx, flight),
            Stage::Output => xmit::output(cx, flight),
            Stage::Postrouting => xmit::last_hook(cx, flight),
            Stage::LoopCopy { at_once } => xmit::loop_copy(cx, flight, at_once),
            Stage::Looped => xmit::looped(cx, flight),
            Stage::Arp => arp::receive(cx, flight),
        };
        match next {
            Next::Go(to) => walked.stage = to,
            Next::After(to) => {
                walked.stage = to;
                walked.undecided = cx.undecided.take();
                return Flown::Waits;
            }
            Next::Later(to) => {
                walked.stage = to;
                walked.undecided = cx.undecided.take();
                return Flown::Queues;
            }
            Next::End(end) => {
                return Flown::Ends(match cx.undecided.take() {
                    Some(because) => End::unknown(because),
                    None => end,
                });
            }
        }
    }
}

/// Notices that a packet is received again as it was before: by bridges whose ports are connected with each other, where no TTL ends it.
#[derive(Default)]
struct Circle {
    received: u32,
    earlier: Option<Skb>,
}

impl Circle {
    /// Receptions of one packet before it is looked at: only bridges and cables within the namespace make that many.
    const BEFORE: u32 = 4;

    /// Compares with one earlier reception, which is replaced each time that their number has doubled.
    fn closes(&mut self, skb: &Skb) -> bool {
        self.received += 1;
        if self.received < Self::BEFORE {
            return false;
        }
        let same = |earlier: &Skb| {
            earlier.in_dev == skb.in_dev
                && earlier.in_port == skb.in_port
                && (earlier.mark, earlier.priority) == (skb.mark, skb.priority)
                && (earlier.ct, earlier.ct_template) == (skb.ct, skb.ct_template)
                && earlier.dst == skb.dst
                && earlier.packet == skb.packet
        };
        if self.earlier.as_ref().is_some_and(same) {
            return true;
        }
        if self.received.is_power_of_two() {
            self.earlier = Some(skb.clone());
        }
        false
    }
}

impl Flight {
    fn new(skb: Skb) -> Flight {
        Flight { skb, bridged: None, prerouted: false, forwarded: false, options: None }
    }
}
