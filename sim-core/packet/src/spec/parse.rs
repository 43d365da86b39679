//! Text to [`Spec`].

use super::ast::{DEFAULT_TTL, DEFAULT_WINDOW, Data, Ip, L4, NamedTcpOptions, Net, Payload, Spec, Sum, Tcp};
use super::error::{SpecError, SpecProblem};
use super::lex::{Word, words};
use super::value;
use crate::names::{icmp_number, is_icmp_error, is_icmp_query, is_icmp_timestamp, proto, protocol_number};
use crate::{ArpFields, MacAddr, arp_op, tcp_flag};

/// Which keys a kind of packet has, for messages and to tell typing errors.
const FRAME_KEYS: &[&str] = &["smac", "dmac", "vlan", "pcp", "dei", "pad", "cut"];
const IP_KEYS: &[&str] = &[
    "ttl", "tos", "dscp", "ecn", "id", "ipid", "df", "mf", "rf", "off", "opts", "totlen", "ipsum", "len",
    "data",
];
const TCP_KEYS: &[&str] = &[
    "flags",
    "seq",
    "ack",
    "win",
    "urg",
    "reserved",
    "doff",
    "mss",
    "wscale",
    "sack-perm",
    "ts",
    "tcpopts",
    "sum",
    "cksum",
];
const UDP_KEYS: &[&str] = &["ulen", "sum", "cksum"];
const UDPLITE_KEYS: &[&str] = &["cov", "sum", "cksum"];
const SCTP_KEYS: &[&str] = &["vtag", "sum", "cksum"];
const ICMP_KEYS: &[&str] = &[
    "type", "code", "seq", "mtu", "gateway", "pointer", "rest", "org", "recv", "xmit", "sum", "cksum",
    "about",
];
/// Those of the three times, in their order.
const TIME_KEYS: [&str; 3] = ["org", "recv", "xmit"];
const ARP_KEYS: &[&str] = &["op", "sha", "tha"];

/// Words that stand alone.
const BARE_KEYS: &[&str] = &["df", "mf", "rf", "sack-perm", "dei"];

/// Twice the longest data of a raw frame, which is longer than any other packet, and room for the keys.
const MAX_TEXT: usize = 2 * MAX_RAW + 0x1_0000;

/// The most bytes of a raw frame.
const MAX_RAW: usize = 0xf_ffff;

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<Spec, SpecError> {
    if text.len() > MAX_TEXT {
        let word = Word { text: "", offset: 0 };
        return Err(word.error(SpecProblem::TextTooLong(text.len())));
    }
    let words = words(text)?;
    let end = Word { text: "", offset: text.len() };
    let mut parser = Parser { words: &words, at: 0, end };
    let spec = parser.packet(0)?;
    match parser.peek() {
        Some(word) => Err(word.error(SpecProblem::Expected { what: "the end of the packet" })),
        None => Ok(spec),
    }
}

struct Parser<'w, 'a> {
    words: &'w [Word<'a>],
    at: usize,
    end: Word<'a>,
}

/// A key as it stands.
struct Key<'a> {
    word: Word<'a>,
    name: &'a str,
    value: Option<&'a str>,
    used: bool,
}

/// An address, and a port if one was written.
struct End<'a> {
    word: Word<'a>,
    addr: u32,
    port: Option<u16>,
}

/// Everything behind the endpoints.
struct Keys<'a> {
    keys: Vec<Key<'a>>,
    about: Option<(Word<'a>, Spec)>,
}

impl<'a> Parser<'_, 'a> {
    fn peek(&self) -> Option<Word<'a>> {
        self.words.get(self.at).copied()
    }

    fn next(&mut self, what: &'static str) -> Result<Word<'a>, SpecError> {
        let word = self.peek().ok_or_else(|| self.end.error(SpecProblem::Expected { what }))?;
        self.at += 1;
        Ok(word)
    }

    /// One packet; `depth` 1 is a packet inside `about (...)`.
    fn packet(&mut self, depth: u8) -> Result<Spec, SpecError> {
        let Some(first) = self.peek() else {
            return Err(self.end.error(SpecProblem::Empty));
        };
        self.at += 1;
        match first.text {
            "tcp" | "udp" | "icmp" | "sctp" | "udplite" | "ip" => self.ip(first, depth),
            "arp" if depth == 0 => self.arp(first),
            "raw" if depth == 0 => self.raw(first),
            "arp" | "raw" => Err(first.error(SpecProblem::Contradiction {
                why: "an ICMP error is about an IPv4 packet: tcp, udp, icmp, sctp, udplite or ip",
            })),
            _ => Err(first.error(SpecProblem::UnknownProtocol)),
        }
    }

    fn end_point(&mut self) -> Result<End<'a>, SpecError> {
        let what = "an IPv4 address, with `:PORT` for protocols that have ports";
        let word = self.next(what)?;
        if word.text.starts_with('[') || word.text.matches(':').count() > 1 {
            return Err(word.error(SpecProblem::Ipv6));
        }
        let (addr, port) = match word.text.split_once(':') {
            Some((addr, port)) => (addr, Some(port)),
            None => (word.text, None),
        };
        let bad = |expected| word.error(SpecProblem::BadValue { expected });
        Ok(End {
            word,
            addr: value::addr(addr).ok_or_else(|| word.error(SpecProblem::Expected { what }))?,
            port: match port {
                Some(port) => {
                    Some(value::number(port).ok_or_else(|| bad("ADDRESS:PORT with a port from 0 to 65535"))?)
                }
                None => None,
            },
        })
    }

    fn end_points(&mut self) -> Result<(End<'a>, End<'a>), SpecError> {
        let from = self.end_point()?;
        let what = "`>` between source and destination";
        let arrow = self.next(what)?;
        if arrow.text != ">" {
            return Err(arrow.error(SpecProblem::Expected { what }));
        }
        Ok((from, self.end_point()?))
    }

    /// All keys up to the end or to the `)` that closes this packet.
    fn keys(&mut self, protocol: &str, valid: &[&[&str]], depth: u8) -> Result<Keys<'a>, SpecError> {
        let mut keys = Keys { keys: Vec::new(), about: None };
        while let Some(word) = self.peek().filter(|word| word.text != ")") {
            self.at += 1;
            let (name, value) = match word.text.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                // As reports write them: flags and types by their names alone.
                None if protocol == "tcp" && value::flag_names(word.text).is_some() => {
                    ("flags", Some(word.text))
                }
                None if protocol == "icmp" && icmp_number(word.text).is_some() => ("type", Some(word.text)),
                None => (word.text, None),
            };
            let outer_only = depth > 0 && name != "cut" && (FRAME_KEYS.contains(&name) || name == "about");
            if outer_only || !valid.iter().any(|list| list.contains(&name)) {
                let shown = valid.iter().copied().flatten().filter(|key| {
                    depth == 0 || **key == "cut" || !(FRAME_KEYS.contains(key) || **key == "about")
                });
                return Err(word.error(SpecProblem::UnknownKey {
                    protocol: protocol.to_owned(),
                    valid: shown.copied().collect::<Vec<_>>().join(", "),
                }));
            }
            if keys.keys.iter().any(|key| key.name == name) || (name == "about" && keys.about.is_some()) {
                return Err(word.error(SpecProblem::Repeated));
            }
            if name == "about" {
                keys.about = Some((word, self.about(word, depth)?));
                continue;
            }
            if BARE_KEYS.contains(&name) && value.is_some() {
                return Err(word.error(SpecProblem::TakesNoValue));
            }
            keys.keys.push(Key { word, name, value, used: false });
        }
        Ok(keys)
    }

    fn about(&mut self, word: Word<'a>, depth: u8) -> Result<Spec, SpecError> {
        if word.text != "about" {
            return Err(word.error(SpecProblem::TakesNoValue));
        }
        let what = "`(`, a packet, and `)`";
        let open = self.next(what)?;
        if open.text != "(" {
            return Err(open.error(SpecProblem::Expected { what }));
        }
        let inner = self.packet(depth + 1)?;
        let what = "`)` behind the packet that the error is about";
        let close = self.next(what)?;
        if close.text != ")" {
            return Err(close.error(SpecProblem::Expected { what }));
        }
        Ok(inner)
    }

    fn raw(&mut self, first: Word<'a>) -> Result<Spec, SpecError> {
        let mut keys =
            self.keys(first.text, &[&["ethertype", "data", "len", "smac", "dmac", "missing"]], 0)?;
        let expected = "an EtherType such as 0x86dd";
        let ethertype = keys.value("ethertype", expected, value::number)?.ok_or_else(|| {
            self.end.error(SpecProblem::Ambiguous { what: "say ethertype=, such as 0x86dd" })
        })?;
        let data = keys.data()?.unwrap_or_default();
        let too_long = data.len() > MAX_RAW;
        if too_long && let Some(key) = keys.word("data").or(keys.word("len")) {
            return Err(key.error(SpecProblem::BadValue { expected: "at most 1048575 bytes" }));
        }
        let cut = keys.value("missing", "a number of bytes", value::number::<u32>)?.unwrap_or(0) as usize;
        let mac = keys.mac()?;
        Ok(Spec { mac, vlan: None, net: Net::Raw { ethertype, data }, pad: Data::default(), cut })
    }

    fn arp(&mut self, first: Word<'a>) -> Result<Spec, SpecError> {
        let (sender, target) = self.end_points()?;
        for end in [&sender, &target] {
            if end.port.is_some() {
                return Err(end.word.error(SpecProblem::Contradiction { why: "ARP has no ports" }));
            }
        }
        let mut keys = self.keys(first.text, &[ARP_KEYS, FRAME_KEYS], 0)?;
        let operation = keys
            .value("op", "request, reply or a number up to 65535", |text| match text {
                "request" => Some(arp_op::REQUEST),
                "reply" => Some(arp_op::REPLY),
                _ => value::number(text),
            })?
            .unwrap_or(arp_op::REQUEST);
        let sha = keys.value("sha", MAC, value::mac)?;
        let tha = keys.value("tha", MAC, value::mac)?;
        // What the Ethernet header says is what the ARP packet says, unless it is written otherwise.
        let smac = keys.value("smac", MAC, value::mac)?;
        let dmac = keys.value("dmac", MAC, value::mac)?;
        let ambiguous = |what| self.end.error(SpecProblem::Ambiguous { what });
        let sender_mac = sha.or(smac).ok_or_else(|| {
            ambiguous("say whose ARP packet it is: sha=MAC, or smac=MAC for the Ethernet header too")
        })?;
        let request = operation == arp_op::REQUEST;
        let target_mac = match tha {
            Some(mac) => mac,
            None if request => MacAddr::default(),
            None => dmac.ok_or_else(|| ambiguous("say tha=MAC (or dmac=MAC): whom the answer is for"))?,
        };
        let mac = match (smac, dmac) {
            (None, None) => None,
            (Some(src), Some(dst)) => Some((dst, src)),
            (Some(src), None) => Some((if request { MacAddr::BROADCAST } else { target_mac }, src)),
            (None, Some(dst)) => Some((dst, sender_mac)),
        };
        let fields =
            ArpFields { operation, sender_mac, sender: sender.addr, target_mac, target: target.addr };
        keys.frame(Net::Arp(fields), mac)
    }

    fn ip(&mut self, first: Word<'a>, depth: u8) -> Result<Spec, SpecError> {
        let (from, to) = self.end_points()?;
        let own = match first.text {
            "tcp" => TCP_KEYS,
            "udp" => UDP_KEYS,
            "udplite" => UDPLITE_KEYS,
            "sctp" => SCTP_KEYS,
            "icmp" => ICMP_KEYS,
            _ => &["proto"],
        };
        let mut keys = self.keys(first.text, &[own, IP_KEYS, FRAME_KEYS], depth)?;
        let off = keys
            .value("off", "a fragment offset in bytes: a multiple of 8 up to 65528", |text| {
                value::number::<u16>(text).filter(|off| off % 8 == 0)
            })?
            .unwrap_or(0)
            / 8;
        let mf = keys.flag("mf");
        let protocol = match first.text {
            "ip" => keys
                .value("proto", "a protocol number up to 255, or a name such as gre", |text| {
                    value::number(text).or_else(|| protocol_number(text))
                })?
                .ok_or_else(|| self.end.error(SpecProblem::Ambiguous { what: "say proto=N" }))?,
            word => protocol_number(word).unwrap_or(0),
        };
        let fragment = off > 0 || mf;
        if fragment && let Some(word) = keys.word("sum").or(keys.word("cksum")) {
            let value = word.text.split_once('=').map_or("", |(_, value)| value);
            if off > 0 || value == "bad" {
                let why = "the checksum is over all fragments together: it stands in the first one only, and from that alone nobody \
                           can tell a right from a wrong one";
                return Err(word.error(SpecProblem::Contradiction { why }));
            }
        }
        let l4 = if off > 0 {
            keys.refuse_in_later_fragment(own, [&from, &to])?;
            L4::Bare
        } else {
            self.l4(protocol, first, &mut keys, [&from, &to])?
        };
        let sum = keys.sum(protocol)?;
        let payload = keys.payload(&l4)?;
        let id_expected = "an identification up to 65535";
        let is_query = matches!(l4, L4::Icmp { .. });
        let ipid = keys.value("ipid", id_expected, value::number)?;
        let id = if is_query { None } else { keys.value("id", id_expected, value::number)? };
        if let (Some(_), Some(_), Some(word)) = (ipid, id, keys.word("ipid")) {
            return Err(word.error(SpecProblem::Contradiction { why: "id= says the same as ipid=" }));
        }
        let net = Ip {
            src: from.addr,
            dst: to.addr,
            protocol,
            tos: keys.tos()?,
            ttl: keys.value("ttl", "a number up to 255", value::number)?.unwrap_or(DEFAULT_TTL),
            id: ipid.or(id).unwrap_or(0),
            reserved: keys.flag("rf"),
            df: keys.flag("df"),
            mf,
            off,
            options: keys.options("opts")?.unwrap_or_default(),
            totlen: keys.value("totlen", "a length up to 65535", value::number)?,
            ipsum: keys
                .value("ipsum", "`bad` or a number such as 0x1a2b", |text| value::sum(text, 16))?
                .unwrap_or_default(),
            l4,
            sum,
            payload,
        };
        let mac = keys.mac()?;
        keys.frame(Net::Ip(Box::new(net)), mac)
    }

    fn l4(
        &self,
        protocol: u8,
        first: Word<'a>,
        keys: &mut Keys<'a>,
        ends: [&End<'a>; 2],
    ) -> Result<L4, SpecError> {
        if matches!(first.text, "icmp" | "ip") {
            if let Some(end) = ends.iter().find(|end| end.port.is_some()) {
                let why = if first.text == "ip" {
                    "`ip proto=N` has no ports; use tcp, udp, sctp or udplite"
                } else {
                    "ICMP has no ports"
                };
                return Err(end.word.error(SpecProblem::Contradiction { why }));
            }
            return if first.text == "ip" { Ok(L4::Bare) } else { keys.icmp(self.end) };
        }
        let port = |end: &End<'a>| {
            end.port.ok_or_else(|| {
                end.word.error(SpecProblem::Ambiguous { what: "the port is missing: write ADDRESS:PORT" })
            })
        };
        let ports = (port(ends[0])?, port(ends[1])?);
        Ok(match protocol {
            proto::TCP => L4::Tcp(keys.tcp(ports)?),
            proto::UDP => L4::Udp { ports, ulen: keys.value("ulen", "a length up to 65535", value::number)? },
            proto::UDPLITE => L4::Udplite {
                ports,
                coverage: keys.value("cov", "a length up to 65535", value::number)?.unwrap_or(0),
            },
            _ => L4::Sctp {
                ports,
                tag: keys.value("vtag", "a number of 32 bits", value::number)?.unwrap_or(0),
            },
        })
    }
}

const MAC: &str = "a hardware address such as 02:00:00:00:00:01";
const U32: &str = "a number of 32 bits";
const U16: &str = "a number up to 65535";

impl<'a> Keys<'a> {
    fn word(&self, name: &str) -> Option<Word<'a>> {
        self.keys.iter().find(|key| key.name == name).map(|key| key.word)
    }

    fn flag(&mut self, name: &str) -> bool {
        match self.keys.iter_mut().find(|key| key.name == name) {
            Some(key) => {
                key.used = true;
                true
            }
            None => false,
        }
    }

    fn value<T>(
        &mut self,
        name: &str,
        expected: &'static str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<Option<T>, SpecError> {
        let Some(key) = self.keys.iter_mut().find(|key| key.name == name) else { return Ok(None) };
        key.used = true;
        match key.value {
            None | Some("") => Err(key.word.error(SpecProblem::NeedsValue { expected })),
            Some(value) => match read(value) {
                Some(value) => Ok(Some(value)),
                None => Err(key.word.error(SpecProblem::BadValue { expected })),
            },
        }
    }

    /// Refuses `name` if it was given.
    fn refuse(&self, name: &str, why: &'static str) -> Result<(), SpecError> {
        match self.word(name) {
            Some(word) => Err(word.error(SpecProblem::Contradiction { why })),
            None => Ok(()),
        }
    }

    fn refuse_in_later_fragment(&self, own: &[&str], ends: [&End<'a>; 2]) -> Result<(), SpecError> {
        if let Some(end) = ends.iter().find(|end| end.port.is_some()) {
            let why = "a later fragment (off= above 0) carries no ports";
            return Err(end.word.error(SpecProblem::Contradiction { why }));
        }
        let why = "it stands in a transport header, and a later fragment (off= above 0) carries none";
        own.iter().filter(|name| **name != "proto").try_for_each(|name| self.refuse(name, why))?;
        match &self.about {
            Some((word, _)) => Err(word.error(SpecProblem::Contradiction { why })),
            None => Ok(()),
        }
    }

    fn mac(&mut self) -> Result<Option<(MacAddr, MacAddr)>, SpecError> {
        let src = self.value("smac", MAC, value::mac)?;
        let dst = self.value("dmac", MAC, value::mac)?;
        match (src, dst) {
            (None, None) => Ok(None),
            (Some(src), Some(dst)) => Ok(Some((dst, src))),
            _ => {
                let what = "an Ethernet header has two addresses: say both smac= and dmac=, or none";
                let word = self.word("smac").or(self.word("dmac"));
                let word = word.unwrap_or(Word { text: "", offset: 0 });
                Err(word.error(SpecProblem::Ambiguous { what }))
            }
        }
    }

    fn tos(&mut self) -> Result<u8, SpecError> {
        let tos = self.value("tos", "a number up to 255", value::number)?;
        let dscp = self.value("dscp", "a number up to 63, or a class such as ef, af11, cs5", value::dscp)?;
        let ecn =
            self.value("ecn", "0, 1, 2 or 3", |text| value::number::<u8>(text).filter(|ecn| *ecn < 4))?;
        if tos.is_some() {
            let why = "tos= says the DSCP and the ECN bits already";
            self.refuse("dscp", why)?;
            self.refuse("ecn", why)?;
        }
        Ok(tos.unwrap_or((dscp.unwrap_or(0) << 2) | ecn.unwrap_or(0)))
    }

    fn options(&mut self, name: &str) -> Result<Option<Vec<u8>>, SpecError> {
        self.value(name, "4, 8, ... or 40 bytes in hexadecimal", |text| {
            value::hex(text).filter(|bytes| bytes.len() % 4 == 0 && bytes.len() <= 40)
        })
    }

    fn data(&mut self) -> Result<Option<Data>, SpecError> {
        let expected =
            "bytes in hexadecimal, HEX+N for N zeros behind them, or \"text\" (with \\\" \\\\ \\n \\r \\t)";
        let data = self.value("data", expected, value::data)?;
        let len = self.value("len", "a number of bytes", value::number::<u32>)?;
        if data.is_some() {
            self.refuse("len", "data= says how many bytes there are already")?;
        }
        Ok(data.or(len.map(|len| Data { bytes: Vec::new(), zeros: len as usize })))
    }

    fn payload(&mut self, l4: &L4) -> Result<Payload, SpecError> {
        let data = self.data()?;
        let Some((word, inner)) = self.about.take() else {
            return Ok(Payload::Data(data.unwrap_or_default()));
        };
        if data.is_some() {
            let why = "about (...) is the data of the ICMP error";
            self.refuse("data", why)?;
            self.refuse("len", why)?;
        }
        match l4 {
            L4::Icmp { icmp_type, .. } if is_icmp_error(*icmp_type) => Ok(Payload::About(Box::new(inner))),
            _ => {
                let why = "only ICMP errors (types 3, 4, 5, 11, 12) are about a packet";
                Err(word.error(SpecProblem::Contradiction { why }))
            }
        }
    }

    fn sum(&mut self, protocol: u8) -> Result<Sum, SpecError> {
        let udp = protocol == proto::UDP;
        let bits = if protocol == proto::SCTP { 32 } else { 16 };
        let expected =
            if udp { "`bad`, `none` or a number such as 0x1a2b" } else { "`bad` or a number such as 0x1a2b" };
        let sum = self.value("sum", expected, |text| match text {
            "none" if udp => Some(Sum::Value(0)),
            _ => value::sum(text, bits),
        })?;
        let short = self.value("cksum", "`bad`", |text| (text == "bad").then_some(Sum::Bad))?;
        if sum.is_some() {
            self.refuse("cksum", "sum= says the checksum already")?;
        }
        Ok(sum.or(short).unwrap_or_default())
    }

    fn tcp(&mut self, ports: (u16, u16)) -> Result<Tcp, SpecError> {
        let named = NamedTcpOptions {
            mss: self.value("mss", U16, value::number)?,
            sack_perm: self.flag("sack-perm"),
            ts: self.value("ts", "VALUE:ECHO, two numbers of 32 bits", |text| {
                let (value, echo) = text.split_once(':')?;
                Some((value::number(value)?, value::number(echo)?))
            })?,
            wscale: self.value("wscale", "a number up to 255", value::number)?,
        };
        let options = self.options("tcpopts")?;
        if options.is_some() {
            for name in ["mss", "sack-perm", "ts", "wscale"] {
                self.refuse(name, "tcpopts= says all TCP options already")?;
            }
        }
        Ok(Tcp {
            ports,
            seq: self.value("seq", U32, value::number)?.unwrap_or(0),
            ack: self.value("ack", U32, value::number)?.unwrap_or(0),
            flags: self
                .value("flags", "letters of SFRPAUEC, or `none`", value::flags)?
                .unwrap_or(tcp_flag::SYN),
            reserved: self
                .value("reserved", "a number up to 15", |text| {
                    value::number::<u8>(text).filter(|bits| *bits < 16)
                })?
                .unwrap_or(0),
            window: self.value("win", U16, value::number)?.unwrap_or(DEFAULT_WINDOW),
            urgent: self.value("urg", U16, value::number)?.unwrap_or(0),
            options: options.unwrap_or_else(|| named.encode()),
            doff: self.value("doff", "a number of 32-bit words up to 15", |text| {
                value::number::<u8>(text).filter(|words| *words < 16)
            })?,
        })
    }

    fn icmp(&mut self, end: Word<'a>) -> Result<L4, SpecError> {
        let expected = "a number up to 255 or a name such as echo-request, port-unreachable";
        let (icmp_type, named_code) = self
            .value("type", expected, |text| {
                icmp_number(text).or_else(|| value::number(text).map(|number| (number, None)))
            })?
            .ok_or_else(|| {
                end.error(SpecProblem::Ambiguous { what: "say type=, such as type=echo-request or type=3" })
            })?;
        let code = self.value("code", "a number up to 255", value::number)?;
        if let (Some(named), Some(code)) = (named_code, code)
            && named != code
        {
            self.refuse("code", "the name of the type says another code")?;
        }
        let code: u8 = code.or(named_code).unwrap_or(0);
        let id: Option<u16> = self.value("id", U16, value::number)?;
        let seq: Option<u16> = self.value("seq", U16, value::number)?;
        let mtu: Option<u16> = self.value("mtu", U16, value::number)?;
        let gateway = self.value("gateway", "an IPv4 address", value::addr)?;
        let pointer: Option<u8> = self.value("pointer", "a number up to 255", value::number)?;
        let rest: Option<u32> =
            self.value("rest", "a number of 32 bits, such as 0x00010000", value::number)?;
        if !is_icmp_query(icmp_type) {
            self.refuse("id", "this ICMP type has no identifier; the IPv4 identification is ipid=")?;
            self.refuse("seq", "this ICMP type has no sequence number")?;
        }
        if (icmp_type, code) != (3, 4) {
            self.refuse("mtu", "only fragmentation-needed (3/4) has an MTU")?;
        }
        if icmp_type != 5 {
            self.refuse("gateway", "only redirects (type 5) have a gateway")?;
        }
        if icmp_type != 12 {
            self.refuse("pointer", "only parameter problems (type 12) have a pointer")?;
        }
        if rest.is_some() {
            for name in ["id", "seq", "mtu", "gateway", "pointer"] {
                self.refuse(name, "rest= says bytes 4 to 7 of the ICMP header already")?;
            }
        }
        let [a, b] = id.unwrap_or(0).to_be_bytes();
        let [c, d] = seq.or(mtu).unwrap_or(0).to_be_bytes();
        let rest = match (rest.or(gateway), pointer) {
            (Some(rest), _) => rest.to_be_bytes(),
            (None, Some(pointer)) => [pointer, 0, 0, 0],
            (None, None) => [a, b, c, d],
        };
        let times = self.times(icmp_type)?;
        Ok(L4::Icmp { icmp_type, code, rest, times })
    }

    /// The three times of a timestamp request or reply: there if one of them is said, or if nothing is said of the payload.
    fn times(&mut self, icmp_type: u8) -> Result<Option<[u32; 3]>, SpecError> {
        let expected =
            "a time since midnight UTC such as 09:30:00.000, or a number of 32 bits (milliseconds)";
        let mut times = [0; 3];
        let mut said = false;
        for (time, name) in times.iter_mut().zip(TIME_KEYS) {
            if let Some(value) = self.value(name, expected, value::time)? {
                (*time, said) = (value, true);
            }
        }
        if !is_icmp_timestamp(icmp_type) {
            let why = "only timestamp requests and replies (types 13 and 14) have times";
            TIME_KEYS.iter().try_for_each(|name| self.refuse(name, why))?;
            return Ok(None);
        }
        let bare = self.word("len").is_none() && self.word("data").is_none();
        Ok((said || bare).then_some(times))
    }

    /// Finishes a frame: what may stand around every packet. Every key must have been used by now.
    fn frame(&mut self, net: Net, mac: Option<(MacAddr, MacAddr)>) -> Result<Spec, SpecError> {
        let vlan = self.value("vlan", "a VLAN number up to 4095", |text| {
            value::number::<u16>(text).filter(|id| *id < 4096)
        })?;
        let pcp = self.value("pcp", "a priority up to 7", |text| {
            value::number::<u16>(text).filter(|priority| *priority < 8)
        })?;
        let dei = self.flag("dei");
        if vlan.is_none() {
            let why = "it stands in a VLAN tag: say vlan= too";
            self.refuse("pcp", why)?;
            self.refuse("dei", why)?;
        }
        let pad_expected = "a number of zero bytes up to 65535, or 0x and bytes in hexadecimal";
        let pad = self
            .value("pad", pad_expected, |text| match text.strip_prefix("0x") {
                Some(bytes) => value::data(bytes).filter(|data| data.len() <= 0xffff),
                None => value::number::<u16>(text)
                    .map(|zeros| Data { bytes: Vec::new(), zeros: usize::from(zeros) }),
            })?
            .unwrap_or_default();
        let cut = self.value("cut", "a number of bytes", value::number::<u32>)?.unwrap_or(0) as usize;
        if let Some(key) = self.keys.iter().find(|key| !key.used) {
            let why = "it has no meaning in this packet";
            return Err(key.word.error(SpecProblem::Contradiction { why }));
        }
        let tci = vlan.map(|id| id | (u16::from(dei) << 12) | (pcp.unwrap_or(0) << 13));
        let spec = Spec { mac, vlan: tci, net, pad, cut };
        let long = self.word("data").or(self.word("len")).unwrap_or(Word { text: "", offset: 0 });
        let whole =
            Spec { cut: 0, ..spec.clone() }.build().map_err(|error| long.error(SpecProblem::Build(error)))?;
        if let Some(word) = self.word("cut")
            && cut > whole.l3().len()
        {
            let why = "the packet has fewer bytes than were cut off";
            return Err(word.error(SpecProblem::Contradiction { why }));
        }
        Ok(spec)
    }
}
