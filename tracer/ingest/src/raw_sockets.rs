//! `/proc/net/raw` and `/proc/net/icmp`: raw sockets and ping sockets, which `ss` does not print unless it is asked, or not at all.
//!
//! Addresses are read as a little-endian machine prints them. Left out: the device that a socket is bound to, which the files do not tell; raw
//! sockets of protocols whose packets go on to sockets of their own, for those change nothing by taking a copy.

use std::net::{IpAddr, Ipv4Addr};

use pktwalk_linux::config::Socket;

use crate::reader::Reader;

/// Which of the two files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Listing {
    /// `/proc/net/raw`: ports are IP protocols.
    Raw,
    /// `/proc/net/icmp`: ports are identifiers.
    Ping,
}

/// Reads a file; whether it is whole, so that what does not stand in it is not there. Where nothing is known of other sockets (no file `ss`), what
/// listens is an assumption, and the file is checked only.
pub(crate) fn read(reader: &mut Reader<'_>, text: &[u8], listing: Listing) -> bool {
    let mut headings = false;
    reader.lines(text, |reader, number, line| {
        if !headings {
            headings = true;
            if !line.trim_start().starts_with("sl ") {
                reader.error(number, "the line of headings is not there");
            }
            return;
        }
        match socket(line, listing) {
            Ok(socket) => {
                if let Some(sockets) = &mut reader.config.sockets {
                    sockets.extend(socket);
                }
            }
            Err(message) => reader.error(number, message),
        }
    });
    headings && !reader.broken
}

/// `Ok(None)` for raw sockets that change nothing.
fn socket(line: &str, listing: Listing) -> Result<Option<Socket>, String> {
    let mut words = line.split_whitespace();
    let _ = words.next();
    let (local, number) = end(words.next().ok_or("no local address")?)?;
    let (remote, _) = end(words.next().ok_or("no remote address")?)?;
    // State, queues, timer, retransmissions.
    let uid = words.nth(4).ok_or("no uid")?;
    let uid = uid.parse().map_err(|_| format!("uid '{uid}' is no number"))?;
    let (protocol, port) = match listing {
        Listing::Ping => (1, number),
        Listing::Raw => (u8::try_from(number).map_err(|_| format!("{number} is no IP protocol"))?, 0),
    };
    if listing == Listing::Raw && matches!(protocol, 6 | 17 | 136) {
        return Ok(None);
    }
    Ok(Some(Socket {
        protocol,
        local: IpAddr::V4(local),
        port,
        remote: (!remote.is_unspecified()).then_some((IpAddr::V4(remote), 0)),
        dev: None,
        v6_only: false,
        listening: false,
        owner: None,
        uid: Some(uid),
    }))
}

/// `0100007F:0059`.
fn end(text: &str) -> Result<(Ipv4Addr, u16), String> {
    let bad = || format!("'{text}' is no address and port as the kernel prints them");
    let (addr, port) = text.split_once(':').ok_or_else(bad)?;
    if addr.len() != 8 || port.len() != 4 || !text.bytes().all(|b| b == b':' || b.is_ascii_hexdigit()) {
        return Err(bad());
    }
    let addr = u32::from_str_radix(addr, 16).map_err(|_| bad())?;
    let port = u16::from_str_radix(port, 16).map_err(|_| bad())?;
    Ok((Ipv4Addr::from(addr.swap_bytes()), port))
}

/// The inverse of [`read`].
pub(crate) fn print(sockets: &[&Socket], listing: Listing) -> String {
    let mut text = String::from(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n",
    );
    let hex = |addr: IpAddr| match addr {
        IpAddr::V4(addr) => u32::from(addr).swap_bytes(),
        IpAddr::V6(_) => 0,
    };
    for (row, socket) in sockets.iter().enumerate() {
        let number = match listing {
            Listing::Raw => u16::from(socket.protocol),
            Listing::Ping => socket.port,
        };
        let remote = socket.remote.map_or(0, |(addr, _)| hex(addr));
        let state = if remote == 0 { 7 } else { 1 };
        let uid = socket.uid.unwrap_or(0);
        text.push_str(&format!(
            "{row:4}: {:08X}:{number:04X} {remote:08X}:0000 {state:02X} 00000000:00000000 00:00000000 00000000 {uid:5}        0 0 2 0 0\n",
            hex(socket.local)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        // Printed by Linux 6.18 for sockets that were made for this.
        let ping = "   24: 0100007F:004E 0100007F:0000 01 00000000:00000000 00:00000000 00000000     7        0 553809 2 00000000b9f4891c 0        ";
        let ping = socket(ping, Listing::Ping).unwrap().unwrap();
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!((ping.protocol, ping.local, ping.port, ping.uid), (1, loopback, 78, Some(7)));
        let raw = "  22: 0100007F:0059 0200007F:0000 01 00000000:00000000 00:00000000 00000000     0        0 553811 2 0000000051c1f380 0";
        let raw = socket(raw, Listing::Raw).unwrap().unwrap();
        assert_eq!(
            (raw.protocol, raw.local, raw.port, raw.remote),
            (89, loopback, 0, Some(("127.0.0.2".parse().unwrap(), 0)))
        );
        let of_tcp = "   6: 00000000:0006 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0";
        assert_eq!(socket(of_tcp, Listing::Raw), Ok(None));
        for bad in ["", "1:", "1: 0:1", "1: 00000000:0100 00000000:0000 07 a b c 0", "1: zz000000:0001 1:1"] {
            assert!(socket(bad, Listing::Raw).is_err(), "{bad}");
        }
    }
}
