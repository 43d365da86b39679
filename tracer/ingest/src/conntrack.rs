//! `conntrack -L -o extended` (and `/proc/net/nf_conntrack`, which is the same): one connection a line.

use std::net::IpAddr;

use pktwalk_linux::hook::Family;
use pktwalk_linux::ids::SourceLine;

use crate::reader::Reader;

/// One line of `conntrack -L`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CtLine {
    /// IP version.
    pub family: Family,
    /// 6 TCP, 17 UDP, ...
    pub protocol: u8,
    /// Seconds until it is forgotten; none for offloaded ones, which have no timeout of their own.
    pub timeout: Option<u64>,
    /// State of the protocol, as printed (`ESTABLISHED`); none for protocols without one.
    pub state: Option<String>,
    /// Of the packet that made it.
    pub original: CtLineTuple,
    /// What replies look like: with NAT not the mirror of `original`.
    pub reply: CtLineTuple,
    /// `[UNREPLIED]`.
    pub unreplied: bool,
    /// `[ASSURED]`.
    pub assured: bool,
    /// Other words in brackets (`OFFLOAD`, `HW_OFFLOAD`).
    pub flags: Vec<String>,
    /// `mark=`, decimal as printed.
    pub mark: u32,
    /// `zone=`: of both directions.
    pub zone: Option<u16>,
    /// `zone-orig=`.
    pub zone_original: Option<u16>,
    /// `zone-reply=`.
    pub zone_reply: Option<u16>,
    /// `helper=`.
    pub helper: Option<String>,
    /// Where it stands.
    pub source: SourceLine,
}

/// One direction of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CtLineTuple {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port (GRE: key); for ICMP the identifier.
    pub sport: u16,
    /// Destination port (GRE: key); for ICMP type and code, type first.
    pub dport: u16,
    /// Packets and bytes counted, where accounting is on.
    pub counters: Option<(u64, u64)>,
}

#[derive(Default)]
struct Half {
    src: Option<IpAddr>,
    dst: Option<IpAddr>,
    sport: Option<u16>,
    dport: Option<u16>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
    packets: Option<u64>,
    bytes: Option<u64>,
}

impl Half {
    fn tuple(&self, what: &str) -> Result<CtLineTuple, String> {
        let (Some(src), Some(dst)) = (self.src, self.dst) else {
            return Err(format!("the {what} direction has no src or dst"));
        };
        let icmp = match (self.icmp_type, self.icmp_code) {
            (Some(icmp_type), Some(code)) => Some(u16::from_be_bytes([icmp_type, code])),
            (None, None) => None,
            _ => return Err(format!("the {what} direction has type without code")),
        };
        Ok(CtLineTuple {
            src,
            dst,
            sport: self.sport.unwrap_or(0),
            dport: self.dport.or(icmp).unwrap_or(0),
            counters: self.packets.zip(self.bytes),
        })
    }
}

/// Reads all lines; those that cannot be read are said and left out.
pub(crate) fn lines(reader: &mut Reader<'_>, text: &[u8]) -> Vec<CtLine> {
    let mut found = Vec::new();
    reader.lines(text, |reader, number, line| {
        // What the tool says on standard error, often in the same file.
        if line.starts_with("conntrack v") {
            return;
        }
        match ct_line(line, reader.at(number)) {
            Ok(line) => found.push(line),
            Err(message) => reader.error(number, message),
        }
    });
    found
}

fn protocol(name: &str, number: Option<&str>) -> Option<u8> {
    number.and_then(|n| n.parse().ok()).or(match name {
        "icmp" => Some(1),
        "tcp" => Some(6),
        "udp" => Some(17),
        "icmpv6" => Some(58),
        "sctp" => Some(132),
        _ => None,
    })
}

fn value<T: std::str::FromStr>(key: &str, text: &str) -> Result<Option<T>, String> {
    text.parse().map(Some).map_err(|_| format!("{key}={text} cannot be read"))
}

fn key16(key: &str, text: &str) -> Result<Option<u16>, String> {
    match text.strip_prefix("0x") {
        Some(hex) => {
            u16::from_str_radix(hex, 16).map(Some).map_err(|_| format!("{key}={text} cannot be read"))
        }
        None => value(key, text),
    }
}

fn ct_line(line: &str, source: SourceLine) -> Result<CtLine, String> {
    let mut words = line.split_whitespace().peekable();
    let mut family = match words.peek() {
        Some(&"ipv4") => Some(Family::V4),
        Some(&"ipv6") => Some(Family::V6),
        _ => None,
    };
    if family.is_some() {
        words.next();
        words.next();
    }
    let name = words.next().ok_or("an empty line")?;
    let number = words.next();
    let protocol = protocol(name, number).ok_or_else(|| format!("protocol '{name}' has no number"))?;
    let timeout =
        words.next_if(|word| word.bytes().all(|b| b.is_ascii_digit())).and_then(|word| word.parse().ok());
    let state = words.next_if(|word| !word.contains('=') && !word.starts_with('[')).map(str::to_owned);

    let (mut original, mut reply) = (Half::default(), Half::default());
    let mut in_reply = false;
    let mut ct = (0u32, None, None, None, None::<String>);
    let (mut unreplied, mut assured, mut flags) = (false, false, Vec::new());
    let mut after = "";
    for word in words {
        if let Some(flag) = word.strip_prefix('[') {
            match flag.trim_end_matches(']') {
                "UNREPLIED" => unreplied = true,
                "ASSURED" => assured = true,
                other => flags.push(other.to_owned()),
            }
            continue;
        }
        let Some((key, text)) = word.split_once('=') else {
            return Err(format!("'{word}' is not understood (after '{after}')"));
        };
        after = key;
        if key == "src" && original.src.is_some() {
            in_reply = true;
        }
        let half = if in_reply { &mut reply } else { &mut original };
        match key {
            "src" => half.src = value(key, text)?,
            "dst" => half.dst = value(key, text)?,
            "sport" => half.sport = value(key, text)?,
            "dport" => half.dport = value(key, text)?,
            "srckey" => half.sport = key16(key, text)?,
            "dstkey" => half.dport = key16(key, text)?,
            "id" => half.sport = value(key, text)?,
            "type" => half.icmp_type = value(key, text)?,
            "code" => half.icmp_code = value(key, text)?,
            "packets" => half.packets = value(key, text)?,
            "bytes" => half.bytes = value(key, text)?,
            "mark" => ct.0 = value(key, text)?.unwrap_or(0),
            "zone" => ct.1 = value(key, text)?,
            "zone-orig" => ct.2 = value(key, text)?,
            "zone-reply" => ct.3 = value(key, text)?,
            "helper" => ct.4 = Some(text.to_owned()),
            // How often it is referred to, labels, times: nothing that a packet is asked for here.
            _ => {}
        }
    }
    let original = original.tuple("original")?;
    let reply = reply.tuple("reply")?;
    let family = *family.get_or_insert(crate::routes::family(&original.src));
    if crate::routes::family(&original.src) != family || crate::routes::family(&reply.src) != family {
        return Err("addresses of the other family".to_owned());
    }
    let (mark, zone, zone_original, zone_reply, helper) = ct;
    Ok(CtLine {
        family,
        protocol,
        timeout,
        state,
        original,
        reply,
        unreplied,
        assured,
        flags,
        mark,
        zone,
        zone_original,
        zone_reply,
        helper,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<CtLine, String> {
        ct_line(line, SourceLine { file: 0, line: 1 })
    }

    #[test]
    fn lines_of_the_tool_are_read() {
        // Printed by conntrack 1.4.7 for connections that were made for this.
        let tcp = read("ipv4     2 tcp      6 431999 ESTABLISHED src=127.0.0.1 dst=127.0.0.2 sport=45376 dport=80 src=127.0.0.3 dst=127.0.0.1 sport=8080 dport=45376 [ASSURED] mark=7 zone=3 use=1").unwrap();
        assert_eq!(
            (tcp.protocol, tcp.timeout, tcp.state.as_deref()),
            (6, Some(431_999), Some("ESTABLISHED"))
        );
        assert_eq!((tcp.original.sport, tcp.original.dport), (45_376, 80));
        assert_eq!((tcp.reply.src, tcp.reply.sport), ("127.0.0.3".parse().unwrap(), 8080));
        assert_eq!((tcp.assured, tcp.unreplied, tcp.mark, tcp.zone), (true, false, 7, Some(3)));
        let udp = read("udp      17 29 src=127.0.0.1 dst=127.0.0.1 sport=54206 dport=5000 packets=1 bytes=30 [UNREPLIED] src=127.0.0.1 dst=127.0.0.1 sport=5000 dport=54206 packets=0 bytes=0 mark=0 use=1").unwrap();
        assert_eq!((udp.unreplied, udp.state, udp.original.counters), (true, None, Some((1, 30))));
        let icmp = read("icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=77 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=77 mark=0 use=1").unwrap();
        assert_eq!((icmp.original.sport, icmp.original.dport), (77, 0x0800));
    }

    #[test]
    fn a_line_that_is_cut_off_is_refused_or_whole() {
        let line = "ipv4     2 tcp      6 431999 ESTABLISHED src=127.0.0.1 dst=127.0.0.2 sport=45376 dport=80 src=127.0.0.3 dst=127.0.0.1";
        for end in 0..line.len() - 20 {
            assert!(read(&line[..end]).is_err(), "{}", &line[..end]);
        }
        assert!(read("tcp 6 src=1.1.1.1 dst=1.1.1.1 sport=70000").is_err());
    }
}
