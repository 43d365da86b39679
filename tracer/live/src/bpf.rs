//! Programs that free what has arrived: one of two instructions at the other end of every wire, one of a single instruction on listening sockets. Both
//! do it under a drop reason that nothing else here gives.
//!
//! Without the first, the other end's own stack would free the frame, for reasons that the namespace under test could have had as well. Without the
//! second, the kernel would answer.
#![expect(unsafe_code, reason = "system call")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// `BPF_PROG_LOAD`.
const PROG_LOAD: libc::c_int = 5;
/// `BPF_LINK_CREATE`.
const LINK_CREATE: libc::c_int = 28;
/// `BPF_PROG_TYPE_SCHED_CLS`.
const SCHED_CLS: u32 = 3;
/// `BPF_TCX_INGRESS`.
const TCX_INGRESS: u32 = 46;

/// `r0 = TCX_DROP; exit`, and its licence.
static PROGRAM: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
static LICENSE: &[u8] = b"Apache-2.0\0";

fn bpf(command: libc::c_int, attributes: &[u8; 72]) -> io::Result<RawFd> {
    // SAFETY: the kernel reads the 72 bytes of `attributes`; the addresses in them point to statics that live forever, and nothing is written.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), attributes.len()) };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(fd as RawFd) }
}

/// Loads the program.
pub(crate) fn load() -> io::Result<OwnedFd> {
    let mut attributes = [0u8; 72];
    attributes[..4].copy_from_slice(&SCHED_CLS.to_ne_bytes());
    attributes[4..8].copy_from_slice(&2u32.to_ne_bytes());
    attributes[8..16].copy_from_slice(&(PROGRAM.as_ptr() as u64).to_ne_bytes());
    attributes[16..24].copy_from_slice(&(LICENSE.as_ptr() as u64).to_ne_bytes());
    let fd = bpf(PROG_LOAD, &attributes)?;
    // SAFETY: a descriptor that the kernel has just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a socket free whatever it is given: it takes segments and answers none. What is done with them is up to whoever holds a socket, and the
/// answer is a packet of its own.
pub(crate) fn take_and_free(socket: &OwnedFd) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // `ret #0`, in the classic form.
    let mut code = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 };
    let program = libc::sock_fprog { len: 1, filter: &raw mut code };
    let size = libc::socklen_t::try_from(size_of_val(&program)).unwrap_or_default();
    // SAFETY: the kernel copies the program, whose one instruction lives to the end of the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
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
