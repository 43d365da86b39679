//! Checksum offload of devices, through `ethtool`'s ioctl.
#![expect(unsafe_code, reason = "ioctl")]

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use pktwalk_scenario::engine::EngineError;

use crate::ns::failed;

/// Real wires carry checksums: without this, what the stack makes would leave with half of one.
pub(crate) fn without_checksum_offload(name: &str) -> Result<(), EngineError> {
    /// `ETHTOOL_STXCSUM`.
    const SET_TX_CHECKSUM: u32 = 0x17;
    let told = |errno: Errno| failed(format!("checksum offload of {name}: {errno}"));
    let fd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).map_err(told)?;
    let mut value = [SET_TX_CHECKSUM, 0];
    let mut request = [0u8; 40];
    for (to, from) in request.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    request[16..24].copy_from_slice(&(value.as_mut_ptr() as usize as u64).to_ne_bytes());
    // SAFETY: SIOCETHTOOL reads an ifreq (40 bytes: 16 of name, then a pointer to the 8 bytes of `value`), all alive during the call.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCETHTOOL as _, request.as_mut_ptr()) };
    if done < 0 { Err(told(Errno::last())) } else { Ok(()) }
}
