//! Raw `NETLINK_NETFILTER`: requests, dumps and multicast messages, and their attributes.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket, sockopt,
};

/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `NLM_F_ACK`.
const ACK: u16 = 4;
/// `NLM_F_DUMP`.
const DUMP: u16 = 0x300;
/// `NLM_F_DUMP_INTR`: the table changed during the dump.
const DUMP_INTERRUPTED: u16 = 0x10;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `NLMSG_DONE`.
const DONE: u16 = 3;

/// What a read of a socket may say.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The receive buffer overflowed: messages are missing.
    Overrun,
    /// Anything else.
    Io(io::Error),
}

impl From<Errno> for ReadError {
    fn from(errno: Errno) -> ReadError {
        if errno == Errno::ENOBUFS { ReadError::Overrun } else { ReadError::Io(errno.into()) }
    }
}

/// One message: type, the family and resource id of its `nfgenmsg`, and its attributes.
pub(crate) struct Message<'a> {
    /// Subsystem in the high byte.
    pub kind: u16,
    /// After the `nfgenmsg`.
    pub attributes: &'a [u8],
}

/// A socket of the namespace that the calling thread is in.
pub(crate) struct Netfilter {
    fd: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Netfilter {
    /// Opens one that is a member of the multicast groups in `groups` (bit 0 is group 1), with room for `buffer` bytes.
    pub fn open(groups: u32, buffer: usize) -> nix::Result<Netfilter> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )?;
        setsockopt(&fd, sockopt::RcvBufForce, &buffer)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Netfilter { fd, buffer: vec![0; 1 << 17], sequence: 0 })
    }

    fn request(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        resource: u16,
        attributes: &[u8],
    ) -> nix::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let message = message(kind, flags, self.sequence, family, resource, attributes);
        send(self.fd.as_raw_fd(), &message, MsgFlags::empty()).map(drop)
    }

    /// Sends a request and waits for the kernel's word that it was done.
    pub fn ask(&mut self, kind: u16, family: u8, resource: u16, attributes: &[u8]) -> Result<(), ReadError> {
        self.request(kind, REQUEST | ACK, family, resource, attributes)?;
        let len = recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty())?;
        answer(&self.buffer[..len]).unwrap_or(Ok(()))
    }

    /// As [`Netfilter::ask`], of many requests at once. The first that the kernel refuses is the error.
    pub fn ask_all(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        requests: &[Vec<u8>],
    ) -> Result<(), ReadError> {
        let Some((last, others)) = requests.split_last() else { return Ok(()) };
        let mut batch = Vec::new();
        for attributes in others {
            self.sequence = self.sequence.wrapping_add(1);
            batch.extend(message(kind, REQUEST | flags, self.sequence, family, 0, attributes));
        }
        self.sequence = self.sequence.wrapping_add(1);
        batch.extend(message(kind, REQUEST | ACK | flags, self.sequence, family, 0, last));
        send(self.fd.as_raw_fd(), &batch, MsgFlags::empty())?;
        let mut answer = Ok(());
        loop {
            let len = recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty())?;
            for (header, body) in Headers(&self.buffer[..len]) {
                if header.kind == ERROR {
                    answer = answer.and(error_of(body));
                    if header.sequence == self.sequence {
                        return answer;
                    }
                }
            }
        }
    }

    /// Dumps, and gives every message to `each`. Starts over (after telling `restart`) if the kernel's table changed on the way.
    pub fn dump(
        &mut self,
        kind: u16,
        family: u8,
        attributes: &[u8],
        each: &mut dyn FnMut(Message<'_>),
    ) -> Result<bool, ReadError> {
        self.request(kind, REQUEST | DUMP, family, 0, attributes)?;
        let mut whole = true;
        loop {
            let len = recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty())?;
            for (header, body) in Headers(&self.buffer[..len]) {
                whole &= header.flags & DUMP_INTERRUPTED == 0;
                match header.kind {
                    DONE => return Ok(whole),
                    ERROR => return error_of(body).map(|()| whole),
                    kind => each(Message { kind, attributes: body.get(4..).unwrap_or(&[]) }),
                }
            }
        }
    }

    /// Reads whatever is there without waiting.
    pub fn drain(&mut self, each: &mut dyn FnMut(Message<'_>)) -> Result<(), ReadError> {
        loop {
            let len = match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(len) => len,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            for (header, body) in Headers(&self.buffer[..len]) {
                if header.kind > DONE {
                    each(Message { kind: header.kind, attributes: body.get(4..).unwrap_or(&[]) });
                }
            }
        }
    }
}

/// A request.
fn message(kind: u16, flags: u16, sequence: u32, family: u8, resource: u16, attributes: &[u8]) -> Vec<u8> {
    let len = 20 + attributes.len();
    let mut message = Vec::with_capacity(len);
    message.extend_from_slice(&(len as u32).to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    message.extend_from_slice(&sequence.to_ne_bytes());
    message.extend_from_slice(&0u32.to_ne_bytes());
    message.push(family);
    message.push(0);
    message.extend_from_slice(&resource.to_be_bytes());
    message.extend_from_slice(attributes);
    message
}

fn error_of(body: &[u8]) -> Result<(), ReadError> {
    match body.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)) {
        Some(0) => Ok(()),
        Some(code) => Err(Errno::from_raw(-code).into()),
        None => Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into())),
    }
}

/// What the kernel answered to a request, if its answer is among these messages.
pub(crate) fn answer(messages: &[u8]) -> Option<Result<(), ReadError>> {
    Headers(messages).find(|(header, _)| header.kind == ERROR).map(|(_, body)| error_of(body))
}

struct Header {
    kind: u16,
    flags: u16,
    sequence: u32,
}

struct Headers<'a>(&'a [u8]);

impl<'a> Iterator for Headers<'a> {
    type Item = (Header, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = u32::from_ne_bytes(*self.0.first_chunk()?) as usize;
        let bytes = |at: usize| Some(u16::from_ne_bytes(*self.0.get(at..)?.first_chunk()?));
        let sequence = u32::from_ne_bytes(*self.0.get(8..)?.first_chunk()?);
        let header = Header { kind: bytes(4)?, flags: bytes(6)?, sequence };
        let body = self.0.get(16..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((header, body))
    }
}

/// Attributes: number (flags taken off) and value.
pub(crate) struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = u16::from_ne_bytes(*self.0.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*self.0.get(2..)?.first_chunk()?) & 0x3fff;
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

/// Appends an attribute.
pub(crate) fn put(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    to.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
    to.extend_from_slice(&kind.to_ne_bytes());
    to.extend_from_slice(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// A big-endian number of two bytes.
pub(crate) fn be16(value: &[u8]) -> u16 {
    value.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes))
}

/// A big-endian number of four bytes.
pub(crate) fn be32(value: &[u8]) -> u32 {
    value.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// A big-endian number of eight bytes.
pub(crate) fn be64(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// A string that ends at its NUL.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}
