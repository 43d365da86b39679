//! `scenario.yaml`, version 1.
//!
//! ```yaml
//! version: 1                      # may be left out
//! title: A published port whose filter forgot it
//! symptom: curl from outside hangs
//! source: {bundle: bundle}        # relative to the folder
//! live: netns                     # none | netns | guest: where the kernel can confirm it
//! send:
//!   - packet: 'tcp 203.0.113.5:40000 > 198.51.100.7:8080 flags=S'
//!     at: eth0                    # [NODE/][NETNS:]DEV; or from-local: [NODE/][NETNS]
//!     expect: {disposition: dropped, code: RULE_DROP, hook: FORWARD, table: filter, chain: FORWARD, rule: 3}
//!   - packet: 'tcp 203.0.113.5:40000 > 198.51.100.7:80 flags=S'
//!     at: eth0                    # out: everything that leaves, [] for nothing; made: of what is made because of it
//!     expect: {out: {dev: br0, packet: 'tcp 203.0.113.5:40000 > 10.0.0.7:80 flags=S ttl=63'}}
//!   - {from: 10.0.0.5, to: '10.0.0.1:53/udp', from-local: '', socket: {uid: 1000}}
//!   - {pcap: 'capture.pcap:2', at: eth0}
//! ```
//!
//! Keys that are not known are refused, with their line: a misspelt expectation must not pass.

use std::fmt;

use pktwalk_ingest::near;
use pktwalk_linux::hook::{Hook, TableName};
use pktwalk_linux::reason::{Because, Disposition, DropCode};
use pktwalk_packet::{Packet, spec};
use serde::Deserialize;
use serde_saphyr::Spanned;
use thiserror::Error;

/// What is wrong with a scenario file.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{}: {message}", Place(.file, *.line))]
pub struct FileError {
    /// As it was given.
    pub file: String,
    /// 1-based; 0 where it is not known.
    pub line: u64,
    /// One sentence.
    pub message: String,
}

struct Place<'a>(&'a str, u64);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            0 => f.write_str(self.0),
            line => write!(f, "{}:{line}", self.0),
        }
    }
}

/// A scenario, as written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScenarioFile {
    /// One line.
    pub title: String,
    /// What somebody who has the problem sees.
    pub symptom: String,
    /// The bundle, relative to the scenario's folder.
    pub bundle: String,
    /// Where the kernel can confirm it.
    pub live: Live,
    /// In order.
    pub sends: Vec<Send>,
}

/// Where the kernel can confirm a scenario.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Live {
    /// Nowhere: it shows something that cannot be brought about.
    None,
    /// In network namespaces of the machine at hand.
    #[default]
    Netns,
    /// Only in a guest with another kernel.
    Guest,
}

/// One packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Send {
    /// What is sent.
    pub packet: PacketSource,
    /// Where it enters; none where the capture says it.
    pub entry: Option<EntryAt>,
    /// What is expected.
    pub expect: Option<Expect>,
    /// Where it stands.
    pub line: u64,
}

/// What is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PacketSource {
    /// In the packet mini-language.
    Spec(String),
    /// From one end to another: the first packet of a connection.
    Ends {
        /// `ADDRESS[:PORT]`.
        from: String,
        /// `ADDRESS[:PORT][/PROTOCOL]`.
        to: String,
    },
    /// From a capture.
    Pcap {
        /// Relative to the scenario's folder.
        file: String,
        /// 1-based; none for all of them.
        number: Option<u32>,
    },
}

/// Where a packet enters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EntryAt {
    /// Received by a device.
    Device {
        /// Node; empty if not said.
        node: String,
        /// Namespace of the node; empty for its own.
        netns: String,
        /// Device.
        dev: String,
    },
    /// Sent from within.
    Local {
        /// Node; empty if not said.
        node: String,
        /// Namespace of the node; empty for its own.
        netns: String,
        /// User and group of the sending process.
        socket: SocketIds,
    },
}

impl EntryAt {
    /// Reads `[NODE/][NETNS:]DEV`.
    pub fn device(text: &str) -> Result<EntryAt, String> {
        let (node, rest) = text.rsplit_once('/').unwrap_or(("", text));
        let (netns, dev) = rest.split_once(':').unwrap_or(("", rest));
        if dev.is_empty() {
            return Err(format!("'{text}' names no device: [NODE/][NETNS:]DEV is expected"));
        }
        Ok(EntryAt::Device { node: node.to_owned(), netns: netns.to_owned(), dev: dev.to_owned() })
    }

    /// Reads `[NODE/][NETNS]`.
    pub fn local(text: &str, socket: SocketIds) -> EntryAt {
        let (node, netns) = text.rsplit_once('/').unwrap_or(("", text));
        EntryAt::Local { node: node.to_owned(), netns: netns.to_owned(), socket }
    }
}

/// Who owns a sending socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SocketIds {
    /// User.
    #[serde(default)]
    pub uid: Option<u32>,
    /// Group.
    #[serde(default)]
    pub gid: Option<u32>,
}

/// What is expected of a packet. What is not said is not looked at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expect {
    /// How it ends.
    pub disposition: Option<Disposition>,
    /// Why.
    pub code: Option<String>,
    /// Where: node.
    pub node: Option<String>,
    /// Where: hook.
    pub hook: Option<Hook>,
    /// Where: table.
    pub table: Option<TableName>,
    /// Where: chain.
    pub chain: Option<String>,
    /// Where: 1-based position of the rule.
    pub rule: Option<u32>,
    /// Every frame that leaves; empty if none does.
    pub out: Option<Vec<Out>>,
    /// Every frame that leaves of what the node makes because of the packet: replies, errors, redirects.
    pub made: Option<Vec<Out>>,
}

/// A frame that leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Out {
    /// By which device.
    pub dev: String,
    /// As which of these, if there are any. Several where the kernel chooses at random.
    pub packets: Vec<Packet>,
    /// As what it must not leave.
    pub not: Option<Packet>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenario {
    #[serde(default)]
    version: Option<Spanned<u32>>,
    title: String,
    #[serde(default)]
    symptom: String,
    source: RawSource,
    send: Vec<Spanned<RawSend>>,
    #[serde(default)]
    live: Live,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    bundle: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSend {
    #[serde(default)]
    packet: Option<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    pcap: Option<String>,
    #[serde(default)]
    at: Option<Spanned<String>>,
    #[serde(default)]
    from_local: Option<Spanned<LocalFrom>>,
    #[serde(default)]
    socket: Option<Spanned<SocketIds>>,
    #[serde(default)]
    expect: Option<Spanned<RawExpect>>,
}

/// `from-local: true`, or `from-local: [NODE/][NETNS]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum LocalFrom {
    Yes(bool),
    Named(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpect {
    #[serde(default)]
    disposition: Option<Spanned<String>>,
    #[serde(default)]
    code: Option<Spanned<String>>,
    #[serde(default)]
    node: Option<String>,
    #[serde(default)]
    hook: Option<Spanned<String>>,
    #[serde(default)]
    table: Option<Spanned<String>>,
    #[serde(default)]
    chain: Option<String>,
    #[serde(default)]
    rule: Option<u32>,
    #[serde(default)]
    out: Option<RawOuts>,
    #[serde(default)]
    made: Option<RawOuts>,
}

/// One frame, or a list of them.
#[derive(Deserialize)]
#[serde(untagged, expecting = "what leaves is {dev: DEV, packet: PACKET}, or a list of these")]
enum RawOuts {
    One(RawOut),
    Several(Vec<RawOut>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOut {
    dev: String,
    #[serde(default)]
    packet: Option<OneOf>,
    #[serde(default)]
    not: Option<String>,
}

/// A packet, or several of which it is one.
#[derive(Deserialize)]
#[serde(untagged, expecting = "packet is a packet, or a list of packets")]
enum OneOf {
    One(String),
    Several(Vec<String>),
}

/// What is expected to leave.
fn read_outs(key: &str, raw: Option<RawOuts>) -> Result<Option<Vec<Out>>, String> {
    let outs = match raw {
        None => return Ok(None),
        Some(RawOuts::One(out)) => vec![out],
        Some(RawOuts::Several(outs)) => outs,
    };
    let read = |text: &String| spec::parse(text).map_err(|error| format!("{key}: {error}"));
    let read_out = |out: RawOut| {
        let texts = match out.packet {
            None => Vec::new(),
            Some(OneOf::One(text)) => vec![text],
            Some(OneOf::Several(texts)) if texts.is_empty() => {
                return Err(format!("{key}: packet names none: leave it out, or say which"));
            }
            Some(OneOf::Several(texts)) => texts,
        };
        let packets = texts.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Out { dev: out.dev, packets, not: out.not.as_ref().map(read).transpose()? })
    };
    outs.into_iter().map(read_out).collect::<Result<_, _>>().map(Some)
}

/// Reads the text of a scenario file; `file` is its name in errors.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn parse(file: &str, text: &str) -> Result<ScenarioFile, FileError> {
    let fail = |line: u64, message: String| FileError { file: file.to_owned(), line, message };
    let raw: RawScenario = serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        let message = error.without_snippet().to_string();
        // The message ends in its own place; the line stands before it here.
        let message = message.lines().next().unwrap_or_default();
        let message = message.rfind(" at line ").map_or(message, |at| &message[..at]);
        fail(line, message.to_owned())
    })?;
    if let Some(version) = &raw.version
        && version.value != 1
    {
        let message = format!("version {} is not known here: this program reads version 1", version.value);
        return Err(fail(version.referenced.line(), message));
    }
    let mut sends = Vec::with_capacity(raw.send.len());
    for send in raw.send {
        let line = send.referenced.line();
        sends.push(read_send(send.value, line).map_err(|(line, message)| fail(line, message))?);
    }
    if sends.is_empty() {
        return Err(fail(0, "send names no packet".to_owned()));
    }
    Ok(ScenarioFile {
        title: raw.title,
        symptom: raw.symptom,
        bundle: raw.source.bundle,
        live: raw.live,
        sends,
    })
}

fn read_send(raw: RawSend, line: u64) -> Result<Send, (u64, String)> {
    let packet = match (raw.packet, raw.from, raw.to, raw.pcap) {
        (Some(packet), None, None, None) => PacketSource::Spec(packet),
        (None, Some(from), Some(to), None) => PacketSource::Ends { from, to },
        (None, None, None, Some(pcap)) => pcap_source(&pcap).map_err(|message| (line, message))?,
        (None, None, None, None) => {
            return Err((line, "nothing to send: give packet, from and to, or pcap".to_owned()));
        }
        (None, Some(_), None, None) => return Err((line, "from stands without to".to_owned())),
        (None, None, Some(_), None) => return Err((line, "to stands without from".to_owned())),
        _ => return Err((line, "give one of packet, from and to, or pcap".to_owned())),
    };
    let local = match raw.from_local {
        None => None,
        Some(local) => match local.value {
            LocalFrom::Yes(true) => Some(String::new()),
            LocalFrom::Yes(false) => None,
            LocalFrom::Named(name) => Some(name),
        },
    };
    let entry = match (raw.at, local) {
        (Some(_), Some(_)) => {
            return Err((line, "a packet enters at a device or from-local, not both".to_owned()));
        }
        (Some(at), None) => {
            if let Some(socket) = raw.socket {
                return Err((socket.referenced.line(), "socket is for packets from-local only".to_owned()));
            }
            Some(EntryAt::device(&at.value).map_err(|message| (at.referenced.line(), message))?)
        }
        (None, Some(local)) => Some(EntryAt::local(&local, raw.socket.map(|s| s.value).unwrap_or_default())),
        (None, None) if matches!(packet, PacketSource::Pcap { .. }) => None,
        (None, None) => {
            return Err((line, "say where the packet enters: at: DEV, or from-local: true".to_owned()));
        }
    };
    let expect = raw.expect.map(|expect| read_expect(expect.referenced.line(), expect.value)).transpose()?;
    Ok(Send { packet, entry, expect, line })
}

/// Reads `FILE[:N]`.
pub fn pcap_source(text: &str) -> Result<PacketSource, String> {
    if let Some((file, number)) = text.rsplit_once(':')
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
    {
        return match number.parse() {
            Ok(0) | Err(_) => Err(format!("'{text}': packets of a capture are counted from 1")),
            Ok(number) => Ok(PacketSource::Pcap { file: file.to_owned(), number: Some(number) }),
        };
    }
    Ok(PacketSource::Pcap { file: text.to_owned(), number: None })
}

fn read_expect(line: u64, raw: RawExpect) -> Result<Expect, (u64, String)> {
    let disposition = raw
        .disposition
        .map(|name| {
            disposition(&name.value).ok_or_else(|| (name.referenced.line(), no_disposition(&name.value)))
        })
        .transpose()?;
    let code = raw
        .code
        .map(|code| {
            if is_code(&code.value) {
                Ok(code.value)
            } else {
                Err((
                    code.referenced.line(),
                    format!("'{}' is no code (docs/reasons lists them)", code.value),
                ))
            }
        })
        .transpose()?;
    let hook = raw
        .hook
        .map(|hook| {
            Hook::from_chain_name(&hook.value.to_uppercase())
                .ok_or_else(|| (hook.referenced.line(), format!("'{}' is no hook", hook.value)))
        })
        .transpose()?;
    let table = raw
        .table
        .map(|table| {
            TableName::from_name(&table.value)
                .ok_or_else(|| (table.referenced.line(), format!("'{}' is no table", table.value)))
        })
        .transpose()?;
    let said = |message| (line, message);
    let out = read_outs("out", raw.out).map_err(said)?;
    let made = read_outs("made", raw.made).map_err(said)?;
    let expect = Expect {
        disposition,
        code,
        node: raw.node,
        hook,
        table,
        chain: raw.chain,
        rule: raw.rule,
        out,
        made,
    };
    if expect == Expect::default() {
        return Err((line, "expect says nothing: leave it out, or say what is expected".to_owned()));
    }
    Ok(expect)
}

/// What there is in place of a disposition that there is not.
fn no_disposition(name: &str) -> String {
    let all = Disposition::ALL.map(|disposition| disposition.name().to_lowercase().replace('_', "-"));
    match near(name, all.iter().map(String::as_str)) {
        Some(meant) => format!("'{name}' is no disposition; did you mean {meant}?"),
        None => format!("'{name}' is no disposition; there are {}", all.join(", ")),
    }
}

/// A disposition by its name, in any case, `-` or `_` between words.
pub fn disposition(name: &str) -> Option<Disposition> {
    let name = name.to_uppercase().replace('-', "_");
    Disposition::ALL.into_iter().find(|disposition| disposition.name() == name)
}

/// Whether this is one of the stable codes.
pub fn is_code(code: &str) -> bool {
    DropCode::ALL.iter().any(|known| known.code() == code)
        || Because::CODES.contains(&code)
        || matches!(code, "LOOP" | "LIMIT_REACHED")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
title: A published port whose filter forgot it
symptom: curl hangs
source: {bundle: bundle}
send:
  - packet: 'tcp 203.0.113.5:40000 > 198.51.100.7:8080 flags=S'
    at: node-a/web:eth0
    expect: {disposition: dropped, code: RULE_DROP, hook: forward, table: filter, chain: FORWARD, rule: 3}
  - {from: 10.0.0.5, to: '10.0.0.1:53/udp', from-local: true, socket: {uid: 1000}}
  - {pcap: 'capture.pcap:2', at: eth0}
  - {pcap: capture.pcapng}
";

    #[test]
    fn every_form_of_a_packet_is_read() {
        let scenario = parse("scenario.yaml", GOOD).unwrap();
        assert_eq!(scenario.live, Live::Netns);
        assert_eq!(scenario.sends.len(), 4);
        assert_eq!(
            scenario.sends[0].entry,
            Some(EntryAt::Device { node: "node-a".into(), netns: "web".into(), dev: "eth0".into() })
        );
        assert_eq!(scenario.sends[0].line, 5);
        let expect = scenario.sends[0].expect.as_ref().unwrap();
        assert_eq!(expect.disposition, Some(Disposition::Dropped));
        assert_eq!(expect.hook, Some(Hook::Forward));
        assert_eq!(
            scenario.sends[1].entry,
            Some(EntryAt::local("", SocketIds { uid: Some(1000), gid: None }))
        );
        assert_eq!(
            scenario.sends[2].packet,
            PacketSource::Pcap { file: "capture.pcap".into(), number: Some(2) }
        );
        assert_eq!(scenario.sends[3].entry, None);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let cases = [
            (GOOD.replace("symptom", "sympton"), "scenario.yaml:2: ", "sympton"),
            (GOOD.replace("rule: 3", "rul: 3"), "scenario.yaml:7: ", "rul"),
            (GOOD.replace("RULE_DROP", "RULE_DROPS"), "scenario.yaml:7: ", "'RULE_DROPS' is no code"),
            (
                GOOD.replace("dropped", "gone"),
                "scenario.yaml:7: ",
                "'gone' is no disposition; there are delivered, forwarded",
            ),
            (GOOD.replace("dropped", "droped"), "scenario.yaml:7: ", "did you mean dropped?"),
            (
                GOOD.replace("    at: node-a/web:eth0\n", ""),
                "scenario.yaml:5: ",
                "say where the packet enters",
            ),
            (GOOD.replace("capture.pcap:2", "capture.pcap:0"), "scenario.yaml:9: ", "counted from 1"),
            (
                GOOD.replace("code: RULE_DROP", "out: {dve: a}"),
                "scenario.yaml:7: ",
                "what leaves is {dev: DEV",
            ),
            (GOOD.replace("code: RULE_DROP", "out: {dev: a, packet: 'tcp 1'}"), "scenario.yaml:7: ", "out: "),
            (
                GOOD.replace("code: RULE_DROP", "made: {dev: a, packet: ['tcp 1']}"),
                "scenario.yaml:7: ",
                "made: ",
            ),
            (GOOD.replace("code: RULE_DROP", "out: {dev: a, not: 'tcp 1'}"), "scenario.yaml:7: ", "out: "),
            (GOOD.replace("code: RULE_DROP", "out: {dev: a, packet: []}"), "scenario.yaml:7: ", "names none"),
            (
                GOOD.replace("  - {pcap: capture.pcapng}", "  - {pcap: capture.pcapng, expect: {}}"),
                "scenario.yaml:10: ",
                "expect says nothing",
            ),
            (format!("version: 2\n{GOOD}"), "scenario.yaml:1: ", "version 2 is not known"),
        ];
        for (text, place, words) in cases {
            let error = parse("scenario.yaml", &text).unwrap_err().to_string();
            assert!(error.starts_with(place) && error.contains(words), "{error}");
        }
    }

    #[test]
    fn no_text_makes_it_panic() {
        for end in 0..GOOD.len() {
            let _ = parse("scenario.yaml", &GOOD[..end]);
        }
        for bad in ["", "[", "a: *b", "- 1", "title: {}", "\u{0}"] {
            assert!(parse("scenario.yaml", bad).is_err());
        }
    }
}
