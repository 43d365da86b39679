//! Generated packets: sequences that a namespace's connections give sense to (first packets, answers, later packets, resets, errors) and
//! some that make none.
//!
//! What an answer has to look like depends on what the namespace did to the packet that it answers. A sequence is therefore made while the model
//! walks it; where the model is wrong the sequence is merely less interesting, for it is the same sequence that every engine gets.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use pktwalk_linux::choice::Seeded;
use pktwalk_linux::netns::{NetNs, NetNsState};
use pktwalk_linux::reason::{Disposition, DropCode};
use pktwalk_linux::skb::SkbSocket;
use pktwalk_linux::trace::Recorder;
use pktwalk_linux::walk::{Inject, as_neighbour, walk};
use pktwalk_packet::{IcmpFields, Ipv4Fields, Packet, TcpFields, UdpFields, spec, tcp_flag};
use pktwalk_scenario::case::{CaseSend, Entry};

use super::pools::{self, CLIENT_PORTS, NODE, POD_A, SERVICE_PORTS};
use super::rng::Rng;
use super::world::PORTS;

mod odd;
mod special;

/// How TCP stands between two ends, in the numbers of the client's side.
#[derive(Clone, Copy, Debug, Default)]
struct TcpProgress {
    /// Next sequence number of the client.
    client: u32,
    /// Next sequence number of the server.
    server: u32,
    /// The server has spoken.
    answered: bool,
}

/// One side of a flow: where its packets enter, and what they look like there.
#[derive(Clone, Debug)]
struct Side {
    entry: Entry,
    src: u32,
    dst: u32,
    sport: u16,
    dport: u16,
}

/// A flow under way.
#[derive(Clone, Debug)]
struct Flow {
    protocol: u8,
    client: Side,
    /// Known once a packet of the client came out somewhere.
    server: Option<Side>,
    tcp: TcpProgress,
    /// The last packet of the client as it left, for errors about it.
    left: Option<Packet>,
}

struct Maker<'a> {
    rng: &'a mut Rng,
    ns: &'a NetNs,
    state: NetNsState,
    choice: Seeded,
    flows: Vec<Flow>,
    sends: Vec<CaseSend>,
    /// Hosts that were told of a better way.
    redirected: Vec<u32>,
    /// How often each host was told that there is no way.
    refused_routes: BTreeMap<u32, u32>,
    /// Texts that are no packets: a mistake in here, which a test looks for.
    refused: Vec<String>,
}

/// What tells a sender that there is no way, which the kernel does five times at once, and then once a second (`ip_error`).
const ROUTE_ERRORS: [DropCode; 6] = [
    DropCode::NoRoute,
    DropCode::RouteUnreachable,
    DropCode::RouteProhibit,
    DropCode::RoutingRuleUnreachable,
    DropCode::RoutingRuleProhibit,
    DropCode::ForwardingOff,
];
const ROUTE_ERROR_BURST: u32 = 5;

/// Pings with this sequence number, which no translation changes, ask for the time.
const TIMESTAMPS: u16 = SERVICE_PORTS[1];

fn is_redirect(l3: &[u8]) -> bool {
    let Ok(ip) = Ipv4Fields::parse(l3) else { return false };
    ip.protocol == 1 && l3.get(usize::from(ip.header_len)) == Some(&5)
}

/// `count` packets for `ns`.
pub fn sequence(rng: &mut Rng, ns: &NetNs, count: usize) -> Vec<CaseSend> {
    make(rng, ns, count).sends
}

fn make<'a>(rng: &'a mut Rng, ns: &'a NetNs, count: usize) -> Maker<'a> {
    let choice = Seeded::new(rng.bits());
    let mut maker = Maker {
        rng,
        ns,
        state: NetNsState::default(),
        choice,
        flows: Vec::new(),
        sends: Vec::new(),
        redirected: Vec::new(),
        refused_routes: BTreeMap::new(),
        refused: Vec::new(),
    };
    // A draw that makes no packet (an answer to nothing) is drawn again.
    for _ in 0..count * 8 {
        if maker.sends.len() >= count {
            break;
        }
        maker.next();
    }
    // Some draws make two.
    maker.sends.truncate(count);
    maker
}

fn addr(value: u32) -> Ipv4Addr {
    Ipv4Addr::from(value)
}

impl Maker<'_> {
    fn next(&mut self) {
        match self.rng.below(100) {
            0..=33 => self.new_flow(),
            34..=41 => self.new_local_flow(),
            42..=66 => self.answer(),
            67..=81 => self.later(),
            82..=85 => self.ending(),
            86..=91 => self.error(),
            92..=93 => self.odd(),
            94..=97 => self.special(),
            _ => self.arp(),
        }
    }

    /// Every packet has its own IP id, by which an engine can tell them apart.
    fn id(&self) -> u16 {
        0x1000 + self.sends.len() as u16
    }

    fn port(&mut self) -> (&'static str, u32, Ipv4Addr) {
        // By a device that is down nothing comes in.
        let carries = |dev: &str| self.ns.config.devices.iter().any(|d| d.name == dev && d.up && d.carrier);
        let ports: Vec<_> = PORTS.into_iter().filter(|(dev, ..)| carries(dev)).collect();
        let (dev, ifindex, hosts) = *self.rng.pick(&ports);
        let host = *self.rng.pick(hosts);
        (dev, ifindex, if self.rng.chance(8) { pools::addr(self.rng) } else { host })
    }

    fn protocol(&mut self) -> u8 {
        match self.rng.below(20) {
            0..=8 => 6,
            9..=15 => 17,
            16..=18 => 1,
            // OSPF, ESP, IPIP, PIM, and one that nobody has.
            _ => *self.rng.pick(&[47, 47, 47, 89, 50, 4, 103, 99]),
        }
    }

    fn new_flow(&mut self) {
        let (dev, _, src) = self.port();
        let dst = pools::addr(self.rng);
        let side = self.side(Entry::Device(dev.to_owned()), src, dst);
        self.start(side);
    }

    fn new_local_flow(&mut self) {
        let src = *self.rng.pick(&[NODE, NODE, NODE, pools::BRIDGE, NODE, NODE, Ipv4Addr::UNSPECIFIED]);
        let dst = pools::addr(self.rng);
        let id = *self.rng.pick(&[0u32, 1000, 600]);
        let bound = self.rng.maybe(8, |rng| *rng.pick(&["eth0", "vetha", "br0", "lo"]));
        let bound_dev = bound.and_then(|dev| self.ns.dev(dev));
        let socket = SkbSocket { uid: Some(id), gid: Some(id), bound_dev, raw: true };
        let side = self.side(Entry::Local(socket), src, dst);
        self.start(side);
    }

    fn side(&mut self, entry: Entry, src: Ipv4Addr, dst: Ipv4Addr) -> Side {
        Side {
            entry,
            src: src.into(),
            dst: dst.into(),
            sport: *self.rng.pick(&CLIENT_PORTS),
            dport: *self.rng.pick(&SERVICE_PORTS),
        }
    }

    fn start(&mut self, client: Side) {
        let protocol = self.protocol();
        let first = self.rng.bits() as u32;
        let tcp = TcpProgress { client: first, server: 0, answered: false };
        let flow = Flow { protocol, client, server: None, tcp, left: None };
        let flags = match self.rng.below(12) {
            0 => "A",
            1 => "SEC",
            _ => "S",
        };
        let text = self.client_text(&flow, flags, 0);
        self.send_of_client(flow, &text, flags);
    }

    /// A packet of the client of `flow`; `data` bytes of payload.
    fn client_text(&mut self, flow: &Flow, flags: &str, data: usize) -> String {
        let side = &flow.client;
        let (seq, ack) = (flow.tcp.client, flow.tcp.server);
        self.text(flow.protocol, side, flags, (seq, ack), data, false)
    }

    fn text(
        &mut self,
        protocol: u8,
        side: &Side,
        flags: &str,
        (seq, ack): (u32, u32),
        data: usize,
        reply: bool,
    ) -> String {
        let (src, dst) = (addr(side.src), addr(side.dst));
        let (sport, dport) = (side.sport, side.dport);
        let id = self.id();
        let mut text = match protocol {
            6 => {
                let mut text = format!("tcp {src}:{sport} > {dst}:{dport} flags={flags} seq={seq} win=64240");
                if flags.contains('A') {
                    text.push_str(&format!(" ack={ack}"));
                }
                if flags.contains('S') && self.rng.chance(60) {
                    let more: &&str = self.rng.pick(&[
                        " mss=1460",
                        " mss=536",
                        " mss=1460 sack-perm",
                        " mss=1460 wscale=7",
                    ]);
                    text.push_str(more);
                }
                text
            }
            17 => format!("udp {src}:{sport} > {dst}:{dport}"),
            1 => {
                let kind = match (dport == TIMESTAMPS, reply) {
                    (false, false) => "type=8",
                    (false, true) => "type=0",
                    (true, false) => "type=13 org=09:30:00.250",
                    (true, true) => "type=14 org=09:30:00.250 recv=34200300 xmit=34200301",
                };
                format!("icmp {src} > {dst} {kind} code=0 id={sport} seq={dport}")
            }
            _ => format!("ip {src} > {dst} proto={protocol}"),
        };
        // GRE has a header of its own: NAT drops what is shorter, and x_tables' trace does not say who dropped it.
        let data = if protocol == 47 { data.max(8) } else { data };
        if data > 0 {
            text.push_str(&format!(" len={data}"));
        }
        if self.rng.chance(4) {
            let more: &&str = self.rng.pick(&[" ttl=1", " ttl=2", " ttl=255"]);
            text.push_str(more);
        }
        if self.rng.chance(8) {
            let more: &&str = self.rng.pick(&[" tos=0x10", " tos=0x08", " tos=0xb8"]);
            text.push_str(more);
        }
        if self.rng.chance(30) {
            text.push_str(" df");
        }
        format!("{text} ipid={id}")
    }

    /// Sends `text`, and notes what became of it for the answers of the other side.
    fn send_of_client(&mut self, mut flow: Flow, text: &str, flags: &str) {
        let Some(recorder) = self.send(text, flow.client.entry.clone()) else { return };
        let advance = u32::from(flags.contains('S')) + u32::from(flags.contains('F'));
        flow.tcp.client = flow.tcp.client.wrapping_add(advance);
        if let Some((dev, frame)) = recorder.packets.first().and_then(|packet| packet.frames.first()) {
            let dev = self.ns.device(*dev).name.clone();
            flow.left = Some(frame.clone());
            if let Some(side) = other_side(frame, Entry::Device(dev)) {
                flow.server = Some(side);
            }
        }
        let known = self.flows.iter_mut().find(|known| {
            (known.client.src, known.client.sport, known.client.dst, known.client.dport, known.protocol)
                == (flow.client.src, flow.client.sport, flow.client.dst, flow.client.dport, flow.protocol)
        });
        match known {
            Some(known) => *known = flow,
            None => self.flows.push(flow),
        }
    }

    fn send(&mut self, text: &str, entry: Entry) -> Option<Recorder> {
        let Ok(mut packet) = spec::parse(text) else {
            self.refused.push(text.to_owned());
            return None;
        };
        let mut recorder = Recorder::default();
        let inject = match &entry {
            Entry::Device(dev) => {
                let dev = self.ns.dev(dev)?;
                as_neighbour(self.ns, dev, &mut packet);
                Inject::Rx { dev, packet: packet.clone() }
            }
            Entry::Local(socket) => {
                packet.clear_mac_header();
                Inject::Local { packet: packet.clone(), socket: *socket }
            }
        };
        let before = self.state.clone();
        walk(self.ns, &mut self.state, inject, &mut self.choice, &mut recorder);
        if !self.keeps(&packet, &recorder) {
            self.state = before;
            return None;
        }
        self.sends.push(CaseSend::new(packet, entry));
        Some(recorder)
    }

    /// Whether a packet is worth sending. Nothing behind one that the model does not decide is compared; and what depends on the time between
    /// packets cannot be.
    fn keeps(&mut self, packet: &Packet, recorder: &Recorder) -> bool {
        let undecided =
            recorder.packets.iter().any(|p| p.end.is_some_and(|end| end.disposition == Disposition::Unknown));
        if undecided && self.rng.chance(97) {
            return false;
        }
        let Ok(ip) = Ipv4Fields::parse(packet.l3()) else { return true };
        if self.redirected.contains(&ip.src) {
            return false;
        }
        let codes = || recorder.packets.iter().filter_map(|packet| packet.end?.code);
        if codes().any(|code| ROUTE_ERRORS.contains(&code)) {
            let errors = self.refused_routes.entry(ip.src).or_default();
            if *errors == ROUTE_ERROR_BURST {
                return false;
            }
            *errors += 1;
        }
        let redirects = recorder.packets.iter().skip(1).any(|made| is_redirect(made.start.l3()));
        if redirects {
            self.redirected.push(ip.src);
        }
        true
    }

    fn flow(&mut self) -> Option<(usize, Flow)> {
        if self.flows.is_empty() {
            return None;
        }
        // The newest flows mostly: their connections are the least likely to be gone.
        let from = self.flows.len().saturating_sub(if self.rng.chance(70) { 2 } else { 8 });
        let at = from + self.rng.below(self.flows.len() - from);
        Some((at, self.flows[at].clone()))
    }

    fn answer(&mut self) {
        let Some((at, flow)) = self.flow() else { return };
        let Some(server) = flow.server.clone() else { return };
        let (flags, data) = match (flow.protocol, flow.tcp.answered) {
            (6, false) => ("SA", 0),
            (6, true) => *self.rng.pick(&[("A", 0), ("PA", 20), ("A", 100)]),
            _ => ("", *self.rng.pick(&[0, 8])),
        };
        let numbers = (flow.tcp.server, flow.tcp.client);
        let text = self.text(flow.protocol, &server, flags, numbers, data, true);
        if self.send(&text, server.entry.clone()).is_some() {
            let tcp = &mut self.flows[at].tcp;
            tcp.answered = true;
            tcp.server = tcp.server.wrapping_add(u32::from(flags.contains('S')) + data as u32);
        }
    }

    fn later(&mut self) {
        let Some((_, mut flow)) = self.flow() else { return };
        let (flags, data) = match (flow.protocol, flow.tcp.answered) {
            (6, true) => *self.rng.pick(&[("A", 0), ("PA", 10), ("PA", 300)]),
            // The SYN again.
            (6, false) => {
                flow.tcp.client = flow.tcp.client.wrapping_sub(1);
                ("S", 0)
            }
            _ => ("", *self.rng.pick(&[0, 8])),
        };
        let text = self.client_text(&flow, flags, data);
        let after = data as u32;
        flow.tcp.client = flow.tcp.client.wrapping_add(after);
        self.send_of_client(flow, &text, flags);
    }

    fn ending(&mut self) {
        let Some((at, flow)) = self.flow() else { return };
        if flow.protocol != 6 {
            return;
        }
        let flags = *self.rng.pick(&["R", "RA", "FA", "FA", "FA"]);
        match flow.server.clone() {
            Some(server) if self.rng.chance(50) => {
                let numbers = (flow.tcp.server, flow.tcp.client);
                let text = self.text(6, &server, flags, numbers, 0, true);
                if self.send(&text, server.entry.clone()).is_some() && flags.contains('F') {
                    self.flows[at].tcp.server = flow.tcp.server.wrapping_add(1);
                }
            }
            _ => {
                let text = self.client_text(&flow, flags, 0);
                self.send_of_client(flow, &text, flags);
            }
        }
    }

    /// An ICMP error about a packet that left, from somewhere on its way.
    fn error(&mut self) {
        let Some((_, flow)) = self.flow() else { return };
        let (Some(left), Some(server)) = (&flow.left, &flow.server) else { return };
        // No more than an error quotes; sometimes less than the header of what it is about.
        let quoted = if self.rng.chance(15) { 20 + self.rng.below(20) } else { 548 };
        let Some(mut inner) = inner_text(left, quoted) else { return };
        if self.rng.chance(10) {
            // About a packet that never was.
            inner = inner.replace(":40000", ":40009");
        }
        let from = if self.rng.chance(50) { addr(server.src) } else { Ipv4Addr::new(203, 0, 113, 77) };
        let kind = *self.rng.pick(&[
            "type=3 code=3",
            "type=3 code=1",
            "type=11 code=0",
            "type=3 code=4 mtu=1200",
            "type=12 code=0",
            "type=4 code=0",
            "type=5 code=1 gateway=192.168.50.20",
        ]);
        let to = if self.rng.chance(95) { addr(server.dst) } else { POD_A };
        let id = self.id();
        let text = format!("icmp {from} > {to} {kind} ipid={id} about ({inner})");
        self.send(&text, server.entry.clone());
    }
}

/// What the receiver of `frame` would answer from, if it is one of a flow.
fn other_side(frame: &Packet, entry: Entry) -> Option<Side> {
    let ip = Ipv4Fields::parse(frame.l3()).ok().filter(|ip| !ip.is_fragment())?;
    let l4 = frame.l3().get(usize::from(ip.header_len)..)?;
    let (sport, dport) = match ip.protocol {
        6 => TcpFields::parse(l4).filter(|tcp| tcp.flags & tcp_flag::RST == 0).map(|t| (t.dport, t.sport))?,
        17 => UdpFields::parse(l4).map(|udp| (udp.dport, udp.sport))?,
        1 => IcmpFields::parse(l4).map(|icmp| (icmp.id, icmp.seq))?,
        _ => (0, 0),
    };
    Some(Side { entry, src: ip.dst, dst: ip.src, sport, dport })
}

/// The start of `frame` as the packet that an ICMP error is about, in the words of the mini-language.
fn inner_text(frame: &Packet, quoted: usize) -> Option<String> {
    let mut inner = Packet::from_l3(frame.ethertype(), frame.l3().to_vec());
    let ip = Ipv4Fields::parse(inner.l3()).ok()?;
    inner.trim_l3(quoted.max(usize::from(ip.header_len)));
    Some(spec::print(&inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::world::world;

    #[test]
    fn every_text_is_a_packet() {
        for seed in 0..400 {
            let mut rng = Rng::new(seed);
            let (ns, _) = NetNs::compile(world(&mut rng));
            let made = make(&mut rng, &ns, 50);
            assert_eq!(made.sends.len(), 50);
            assert!(made.refused.is_empty(), "{:?}", made.refused);
        }
    }
}
