//! Membership, as `ip_set_test` and the `kadt` functions of the types decide it.

use rustc_hash::FxHashMap;

use super::element::{self, Element, Expand, One};
use super::{IpSet, SetType};
use crate::diag::Diagnostic;
use crate::hook::Family;
use crate::ids::SetId;
use crate::iptables::ast::{SetDir, SetMatch};
use crate::skb::Skb;

/// Elements that one set may be expanded to; a set of more is not known.
const MAX_ELEMENTS: u64 = 1 << 22;

/// Sets compiled for membership tests.
#[derive(Clone, Debug, Default)]
pub struct CompiledSets {
    sets: Vec<CompiledSet>,
}

#[derive(Clone, Debug)]
struct CompiledSet {
    family: Family,
    /// `None` for a type whose number of parts is not known here.
    dimensions: Option<usize>,
    /// `counters` stands on the `create` line: without it the kernel ignores `--packets-*` and `--bytes-*`.
    counters: bool,
    members: Members,
}

/// What is in a set.
#[derive(Clone, Debug)]
enum Members {
    /// Nothing, whatever the type.
    Empty,
    /// `hash:ip`, addresses masked.
    Ip { mask: u32, elements: FxHashMap<u32, Expires> },
    /// `hash:net`: longest prefix first.
    Net(Vec<(u32, FxHashMap<u32, NetElement>)>),
    /// `hash:ip,port`, addresses masked; the key is address, protocol and port side by side.
    IpPort { mask: u32, elements: FxHashMap<u64, Expires> },
    /// A type that is not modelled, or something in it could not be read.
    Unknown,
}

/// When an element ends, in nanoseconds since the start of the run. `u64::MAX` is never.
type Expires = u64;

#[derive(Clone, Copy, Debug)]
struct NetElement {
    nomatch: bool,
    expires: Expires,
}

/// What a look into a set found, as the return values of the kernel's `kadt`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Yes,
    /// The most specific prefix says `nomatch`.
    Nomatch,
    No,
}

fn ip_port_key(addr: u32, protocol: u8, port: u16) -> u64 {
    u64::from(addr) << 24 | u64::from(protocol) << 16 | u64::from(port)
}

impl CompiledSets {
    /// Compiles the sets of `config`.
    pub fn compile(config: &crate::config::NetNsConfig, diagnostics: &mut Vec<Diagnostic>) -> CompiledSets {
        CompiledSets { sets: config.sets.iter().map(|set| CompiledSet::compile(set, diagnostics)).collect() }
    }

    /// Whether `-m set` with these options matches, `!` included, `now_ns` after the start of the run: an element whose timeout is over does not
    /// match (`ip_set_timeout_expired`). `None` if that cannot be known (a type that is not modelled, a counter that decides).
    pub fn matches_at(&self, set: SetId, test: &SetMatch, skb: &Skb, now_ns: u64) -> Option<bool> {
        let set = self.sets.get(set.index())?;
        set.test(test, skb, now_ns).map(|matched| matched != test.not)
    }
}

impl CompiledSet {
    fn compile(set: &IpSet, diagnostics: &mut Vec<Diagnostic>) -> CompiledSet {
        CompiledSet {
            family: match set.set_type.name() {
                // These have no family of their own (`NFPROTO_UNSPEC`): they take every packet.
                "bitmap:port" | "list:set" | "hash:mac" => Family::V4,
                _ => set.family,
            },
            dimensions: set.set_type.dimensions(),
            counters: set.has_option("counters"),
            members: Members::compile(set, diagnostics),
        }
    }

    /// `ip_set_test`.
    fn test(&self, test: &SetMatch, skb: &Skb, now_ns: u64) -> Option<bool> {
        if self.family != Family::V4 || self.dimensions.is_some_and(|dimensions| test.dirs.len() < dimensions)
        {
            return Some(false);
        }
        let found = match &self.members {
            Members::Empty => Found::No,
            Members::Unknown => return None,
            Members::Ip { mask, elements } => {
                let addr = address(test, 0, skb)? & mask;
                match elements.get(&addr) {
                    Some(&expires) if addr != 0 && expires > now_ns => Found::Yes,
                    _ => Found::No,
                }
            }
            Members::Net(levels) => self.test_net(levels, test, skb, now_ns)?,
            Members::IpPort { mask, elements } => {
                let addr = address(test, 0, skb)? & mask;
                match port(skb, *test.dirs.get(1)?) {
                    Port::Known(protocol, port) if addr != 0 => {
                        match elements.get(&ip_port_key(addr, protocol, port)) {
                            Some(&expires) if expires > now_ns => Found::Yes,
                            _ => Found::No,
                        }
                    }
                    Port::Known(..) | Port::None => Found::No,
                    Port::CutOff => return None,
                }
            }
        };
        // A counter that was given decides of an element that was found, and what it has counted by now is not followed.
        if found != Found::No && self.asks_counters(test) {
            return None;
        }
        Some(match found {
            Found::Yes => !(test.return_nomatch && matches!(self.members, Members::Net(_))),
            Found::Nomatch => test.return_nomatch,
            Found::No => false,
        })
    }

    fn asks_counters(&self, test: &SetMatch) -> bool {
        self.counters && (test.packets.is_some() || test.bytes.is_some())
    }

    /// `mtype_test_cidrs`: prefix lengths in use, most specific first; an element that is over lets a wider one answer.
    fn test_net(
        &self,
        levels: &[(u32, FxHashMap<u32, NetElement>)],
        test: &SetMatch,
        skb: &Skb,
        now_ns: u64,
    ) -> Option<Found> {
        let addr = address(test, 0, skb)?;
        for (mask, elements) in levels {
            if let Some(element) = elements.get(&(addr & mask))
                && element.expires > now_ns
            {
                return Some(if element.nomatch { Found::Nomatch } else { Found::Yes });
            }
        }
        Some(Found::No)
    }
}

fn address(test: &SetMatch, dimension: usize, skb: &Skb) -> Option<u32> {
    Some(match test.dirs.get(dimension)? {
        SetDir::Src => skb.ip.src,
        SetDir::Dst => skb.ip.dst,
    })
}

enum Port {
    Known(u8, u16),
    /// The kernel finds none: no match.
    None,
    /// It would be there, but a capture cut it off.
    CutOff,
}

/// `ip_set_get_ip4_port`.
fn port(skb: &Skb, dir: SetDir) -> Port {
    let protocol = skb.ip.protocol;
    let need = match protocol {
        0 => return Port::None,
        element::TCP => 20,
        element::SCTP => 12,
        element::UDP | element::UDPLITE | element::ICMP => 8,
        // Any other protocol has no port, and so fragments of it match too.
        element::ICMPV6 if skb.ip.frag_offset == 0 => 8,
        _ => return Port::Known(protocol, 0),
    };
    if skb.ip.frag_offset != 0 {
        return Port::None;
    }
    let l4 = skb.l4();
    if l4.len() < need {
        return if l4.len() + skb.packet.missing() >= need { Port::CutOff } else { Port::None };
    }
    let word = |at: usize| l4.get(at..at + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
    Port::Known(
        protocol,
        match (protocol, dir) {
            // Type and code, whichever side is asked for.
            (element::ICMP | element::ICMPV6, _) | (_, SetDir::Src) => word(0),
            (_, SetDir::Dst) => word(2),
        },
    )
}

impl Members {
    fn compile(set: &IpSet, diagnostics: &mut Vec<Diagnostic>) -> Members {
        if set.entries.is_empty() {
            return Members::Empty;
        }
        if matches!(set.set_type, SetType::Unmodelled(_)) || set.family == Family::V6 {
            return Members::Unknown;
        }
        if let Some(problem) = element::mask_problem(set) {
            diagnostics.push(Diagnostic::error(set.source, format!("set {}: {problem}", set.name)));
            return Members::Unknown;
        }
        match Members::expand(set, diagnostics) {
            Some(members) => members,
            None => Members::Unknown,
        }
    }

    /// `None`, with a diagnostic, if something in the set cannot be read.
    fn expand(set: &IpSet, diagnostics: &mut Vec<Diagnostic>) -> Option<Members> {
        let mask = element::set_mask(set);
        let max = set.option("maxelem").and_then(|n| n.parse().ok()).unwrap_or(65_536).min(MAX_ELEMENTS);
        let mut ips = FxHashMap::default();
        let mut ports = FxHashMap::default();
        let mut nets: Vec<FxHashMap<u32, NetElement>> = vec![FxHashMap::default(); 33];
        let mut whole = true;
        let mut total = 0u64;
        for entry in &set.entries {
            let problem = |message: String| {
                Diagnostic::error(
                    entry.source,
                    format!("set {}: {message}; a match on the set cannot be known", set.name),
                )
            };
            let (element, expires) = match read(set, entry) {
                Ok(read) => read,
                Err(message) => {
                    diagnostics.push(problem(message));
                    whole = false;
                    continue;
                }
            };
            total = total.saturating_add(element.count());
            if total > MAX_ELEMENTS {
                diagnostics.push(problem(format!("more than {MAX_ELEMENTS} elements")));
                return None;
            }
            let nomatch = entry.options.iter().any(|(name, _)| name == "nomatch");
            for one in Expand::new(element, mask) {
                match one {
                    // Refused by the kernel: a null-valued element.
                    One::Ip(0) | One::IpPort(0, ..) => {}
                    One::Ip(addr) => {
                        ips.insert(addr, expires);
                    }
                    One::IpPort(addr, protocol, port) => {
                        ports.insert(ip_port_key(addr, protocol, port), expires);
                    }
                    One::Net(base, len) => {
                        if let Some(level) = nets.get_mut(usize::from(len)) {
                            level.insert(base, NetElement { nomatch, expires });
                        }
                    }
                }
            }
        }
        let held = (ips.len() + ports.len() + nets.iter().map(FxHashMap::len).sum::<usize>()) as u64;
        if held > max {
            let message = format!(
                "set {}: {held} elements, but it holds {max} (maxelem): the kernel would have refused some; a match on the set cannot be known",
                set.name
            );
            diagnostics.push(Diagnostic::error(set.source, message));
            return None;
        }
        if !whole {
            return None;
        }
        Some(match set.set_type {
            SetType::HashIp => Members::Ip { mask, elements: ips },
            SetType::HashIpPort => Members::IpPort { mask, elements: ports },
            SetType::HashNet => Members::Net(
                (1..=32u8)
                    .rev()
                    .zip(nets.into_iter().rev())
                    .filter(|(_, level)| !level.is_empty())
                    .map(|(len, level)| (element::mask(len), level))
                    .collect(),
            ),
            SetType::Unmodelled(_) => Members::Unknown,
        })
    }
}

/// An entry's element and the time of its end.
fn read(set: &IpSet, entry: &super::SetEntry) -> Result<(Element, Expires), String> {
    let element = element::parse(&set.set_type, &entry.element)?;
    let value = |name: &str| entry.options.iter().find(|(n, _)| n == name).and_then(|(_, v)| v.as_deref());
    // An element without its own takes the set's (`timeout 0`, in either place: never).
    let seconds = match value("timeout").or_else(|| set.option("timeout")) {
        None => 0,
        Some(text) => text.parse::<u32>().map_err(|_| format!("timeout '{text}' is no number"))?,
    };
    Ok((element, if seconds == 0 { u64::MAX } else { u64::from(seconds) * 1_000_000_000 }))
}
