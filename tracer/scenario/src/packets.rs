//! From what a user writes to the bytes of a packet: the mini-language, two ends, or a capture.

use std::fs::File;
use std::io::BufReader;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use pktwalk_linux::diag::Severity;
use pktwalk_packet::checksum::{finish, pseudo_header, sum};
use pktwalk_packet::{EtherType, Ipv4Fields, Packet};
use pktwalk_report::{Location, Remark};
use thiserror::Error;

use crate::file::PacketSource;

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
    #[error("{}: {message}", .file.display())]
    Capture {
        /// As given.
        file: PathBuf,
        /// One sentence.
        message: String,
    },
}

/// A packet, and the device that a capture names for it.
#[derive(Clone, PartialEq, Debug)]
pub struct Given {
    /// Its bytes.
    pub packet: Packet,
    /// The capture's interface name.
    pub dev: Option<String>,
}

/// What a source gave.
#[derive(Clone, PartialEq, Debug)]
pub struct Read {
    /// In order; at least one.
    pub packets: Vec<Given>,
    /// What was left out, and why.
    pub remarks: Vec<Remark>,
}

/// `PACKET_OUTGOING` of a cooked header.
const SENT: u16 = 4;

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
        return spec(&format!("icmp {} > {} type=echo-request", source.addr, dest.addr));
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
pub fn read(source: &PacketSource, folder: &Path) -> Result<Read, PacketError> {
    let one = |packet| Read { packets: vec![Given { packet, dev: None }], remarks: Vec::new() };
    match source {
        PacketSource::Spec(text) => spec(text).map(one),
        PacketSource::Ends { from, to } => between(from, to).map(one),
        PacketSource::Pcap { file, number } => capture(&folder.join(file), *number),
    }
}

/// A TCP or UDP packet of the sender's own stack, captured before its device summed it up, holds the sum of the pseudo header alone. It is given the
/// checksum that it has on the wire; whether it needed one.
fn fill_in_checksum(packet: &mut Packet) -> bool {
    if packet.ethertype() != EtherType::IPV4 || packet.missing() > 0 {
        return false;
    }
    let Ok(ip) = Ipv4Fields::parse(packet.l3()) else { return false };
    let at = match ip.protocol {
        6 => 16,
        17 => 6,
        _ => return false,
    };
    let (begin, end) = (usize::from(ip.header_len), usize::from(ip.total_len));
    let fragment = packet.l3().get(6..8).is_none_or(|bytes| bytes[0] & 0x3f != 0 || bytes[1] != 0);
    let Some(l4) = packet.l3_mut().get_mut(begin..end).filter(|l4| !fragment && l4.len() >= at + 4) else {
        return false;
    };
    let Ok(len) = u32::try_from(l4.len()) else { return false };
    let pseudo = pseudo_header(ip.src, ip.dst, ip.protocol, len);
    let held = u16::from_be_bytes([l4[at], l4[at + 1]]);
    if held != !finish(pseudo) || finish(sum(l4, pseudo)) == 0 {
        return false;
    }
    l4[at..at + 2].fill(0);
    let right = finish(sum(l4, pseudo));
    let right = if right == 0 && ip.protocol == 17 { u16::MAX } else { right };
    l4[at..at + 2].copy_from_slice(&right.to_be_bytes());
    true
}

/// The packets of a capture, or the one of this number. What cannot be walked is left out and said.
fn capture(path: &Path, number: Option<u32>) -> Result<Read, PacketError> {
    let fail = |message: String| PacketError::Capture { file: path.to_owned(), message };
    let file = File::open(path).map_err(|error| fail(error.to_string()))?;
    if file.metadata().is_ok_and(|data| data.len() > MAX_CAPTURE) {
        return Err(fail("larger than 2 GiB".to_owned()));
    }
    let capture = pktwalk_capture::read(BufReader::new(file)).map_err(|error| fail(error.to_string()))?;
    let name = path.display().to_string();
    let remark = |message: String| Remark {
        severity: Severity::Warning,
        message,
        location: Some(Location { file: name.clone(), line: 0 }),
    };
    let mut read = Read { packets: Vec::new(), remarks: Vec::new() };
    read.remarks.extend(capture.diagnostics.iter().map(|diagnostic| remark(diagnostic.to_string())));
    let mut left_to_device = 0;
    for frame in &capture.frames {
        if number.is_some_and(|number| u64::from(number) != frame.number) {
            continue;
        }
        let sent = frame.cooked().is_some_and(|cooked| cooked.packet_type == SENT);
        match frame.packet() {
            _ if sent => read.remarks.push(remark(format!(
                "packet {} was sent by the node that captured it, and is left out",
                frame.number
            ))),
            Ok(mut packet) => {
                left_to_device += usize::from(fill_in_checksum(&mut packet));
                read.packets.push(Given { packet, dev: frame.interface.clone() });
            }
            Err(error) if number.is_some() => return Err(fail(format!("packet {}: {error}", frame.number))),
            Err(error) => {
                read.remarks.push(remark(format!("packet {}: {error}; it is left out", frame.number)));
            }
        }
    }
    if left_to_device > 0 {
        let message = format!(
            "packets whose checksum was left to the device when they were captured (offload): {left_to_device}; it is filled in"
        );
        read.remarks.push(Remark { severity: Severity::Note, ..remark(message) });
    }
    if read.packets.is_empty() {
        return Err(fail(match number {
            Some(number) => format!("there is no packet {number} to walk; it holds {}", capture.frames.len()),
            None => "there is no packet to walk in it".to_owned(),
        }));
    }
    Ok(read)
}
