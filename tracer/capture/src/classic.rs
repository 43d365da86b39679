//! Classic pcap.

use std::io::Write;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapParser, PcapTsResolution, PcapWriteError, PcapWriter};
use pcap_file::{DataLink, Endianness};

use crate::{Capture, CaptureError, CapturedFrame, Diagnostic, Format, LinkType, Problem, WriteError};

/// The longest frame that libpcap takes for one whatever the file header says.
pub(crate) const MAX_FRAME: u32 = 262_144;

/// The link type proper: the upper six bits of the field say whether and how long a frame check sequence is.
const LINK_TYPE_BITS: u32 = 0x03ff_ffff;

pub(crate) fn read(bytes: &[u8]) -> Result<Capture, CaptureError> {
    let (mut rest, parser) = PcapParser::new(bytes).map_err(|_| CaptureError::Header(bytes.len()))?;
    let header = parser.header();
    let link_type = LinkType(u32::from(header.datalink) & LINK_TYPE_BITS);
    let nanos = header.ts_resolution == PcapTsResolution::NanoSecond;
    let mut capture = Capture { format: Format::Pcap, frames: Vec::new(), diagnostics: Vec::new() };
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        let offset = (bytes.len() - rest.len()) as u64;
        let mut note = |problem| {
            capture.diagnostics.push(Diagnostic { offset, frame: Some(number), problem });
        };
        // The length in the record is looked at first: it may be garbage.
        let incl_len = rest.get(8..12).and_then(|len| len.first_chunk::<4>()).map(|len| {
            if header.endianness.is_big() { u32::from_be_bytes(*len) } else { u32::from_le_bytes(*len) }
        });
        if let Some(len) = incl_len.filter(|len| *len > header.snaplen.max(MAX_FRAME)) {
            note(Problem::Length(u64::from(len)));
            break;
        }
        let (after, raw) = match parser.next_raw_packet(rest) {
            Ok(read) => read,
            // Nothing but the end of the file stops it.
            Err(_) => {
                let needed = 16 + u64::from(incl_len.unwrap_or(0));
                note(Problem::BrokenOff { needed, there: rest.len() as u64 });
                break;
            }
        };
        rest = after;
        let limit = if nanos { 1_000_000_000 } else { 1_000_000 };
        if raw.ts_frac >= limit {
            note(Problem::Time(raw.ts_frac));
        }
        let fraction = u64::from(raw.ts_frac) * if nanos { 1 } else { 1000 };
        capture.frames.push(CapturedFrame {
            number,
            link_type,
            timestamp_ns: u64::from(raw.ts_sec) * 1_000_000_000 + fraction,
            // Some writers leave it zero.
            orig_len: raw.orig_len.max(raw.incl_len),
            data: raw.data.into_owned(),
            interface: None,
            comments: Vec::new(),
            flags: 0,
        });
    }
    Ok(capture)
}

/// Writes frames as a classic pcap file with nanoseconds, little-endian. All frames must have the same link type; interface names and comments
/// have no place in the format and are left out. No frames at all make an empty Ethernet capture.
pub fn write_pcap<W: Write>(writer: W, frames: &[CapturedFrame]) -> Result<(), WriteError> {
    let first = frames.first().map_or(LinkType::ETHERNET, |frame| frame.link_type);
    let longest = frames.iter().map(|frame| frame.data.len()).max().unwrap_or(0);
    let header = PcapHeader {
        datalink: DataLink::from(first.0),
        snaplen: u32::try_from(longest).unwrap_or(u32::MAX).max(MAX_FRAME),
        ts_resolution: PcapTsResolution::NanoSecond,
        endianness: Endianness::Little,
        ..PcapHeader::default()
    };
    let mut out = PcapWriter::with_header(writer, header).map_err(|error| broken(0, error))?;
    for (number, frame) in (1..).zip(frames) {
        if frame.link_type != first {
            return Err(WriteError::LinkTypes { number, first, other: frame.link_type });
        }
        let orig_len = frame.orig_len.max(u32::try_from(frame.data.len()).unwrap_or(u32::MAX));
        let packet =
            PcapPacket::new(Duration::from_nanos(frame.timestamp_ns), orig_len, frame.data.as_slice())
                .map_err(|error| WriteError::Frame { number, why: error.to_string() })?;
        out.write_packet(&packet).map_err(|error| broken(number, error))?;
    }
    out.flush().map_err(|error| broken(0, error))
}

fn broken(number: u64, error: PcapWriteError) -> WriteError {
    match error {
        PcapWriteError::Io(error) | PcapWriteError::FieldWriteFailed(_, error) => WriteError::Io(error),
        other => WriteError::Frame { number, why: other.to_string() },
    }
}
