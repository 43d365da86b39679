//! Generated rulesets over every match and target that the model has, such that the real tools take them.

use std::net::{IpAddr, Ipv4Addr};

use pktwalk_linux::hook::{Family, Hook, TableName};
use pktwalk_linux::ids::SourceLine;
use pktwalk_linux::ipset::{IpSet, SetEntry, SetType};
use pktwalk_linux::iptables::ast::{
    AddrMask, Chain, DevPattern, IpMatch, Match, Neg, Policy, Rule, SaveFile, StatisticMatch, Table, Target,
};

use super::matches;
use super::pools;
use super::rng::Rng;
use super::targets;

/// The hooks from which a chain can be reached, as bits of [`bit`].
pub type Hooks = u8;

/// A hook's bit.
pub fn bit(hook: Hook) -> Hooks {
    match hook {
        Hook::Prerouting => 1,
        Hook::Input => 2,
        Hook::Forward => 4,
        Hook::Output => 8,
        Hook::Postrouting => 16,
        Hook::Ingress | Hook::Egress => 0,
    }
}

/// What a rule may use where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its table.
    pub table: TableName,
    /// From where its chain is reached.
    pub hooks: Hooks,
    /// Whether the chain is a built-in one (the tool checks `-i` and `-o` only there).
    pub base: bool,
}

impl Place {
    /// Whether the chain is reached from these hooks only.
    pub fn only(self, hooks: &[Hook]) -> bool {
        let allowed = hooks.iter().fold(0, |bits, hook| bits | bit(*hook));
        self.hooks & !allowed == 0
    }
}

/// Rules and the sets that they ask.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The rules.
    pub save: SaveFile,
    /// The sets.
    pub sets: Vec<IpSet>,
}

/// One ruleset.
pub fn ruleset(rng: &mut Rng) -> Generated {
    let sets = sets(rng);
    let mut tables = Vec::new();
    for name in TableName::ALL {
        let percent = match name {
            TableName::Raw => 40,
            TableName::Mangle => 60,
            TableName::Nat => 75,
            TableName::Filter => 90,
            TableName::Security => 8,
        };
        if rng.chance(percent) {
            tables.push(table(rng, name, &sets));
        }
    }
    Generated { save: SaveFile { family: Family::V4, header: None, tables }, sets }
}

fn table(rng: &mut Rng, name: TableName, sets: &[IpSet]) -> Table {
    let mut chains = Vec::new();
    let mut places = Vec::new();
    for hook in name.hooks() {
        let drop = name != TableName::Nat && rng.chance(8);
        chains.push(Chain {
            name: hook.name().to_owned(),
            policy: Some(if drop { Policy::Drop } else { Policy::Accept }),
            counters: None,
            rules: Vec::new(),
            source: SourceLine::default(),
        });
        places.push(Place { table: name, hooks: bit(*hook), base: true });
    }
    let users = rng.below(5);
    let built_in = chains.len();
    for number in 0..users {
        // Which hooks reach it is decided first, and jumps keep to it: targets that belong to one side of NAT need that.
        let all = name.hooks().iter().fold(0, |bits, hook| bits | bit(*hook));
        let hooks = match rng.below(4) {
            0 => all,
            1 => all & (bit(Hook::Prerouting) | bit(Hook::Output)),
            2 => all & (bit(Hook::Postrouting) | bit(Hook::Input)),
            _ => bit(*rng.pick(name.hooks())),
        };
        let hooks = if hooks == 0 { all } else { hooks };
        chains.push(Chain {
            name: format!("{}-u{number}", name.name()),
            policy: None,
            counters: None,
            rules: Vec::new(),
            source: SourceLine::default(),
        });
        places.push(Place { table: name, hooks, base: false });
    }
    for index in 0..chains.len() {
        let place = places[index];
        // Jumps only lead to later user chains, so there are no loops.
        let callees: Vec<&str> = (built_in.max(index + 1)..chains.len())
            .filter(|callee| place.hooks & !places[*callee].hooks == 0)
            .map(|callee| chains[callee].name.as_str())
            .collect();
        let count = if rng.chance(10) { 0 } else { rng.between(1, 6) };
        let rules: Vec<Rule> = (0..count).map(|_| rule(rng, place, &callees, sets)).collect();
        chains[index].rules = rules;
    }
    Table { name, chains, source: SourceLine::default() }
}

fn rule(rng: &mut Rng, place: Place, callees: &[&str], sets: &[IpSet]) -> Rule {
    let mut ip = ip_match(rng, place);
    let target = targets::target(rng, place, callees, &mut ip);
    let mut matches = matches::matches(rng, place, &mut ip, sets);
    targets::needs(&target, &mut ip, &mut matches);
    let random = |m: &Match| matches!(m, Match::Statistic(StatisticMatch::Random { .. }));
    if matches.iter().any(random) {
        // Whether the dice said yes is told by the rule that matched. Where a match after them says no, nothing tells whether it was asked and
        // what it then remembers.
        matches.retain(|m| {
            random(m)
                || !matches!(
                    m,
                    Match::Limit(_) | Match::Hashlimit(_) | Match::Recent(_) | Match::Statistic(_)
                )
        });
    }
    // What ends a table quickly hides everything behind it: make it rarer by asking for more.
    if matches!(target, Target::Accept | Target::Drop | Target::Reject(_))
        && matches.is_empty()
        && ip == IpMatch::default()
    {
        ip.dst = Some(Neg { not: false, value: addr_mask(rng) });
    }
    Rule { ip, matches, target, counters: None, source: SourceLine::default() }
}

fn ip_match(rng: &mut Rng, place: Place) -> IpMatch {
    let mut ip = IpMatch::default();
    if rng.chance(25) {
        ip.src = Some(Neg { not: rng.chance(20), value: addr_mask(rng) });
    }
    if rng.chance(30) {
        ip.dst = Some(Neg { not: rng.chance(20), value: addr_mask(rng) });
    }
    if rng.chance(40) {
        ip.protocol = Some(Neg { not: rng.chance(8), value: *rng.pick(&[6u8, 6, 17, 17, 1, 47]) });
    }
    let in_allowed = !place.base || place.hooks & (bit(Hook::Output) | bit(Hook::Postrouting)) == 0;
    let out_allowed = !place.base || place.hooks & (bit(Hook::Prerouting) | bit(Hook::Input)) == 0;
    if in_allowed && rng.chance(15) {
        ip.in_dev = Some(Box::new(Neg { not: rng.chance(25), value: dev(rng) }));
    }
    if out_allowed && rng.chance(15) {
        ip.out_dev = Some(Box::new(Neg { not: rng.chance(25), value: dev(rng) }));
    }
    if rng.chance(3) {
        ip.fragment = Some(rng.chance(50));
    }
    ip
}

fn dev(rng: &mut Rng) -> DevPattern {
    let (name, prefix) = *rng.pick(&[
        ("eth0", false),
        ("vetha", false),
        ("vethb", false),
        ("veth", true),
        ("br0", false),
        ("lo", false),
        ("eth", true),
        ("e", true),
        ("brp0", false),
        ("none0", false),
    ]);
    DevPattern { name: name.to_owned(), prefix }
}

/// An address with a mask, mostly of whole prefixes. `/0` is left out: the tool prints no test for it, or refuses its inversion.
pub fn addr_mask(rng: &mut Rng) -> AddrMask {
    let mask = match rng.below(20) {
        0..=9 => u32::MAX,
        10..=13 => 0xffff_ff00,
        14 | 15 => 0xffff_0000,
        16 => 0xff00_0000,
        17 => 0x8000_0000,
        18 => 0xffff_fffe,
        // Not contiguous: the host part alone.
        _ => 0x0000_00ff,
    };
    let addr = u32::from(pools::addr(rng)) & mask;
    AddrMask { addr: IpAddr::V4(Ipv4Addr::from(addr)), mask: IpAddr::V4(Ipv4Addr::from(mask)) }
}

fn sets(rng: &mut Rng) -> Vec<IpSet> {
    let count = if rng.chance(50) { rng.between(1, 3) } else { 0 };
    (0..count).map(|number| set(rng, number)).collect()
}

fn set(rng: &mut Rng, number: u32) -> IpSet {
    let set_type = rng.pick(&[SetType::HashIp, SetType::HashNet, SetType::HashIpPort]).clone();
    let counters = rng.chance(40);
    let mut entries: Vec<SetEntry> = Vec::new();
    for _ in 0..rng.between(0, 6) {
        let addr = pools::addr(rng);
        let mut options = Vec::new();
        let element = match set_type {
            SetType::HashIp => addr.to_string(),
            SetType::HashNet => {
                let len = *rng.pick(&[8u8, 16, 24, 32, 31, 1]);
                if rng.chance(20) {
                    options.push(("nomatch".to_owned(), None));
                }
                match ipnet::Ipv4Net::new(addr, len) {
                    Ok(net) if len < 32 => net.trunc().to_string(),
                    _ => addr.to_string(),
                }
            }
            SetType::HashIpPort | SetType::Unmodelled(_) => {
                let proto = rng.pick(&["tcp", "udp"]);
                match rng.below(8) {
                    0 => format!("{addr},icmp:echo-request"),
                    1 => format!("{addr},47:0"),
                    _ => format!("{addr},{proto}:{}", rng.pick(&pools::SERVICE_PORTS)),
                }
            }
        };
        if counters && rng.chance(40) {
            for name in ["packets", "bytes"] {
                options.push((name.to_owned(), Some(rng.below(200).to_string())));
            }
        }
        if entries.iter().all(|entry| entry.element != element) {
            entries.push(SetEntry { element, options, source: SourceLine::default() });
        }
    }
    let mut options = vec![
        ("family".to_owned(), Some("inet".to_owned())),
        ("hashsize".to_owned(), Some("1024".to_owned())),
        ("maxelem".to_owned(), Some("65536".to_owned())),
    ];
    if counters {
        options.push(("counters".to_owned(), None));
    }
    IpSet {
        name: format!("set{number}"),
        set_type,
        family: Family::V4,
        options,
        entries,
        source: SourceLine::default(),
    }
}
