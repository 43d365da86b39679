//! `ss -Htulnpe`, and `ss -Htuanpe` with connections.

use std::net::{IpAddr, Ipv6Addr};

use pktwalk_linux::config::{MissingState, Socket};

use crate::reader::Reader;

pub(crate) fn sockets(reader: &mut Reader<'_>, text: &[u8]) {
    let mut found = Vec::new();
    // Where something is lost of the list, who is not in it may listen all the same.
    let mut lost = text.last().is_some_and(|&b| b != b'\n');
    reader.lines(text, |reader, number, line| {
        // The header line, where `-H` was forgotten.
        if line.starts_with("Netid") {
            return;
        }
        match socket(line) {
            Ok(socket) => found.extend(socket),
            Err(message) => {
                reader.error(number, message);
                lost = true;
            }
        }
    });
    // `ss -l` lists none; a node without any is taken for one that was not asked.
    if !found.iter().any(|socket| socket.remote.is_some()) {
        reader.config.missing.push(MissingState::ConnectedSockets);
    }
    lost |= reader.given_up;
    if lost {
        reader.config.missing.push(MissingState::Sockets);
    }
    reader.config.sockets = Some(found);
}

/// `Ok(None)` for sockets that IP packets do not reach.
fn socket(line: &str) -> Result<Option<Socket>, String> {
    // Names of processes may hold spaces.
    let owner = line
        .split_once("users:((")
        .and_then(|(_, rest)| rest.rsplit_once("))"))
        .map(|(users, _)| format!("(({users}))"));
    // What stands in them is taken for no field of the line.
    let without: String = match line.split_once("users:((") {
        Some((before, rest)) => [before, rest.rsplit_once("))").map_or("", |(_, after)| after)].concat(),
        None => line.to_owned(),
    };
    let mut words = without.split_whitespace();
    let protocol = match words.next() {
        Some("tcp" | "mptcp") => 6,
        Some("udp") => 17,
        Some("udplite") => 136,
        Some("sctp") => 132,
        Some(
            "icmp" | "icmp6" | "raw" | "p_raw" | "p_dgr" | "nl" | "u_str" | "u_dgr" | "u_seq" | "v_str"
            | "v_dgr" | "tipc",
        ) => {
            return Ok(None);
        }
        Some(other) => return Err(format!("'{other}' is no kind of socket that ss prints")),
        None => return Ok(None),
    };
    let state = words.next().ok_or("no state")?;
    let (_, _) = (words.next().ok_or("no queue")?, words.next().ok_or("no queue")?);
    let local = words.next().ok_or("no local address")?;
    let peer = words.next().ok_or("no peer address")?;
    let (mut uid, mut v6_only) = (None, false);
    for word in words {
        if let Some(text) = word.strip_prefix("uid:") {
            uid = Some(text.parse().map_err(|_| format!("uid '{text}' is no number"))?);
        } else if let Some(text) = word.strip_prefix("v6only:") {
            v6_only = text == "1";
        }
    }
    let (local, port, dev) = end(local)?;
    let remote = match end(peer)? {
        (_, 0, _) => None,
        (addr, port, _) => Some((addr.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), port)),
    };
    // `*` is what ss prints for the any-address of a socket that takes both families.
    let local = local.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    Ok(Some(Socket {
        protocol,
        local,
        port,
        remote,
        dev,
        v6_only,
        listening: state == "LISTEN",
        // The tool leaves uid 0 out when it prints the rest (`-e`).
        uid: uid.or_else(|| without.contains(" ino:").then_some(0)),
        owner,
    }))
}

/// `ADDR%DEV:PORT`, `[ADDR]:PORT`, `*:*`. No address for `*`.
fn end(text: &str) -> Result<(Option<IpAddr>, u16, Option<String>), String> {
    let (addr, port) = text.rsplit_once(':').ok_or_else(|| format!("'{text}' has no port"))?;
    let port = match port {
        "*" => 0,
        port => port.parse().map_err(|_| format!("'{port}' is no port number (ss -n prints numbers)"))?,
    };
    // The device stands behind the bracket, or within it.
    let (addr, dev) = match addr.split_once('%') {
        Some((addr, dev)) => {
            (addr.to_owned() + if dev.ends_with(']') { "]" } else { "" }, Some(dev.trim_end_matches(']')))
        }
        None => (addr.to_owned(), None),
    };
    let addr = addr.trim_start_matches('[').trim_end_matches(']');
    let addr = match addr {
        "*" | "" => None,
        addr => Some(addr.parse().map_err(|_| format!("'{addr}' is no address"))?),
    };
    Ok((addr, port, dev.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_tool_are_read() {
        // Printed by ss of iproute2 6.1 for sockets that were made for this.
        let dns = socket("udp UNCONN 0      0      192.168.50.1:53 0.0.0.0:* users:((\"python3\",pid=27225,fd=4)) ino:69238 sk:1 cgroup:/ <->").unwrap().unwrap();
        assert_eq!(
            (dns.protocol, dns.port, dns.listening, dns.remote, dns.uid),
            (17, 53, false, None, Some(0))
        );
        let named = socket(
            "tcp LISTEN 0 5 0.0.0.0:80 0.0.0.0:* users:((\"my uid:7 v6only:1\",pid=1,fd=4)) uid:33 ino:1 sk:1 <->",
        );
        assert_eq!(named.unwrap().unwrap().uid, Some(33));
        let dhcp = socket("udp UNCONN 0      0      0.0.0.0%eth0:68 0.0.0.0:* uid:101 ino:69239 sk:2 <->")
            .unwrap()
            .unwrap();
        assert_eq!((dhcp.dev.as_deref(), dhcp.uid), (Some("eth0"), Some(101)));
        let web = socket("tcp LISTEN 0      128    *:80 *:* ino:1 sk:3 v6only:0 <->").unwrap().unwrap();
        assert_eq!((web.local, web.v6_only, web.listening), ("::".parse().unwrap(), false, true));
        let link_local = socket("udp UNCONN 0 0 [fe80::1]%eth0:546 [::]:* ino:1 v6only:1").unwrap().unwrap();
        assert_eq!((link_local.local, link_local.dev.as_deref()), ("fe80::1".parse().unwrap(), Some("eth0")));
        let client =
            socket("tcp ESTAB  0      0         127.0.0.1:45364 127.0.0.1:80    ino:69240").unwrap().unwrap();
        assert_eq!(client.remote, Some(("127.0.0.1".parse().unwrap(), 80)));
        assert!(socket("tcp LISTEN 0 0 0.0.0.0:http *:*").is_err());
    }
}
