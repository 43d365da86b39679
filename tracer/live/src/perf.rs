//! The `skb:kfree_skb` tracepoint of the calling thread: why packets were freed.
//!
//! On veth everything up to the other end runs inside the sender's system call, so that the thread's own events are those of its packets.
#![expect(unsafe_code, reason = "system call, mapped ring")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{Ordering, fence};

use crate::netlink::ReadError;

/// Pages of the ring, a power of two.
const PAGES: usize = 16;
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOEXEC: libc::c_ulong = 8;
/// `PERF_RECORD_LOST`.
const LOST: u32 = 2;
/// `PERF_RECORD_SAMPLE`.
const SAMPLE: u32 = 9;
/// No record of this tracepoint is longer: the kernel drops one for which there is less room, and says so only when the next one comes.
const LONGEST: usize = 256;

/// What the tracepoint's format says.
struct Format {
    id: u64,
    reason_at: usize,
    protocol_at: usize,
    /// `SKB_DROP_REASON_*` without that prefix.
    names: Vec<(u32, String)>,
}

/// A packet that was freed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Freed {
    /// Its Ethernet protocol.
    pub protocol: u16,
    /// `SKB_DROP_REASON_*` without that prefix.
    pub reason: String,
}

impl Freed {
    /// Whether the namespace freed it for a reason of its own. The other ends of the wires free by a program, and so do sockets what they took; and
    /// what sockets of this process freed is no packet.
    pub fn is_of_the_namespace(&self) -> bool {
        !matches!(self.reason.as_str(), "TC_INGRESS" | "SOCKET_FILTER") && self.protocol != 0
    }
}

/// An open tracepoint with its ring.
pub(crate) struct Perf {
    format: Format,
    ring: NonNull<u8>,
    page: usize,
    _fd: OwnedFd,
}

impl Perf {
    /// Opens it for the calling thread.
    pub fn open() -> io::Result<Perf> {
        let format = format()?;
        let mut attr = [0u8; 64];
        attr[..4].copy_from_slice(&2u32.to_ne_bytes());
        attr[4..8].copy_from_slice(&64u32.to_ne_bytes());
        attr[8..16].copy_from_slice(&format.id.to_ne_bytes());
        attr[16..24].copy_from_slice(&1u64.to_ne_bytes());
        // PERF_SAMPLE_RAW.
        attr[24..32].copy_from_slice(&1024u64.to_ne_bytes());
        // SAFETY: the kernel reads the 64 bytes of `attr` that its size field announces.
        let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), 0, -1, -1, CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that the kernel has just made for us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let page = page_size()?;
        let (len, access) = ((PAGES + 1) * page, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a new mapping of our own descriptor, unmapped in `drop` only.
        let ring =
            unsafe { libc::mmap(std::ptr::null_mut(), len, access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if ring == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let ring = NonNull::new(ring.cast()).ok_or_else(|| io::Error::other("mmap gave nothing"))?;
        Ok(Perf { format, ring, page, _fd: fd })
    }

    fn word(&self, at: usize) -> *mut u64 {
        // SAFETY: `at` is one of the two fields of the first page that this module names.
        unsafe { self.ring.as_ptr().add(at).cast() }
    }

    /// Everything since the last call.
    ///
    /// # Errors
    /// If the ring was too small for it.
    pub fn drain(&mut self) -> Result<Vec<Freed>, ReadError> {
        // SAFETY: the head stands at byte 1024 of the first page, and only the kernel writes it.
        let head = unsafe { self.word(1024).read_volatile() } as usize;
        fence(Ordering::Acquire);
        // SAFETY: the tail stands at byte 1032, and only we write it.
        let mut tail = unsafe { self.word(1032).read_volatile() } as usize;
        let mut freed = Vec::new();
        let mut lost = head - tail + LONGEST > PAGES * self.page;
        while tail < head {
            let header = self.copy(tail, 8);
            let kind = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
            let len = usize::from(u16::from_ne_bytes([header[6], header[7]]));
            if len < 8 {
                break;
            }
            lost |= kind == LOST;
            if kind == SAMPLE {
                let raw = self.copy(tail + 12, len.saturating_sub(12));
                freed.extend(self.format.read(&raw));
            }
            tail += len;
        }
        fence(Ordering::AcqRel);
        // SAFETY: as above.
        unsafe { self.word(1032).write_volatile(head as u64) };
        if lost { Err(ReadError::Overrun) } else { Ok(freed) }
    }

    fn copy(&self, from: usize, len: usize) -> Vec<u8> {
        (from..from + len)
            // SAFETY: the offset is reduced to the data pages, which follow the first one.
            .map(|at| unsafe { self.ring.as_ptr().add(self.page + at % (PAGES * self.page)).read_volatile() })
            .collect()
    }
}

impl Drop for Perf {
    fn drop(&mut self) {
        // SAFETY: the mapping that `open` made, which nobody else holds.
        unsafe { libc::munmap(self.ring.as_ptr().cast(), (PAGES + 1) * self.page) };
    }
}

fn page_size() -> io::Result<usize> {
    // SAFETY: a question without arguments in memory.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).ok().filter(|size| size.is_power_of_two()).ok_or_else(io::Error::last_os_error)
}

impl Format {
    fn read(&self, raw: &[u8]) -> Option<Freed> {
        let number = u32::from_ne_bytes(*raw.get(self.reason_at..)?.first_chunk()?);
        let protocol = u16::from_ne_bytes(*raw.get(self.protocol_at..)?.first_chunk()?);
        let name = self.names.iter().find(|(known, _)| *known == number);
        let reason = name.map_or_else(|| number.to_string(), |(_, name)| name.clone());
        Some(Freed { protocol, reason })
    }
}

/// Reads the tracepoint's format from tracefs. Where none is mounted, one is, in a mount namespace of a helper thread.
fn format() -> io::Result<Format> {
    let place = "events/skb/kfree_skb";
    for root in ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"] {
        if let Ok(format) = read_format(&format!("{root}/{place}")) {
            return Ok(format);
        }
    }
    let helper = std::thread::spawn(move || {
        use nix::mount::{MsFlags, mount};
        use nix::sched::{CloneFlags, unshare};
        unshare(CloneFlags::CLONE_NEWNS)?;
        // Nothing that is mounted from here on is seen outside of this thread.
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        mount(Some("tracefs"), "/sys", Some("tracefs"), MsFlags::empty(), None::<&str>)?;
        read_format(&format!("/sys/{place}"))
    });
    helper.join().map_err(|_| io::Error::other("the helper thread panicked"))?
}

fn read_format(folder: &str) -> io::Result<Format> {
    let invalid = || io::Error::other("the format of skb:kfree_skb is not understood");
    let id = std::fs::read_to_string(format!("{folder}/id"))?.trim().parse().map_err(|_| invalid())?;
    let text = std::fs::read_to_string(format!("{folder}/format"))?;
    let offset = |field: &str| {
        let line = text.lines().find(|line| line.contains(field))?;
        line.split_once("offset:")?.1.split(';').next()?.parse().ok()
    };
    let reason_at = offset(" reason;").ok_or_else(invalid)?;
    let protocol_at = offset(" protocol;").ok_or_else(invalid)?;
    let names = text.split('{').skip(1).filter_map(|part| {
        let (number, rest) = part.split_once(',')?;
        Some((number.trim().parse().ok()?, rest.split('"').nth(1)?.to_owned()))
    });
    Ok(Format { id, reason_at, protocol_at, names: names.collect() })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::ns::Namespace;

    #[test]
    fn what_the_ring_cannot_hold_is_told() {
        // In a thread of its own, which stays in a namespace that nobody else is in.
        let looked = std::thread::spawn(|| {
            let namespace = Namespace::new().map_err(|error| error.to_string())?;
            let mut perf = Perf::open().map_err(|error| error.to_string())?;
            crate::ns::tool("ip", &["link", "set", "lo", "up"], "", &[])
                .map_err(|error| error.to_string())?;
            let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
            let send = |count: usize| {
                for _ in 0..count {
                    // Refused by the packet before it, every other time.
                    let _ = socket.send_to(b"x", "127.0.0.1:9");
                }
            };
            let _ = perf.drain();
            send(4);
            let few = perf.drain().map(|freed| freed.iter().any(|freed| freed.reason == "NO_SOCKET"));
            send(10_000);
            let many = perf.drain().map(|freed| freed.len());
            // What was lost is told by the next record only: that is not the next packet's.
            send(1);
            let after = perf.drain().is_ok();
            send(4);
            let again = perf.drain().is_ok();
            drop(namespace);
            Ok::<_, String>((matches!(few, Ok(true)), many.is_err(), after, again))
        })
        .join()
        .expect("no panic");
        match looked {
            Ok(seen) => assert_eq!(seen, (true, true, false, true)),
            Err(error) => pktwalk_skip::skip(
                "what_the_ring_cannot_hold_is_told",
                &format!("the tracepoint does not open: {error}"),
            ),
        }
    }
}
