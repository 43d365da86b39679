//! pcap and pcapng in and out.
//!
//! [`read`] takes a whole file of either format (classic pcap of both byte orders with microseconds or nanoseconds; pcapng with any number of
//! sections and interfaces) and returns what is ours: [`CapturedFrame`]s, in order, and a [`Diagnostic`] with the byte offset for each thing
//! that could not be read. A file that breaks off or is garbled keeps the frames in front of the damage, and those behind it where the format
//! says where to go on. [`CapturedFrame::packet`] makes a [`pktwalk_packet::Packet`] of a frame; it knows Ethernet, raw IP, Linux cooked
//! captures (both versions) and loopback headers.
//!
//! Not read: compressed files, the formats of other sniffers, decryption secrets, name resolution.

mod classic;
mod frame;
mod link;
mod ng;

use std::io::{self, Read};

use thiserror::Error;

pub use classic::write_pcap;
pub use frame::{CapturedFrame, Cooked, FrameError, Passage};
pub use link::LinkType;
pub use ng::write_pcapng;

/// Which format a file has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    /// Classic pcap.
    Pcap,
    /// pcapng.
    PcapNg,
}

/// What a file held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capture {
    /// Its format.
    pub format: Format,
    /// The frames that could be read, in the order of the file.
    pub frames: Vec<CapturedFrame>,
    /// What could not be read, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

/// Something of a file that could not be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("byte {offset}{}: {problem}", frame_text(.frame))]
pub struct Diagnostic {
    /// Where in the file the record in question starts.
    pub offset: u64,
    /// The number of the frame in question, counted from 1, where it is one.
    pub frame: Option<u64>,
    /// What is wrong.
    pub problem: Problem,
}

fn frame_text(frame: &Option<u64>) -> String {
    frame.map_or(String::new(), |number| format!(", frame {number}"))
}

/// What can be wrong in a file.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Problem {
    /// The file ends within a record: nothing of it is kept.
    #[error("the file breaks off: {needed} bytes are needed and {there} are there")]
    BrokenOff {
        /// Length of the record as it says itself.
        needed: u64,
        /// What is left of the file.
        there: u64,
    },
    /// A record cannot be this long: from here on nothing can be read.
    #[error("the record says a length of {0} bytes, which cannot be; nothing is read from here on")]
    Length(u64),
    /// The two lengths of a pcapng block differ: from here on nothing can be read.
    #[error("the lengths at the two ends of the block differ ({0} and {1}); nothing is read from here on")]
    LengthsDiffer(u32, u32),
    /// A section does not start with the byte-order mark: from here on nothing can be read.
    #[error("the section's byte-order mark is {0:#010x}; nothing is read from here on")]
    ByteOrder(u32),
    /// The content of a pcapng block is wrong: the block is left out.
    #[error("the block cannot be read and is left out: {0}")]
    Block(String),
    /// An interface block is wrong in part: its frames have no interface name and their time counts microseconds.
    #[error(
        "the interface block cannot be read; its frames have no interface name, their time is taken as microseconds: {0}"
    )]
    Interface(String),
    /// The time of a frame is not valid: the frame is kept, its time is as near as can be.
    #[error("the fraction of the timestamp, {0}, is a second or more")]
    Time(u32),
}

/// Why a file is no capture.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// It could not be read.
    #[error("the capture could not be read: {0}")]
    Io(#[from] io::Error),
    /// It is empty.
    #[error("the capture is empty: not even a file header is there")]
    Empty,
    /// It is compressed.
    #[error("the capture is compressed with {0}; unpack it first")]
    Compressed(&'static str),
    /// It does not start as a capture does.
    #[error("not a pcap or pcapng file: it starts with {0:02x?}")]
    Magic(Vec<u8>),
    /// It is larger than memory is given to.
    #[error(
        "the capture has more than {0} bytes: cut the packets out of it that matter (tcpdump -r, editcap)"
    )]
    TooLarge(u64),
    /// It breaks off in its header.
    #[error("the capture breaks off in its file header: {0} bytes are there")]
    Header(usize),
}

/// Bytes of a capture that are read: with what they become they take up to four times their room.
const LARGEST: u64 = 1 << 30;

/// Why frames cannot be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The writer failed.
    #[error("the capture could not be written: {0}")]
    Io(#[from] io::Error),
    /// A pcap file has one link type for all frames.
    #[error(
        "frame {number} has link type {other} and those before it {first}: a pcap file has one for all, pcapng can have several"
    )]
    LinkTypes {
        /// The frame's number.
        number: u64,
        /// Link type of the first frame.
        first: LinkType,
        /// Link type of this one.
        other: LinkType,
    },
    /// The format cannot hold something of a frame.
    #[error("frame {number} cannot be written: {why}")]
    Frame {
        /// The frame's number.
        number: u64,
        /// Why.
        why: String,
    },
}

/// Reads a whole capture. Errors are for files that are no capture at all; whatever else is wrong stands in [`Capture::diagnostics`].
pub fn read(reader: impl Read) -> Result<Capture, CaptureError> {
    read_at_most(reader, LARGEST)
}

fn read_at_most(mut reader: impl Read, most: u64) -> Result<Capture, CaptureError> {
    // What is no capture may have no end.
    let mut bytes = Vec::new();
    reader.by_ref().take(4).read_to_end(&mut bytes)?;
    check_magic(&bytes)?;
    reader.take((most + 1).saturating_sub(bytes.len() as u64)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(CaptureError::TooLarge(most));
    }
    read_bytes(&bytes)
}

fn check_magic(bytes: &[u8]) -> Result<(), CaptureError> {
    match read_bytes(bytes) {
        Err(error @ (CaptureError::Empty | CaptureError::Compressed(_) | CaptureError::Magic(_))) => {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// As [`read`], for bytes that are in memory already.
pub fn read_bytes(bytes: &[u8]) -> Result<Capture, CaptureError> {
    match bytes {
        [] => Err(CaptureError::Empty),
        [0x1f, 0x8b, ..] => Err(CaptureError::Compressed("gzip")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(CaptureError::Compressed("zstd")),
        [0x04, 0x22, 0x4d, 0x18, ..] => Err(CaptureError::Compressed("lz4")),
        [0xfd, b'7', b'z', b'X', ..] => Err(CaptureError::Compressed("xz")),
        [0x0a, 0x0d, 0x0d, 0x0a, ..] => ng::read(bytes),
        [0xa1, 0xb2, 0xc3, 0xd4, ..]
        | [0xd4, 0xc3, 0xb2, 0xa1, ..]
        | [0xa1, 0xb2, 0x3c, 0x4d, ..]
        | [0x4d, 0x3c, 0xb2, 0xa1, ..] => classic::read(bytes),
        _ => Err(CaptureError::Magic(bytes.iter().take(4).copied().collect())),
    }
}

#[cfg(test)]
mod tests;
