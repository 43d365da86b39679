//! Giving up a neighbour that does not answer, now and in this thread. The kernel's own timer does it later, on behalf of whatever runs at that moment, so
//! that what it frees then is not told as this thread's.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use crate::netlink::{ReadError, answer, put};

/// `RTM_NEWNEIGH`.
const NEW_NEIGHBOUR: u16 = 28;
/// `NLM_F_REQUEST | NLM_F_ACK | NLM_F_REPLACE`.
const FLAGS: u16 = 1 | 4 | 0x100;
/// `NUD_FAILED`.
const FAILED: u16 = 0x20;

/// Makes the neighbour a failed one (`neigh_update`): the kernel drops what waits for it and tells the senders, as it does when its timer runs out.
pub(crate) fn give_up(ifindex: u32, addr: Ipv4Addr) -> Result<(), ReadError> {
    let fd =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let mut body = vec![libc::AF_INET as u8, 0, 0, 0];
    body.extend_from_slice(&ifindex.to_ne_bytes());
    body.extend_from_slice(&FAILED.to_ne_bytes());
    body.extend_from_slice(&[0, 0]);
    // NDA_DST.
    put(&mut body, 1, &addr.octets());
    let mut message = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend_from_slice(&NEW_NEIGHBOUR.to_ne_bytes());
    message.extend_from_slice(&FLAGS.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&body);
    send(fd.as_raw_fd(), &message, MsgFlags::empty())?;
    let mut buffer = [0; 4096];
    let len = recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
    answer(&buffer[..len]).unwrap_or(Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into())))
}
