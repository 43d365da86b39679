//! The namespaces of a case: the node's, one for the other ends of its wires, and everything that listens there.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, bind, listen, sendto,
    setsockopt, socket, sockopt,
};
use pktwalk_linux::config::{Device, DeviceKind, Neighbour, NetNsConfig, NudState};
use pktwalk_linux::hook::{Backend, TableName};
use pktwalk_linux::netns::NetNs;
use pktwalk_linux::skb::SkbSocket;
use pktwalk_linux::walk::{as_neighbour, assumed_mac};
use pktwalk_packet::{EtherType, Packet};
use pktwalk_scenario::case::{CaseSend, Entry};
use pktwalk_scenario::confirm::is_opened;
use pktwalk_scenario::engine::EngineError;
use pktwalk_scenario::event::{CtSnapshot, FrameOut, Question, SendRun};
use pnet_datalink::{Channel, Config, DataLinkSender, NetworkInterface};

use crate::netlink::{Netfilter, ReadError};
use crate::normal::{self, Seen};
use crate::ns::{Namespace, failed, missing, tool, unsupported};
use crate::perf::{Freed, Perf};
use crate::program::{self, has_peer, other_end, peer_name};
use crate::rules::{self, Loaded, Using};
use crate::trace::Tracer;
use crate::wire::Receiver;
use crate::{bpf, connections, fill, neigh, offload, state};

/// The other end of a wire.
struct Port {
    /// Name of the device under test.
    dev: String,
    send: Box<dyn DataLinkSender>,
    receive: Receiver,
    _sink: Option<OwnedFd>,
}

/// A world of one backend or of both. Belongs to the thread that made it, which is in the node's namespace.
pub(crate) struct World {
    using: Using,
    node: Namespace,
    peer: Namespace,
    config: NetNsConfig,
    /// Compiled, for what a neighbour's frame looks like.
    ns: NetNs,
    ports: Vec<Port>,
    tracer: Tracer,
    netfilter: Netfilter,
    /// Settings that could not be set.
    unset: Vec<String>,
    /// Whether it is not known in which order rules of both backends saw some packet.
    unordered: bool,
    loaded: Loaded,
    sockets: Vec<OwnedFd>,
    /// Whether the tables of routing rules were ever told apart: the kernel never joins them again.
    split: bool,
    /// Whether a nat table was ever here. Legacy tables stay, and even an empty one sets status bits of connections.
    nat: bool,
    /// Whether a host was told something: the kernel remembers how many errors and redirects each host got, for longer than a case lasts.
    told: bool,
    /// Whether the connection table holds entries that only take room.
    filled: bool,
    lock: String,
}

const TCP: u8 = 6;
const UDP: u8 = 17;

/// How many times in a row what one packet led to may ask for neighbours.
const QUESTIONS: usize = 8;

/// The device that an ARP answer goes to, and the frame.
type Answer = (String, Vec<u8>);

/// Why one packet's run is void.
pub(crate) enum Void {
    /// The trace overflowed: the case must be run again.
    Overrun,
    /// Something happened that is no packet's: the same.
    Late,
    /// It cannot be run.
    Engine(EngineError),
}

impl From<ReadError> for Void {
    fn from(error: ReadError) -> Void {
        match error {
            ReadError::Overrun => Void::Overrun,
            ReadError::Io(error) => Void::Engine(failed(format!("netlink: {error}"))),
        }
    }
}

impl From<EngineError> for Void {
    fn from(error: EngineError) -> Void {
        Void::Engine(error)
    }
}

fn netlink_failed(error: ReadError) -> EngineError {
    match error {
        ReadError::Overrun => failed("netlink: no buffer space"),
        ReadError::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            missing(format!("netlink: {error} (root is needed)"))
        }
        ReadError::Io(error) => failed(format!("netlink: {error}")),
    }
}

/// What cannot be changed once a world stands.
fn same_devices(left: &NetNsConfig, right: &NetNsConfig) -> bool {
    let shape = |config: &NetNsConfig, device: &Device| {
        let veth = has_peer(config, device);
        (
            device.name.clone(),
            device.ifindex,
            device.mac,
            device.master.clone(),
            device.bridge,
            veth,
            config.calls_iptables(device),
            (!veth).then(|| device.kind.clone()),
        )
    };
    left.devices.len() == right.devices.len()
        && left.devices.iter().zip(&right.devices).all(|(a, b)| shape(left, a) == shape(right, b))
}

fn has_nat(config: &NetNsConfig) -> bool {
    config.rulesets.iter().flat_map(|ruleset| &ruleset.save.tables).any(|table| table.name == TableName::Nat)
}

/// Whether everything that `ip` programs is the same, and what the kernel made of it when it was.
fn same_network(left: &NetNsConfig, right: &NetNsConfig) -> bool {
    let heeds_carriers = |config: &NetNsConfig| -> Vec<(String, String)> {
        let set = config.sysctls.iter().filter(|(key, _)| key.ends_with(".ignore_routes_with_linkdown"));
        set.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    heeds_carriers(left) == heeds_carriers(right)
        && left.devices == right.devices
        && left.routes == right.routes
        && left.routing_rules == right.routing_rules
        && left.neighbours == right.neighbours
        && left.proxy_neighbours == right.proxy_neighbours
        && left.fdb == right.fdb
}

impl World {
    /// New namespaces with the devices of `config`. The calling thread is in the node's afterwards.
    pub fn new(
        config: &NetNsConfig,
        using: Using,
        lock: &str,
        sink: Option<&OwnedFd>,
    ) -> Result<World, EngineError> {
        let quiet = || {
            for all in ["all", "default"] {
                // Absent where the kernel has no IPv6.
                let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{all}/disable_ipv6"), "1");
            }
        };
        let peer = Namespace::new()?;
        quiet();
        let node = Namespace::new()?;
        quiet();
        let _ = std::fs::write("/proc/sys/net/ipv4/tcp_synack_retries", "0");
        // Who may have ping sockets: this process.
        let _ = std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
        tool("ip", &["-batch", "-"], &program::make_devices(config, &peer.path())?, &[])?;
        for device in &config.devices {
            // An unresolved neighbour fails after one question, when this program gives it up and not by the kernel's timer; what is answered for
            // others is answered at once.
            for (setting, value) in [
                ("retrans_time_ms", "60000"),
                ("mcast_solicit", "1"),
                ("proxy_delay", "0"),
                // Who told of himself is not asked again while a case runs.
                ("delay_first_probe_time", "3600"),
                ("base_reachable_time_ms", "360000000"),
            ] {
                let _ = std::fs::write(format!("/proc/sys/net/ipv4/neigh/{}/{setting}", device.name), value);
            }
        }
        let is_veth = |device: &&Device| has_peer(config, device) || other_end(config, device).is_some();
        for device in config.devices.iter().filter(is_veth) {
            offload::without_checksum_offload(&device.name)?;
        }
        peer.enter()?;
        let ports = open_ports(config, sink);
        node.enter()?;
        let tracer = Tracer::open(using.has(Backend::Legacy)).map_err(netlink_failed)?;
        let netfilter = Netfilter::open(0, 4 << 20).map_err(|errno| netlink_failed(errno.into()))?;
        let devices = NetNsConfig { devices: Vec::new(), ..NetNsConfig::default() };
        Ok(World {
            using,
            node,
            peer,
            ns: NetNs::compile(NetNsConfig::default()).0,
            config: devices,
            ports: ports?,
            tracer,
            netfilter,
            unset: Vec::new(),
            unordered: false,
            loaded: Loaded::default(),
            sockets: Vec::new(),
            split: false,
            nat: false,
            told: false,
            filled: false,
            lock: lock.to_owned(),
        })
    }

    /// Whether this world can become that of `config`.
    pub fn fits(&self, config: &NetNsConfig, using: Using) -> bool {
        let fresh = self.config.devices.is_empty();
        let unsplit = self.split && !program::has_custom_rules(config);
        let stale_nat = using == Using::One(Backend::Legacy) && self.nat && !has_nat(config);
        // Legacy tables stay, and with them their place among the chains of one priority.
        let ordered = matches!(using, Using::One(_));
        self.using == using
            && ordered
            && !stale_nat
            && (fresh || same_devices(&self.config, config))
            && !unsplit
    }

    /// Whether a host was told something by ICMP, which the kernel remembers.
    pub fn told(&self) -> bool {
        self.told
    }

    /// Puts the calling thread into the node's namespace.
    pub fn enter(&self) -> Result<(), EngineError> {
        self.node.enter()
    }

    /// Makes it that of `config`.
    pub fn program(&mut self, config: &NetNsConfig) -> Result<(), EngineError> {
        self.sockets.clear();
        if self.config.devices.is_empty() || !same_network(&self.config, config) {
            if !self.config.devices.is_empty() {
                // Part of what it takes away may be gone already.
                let _ = tool("ip", &["-force", "-batch", "-"], &program::unconfigure(&self.config), &[]);
                let fdb = program::without_fdb(&self.config);
                if !fdb.is_empty() {
                    let _ = tool("bridge", &["-force", "-batch", "-"], &fdb, &[]);
                }
            }
            // Before the routes, as it was on the node when links fell: what shares next hops have is reckoned then (`fib_rebalance`).
            program::settings(config);
            // Before the devices: a bridge port without carrier has no state to be set.
            self.carriers(config)?;
            let by_ipv6 = program::by_ipv6(config);
            for dev in &by_ipv6 {
                // Without an address of its own it says nothing.
                let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{dev}/addr_gen_mode"), "1");
                let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{dev}/disable_ipv6"), "0");
            }
            tool("ip", &["-batch", "-"], &program::configure(config)?, &[])?;
            for dev in &by_ipv6 {
                // IPv4 routes by an IPv6 gateway stay.
                let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{dev}/disable_ipv6"), "1");
            }
            let fdb = program::fdb(config);
            if !fdb.is_empty() {
                tool("bridge", &["-batch", "-"], &fdb, &[])?;
            }
            self.settle(config)?;
            stop_ports(config)?;
            self.split |= program::has_custom_rules(config);
        }
        self.forget(config)?;
        self.nat |= has_nat(config);
        self.config = config.clone();
        let (sets, rulesets) = (Vec::new(), Vec::new());
        self.ns = NetNs::compile(NetNsConfig { sets, rulesets, ..config.clone() }).0;
        self.loaded = rules::load(config, self.using, &mut self.netfilter, &self.lock)?;
        state::flush(&mut self.netfilter).map_err(netlink_failed)?;
        // Only now: rules may have loaded a module that has settings.
        self.unset = program::settings(config);
        self.open_sockets(config)
    }

    /// What of the case this world could not bring about or did not see, a line each.
    pub fn gaps(&self) -> impl Iterator<Item = String> {
        let unordered = "not seen: in which order rules of both backends ran";
        let unset = self.unset.iter().map(|what| format!("not set: {what}"));
        unset.chain(self.unordered.then(|| unordered.to_owned()))
    }

    /// Leaves as much room in the connection table as the configuration says, where `packets` packets could fill it.
    pub fn fill(&mut self, packets: usize) -> Result<(), EngineError> {
        let count = fill::wanted(&self.config, packets)?;
        fill::fill(&mut self.netfilter, count)?;
        connections::make(&mut self.netfilter, &self.config.connections)?;
        self.filled = count > 0 || !self.config.connections.is_empty();
        Ok(())
    }

    /// Gives the room in the connection table back.
    pub fn empty(&mut self) -> Result<(), EngineError> {
        if std::mem::take(&mut self.filled) {
            state::flush(&mut self.netfilter).map_err(netlink_failed)?;
        }
        Ok(())
    }

    /// Forgets what bridges and neighbour tables learned, and gives back what they know at first.
    fn forget(&self, config: &NetNsConfig) -> Result<(), EngineError> {
        let mut text = "neigh flush all\n".to_owned();
        text.push_str(&program::changing_neighbours(config));
        for device in &self.config.devices {
            if matches!(device.kind, DeviceKind::Bridge { .. }) {
                text.push_str(&format!("link set {} type bridge fdb_flush\n", device.name));
            }
        }
        tool("ip", &["-batch", "-"], &text, &[]).map(drop)
    }

    /// Waits until devices that were just set up carry packets: the kernel attaches their queues from a worker of its own, and drops until then.
    fn settle(&self, config: &NetNsConfig) -> Result<(), EngineError> {
        let veths =
            || config.devices.iter().filter(|device| has_peer(config, device) && device.up && device.carrier);
        let within = || {
            config.devices.iter().filter(|device| {
                device.up && device.carrier && other_end(config, device).is_some_and(|other| other.up)
            })
        };
        let here: Vec<String> = veths().chain(within()).map(|device| device.name.clone()).collect();
        let there: Vec<String> = veths().map(|device| peer_name(device.ifindex)).collect();
        let bridges = config.devices.iter().filter(|device| matches!(device.kind, DeviceKind::Bridge { .. }));
        let working = |bridge: &&Device| {
            let mut ports = veths().chain(within());
            ports.any(|port| port.master.as_ref() == Some(&bridge.name) && port.port.forwarding) && bridge.up
        };
        let here: Vec<String> =
            here.into_iter().chain(bridges.filter(working).map(|bridge| bridge.name.clone())).collect();
        wait_until_up(&here)?;
        self.peer.enter()?;
        let done = wait_until_up(&there);
        self.node.enter()?;
        done
    }

    fn carriers(&self, config: &NetNsConfig) -> Result<(), EngineError> {
        let mut text = String::new();
        for device in config.devices.iter().filter(|device| has_peer(config, device)) {
            let before = self.config.devices.iter().find(|other| other.name == device.name);
            let carrier = before.is_none_or(|other| other.carrier);
            if carrier != device.carrier {
                let state = if device.carrier { "up" } else { "down" };
                text.push_str(&format!("link set {} {state}\n", peer_name(device.ifindex)));
            }
        }
        if text.is_empty() {
            return Ok(());
        }
        self.peer.enter()?;
        let done = tool("ip", &["-batch", "-"], &text, &[]);
        self.node.enter()?;
        done.map(drop)
    }

    fn open_sockets(&mut self, config: &NetNsConfig) -> Result<(), EngineError> {
        // Of what is left out, a packet that meets it tells: `is_opened`.
        for wanted in config.sockets.iter().flatten().filter(|wanted| is_opened(wanted)) {
            let local = match wanted.local {
                IpAddr::V4(addr) => addr,
                IpAddr::V6(addr) if addr.is_unspecified() && !wanted.v6_only => Ipv4Addr::UNSPECIFIED,
                IpAddr::V6(addr) => match addr.to_ipv4_mapped() {
                    Some(addr) => addr,
                    None => continue,
                },
            };
            let fd = bound(wanted.protocol, local, wanted.port, wanted.dev.as_ref())?;
            if wanted.protocol == TCP {
                listening(&fd, bpf::take_and_free)?;
            }
            self.sockets.push(fd);
        }
        Ok(())
    }

    /// Opens sockets of any address that the model assumed, by IP protocol and port. They take whatever comes, as the model says of them.
    pub fn open_assumed(&mut self, sockets: &BTreeSet<(u8, u16)>) -> Result<(), EngineError> {
        for &(protocol, port) in sockets {
            let fd = bound(protocol, Ipv4Addr::UNSPECIFIED, port, None)?;
            if protocol == TCP {
                listening(&fd, bpf::take_all)?;
            }
            self.sockets.push(fd);
        }
        Ok(())
    }

    /// Sends one packet and gathers what came of it; also the IP ids of the packets that were made.
    pub fn send(&mut self, send: &CaseSend, perf: &mut Option<Perf>) -> Result<(SendRun, Vec<u16>), Void> {
        let mut send_error = None;
        let (sent, local) = match &send.entry {
            Entry::Device(dev) => {
                let mut bytes = send.packet.clone();
                if let Some(dev) = self.ns.dev(dev) {
                    as_neighbour(&self.ns, dev, &mut bytes);
                }
                let port = self.ports.iter_mut().find(|port| port.dev == *dev);
                let port = port.ok_or_else(|| {
                    let config = &self.config;
                    let bridge = config.devices.iter().any(|device| {
                        device.name == *dev && matches!(device.kind, DeviceKind::Bridge { .. })
                    });
                    let other = config.devices.iter().find(|device| device.name == *dev);
                    let other = other.and_then(|device| other_end(config, device));
                    let hint = match other {
                        _ if bridge => " (send it to one of its ports)".to_owned(),
                        Some(other) => format!(" (its other end, {}, is in this namespace)", other.name),
                        None => String::new(),
                    };
                    unsupported(format!("no wire at {dev} to send a packet by{hint}"))
                })?;
                let mut sent = port.send.send_to(bytes.bytes(), None);
                if let Some(Err(error)) = &sent
                    && error.raw_os_error() == Some(libc::ENETDOWN)
                {
                    // The socket says once, and only now, that its device was down in an earlier case.
                    sent = port.send.send_to(bytes.bytes(), None);
                }
                match sent {
                    Some(Ok(())) => {}
                    // What is too large for the other end of a veth is dropped before it gets there.
                    Some(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                    Some(Err(error)) => return Err(failed(format!("send by {dev}: {error}")).into()),
                    None => return Err(failed(format!("send by {dev}: no room")).into()),
                }
                (bytes, false)
            }
            Entry::Local(socket) => {
                let socket = self.raw_socket(socket)?;
                let bytes = send.packet.l3();
                // The socket's, not the header's, is what the first route lookup sees; of any other socket the two are the same.
                let tos = i32::from(bytes.get(1).copied().unwrap_or(0));
                setsockopt(&socket, sockopt::Ipv4Tos, &tos)
                    .map_err(|errno| failed(format!("IP_TOS: {errno}")))?;
                let dst = bytes.get(16..20).and_then(|b| <[u8; 4]>::try_from(b).ok()).unwrap_or([0; 4]);
                let to = SockaddrIn::from(SocketAddrV4::new(dst.into(), 0));
                send_error = sendto(socket.as_raw_fd(), bytes, &to, MsgFlags::empty()).err();
                (send.packet.clone(), true)
            }
        };
        let (mut nft, mut legacy) = self.tracer.drain()?;
        let mut frames = self.frames();
        let mut freed = perf.as_ref().map(|_| Vec::new());
        let (mut questions, mut given_up) = (Vec::new(), BTreeSet::new());
        // Who is asked for answers, as the model assumes of neighbours that nobody said anything of. What waited for the answer then leaves.
        for _ in 0..QUESTIONS {
            if sent.ethertype() == EtherType::ARP {
                // The question is the packet itself.
                break;
            }
            let (asked, unanswered) = self.questions(&mut frames, &mut questions);
            let lost =
                if asked.is_empty() && unanswered.is_empty() { self.unheard(&given_up) } else { Vec::new() };
            if asked.is_empty() && unanswered.is_empty() && lost.is_empty() {
                break;
            }
            given_up.extend(lost.iter().copied());
            for (ifindex, addr) in unanswered.into_iter().chain(lost) {
                neigh::give_up(ifindex, addr)?;
            }
            for (dev, answer) in asked {
                if let Some(port) = self.ports.iter_mut().find(|port| port.dev == dev) {
                    // A lost answer shows in what is missing afterwards.
                    let _ = port.send.send_to(&answer, None);
                }
            }
            let (more_nft, more_legacy) = self.tracer.drain()?;
            nft.extend(more_nft);
            legacy.extend(more_legacy);
            frames.extend(self.frames());
        }
        if let (Some(perf), Some(freed)) = (perf, &mut freed) {
            freed.extend(perf.drain()?);
        }
        let loopback = self.config.devices.iter().find(|device| device.name == "lo").map(|lo| lo.ifindex);
        let seen = Seen { nft, legacy, frames, freed, send_error };
        let normal::Packets { packets, ids, ordered } =
            normal::packets(&self.loaded, &sent, local, loopback, seen);
        self.unordered |= !ordered;
        self.told |= packets.len() > 1;
        let conntrack = state::connections(&mut self.netfilter, self.filled)?;
        questions.sort();
        questions.dedup();
        Ok((SendRun { packets, conntrack, questions: Some(questions), at_ns: None, record: None }, ids))
    }

    /// Neighbours that the namespace asks for at devices without a carrier or without ARP, where nobody can hear that; without those `given_up`
    /// before.
    fn unheard(&self, given_up: &BTreeSet<(u32, Ipv4Addr)>) -> Vec<(u32, Ipv4Addr)> {
        let silent = |device: &&Device| device.up && (!device.carrier || device.no_arp);
        let Some(_) = self.config.devices.iter().find(silent) else { return Vec::new() };
        // Not that of the program's first thread.
        let table = std::fs::read_to_string("/proc/thread-self/net/arp").unwrap_or_default();
        let lost = table.lines().skip(1).filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (&[addr, _, "0x0", .., dev], true) = (fields.as_slice(), fields.len() >= 6) else {
                return None;
            };
            let device = self.config.devices.iter().filter(silent).find(|device| device.name == dev)?;
            Some((device.ifindex, addr.parse().ok()?))
        });
        lost.filter(|lost| !given_up.contains(lost)).collect()
    }

    /// Whether the collector took connections of the case away since they were `last` looked at: of a table that is nearly full it takes those that
    /// are not ASSURED, whenever it comes by (`gc_worker_can_early_drop`).
    pub fn collected(&mut self, last: &[CtSnapshot]) -> Result<bool, Void> {
        Ok(self.filled && state::connections(&mut self.netfilter, true)? != last)
    }

    /// Takes what has happened since the last packet was done with; whether that is anything.
    pub fn late(&mut self, perf: &mut Option<Perf>) -> Result<bool, Void> {
        let (nft, legacy) = self.tracer.drain()?;
        let freed = perf.as_mut().map(Perf::drain).transpose()?.unwrap_or_default();
        let freed = freed.iter().any(Freed::is_of_the_namespace);
        let frames = !self.frames().is_empty();
        Ok(!nft.is_empty() || !legacy.is_empty() || frames || freed)
    }

    /// Takes ARP requests out of `frames` and into `questions`, and gives the answer to each with the device that it goes to; and device and
    /// address of neighbours that the configuration says have failed: for those nobody answers.
    fn questions(
        &self,
        frames: &mut Vec<FrameOut>,
        questions: &mut Vec<Question>,
    ) -> (Vec<Answer>, Vec<(u32, Ipv4Addr)>) {
        let (mut answers, mut unanswered) = (Vec::new(), Vec::new());
        frames.retain(|frame| {
            let arp = frame.packet.l3();
            let fields = (arp.get(7), arp.get(8..18), arp.get(24..28));
            let (Some(1), Some(asker), Some(&[a, b, c, d])) = fields else { return true };
            if frame.packet.ethertype() != EtherType::ARP {
                return true;
            }
            let target = Ipv4Addr::new(a, b, c, d);
            let addr = IpAddr::V4(target);
            let device = self.config.devices.iter().find(|device| device.name == frame.dev);
            // What a bridge asks goes out of its ports. A port that asks itself does not hear the answer: that goes to the bridge.
            let by_port = device.filter(|device| device.master.is_some() && self.asks_itself(device, asker));
            let dev = device.filter(|_| by_port.is_none()).and_then(|device| device.master.clone());
            let dev = dev.unwrap_or_else(|| frame.dev.clone());
            // What failed at one device may answer at another.
            let failed = |n: &&Neighbour| n.addr == addr && n.dev == dev && n.state == NudState::Failed;
            let failed = self.config.neighbours.iter().find(failed);
            questions.push(Question { dev, target });
            if let Some(port) = by_port {
                unanswered.push((port.ifindex, target));
                return false;
            }
            let failed = failed.and_then(|n| self.config.devices.iter().find(|device| device.name == n.dev));
            if let Some(device) = failed {
                unanswered.push((device.ifindex, target));
            } else {
                // The frame's own source is nobody's, so that a bridge does not learn where the neighbour is.
                let mut answer = asker[..6].to_vec();
                answer.extend_from_slice(&[0x02, 0xff, 0, 0, 0, 1, 8, 6]);
                answer.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, 2]);
                answer.extend_from_slice(&assumed_mac(target.into()).0);
                answer.extend_from_slice(&[a, b, c, d]);
                answer.extend_from_slice(asker);
                answers.push((frame.dev.clone(), answer));
            }
            false
        });
        answers.sort();
        answers.dedup();
        unanswered.sort_unstable();
        unanswered.dedup();
        (answers, unanswered)
    }

    /// Whether a question that leaves by a bridge port is the port's own: of the hardware address, or where the bridge has the same one, of the
    /// address of whoever asks.
    fn asks_itself(&self, port: &Device, asker: &[u8]) -> bool {
        let bridge = self.config.devices.iter().find(|device| port.master.as_ref() == Some(&device.name));
        let (mac, addr) = asker.split_at(asker.len().min(6));
        let has = |device: &Device| device.mac.is_some_and(|own| own.0 == *mac);
        has(port)
            && (!bridge.is_some_and(has)
                || port
                    .addresses
                    .iter()
                    .any(|own| matches!(own.local, IpAddr::V4(own) if own.octets() == *addr)))
    }

    fn frames(&mut self) -> Vec<FrameOut> {
        let mut frames = Vec::new();
        for port in &mut self.ports {
            while let Some(bytes) = port.receive.next() {
                if let Some(packet) = Packet::from_ethernet(bytes) {
                    frames.push(FrameOut { dev: port.dev.clone(), packet });
                }
            }
        }
        frames
    }

    /// A raw socket whose owner is as asked. `-m owner` looks at the ids of the file system's user when the socket was made.
    fn raw_socket(&self, wanted: &SkbSocket) -> Result<OwnedFd, EngineError> {
        use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
        let gid = setfsgid(Gid::from_raw(wanted.gid.unwrap_or(0)));
        let uid = setfsuid(Uid::from_raw(wanted.uid.unwrap_or(0)));
        let made =
            socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, Some(SockProtocol::Raw));
        setfsuid(uid);
        setfsgid(gid);
        let fd = made.map_err(|errno| failed(format!("raw socket: {errno}")))?;
        // Who may send a broadcast is not what is asked here.
        setsockopt(&fd, sockopt::Broadcast, &true)
            .map_err(|errno| failed(format!("SO_BROADCAST: {errno}")))?;
        if let Some(dev) = wanted.bound_dev {
            let device = self.config.devices.get(dev.index());
            let name = device.map(|device| device.name.clone()).unwrap_or_default();
            setsockopt(&fd, sockopt::BindToDevice, &name.into())
                .map_err(|errno| failed(format!("SO_BINDTODEVICE: {errno}")))?;
        }
        Ok(fd)
    }
}

/// A socket of the calling thread's namespace: of TCP, of UDP, or a ping socket, whose port is the identifier.
fn bound(protocol: u8, local: Ipv4Addr, port: u16, dev: Option<&String>) -> Result<OwnedFd, EngineError> {
    let told = |errno: Errno| failed(format!("socket on port {port}: {errno}"));
    let (kind, protocol) = match protocol {
        TCP => (SockType::Stream, None),
        UDP => (SockType::Datagram, None),
        _ => (SockType::Datagram, Some(SockProtocol::Icmp)),
    };
    let fd = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, protocol).map_err(told)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(told)?;
    if protocol.is_none() {
        // Processes may share a port, and sockets of any and of one address stand beside each other.
        setsockopt(&fd, sockopt::ReusePort, &true).map_err(told)?;
    }
    // A socket keeps an address that is no longer of this host.
    setsockopt(&fd, sockopt::IpFreebind, &true).map_err(told)?;
    if let Some(dev) = dev {
        setsockopt(&fd, sockopt::BindToDevice, &dev.into()).map_err(told)?;
    }
    let address = SockaddrIn::from(SocketAddrV4::new(local, port));
    bind(fd.as_raw_fd(), &address).map_err(told)?;
    Ok(fd)
}

/// Makes it listen, with the filter that takes segments in.
fn listening(fd: &OwnedFd, take: fn(&OwnedFd) -> std::io::Result<()>) -> Result<(), EngineError> {
    take(fd).map_err(|error| failed(format!("filter of a socket: {error}")))?;
    listen(fd, Backlog::new(16).unwrap_or(Backlog::MAXCONN))
        .map_err(|errno| failed(format!("a listening socket: {errno}")))
}

/// Stops the ports of bridges that do not forward. A bridge starts a stopped port when it hears that its carrier came up, which is what makes the
/// device's state UP; that it runs is said before.
fn stop_ports(config: &NetNsConfig) -> Result<(), EngineError> {
    let stopped = config.devices.iter().filter(|device| device.master.is_some() && !device.port.forwarding);
    for Device { name, port, .. } in stopped.filter(|device| device.up && device.carrier) {
        let mut tries = 0;
        while !tool("ip", &["-br", "link", "show", "dev", name], "", &[])?.contains(" UP ") {
            tries += 1;
            if tries == 500 {
                return Err(failed(format!("{name} does not come up")));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let state = if port.learning_state { "2" } else { "0" };
        tool("bridge", &["link", "set", "dev", name, "state", state], "", &[])?;
    }
    Ok(())
}

/// Waits for devices of the calling thread's namespace.
fn wait_until_up(names: &[String]) -> Result<(), EngineError> {
    let mut left: Vec<&str> = names.iter().map(String::as_str).collect();
    for _ in 0..500 {
        let devices = nix::ifaddrs::getifaddrs().map_err(|errno| failed(format!("getifaddrs: {errno}")))?;
        for device in devices {
            if device.flags.contains(nix::net::if_::InterfaceFlags::IFF_RUNNING) {
                left.retain(|name| *name != device.interface_name);
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Err(failed(format!("no carrier on {}", left.join(", "))))
}

/// Opens the other ends, in the calling thread's namespace.
fn open_ports(config: &NetNsConfig, sink: Option<&OwnedFd>) -> Result<Vec<Port>, EngineError> {
    let mut text = String::new();
    for device in config.devices.iter().filter(|device| has_peer(config, device)) {
        text.push_str(&format!("link set {} mtu 9200 up\n", peer_name(device.ifindex)));
    }
    tool("ip", &["-batch", "-"], &text, &[])?;
    let mut ports = Vec::new();
    for device in config.devices.iter().filter(|device| has_peer(config, device)) {
        let name = peer_name(device.ifindex);
        let index = nix::net::if_::if_nametoindex(name.as_str())
            .map_err(|errno| failed(format!("{name}: {errno}")))?;
        let interface = NetworkInterface {
            name: name.clone(),
            description: String::new(),
            index,
            mac: None,
            ips: Vec::new(),
            flags: 0,
        };
        let told = |error| failed(format!("packet socket on {name}: {error}"));
        let receive = Receiver::new().map_err(told)?;
        let socket = receive.socket().map_err(told)?;
        let options = Config {
            socket_fd: Some(socket.into_raw_fd()),
            read_buffer_size: 1 << 16,
            write_buffer_size: 1 << 16,
            read_timeout: Some(Duration::ZERO),
            ..Config::default()
        };
        // The channel's own socket does not see what is sent by it: whatever it reads came from the namespace under test.
        match pnet_datalink::channel(&interface, options) {
            Ok(Channel::Ethernet(send, _)) => {
                let sink = sink.map(|program| bpf::attach(program, index)).transpose();
                let sink = sink.map_err(|error| failed(format!("program at {name}: {error}")))?;
                ports.push(Port { dev: device.name.clone(), send, receive, _sink: sink });
            }
            Ok(_) => return Err(failed(format!("{name} is no Ethernet device"))),
            Err(error) => return Err(told(error)),
        }
    }
    Ok(ports)
}
