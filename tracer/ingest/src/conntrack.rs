//! `conntrack -L -o extended` (and `/proc/net/nf_conntrack`, which is the same): one connection a line.

use std::net::IpAddr;

use pktwalk_linux::config::Connection;
use pktwalk_linux::conntrack::TcpState;
use pktwalk_linux::conntrack::tuple::{CtL4, CtTuple};
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
    fn tuple(&self, what: &str, protocol: u8) -> Result<CtLineTuple, String> {
        let (Some(src), Some(dst)) = (self.src, self.dst) else {
            return Err(format!("the {what} direction has no src or dst"));
        };
        let icmp = match (self.icmp_type, self.icmp_code) {
            (Some(icmp_type), Some(code)) => Some(u16::from_be_bytes([icmp_type, code])),
            (None, None) => None,
            _ => return Err(format!("the {what} direction has type without code")),
        };
        // What the tool always prints of these (`ports_snprintf`, `icmp_snprintf` of libnetfilter_conntrack).
        match protocol {
            6 | 17 | 33 | 132 | 136 if self.sport.is_none() || self.dport.is_none() => {
                return Err(format!("the {what} direction has no sport or dport"));
            }
            1 | 58 if icmp.is_none() || self.sport.is_none() => {
                return Err(format!("the {what} direction has no type, code or id"));
            }
            _ => {}
        }
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

/// What a walk starts with. None for IPv6, and for an ICMP type that no connection begins with.
pub(crate) fn connection(line: &CtLine) -> Option<Connection> {
    let tuple = |half: &CtLineTuple| {
        let (IpAddr::V4(src), IpAddr::V4(dst)) = (half.src, half.dst) else { return None };
        let l4 = match line.protocol {
            1 => {
                let [icmp_type, code] = half.dport.to_be_bytes();
                CtL4::Icmp { id: half.sport, icmp_type, code }
            }
            6 | 17 | 132 | 136 => CtL4::Ports { src: half.sport, dst: half.dport },
            47 if (half.sport, half.dport) != (0, 0) => CtL4::Ports { src: half.sport, dst: half.dport },
            _ => CtL4::None,
        };
        Some(CtTuple { src: src.into(), dst: dst.into(), protocol: line.protocol, l4 })
    };
    let original = tuple(&line.original)?;
    original.invert()?;
    let unmodelled = if line.flags.iter().any(|flag| flag.contains("OFFLOAD")) {
        Some("a connection of the dump that is offloaded to a flowtable")
    } else if line.helper.is_some() {
        Some("a connection of the dump that has a helper")
    } else if line.protocol == 132 {
        Some("an SCTP connection of the dump, whose verification tags are not told")
    } else {
        None
    };
    let zone = line.zone.unwrap_or(0);
    Some(Connection {
        original,
        reply: tuple(&line.reply)?,
        zone_original: line.zone_original.unwrap_or(zone),
        zone_reply: line.zone_reply.unwrap_or(zone),
        unreplied: line.unreplied,
        assured: line.assured,
        mark: line.mark,
        timeout: line.timeout.map_or(u32::MAX, |seconds| u32::try_from(seconds).unwrap_or(u32::MAX)),
        tcp: (line.protocol == 6).then(|| line.state.as_deref().and_then(tcp_state)).flatten(),
        unmodelled,
        source: line.source,
    })
}

fn tcp_state(name: &str) -> Option<TcpState> {
    use TcpState::{
        Close, CloseWait, Established, FinWait, LastAck, None as Nothing, SynRecv, SynSent, SynSent2,
        TimeWait,
    };
    let all =
        [Nothing, SynSent, SynRecv, Established, FinWait, CloseWait, LastAck, TimeWait, Close, SynSent2];
    all.into_iter().find(|state| state.name() == name)
}

/// As `conntrack -L -o extended` prints them.
pub(crate) fn print(connections: &[Connection]) -> String {
    let half = |tuple: &CtTuple| {
        let l4 = match tuple.l4 {
            CtL4::Ports { src, dst } if tuple.protocol == 47 => format!(" srckey={src:#x} dstkey={dst:#x}"),
            CtL4::Ports { src, dst } => format!(" sport={src} dport={dst}"),
            CtL4::Icmp { id, icmp_type, code } => format!(" type={icmp_type} code={code} id={id}"),
            CtL4::None => String::new(),
        };
        format!("src={} dst={}{l4}", tuple.src_addr(), tuple.dst_addr())
    };
    let mut text = String::new();
    for one in connections {
        let protocol = one.original.protocol;
        let name = match protocol {
            1 => "icmp",
            6 => "tcp",
            17 => "udp",
            47 => "gre",
            132 => "sctp",
            136 => "udplite",
            _ => "unknown",
        };
        let state = one.tcp.map(|state| format!(" {}", state.name())).unwrap_or_default();
        let zone = match (one.zone_original, one.zone_reply) {
            (0, 0) => String::new(),
            (original, reply) if original == reply => format!(" zone={original}"),
            (original, reply) => format!(" zone-orig={original} zone-reply={reply}"),
        };
        text.push_str(&format!(
            "ipv4     2 {name:<8} {protocol} {}{state} {}{} {}{} mark={}{zone} use=1\n",
            one.timeout,
            half(&one.original),
            if one.unreplied { " [UNREPLIED]" } else { "" },
            half(&one.reply),
            if one.assured { " [ASSURED]" } else { "" },
            one.mark,
        ));
    }
    text
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
            "use" | "labels" | "secctx" | "secmark" | "start" | "stop" | "delta-time" | "vtag-orig"
            | "vtag-reply" | "l3out" | "ifid" => {}
            _ => return Err(format!("{key}= is not understood")),
        }
    }
    if let Some(name) = state.as_deref().filter(|name| protocol == 6 && tcp_state(name).is_none()) {
        return Err(format!("'{name}' is no state of TCP"));
    }
    let original = original.tuple("original", protocol)?;
    let reply = reply.tuple("reply", protocol)?;
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
