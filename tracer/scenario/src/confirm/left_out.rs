//! What of a case an engine that runs real stacks is not given, and which packet met it: from that one on nothing is confirmed.

use std::collections::BTreeSet;

use pktwalk_linux::config::{Connection, DeviceKind, MissingState, NetNsConfig, Socket};
use pktwalk_linux::conntrack::TcpState;
use pktwalk_linux::conntrack::tuple::CtL4;
use pktwalk_linux::reason::{Disposition, DropCode};
use pktwalk_linux::trace::{Assumption, Step};
use pktwalk_packet::{EtherType, Ipv4Fields, Packet, TcpFields, tcp_flag};
use pktwalk_report::flow::{protocol, tuple_line};

use crate::case::{Case, CaseSend, Entry};
use crate::event::{CtSnapshot, EngineRun};
use crate::model::ModelRun;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const GRE: u8 = 47;
/// `IPPROTO_RAW`: the protocol of the sockets that send packets with their own headers.
const RAW: u8 = 255;

/// Whether the kernel engine opens this socket. The other end of a connection is nowhere, and raw sockets hear all of a protocol, also what the
/// engine itself sends.
pub fn is_opened(socket: &Socket) -> bool {
    socket.remote.is_none()
        && match socket.protocol {
            TCP => socket.listening,
            UDP => true,
            // A ping socket, whose port is the identifier.
            ICMP => socket.port != 0,
            _ => false,
        }
}

/// Whether some socket may have to be assumed: the list of those of the namespace is not there, or not whole.
pub(super) fn may_assume(config: &NetNsConfig) -> bool {
    let unknown = [MissingState::Sockets, MissingState::RawSockets];
    config.sockets.is_none() || unknown.iter().any(|state| config.missing.contains(state))
}

/// The sockets that the model assumed, as far as an engine can open them: none of a protocol that a module brings, and none at port 0, which is
/// nobody's.
pub(super) fn assumed(model: &ModelRun) -> BTreeSet<(u8, u16)> {
    let records = model.run.sends.iter().filter_map(|send| send.record.as_ref());
    let steps = records.flat_map(|record| &record.request.packets).flat_map(|packet| &packet.steps);
    let sockets = steps.filter_map(|recorded| match recorded.step {
        Step::Assumed(Assumption::SocketListens { protocol, port }) => Some((protocol, port)),
        _ => None,
    });
    sockets.filter(|&(protocol, port)| matches!(protocol, ICMP | TCP | UDP) && port != 0).collect()
}

/// Whether the kernel engine makes this connection: of others the dump does not tell enough. Packets of those end `Unknown` on the model.
pub fn is_made(connection: &Connection) -> bool {
    connection.unmodelled.is_none()
}

/// What the packets of a run met that the other engine was not given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Met {
    /// The first packet that did: what comes of it and of those after it is not judged.
    pub first: Option<usize>,
    /// A line each.
    pub lines: Vec<String>,
}

impl Met {
    /// Of the model's run of `case`, where these devices are of another kind on the other engine.
    pub(super) fn of(case: &Case, model: &ModelRun, stand_ins: &[String]) -> Met {
        let devices = &model.ns.config.devices;
        let mut met = Met::default();
        for (at, (given, send)) in case.sends.iter().zip(&model.run.sends).enumerate() {
            let Some(record) = &send.record else { continue };
            let number = given.number.map_or(at + 1, |number| number as usize);
            let missing = given.packet.missing();
            if missing > 0 {
                met.tell(at, format!("packet {number} is cut: its last {missing} bytes are not known"));
            }
            if let Some(dev) = longer_than_its_card(case, given) {
                met.tell(
                    at,
                    format!("packet {number} is longer than the MTU of {dev} and a VLAN tag: what a real card takes is not known, a wire does not take it"),
                );
            }
            let raw = |packet: &Packet| {
                Ipv4Fields::parse(packet.l3()).is_ok_and(|ip| ip.protocol == RAW)
                    && matches!(given.entry, Entry::Local(_))
            };
            let here = record.request.end().is_some_and(|end| {
                end.disposition == Disposition::Delivered || end.code == Some(DropCode::NoProtocol)
            });
            if here && raw(&given.packet) {
                met.tell(
                    at,
                    format!(
                        "packet {number} is of IP protocol {RAW}, which the sender's own raw socket hears"
                    ),
                );
            }
            for packet in &record.request.packets {
                if let Some(what) = case.config.connections.iter().find_map(|one| unlike(one, &packet.start))
                {
                    met.tell(at, format!("packet {number} is {what}"));
                }
            }
            for recorded in record.request.packets.iter().flat_map(|packet| &packet.steps) {
                if let Step::Rx { dev } | Step::Xmit { dev } = recorded.step
                    && let Some(device) = devices.get(dev.index())
                    && stand_ins.contains(&device.name)
                {
                    met.tell(at, format!("packet {number} meets {}, for which a wire stands here: this kernel makes no device of its kind", device.name));
                }
                if let Step::Deliver { socket: Some(socket), .. } = recorded.step
                    && let Some(socket) =
                        model.ns.config.sockets.as_deref().and_then(|all| all.get(socket as usize))
                    && !is_opened(socket)
                {
                    met.tell(
                        at,
                        format!("packet {number} is for {}, which is not opened here", name(socket)),
                    );
                }
                if let Step::Assumed(Assumption::SocketListens { protocol: of, port }) = recorded.step
                    && !case.assumed.contains(&(of, port))
                {
                    let of = protocol(of);
                    met.tell(
                        at,
                        format!("packet {number} is for an assumed socket of {of} port {port}, which is not opened here"),
                    );
                }
            }
        }
        met
    }

    fn tell(&mut self, at: usize, line: String) {
        self.first.get_or_insert(at);
        if !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }
}

/// The device that a packet comes in by, if that is a card which may take it or not: the wire that stands for it drops what is longer than its MTU
/// and a VLAN tag (`is_skb_forwardable`), cards mostly go by the size of their buffers.
fn longer_than_its_card<'a>(case: &'a Case, given: &CaseSend) -> Option<&'a str> {
    const VLAN_TAG: usize = 4;
    let Entry::Device(name) = &given.entry else { return None };
    let device = case.config.devices.iter().find(|device| device.name == *name)?;
    let longer = given.packet.l3_wire_len() > device.mtu as usize + VLAN_TAG;
    (device.kind == DeviceKind::Physical && longer).then_some(&device.name)
}

/// What of a connection that was made by netlink fares otherwise than one that packets made, where this packet meets it.
fn unlike(connection: &Connection, packet: &Packet) -> Option<&'static str> {
    let ip = Ipv4Fields::parse(packet.l3()).ok().filter(|_| packet.ethertype() == EtherType::IPV4)?;
    let Connection { original, reply, .. } = connection;
    let ends = (ip.src, ip.dst);
    if ip.protocol != original.protocol {
        return None;
    }
    match ip.protocol {
        // `gre_timeout` of an entry is written by the first packet only (`nf_conntrack_gre_packet`).
        GRE if ends == (original.src, original.dst) || ends == (reply.src, reply.dst) => {
            Some("of a GRE connection of the dump, which lives no time in the kernel under test")
        }
        // Entries of netlink have SYNPROXY's extension (`ctnetlink_create_conntrack`), for which one such ACK is a keepalive.
        TCP if connection.tcp == Some(TcpState::SynSent) && ends == (original.src, original.dst) => {
            let l4 = packet.l3().get(usize::from(ip.header_len)..)?;
            let tcp = TcpFields::parse(l4)?;
            let of_it = original.l4 == CtL4::Ports { src: tcp.sport, dst: tcp.dport };
            let ack =
                tcp.flags & (tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST | tcp_flag::ACK) == tcp_flag::ACK;
            (of_it && ack)
                .then_some("an ACK of a connection in SYN_SENT, which the kernel under test may take for one of SYNPROXY")
        }
        _ => None,
    }
}

/// A socket in words.
fn name(socket: &Socket) -> String {
    let protocol = match socket.protocol {
        TCP => "tcp".to_owned(),
        UDP => "udp".to_owned(),
        ICMP => "icmp".to_owned(),
        other => format!("IP protocol {other}"),
    };
    let remote = socket.remote.map(|(addr, port)| format!(" connected to {addr}:{port}")).unwrap_or_default();
    format!("the {protocol} socket {}:{}{remote}", socket.local, socket.port)
}

/// Takes the connections that the other engine is not given out of the model's run; what they are, a line each.
pub(super) fn without_connections(case: &Case, run: &mut EngineRun) -> Vec<String> {
    let left: Vec<&Connection> = case.config.connections.iter().filter(|one| !is_made(one)).collect();
    if left.is_empty() {
        return Vec::new();
    }
    let is_left = |entry: &CtSnapshot| {
        left.iter().any(|one| one.original == entry.original && one.zone_original == entry.zone)
    };
    for send in &mut run.sends {
        send.conntrack.retain(|entry| !is_left(entry));
    }
    let mut lines: Vec<String> = left
        .iter()
        .filter_map(|one| one.unmodelled.map(|what| (one, what)))
        .map(|(one, what)| format!("{what}: {}", tuple_line(&one.original)))
        .collect();
    lines.sort();
    lines.dedup();
    lines
}
