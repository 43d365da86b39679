//! From what a user writes to the bytes of a packet: the mini-language, two ends, or a capture.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use pktwalk_packet::Packet;
use thiserror::Error;

use crate::file::PacketSource;

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
pub fn read(source: &PacketSource, folder: &Path) -> Result<Vec<Given>, PacketError> {
    let one = |packet| vec![Given { packet, dev: None }];
    match source {
        PacketSource::Spec(text) => spec(text).map(one),
        PacketSource::Ends { from, to } => between(from, to).map(one),
        PacketSource::Pcap { file, number } => capture(&folder.join(file), *number),
    }
}

/// The packets of a capture, or the one of this number.
fn capture(file: &Path, number: Option<u32>) -> Result<Vec<Given>, PacketError> {
    let _ = number;
    Err(PacketError::Capture { file: file.to_owned(), message: "captures are not read yet".to_owned() })
}
