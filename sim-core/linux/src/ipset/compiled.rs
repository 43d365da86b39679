//! Membership, as `ip_set_test` and the `kadt` functions of the types decide it.

use rustc_hash::FxHashMap;

use super::element::{self, Element, Expand, One};
use super::{IpSet, SetType};
use crate::diag::Diagnostic;
use crate::hook::Family;
use crate::ids::SetId;
use crate::iptables::ast::{CounterTest, SetDir, SetMatch};
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
    /// What its elements have counted at the start, where that is not nothing. `None` without `counters` on the `create` line: the kernel ignores
    /// `--packets-*` and `--bytes-*` then.
    counters: Option<FxHashMap<ElementKey, Counter>>,
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

/// The mask of a block (0 in types without blocks), and the key by which the element is found.
type ElementKey = (u32, u64);

/// `struct ip_set_counter`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counter {
    packets: u64,
    bytes: u64,
}

/// What elements of sets with `counters` have counted by now. Those that are not in it stand as they stood at the start.
#[derive(Clone, Debug, Default)]
pub struct SetCounters {
    now: FxHashMap<(SetId, ElementKey), Counter>,
}

impl SetCounters {
    /// `ip_set_match_extensions`: the packet counts first, then the counters are compared.
    fn passes(&mut self, at: (SetId, ElementKey), start: Counter, test: &SetMatch, skb: &Skb) -> bool {
        let counter = self.now.entry(at).or_insert(start);
        if !test.no_update_counters {
            counter.packets = counter.packets.wrapping_add(1);
            counter.bytes = counter.bytes.wrapping_add(skb.ip.total_len.into());
        }
        let holds = |test: Option<CounterTest>, counted: u64| match test {
            None => true,
            Some(CounterTest::Eq(value)) => counted == value,
            Some(CounterTest::Ne(value)) => counted != value,
            Some(CounterTest::Lt(value)) => counted < value,
            Some(CounterTest::Gt(value)) => counted > value,
        };
        holds(test.packets, counter.packets) && holds(test.bytes, counter.bytes)
    }
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
    /// match (`ip_set_timeout_expired`). Elements that are looked at count the packet. `None` if it cannot be known (a type that is not modelled).
    pub fn matches_at(
        &self,
        id: SetId,
        test: &SetMatch,
        skb: &Skb,
        now_ns: u64,
        counted: &mut SetCounters,
    ) -> Option<bool> {
        let set = self.sets.get(id.index())?;
        let mut passes = |key: ElementKey| {
            set.counters.as_ref().is_none_or(|starts| {
                counted.passes((id, key), starts.get(&key).copied().unwrap_or_default(), test, skb)
            })
        };
        set.test(test, skb, now_ns, &mut passes).map(|matched| matched != test.not)
    }
}

impl CompiledSet {
    fn compile(set: &IpSet, diagnostics: &mut Vec<Diagnostic>) -> CompiledSet {
        let mut starts = FxHashMap::default();
        CompiledSet {
            family: match set.set_type.name() {
                // These have no family of their own (`NFPROTO_UNSPEC`): they take every packet.
                "bitmap:port" | "list:set" | "hash:mac" => Family::V4,
                _ => set.family,
            },
            dimensions: set.set_type.dimensions(),
            members: Members::compile(set, diagnostics, &mut starts),
            counters: set.has_option("counters").then_some(starts),
        }
    }

    /// `ip_set_test`. `passes` counts the packet at an element and tells whether its counters let it match.
    fn test(
        &self,
        test: &SetMatch,
        skb: &Skb,
        now_ns: u64,
        passes: &mut dyn FnMut(ElementKey) -> bool,
    ) -> Option<bool> {
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
                    Some(&expires) if addr != 0 && expires > now_ns && passes((0, addr.into())) => Found::Yes,
                    _ => Found::No,
                }
            }
            Members::Net(levels) => self.test_net(levels, test, skb, now_ns, passes)?,
            Members::IpPort { mask, elements } => {
                let addr = address(test, 0, skb)? & mask;
                match port(skb, *test.dirs.get(1)?) {
                    Port::Known(protocol, port) if addr != 0 => {
                        let key = ip_port_key(addr, protocol, port);
                        match elements.get(&key) {
                            Some(&expires) if expires > now_ns && passes((0, key)) => Found::Yes,
                            _ => Found::No,
                        }
                    }
                    Port::Known(..) | Port::None => Found::No,
                    Port::CutOff => return None,
                }
            }
        };
        Some(match found {
            Found::Yes => !(test.return_nomatch && matches!(self.members, Members::Net(_))),
            Found::Nomatch => test.return_nomatch,
            Found::No => false,
        })
    }

    /// `mtype_test_cidrs`: prefix lengths in use, most specific first; an element that is over, or whose
    /// counters do not fit, lets a wider one answer.
    fn test_net(
        &self,
        levels: &[(u32, FxHashMap<u32, NetElement>)],
        test: &SetMatch,
        skb: &Skb,
        now_ns: u64,
        passes: &mut dyn FnMut(ElementKey) -> bool,
    ) -> Option<Found> {
        let addr = address(test, 0, skb)?;
        for (mask, elements) in levels {
            if let Some(element) = elements.get(&(addr & mask))
                && element.expires > now_ns
                && passes((*mask, (addr & mask).into()))
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
    /// What elements have counted goes to `starts`.
    fn compile(
        set: &IpSet,
        diagnostics: &mut Vec<Diagnostic>,
        starts: &mut FxHashMap<ElementKey, Counter>,
    ) -> Members {
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
        match Members::expand(set, diagnostics, starts) {
            Some(members) => members,
            None => Members::Unknown,
        }
    }

    /// `None`, with a diagnostic, if something in the set cannot be read.
    fn expand(
        set: &IpSet,
        diagnostics: &mut Vec<Diagnostic>,
        starts: &mut FxHashMap<ElementKey, Counter>,
    ) -> Option<Members> {
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
            let (element, expires, counter) = match read(set, entry) {
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
            let mut start = |key: ElementKey| {
                if counter != Counter::default() {
                    starts.insert(key, counter);
                }
            };
            for one in Expand::new(element, mask) {
                match one {
                    // Refused by the kernel: a null-valued element.
                    One::Ip(0) | One::IpPort(0, ..) => {}
                    One::Ip(addr) => {
                        ips.insert(addr, expires);
                        start((0, addr.into()));
                    }
                    One::IpPort(addr, protocol, port) => {
                        let key = ip_port_key(addr, protocol, port);
                        ports.insert(key, expires);
                        start((0, key));
                    }
                    One::Net(base, len) => {
                        if let Some(level) = nets.get_mut(usize::from(len)) {
                            level.insert(base, NetElement { nomatch, expires });
                            start((element::mask(len), base.into()));
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

/// An entry's element, the time of its end, and what it has counted.
fn read(set: &IpSet, entry: &super::SetEntry) -> Result<(Element, Expires, Counter), String> {
    let element = element::parse(&set.set_type, &entry.element)?;
    let value = |name: &str| entry.options.iter().find(|(n, _)| n == name).and_then(|(_, v)| v.as_deref());
    // An element without its own takes the set's (`timeout 0`, in either place: never).
    let seconds = match value("timeout").or_else(|| set.option("timeout")) {
        None => 0,
        Some(text) => text.parse::<u32>().map_err(|_| format!("timeout '{text}' is no number"))?,
    };
    let number = |name: &str| match value(name) {
        None => Ok(0),
        Some(text) => text.parse::<u64>().map_err(|_| format!("{name} '{text}' is no number")),
    };
    let counter = Counter { packets: number("packets")?, bytes: number("bytes")? };
    Ok((element, if seconds == 0 { u64::MAX } else { u64::from(seconds) * 1_000_000_000 }, counter))
}
