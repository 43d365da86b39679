//! pcapng. The blocks are found here, so that one that is garbled inside does not lose the rest of the file; what is in them is read by pcap-file.

use std::borrow::Cow;
use std::error::Error;
use std::io::Write;
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::packet::PacketOption;
use pcap_file::pcapng::blocks::section_header::SectionHeaderBlock;
use pcap_file::pcapng::blocks::{
    ENHANCED_PACKET_BLOCK, INTERFACE_DESCRIPTION_BLOCK, PACKET_BLOCK, SECTION_HEADER_BLOCK,
    SIMPLE_PACKET_BLOCK,
};
use pcap_file::pcapng::{Block, PcapNgState, PcapNgWriteError, PcapNgWriter, RawBlock};
use pcap_file::{DataLink, Endianness};

use crate::{Capture, CaptureError, CapturedFrame, Diagnostic, Format, LinkType, Problem, WriteError};

/// What is known at a place of the file.
struct Reader {
    capture: Capture,
    state: PcapNgState,
    big_endian: bool,
    /// Packet blocks so far.
    number: u64,
}

pub(crate) fn read(bytes: &[u8]) -> Result<Capture, CaptureError> {
    if bytes.len() < 28 {
        return Err(CaptureError::Header(bytes.len()));
    }
    let mut reader = Reader {
        capture: Capture { format: Format::PcapNg, frames: Vec::new(), diagnostics: Vec::new() },
        state: PcapNgState::default(),
        big_endian: true,
        number: 0,
    };
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match reader.frame_block(rest) {
            Ok(raw) => {
                let len = raw.initial_len as usize;
                reader.block(at as u64, raw);
                at += len;
            }
            Err(problem) => {
                let (offset, frame) = (at as u64, None);
                reader.capture.diagnostics.push(Diagnostic { offset, frame, problem });
                break;
            }
        }
    }
    Ok(reader.capture)
}

impl Reader {
    fn double(&self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// Cuts out the block at the start of `rest`. A section header switches the byte order.
    fn frame_block<'a>(&mut self, rest: &'a [u8]) -> Result<RawBlock<'a>, Problem> {
        let broken_off = |needed: u64| Problem::BrokenOff { needed, there: rest.len() as u64 };
        let head: &[u8; 12] = rest.first_chunk().ok_or(broken_off(12))?;
        let field = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
        // The type of a section header reads the same both ways.
        if u32::from_be_bytes(field(0)) == SECTION_HEADER_BLOCK {
            self.big_endian = match u32::from_be_bytes(field(8)) {
                0x1a2b_3c4d => true,
                0x4d3c_2b1a => false,
                other => return Err(Problem::ByteOrder(other)),
            };
        }
        let (type_, initial_len) = (self.double(field(0)), self.double(field(4)));
        if initial_len < 12 || !initial_len.is_multiple_of(4) {
            return Err(Problem::Length(u64::from(initial_len)));
        }
        let whole = rest.get(..initial_len as usize).ok_or(broken_off(u64::from(initial_len)))?;
        let (before, trailer) = whole.split_last_chunk::<4>().ok_or(broken_off(12))?;
        let trailer_len = self.double(*trailer);
        if trailer_len != initial_len {
            return Err(Problem::LengthsDiffer(initial_len, trailer_len));
        }
        Ok(RawBlock { type_, initial_len, body: Cow::Borrowed(before.get(8..).unwrap_or(&[])), trailer_len })
    }

    fn block(&mut self, offset: u64, raw: RawBlock<'_>) {
        let is_frame = match raw.type_ {
            ENHANCED_PACKET_BLOCK | SIMPLE_PACKET_BLOCK | PACKET_BLOCK => true,
            SECTION_HEADER_BLOCK | INTERFACE_DESCRIPTION_BLOCK => false,
            // Names, statistics, secrets, what others invented: not about packets.
            _ => return,
        };
        self.number += u64::from(is_frame);
        let frame = is_frame.then_some(self.number);
        let type_ = raw.type_;
        let body = raw.body.clone();
        match raw.try_into_block(&self.state) {
            Ok(block) => {
                self.state.update_from_block(&block);
                self.keep(block);
            }
            Err(error) => {
                let why = chain(&error);
                let problem = match type_ {
                    INTERFACE_DESCRIPTION_BLOCK => {
                        self.substitute(&body);
                        Problem::Interface(why)
                    }
                    SECTION_HEADER_BLOCK => {
                        let endianness = if self.big_endian { Endianness::Big } else { Endianness::Little };
                        let section = SectionHeaderBlock { endianness, ..Default::default() };
                        self.state.update_from_block(&Block::SectionHeader(section));
                        Problem::Block(why)
                    }
                    _ => Problem::Block(why),
                };
                self.capture.diagnostics.push(Diagnostic { offset, frame, problem });
            }
        }
    }

    /// An interface block that cannot be read still has its number, and perhaps its link type.
    fn substitute(&mut self, body: &[u8]) {
        let link_type = body.first_chunk::<2>().map_or(u16::MAX, |bytes| {
            if self.big_endian { u16::from_be_bytes(*bytes) } else { u16::from_le_bytes(*bytes) }
        });
        let interface = InterfaceDescriptionBlock::new(DataLink::from(u32::from(link_type)), 0);
        self.state.update_from_block(&Block::InterfaceDescription(interface));
    }

    fn keep(&mut self, block: Block<'_>) {
        let comment = |option: CommonOption<'_>| match option {
            CommonOption::Comment(text) => Some(text.into_owned()),
            _ => None,
        };
        let mut flags = 0;
        let (interface, time, orig_len, data, comments) = match block {
            Block::EnhancedPacket(packet) => {
                flags = packet
                    .options
                    .iter()
                    .find_map(|option| match option {
                        EnhancedPacketOption::Flags(flags) => Some(*flags),
                        _ => None,
                    })
                    .unwrap_or(0);
                let comments = packet.options.into_iter().filter_map(|option| match option {
                    EnhancedPacketOption::Common(common) => comment(common),
                    _ => None,
                });
                let comments = comments.collect();
                (packet.interface_id, packet.timestamp, packet.original_len, packet.data, comments)
            }
            Block::Packet(packet) => {
                flags = packet
                    .options
                    .iter()
                    .find_map(|option| match option {
                        PacketOption::Flags(flags) => Some(*flags),
                        _ => None,
                    })
                    .unwrap_or(0);
                let comments = packet.options.into_iter().filter_map(|option| match option {
                    PacketOption::Common(common) => comment(common),
                    _ => None,
                });
                let comments = comments.collect();
                let interface = u32::from(packet.interface_id);
                (interface, packet.timestamp, packet.original_len, packet.data, comments)
            }
            // Always of the first interface, and without a time.
            Block::SimplePacket(packet) => (0, Duration::ZERO, packet.original_len, packet.data, Vec::new()),
            _ => return,
        };
        let interface = self.state.interfaces().get(interface as usize);
        let name = interface.and_then(|interface| {
            interface.options.iter().find_map(|option| match option {
                InterfaceDescriptionOption::IfName(name) => Some(name.clone().into_owned()),
                _ => None,
            })
        });
        self.capture.frames.push(CapturedFrame {
            number: self.number,
            link_type: LinkType(interface.map_or(u32::MAX, |interface| interface.linktype.into())),
            timestamp_ns: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
            orig_len,
            data: data.into_owned(),
            interface: name,
            comments,
            flags,
        });
    }
}

/// An error with what caused it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// Writes frames as a pcapng file with nanoseconds, little-endian: one interface block for each pair of interface name and link type, in the
/// order in which they come, and comments and flags as packet options.
pub fn write_pcapng<W: Write>(writer: W, frames: &[CapturedFrame]) -> Result<(), WriteError> {
    let mut out =
        PcapNgWriter::with_endianness(writer, Endianness::Little).map_err(|error| broken(0, error))?;
    let mut interfaces: Vec<(Option<&str>, LinkType)> = Vec::new();
    for (number, frame) in (1..).zip(frames) {
        let key = (frame.interface.as_deref(), frame.link_type);
        let texts = frame.comments.iter().map(String::as_str).chain(key.0);
        if let Some(long) = texts.map(str::len).find(|len| *len > 0xffff) {
            let why = format!("a name or comment of {long} bytes; an option has at most 65535");
            return Err(WriteError::Frame { number, why });
        }
        let index = match interfaces.iter().position(|known| *known == key) {
            Some(index) => index,
            None => {
                let mut block = InterfaceDescriptionBlock::new(DataLink::from(frame.link_type.0), 0);
                block.options.extend(key.0.map(|name| InterfaceDescriptionOption::IfName(name.into())));
                block.options.push(InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO));
                out.write_pcapng_block(block).map_err(|error| broken(number, error))?;
                interfaces.push(key);
                interfaces.len() - 1
            }
        };
        let comments = frame
            .comments
            .iter()
            .map(|text| EnhancedPacketOption::Common(CommonOption::Comment(text.into())));
        let block = EnhancedPacketBlock {
            interface_id: index as u32,
            timestamp: Duration::from_nanos(frame.timestamp_ns),
            original_len: frame.orig_len.max(u32::try_from(frame.data.len()).unwrap_or(u32::MAX)),
            data: frame.data.as_slice().into(),
            options: comments
                .chain((frame.flags != 0).then_some(EnhancedPacketOption::Flags(frame.flags)))
                .collect(),
        };
        out.write_pcapng_block(block).map_err(|error| broken(number, error))?;
    }
    out.get_mut().flush().map_err(WriteError::Io)
}

fn broken(number: u64, error: PcapNgWriteError) -> WriteError {
    match error {
        PcapNgWriteError::Io(error) => WriteError::Io(error),
        other => WriteError::Frame { number, why: chain(&other) },
    }
}
