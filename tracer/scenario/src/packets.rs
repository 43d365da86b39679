//! From what a user writes to the bytes of a packet: the mini-language, two ends, or a capture.

use std::fs::File;
use std::io::BufReader;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use pktwalk_capture::{CapturedFrame, Passage};
use pktwalk_linux::diag::Severity;
use pktwalk_linux::fib::FlowKey;
use pktwalk_linux::netns::NetNs;
use pktwalk_linux::walk::source_for;
use pktwalk_packet::{EtherType, Ipv4Fields, MacAddr, Packet};
use pktwalk_report::{Location, Remark};
use thiserror::Error;

use crate::file::{PacketSource, SocketIds};
use crate::offload::fill_in_checksum;

/// Bytes that a capture may have: it is held in memory.
const MAX_CAPTURE: u64 = 2 << 30;

/// Why a packet was refused.
#[derive(Debug, Error)]
pub enum PacketError {
    /// The mini-language refused it.
    #[error("packet '{text}': {message}")]
    Spec {
        /// As given.
        text: String,
        /// One sentence.
        message: String,
    },
    /// An end is no `ADDRESS[:PORT][/PROTOCOL]`.
    #[error("'{text}': {message}")]
    End {
        /// As given.
        text: String,
        /// One sentence.
        message: String,
    },
    /// A capture could not be read.
    #[error("{}: {message}{}", .file.display(), listed(.remarks))]
    Capture {
        /// As given.
        file: PathBuf,
        /// One sentence.
        message: String,
        /// What was left out of it, and why.
        remarks: Vec<Remark>,
    },
}

fn listed(remarks: &[Remark]) -> String {
    remarks.iter().map(|remark| format!("\n  {}", remark.message)).collect()
}

/// A packet, and what a capture says of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Given {
    /// Its bytes.
    pub packet: Packet,
    /// The capture's interface name.
    pub dev: Option<String>,
    /// The index of its interface where it was captured.
    pub ifindex: Option<u32>,
    /// Its number in the capture, from 1; none for packets of no capture.
    pub number: Option<u32>,
}

impl From<Packet> for Given {
    fn from(packet: Packet) -> Given {
        Given { packet, dev: None, ifindex: None, number: None }
    }
}

/// Which packets of a capture are asked for, where it says which are which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Those that the node received: they enter at a device.
    Received,
    /// Those that it sent: they are made here.
    Sent,
}

/// What a source gave.
#[derive(Clone, PartialEq, Debug)]
pub struct Read {
    /// In order; at least one.
    pub packets: Vec<Given>,
    /// What was left out, and why.
    pub remarks: Vec<Remark>,
}

/// The port that packets come from where nothing is said.
const SOURCE_PORT: u16 = 40000;

/// One end: `ADDRESS[:PORT][/PROTOCOL]`.
struct End {
    addr: Ipv4Addr,
    port: Option<u16>,
    protocol: Option<String>,
}

fn end(text: &str) -> Result<End, PacketError> {
    let fail = |message: String| PacketError::End { text: text.to_owned(), message };
    for kind in ["pod/", "svc/", "node/"] {
        if text.starts_with(kind) {
            return Err(fail(format!(
                "{kind} names need manifests, which are not read yet: give an address"
            )));
        }
    }
    let (rest, protocol) = match text.split_once('/') {
        Some((rest, protocol)) => (rest, Some(protocol)),
        None => (text, None),
    };
    if let Some(protocol) = protocol
        && !["tcp", "udp", "sctp", "icmp"].contains(&protocol)
    {
        return Err(fail(format!("'{protocol}' is no protocol of an endpoint: tcp, udp, sctp or icmp")));
    }
    if rest.starts_with('[') {
        return Err(fail("IPv6 is not walked yet".to_owned()));
    }
    if rest.matches(':').count() > 1 {
        return Err(fail("IPv6 is not walked yet".to_owned()));
    }
    let (addr, port) = match rest.split_once(':') {
        Some((addr, port)) => (addr, Some(port)),
        None => (rest, None),
    };
    let port = port
        .map(|port| port.parse::<u16>().map_err(|_| fail(format!("'{port}' is no port (0 to 65535)"))))
        .transpose()?;
    let addr = addr.parse().map_err(|_| fail(format!("'{addr}' is no IPv4 address")))?;
    Ok(End { addr, port, protocol: protocol.map(str::to_owned) })
}

/// The first packet of a connection from one end to the other: a SYN, a datagram, an echo request.
///
/// # Errors
/// If an end cannot be read, or the two contradict each other.
pub fn between(from: &str, to: &str) -> Result<Packet, PacketError> {
    let (source, dest) = (end(from)?, end(to)?);
    let fail = |text: &str, message: String| PacketError::End { text: text.to_owned(), message };
    let protocol = match (&source.protocol, &dest.protocol) {
        (Some(a), Some(b)) if a != b => {
            return Err(fail(from, format!("it says {a}, but the destination says {b}")));
        }
        (Some(protocol), _) | (None, Some(protocol)) => protocol.as_str(),
        (None, None) => "tcp",
    };
    if protocol == "icmp" {
        for (text, end) in [(from, &source), (to, &dest)] {
            if end.port.is_some() {
                return Err(fail(text, "icmp has no ports".to_owned()));
            }
        }
        // As ping begins: number 1, 56 bytes.
        return spec(&format!("icmp {} > {} type=echo-request id=1 seq=1 len=56", source.addr, dest.addr));
    }
    let Some(port) = dest.port else {
        return Err(fail(to, format!("a {protocol} destination needs a port: {}:PORT", dest.addr)));
    };
    let flags = if protocol == "tcp" { " flags=S" } else { "" };
    spec(&format!(
        "{protocol} {}:{} > {}:{port}{flags}",
        source.addr,
        source.port.unwrap_or(SOURCE_PORT),
        dest.addr
    ))
}

/// As [`between`], of a socket that says no source: the address that routing chooses. 0.0.0.0 stays where there is no route, and the walk says
/// so.
///
/// # Errors
/// As [`between`].
pub fn made_here(to: &str, ns: &NetNs, socket: SocketIds) -> Result<Packet, PacketError> {
    let packet = between("0.0.0.0", to)?;
    let Ok(ip) = Ipv4Fields::parse(packet.l3()) else { return Ok(packet) };
    let port = |at: usize| {
        let at = usize::from(ip.header_len) + at;
        packet.l3().get(at..at + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    };
    // Where ports would be, the kernel's key holds ICMP's type and code.
    let (sport, dport) = if ip.protocol == 1 { (0, port(0)) } else { (port(0), port(2)) };
    let uid = socket.uid.unwrap_or(0);
    let key = FlowKey { dst: ip.dst, protocol: ip.protocol, sport, dport, uid, ..FlowKey::default() };
    match source_for(ns, key) {
        Some(source) => between(&Ipv4Addr::from(source).to_string(), to),
        None => Ok(packet),
    }
}

/// A packet in the mini-language.
///
/// # Errors
/// If the text is wrong, ambiguous or contradicts itself.
pub fn spec(text: &str) -> Result<Packet, PacketError> {
    pktwalk_packet::spec::parse(text)
        .map_err(|error| PacketError::Spec { text: text.to_owned(), message: error.to_string() })
}

/// The packets of a source; files are relative to `folder`.
///
/// # Errors
/// If there are none that could be used.
pub fn read(source: &PacketSource, folder: &Path, direction: Direction) -> Result<Read, PacketError> {
    let one = |packet| Read { packets: vec![Given::from(packet)], remarks: Vec::new() };
    match source {
        PacketSource::Spec(text) => spec(text).map(one),
        PacketSource::Ends { from, to } => between(from, to).map(one),
        PacketSource::Pcap { file, number } => capture(&folder.join(file), *number, direction),
    }
}

/// Packets of a capture that are told of one by one before the rest is only counted.
const TOLD: usize = 20;

/// The destination of frames to other hosts, whose own a cooked header does not hold: nobody's.
const SOMEBODY_ELSE: MacAddr = MacAddr([0xfe, 0xff, 0xff, 0xff, 0xff, 0xfe]);

/// Where the destination of a frame was a group, and its packet's is none: that of all hosts.
const ALL_HOSTS: MacAddr = MacAddr([1, 0, 0x5e, 0, 0, 1]);

/// What is left out of a capture, or changed in it.
#[derive(Default)]
struct Said {
    remarks: Vec<Remark>,
    more: usize,
    other_way: Vec<u64>,
    left_to_device: usize,
    to_others: usize,
}

impl Said {
    fn one(&mut self, remark: Remark) {
        if self.remarks.len() < TOLD {
            self.remarks.push(remark);
        } else {
            self.more += 1;
        }
    }

    fn all(self, remark: &dyn Fn(String) -> Remark, direction: Direction) -> Vec<Remark> {
        let mut remarks = self.remarks;
        if self.more > 0 {
            remarks.push(remark(format!("... and {} more such lines", self.more)));
        }
        if let Some(first) = self.other_way.first() {
            let (what, are) = if self.other_way.len() == 1 { ("packet", "is") } else { ("packets", "are") };
            let how = match direction {
                Direction::Received => "sent by the node that captured",
                Direction::Sent => "received, not sent, by the node that captured",
            };
            remarks.push(remark(format!(
                "{} {what} of the capture {are} left out: {how} (the first is packet {first})",
                self.other_way.len()
            )));
        }
        let note = |message: String| Remark { severity: Severity::Note, ..remark(message) };
        if self.left_to_device > 0 {
            remarks.push(note(format!(
                "packets whose checksum was left to the device when they were captured (offload): {}; it is filled in",
                self.left_to_device
            )));
        }
        if self.to_others > 0 {
            remarks.push(note(format!(
                "packets whose cooked header says that they were not for this host alone: {}; each is given an Ethernet header that says so too",
                self.to_others
            )));
        }
        remarks
    }
}

/// Puts back what a cooked header says of the Ethernet header that it replaced: a packet without one is taken for one to this host.
fn put_back_header(packet: &mut Packet, frame: &CapturedFrame) -> bool {
    if !frame.was_ethernet() {
        return false;
    }
    let dst = match frame.passage() {
        Some(Passage::Broadcast) => MacAddr([0xff; 6]),
        Some(Passage::Multicast) => match Ipv4Fields::parse(packet.l3()) {
            Ok(ip) if packet.ethertype() == EtherType::IPV4 && ip.dst >> 28 == 0xe => {
                let [_, b, c, d] = ip.dst.to_be_bytes();
                MacAddr([1, 0, 0x5e, b & 0x7f, c, d])
            }
            _ => ALL_HOSTS,
        },
        Some(Passage::OtherHost) => SOMEBODY_ELSE,
        Some(Passage::Received | Passage::Sent) | None => return false,
    };
    let src = frame.cooked().and_then(|cooked| cooked.source).unwrap_or(MacAddr([2, 0, 0, 0, 0, 2]));
    packet.set_mac_header(dst, src);
    true
}

/// The packets of a capture, or the one of this number. What cannot be walked is left out and said.
fn capture(path: &Path, number: Option<u32>, direction: Direction) -> Result<Read, PacketError> {
    let fail = |message: String, remarks: Vec<Remark>| PacketError::Capture {
        file: path.to_owned(),
        message,
        remarks,
    };
    let file = File::open(path).map_err(|error| fail(error.to_string(), Vec::new()))?;
    if file.metadata().is_ok_and(|data| data.len() > MAX_CAPTURE) {
        return Err(fail("larger than 2 GiB".to_owned(), Vec::new()));
    }
    let capture =
        pktwalk_capture::read(BufReader::new(file)).map_err(|error| fail(error.to_string(), Vec::new()))?;
    let name = path.display().to_string();
    let remark = |message: String| Remark {
        severity: Severity::Warning,
        message,
        location: Some(Location { file: name.clone(), line: 0 }),
    };
    let mut said = Said::default();
    for diagnostic in &capture.diagnostics {
        said.one(remark(diagnostic.to_string()));
    }
    let mut packets = Vec::new();
    let all = capture.frames.len();
    // Frame by frame, so that a long capture is not held twice.
    for frame in capture.frames {
        if number.is_some_and(|number| u64::from(number) != frame.number) {
            continue;
        }
        match (frame.passage(), direction) {
            (Some(Passage::Sent), Direction::Received)
            | (
                Some(Passage::Received | Passage::Broadcast | Passage::Multicast | Passage::OtherHost),
                Direction::Sent,
            ) => {
                said.other_way.push(frame.number);
                continue;
            }
            (_, Direction::Received | Direction::Sent) => {}
        }
        match frame.packet() {
            Ok(mut packet) => {
                said.left_to_device += usize::from(fill_in_checksum(&mut packet));
                said.to_others += usize::from(put_back_header(&mut packet, &frame));
                packets.push(Given {
                    packet,
                    ifindex: frame.cooked().and_then(|cooked| cooked.ifindex),
                    dev: frame.interface,
                    number: Some(u32::try_from(frame.number).unwrap_or(u32::MAX)),
                });
            }
            Err(error) => {
                said.one(remark(format!("packet {}: {error}; it is left out", frame.number)));
            }
        }
    }
    let remarks = said.all(&remark, direction);
    if packets.is_empty() {
        let message = match number {
            Some(number) => format!("there is no packet {number} to walk; it holds {all}"),
            None => "there is no packet to walk in it".to_owned(),
        };
        return Err(fail(message, remarks));
    }
    Ok(Read { packets, remarks })
}
