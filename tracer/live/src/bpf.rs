//! Programs that free what has arrived: one of two instructions at the other end of every wire, one on listening sockets for connections that they
//! let begin, one on listening sockets that are assumed. All do it under a drop reason that nothing else here gives.
//!
//! Without the first, the other end's own stack would free the frame, for reasons that the namespace under test could have had as well. Without the
//! second, the kernel would answer.
#![expect(unsafe_code, reason = "system call")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// `BPF_MAP_CREATE`.
const MAP_CREATE: libc::c_int = 0;
/// `BPF_PROG_LOAD`.
const PROG_LOAD: libc::c_int = 5;
/// `BPF_LINK_CREATE`.
const LINK_CREATE: libc::c_int = 28;
/// `BPF_PROG_TYPE_SOCKET_FILTER`.
const SOCKET_FILTER: u32 = 1;
/// `BPF_PROG_TYPE_SCHED_CLS`.
const SCHED_CLS: u32 = 3;
/// `BPF_TCX_INGRESS`.
const TCX_INGRESS: u32 = 46;

/// `r0 = TCX_DROP; exit`, and its licence.
static PROGRAM: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
/// `r0 = 0; exit`: keeps no byte of a packet, which frees it (`sk_filter_trim_cap`).
static TAKE: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
static LICENSE: &[u8] = b"Apache-2.0\0";

fn bpf(command: libc::c_int, attributes: &[u8; 72]) -> io::Result<RawFd> {
    // SAFETY: the kernel reads the 72 bytes of `attributes`; the addresses in them point to a program that its caller holds and to a static, and
    // nothing is written.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), attributes.len()) };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(fd as RawFd) }
}

/// Loads the program of the wires.
pub(crate) fn load() -> io::Result<OwnedFd> {
    load_as(SCHED_CLS, &PROGRAM)
}

fn load_as(kind: u32, program: &[u8]) -> io::Result<OwnedFd> {
    let mut attributes = [0u8; 72];
    attributes[..4].copy_from_slice(&kind.to_ne_bytes());
    attributes[4..8].copy_from_slice(&u32::try_from(program.len() / 8).unwrap_or(u32::MAX).to_ne_bytes());
    attributes[8..16].copy_from_slice(&(program.as_ptr() as u64).to_ne_bytes());
    attributes[16..24].copy_from_slice(&(LICENSE.as_ptr() as u64).to_ne_bytes());
    let fd = bpf(PROG_LOAD, &attributes)?;
    // SAFETY: a descriptor that the kernel has just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a listening socket free every SYN that would begin a connection, and what comes of the same connection after it: it takes segments, and
/// answers none of them. What is done with them is up to whoever holds a socket, and the answer is a packet of its own. Every other segment is the
/// kernel's to answer or free.
pub(crate) fn take_and_free(socket: &OwnedFd) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let begun = map()?;
    filter(socket, &load_as(SOCKET_FILTER, &listener_program(begun.as_raw_fd()))?)
}

/// Makes a listening socket free every segment: it stands for whoever takes them, also those of connections that began before.
pub(crate) fn take_all(socket: &OwnedFd) -> io::Result<()> {
    filter(socket, &load_as(SOCKET_FILTER, &TAKE)?)
}

fn filter(socket: &OwnedFd, program: &OwnedFd) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let number = program.as_raw_fd();
    let size = libc::socklen_t::try_from(size_of_val(&number)).unwrap_or_default();
    // SAFETY: the kernel reads the descriptor, which lives to the end of the call; the socket keeps the program, and that the map.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_BPF,
            (&raw const number).cast(),
            size,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A hash map from addresses and ports, as they stand in a segment, to a byte.
fn map() -> io::Result<OwnedFd> {
    let mut attributes = [0u8; 72];
    // `BPF_MAP_TYPE_HASH`, sizes of key and value, room.
    for (at, number) in [1u32, 12, 1, 4096].into_iter().enumerate() {
        attributes[at * 4..at * 4 + 4].copy_from_slice(&number.to_ne_bytes());
    }
    let fd = bpf(MAP_CREATE, &attributes)?;
    // SAFETY: a descriptor that the kernel has just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The program of [`take_and_free`]: `r6` is the segment, at its TCP header; the key stands 16 bytes below the frame, the flags 4.
fn listener_program(map: RawFd) -> Vec<u8> {
    let mut code = Vec::new();
    let mut op = |code_byte: u8, dst: u8, src: u8, offset: i16, value: i32| {
        code.extend_from_slice(&[code_byte, dst | src << 4]);
        code.extend_from_slice(&offset.to_ne_bytes());
        code.extend_from_slice(&value.to_ne_bytes());
    };
    const SET: u8 = 0xb7;
    const COPY: u8 = 0xbf;
    const ADD: u8 = 0x07;
    const CALL: u8 = 0x85;
    const IF_NOT: u8 = 0x55;
    const IF: u8 = 0x15;
    op(COPY, 6, 1, 0, 0);
    // `bpf_skb_load_bytes_relative`: source and destination of the IP header.
    op(SET, 2, 0, 0, 12);
    op(COPY, 3, 10, 0, 0);
    op(ADD, 3, 0, 0, -16);
    op(SET, 4, 0, 0, 8);
    op(SET, 5, 0, 0, 1);
    op(CALL, 0, 0, 0, 68);
    op(IF_NOT, 0, 0, 30, 0);
    // `bpf_skb_load_bytes`: the ports, then the flags.
    for (from, to, len, pass) in [(0, -8, 4, 23), (13, -4, 1, 16)] {
        op(COPY, 1, 6, 0, 0);
        op(SET, 2, 0, 0, from);
        op(COPY, 3, 10, 0, 0);
        op(ADD, 3, 0, 0, to);
        op(SET, 4, 0, 0, len);
        op(CALL, 0, 0, 0, 26);
        op(IF_NOT, 0, 0, pass, 0);
    }
    // FIN, SYN, RST and ACK among them.
    op(0x71, 7, 10, -4, 0);
    op(0x57, 7, 0, 0, 0x17);
    op(0x18, 1, 1, 0, map);
    op(0, 0, 0, 0, 0);
    op(COPY, 2, 10, 0, 0);
    op(ADD, 2, 0, 0, -16);
    op(IF, 7, 0, 3, 0x02);
    // Not SYN alone: `bpf_map_lookup_elem`.
    op(CALL, 0, 0, 0, 1);
    op(IF, 0, 0, 7, 0);
    op(0x05, 0, 0, 4, 0);
    // SYN alone: `bpf_map_update_elem`.
    op(COPY, 3, 10, 0, 0);
    op(ADD, 3, 0, 0, -4);
    op(SET, 4, 0, 0, 0);
    op(CALL, 0, 0, 0, 2);
    // Free it.
    op(SET, 0, 0, 0, 0);
    op(0x95, 0, 0, 0, 0);
    // Let all of it pass.
    op(SET, 0, 0, 0, i32::MAX);
    op(0x95, 0, 0, 0, 0);
    code
}

/// Puts it at the ingress of a device of the calling thread's namespace, for as long as the result lives.
pub(crate) fn attach(program: &OwnedFd, ifindex: u32) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    let mut attributes = [0u8; 72];
    attributes[..4].copy_from_slice(&program.as_raw_fd().to_ne_bytes());
    attributes[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    attributes[8..12].copy_from_slice(&TCX_INGRESS.to_ne_bytes());
    let fd = bpf(LINK_CREATE, &attributes)?;
    // SAFETY: a descriptor that the kernel has just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
