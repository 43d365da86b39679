//! What comes out of a wire, with its VLAN tag: the kernel takes that out of a frame before any socket gets it, and tells of it beside
//! (`PACKET_AUXDATA`).
#![expect(unsafe_code, reason = "control messages of packet sockets")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `TP_STATUS_VLAN_VALID`, of linux/if_packet.h.
const VLAN_VALID: u32 = 1 << 4;
/// `TP_STATUS_VLAN_TPID_VALID`.
const TPID_VALID: u32 = 1 << 6;
/// `ETH_P_8021Q`.
const VLAN: u16 = 0x8100;
/// Where a tag stands in a frame: behind both addresses.
const ADDRESSES: usize = 12;
/// No frame of a wire is longer.
const MOST: usize = 1 << 16;

/// `struct tpacket_auxdata`.
#[repr(C)]
#[derive(Clone, Copy)]
struct AuxData {
    status: u32,
    _len: u32,
    _snap_len: u32,
    _mac: u16,
    _net: u16,
    vlan_tci: u16,
    vlan_tpid: u16,
}

/// A packet socket, to be bound by whoever sends by it.
pub(crate) struct Receiver {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Receiver {
    /// A packet socket that hears nothing yet.
    pub fn new() -> io::Result<Receiver> {
        // SAFETY: no pointers; protocol 0 receives nothing until the socket is bound to one.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that the kernel has just made for us.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let on: libc::c_int = 1;
        let len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the kernel reads the `len` bytes of `on`, which live during the call.
        let done = unsafe {
            libc::setsockopt(fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, (&raw const on).cast(), len)
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Receiver { socket, buffer: vec![0; MOST] })
    }

    /// The socket once more, for who binds it and sends by it.
    pub fn socket(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }

    /// The next frame, if one is there.
    pub fn next(&mut self) -> Option<Vec<u8>> {
        let mut part = libc::iovec { iov_base: self.buffer.as_mut_ptr().cast(), iov_len: self.buffer.len() };
        let mut control = [0u64; 16];
        // SAFETY: all zero is a header without parts.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control);
        // SAFETY: the header points to `buffer` and `control` with their lengths, which live during the call.
        let len = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
        let mut frame = self.buffer.get(..usize::try_from(len).ok()?)?.to_vec();
        let mut tag = None;
        // SAFETY: the header is as the kernel filled it, and `control` is aligned for control messages.
        let mut message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
        while !message.is_null() {
            // SAFETY: a message within `control`, as CMSG_FIRSTHDR or CMSG_NXTHDR gave it.
            let about = unsafe { *message };
            if (about.cmsg_level, about.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
                // SAFETY: such a message carries this structure, of plain numbers; it may stand at any address.
                let data = unsafe { libc::CMSG_DATA(message).cast::<AuxData>().read_unaligned() };
                tag = tag_of(&data);
            }
            // SAFETY: as above.
            message = unsafe { libc::CMSG_NXTHDR(&raw const header, message) };
        }
        if let Some(tag) = tag.filter(|_| frame.len() >= ADDRESSES) {
            frame.splice(ADDRESSES..ADDRESSES, tag);
        }
        Some(frame)
    }
}

/// The tag that the kernel took out of a frame.
fn tag_of(data: &AuxData) -> Option<[u8; 4]> {
    let protocol = if data.status & TPID_VALID == 0 { VLAN } else { data.vlan_tpid };
    let ([a, b], [c, d]) = (protocol.to_be_bytes(), data.vlan_tci.to_be_bytes());
    (data.status & VLAN_VALID != 0).then_some([a, b, c, d])
}
