//! Rules that the tools or the kernel refuse: they cannot have come out of iptables-save, so whoever wrote the file did not have them loaded.
//! Each such rule is named with its line, and what is refused of it is not decided.
//!
//! Asked of iptables 1.8.9 and Linux 6.18, case by case (`tests/tests/refused_rules.rs`). Where extensions may stand: `table`, `hooks`, `proto` and
//! `checkentry` of `struct xt_match` and `struct xt_target` (`xt_check_match`, `xt_check_target`). The nft backend calls them as well
//! (`nft_match_init`, `nft_target_init`), but knows no more of the hooks of a chain than its own, but for `hooks` (`nft_match_validate`,
//! `nft_target_validate`).

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::matches::{hashlimit, limit};
use crate::hook::{Backend, Hook, TableName};
use crate::iptables::ast::{
    AddrtypeMatch, LimitMatch, Match, NatTarget, Neg, PhysdevMatch, Rule, Table, Target, TcpmssTarget,
    Unmodelled,
};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const ESP: u8 = 50;
const AH: u8 = 51;
const SCTP: u8 = 132;
const UDPLITE: u8 = 136;

/// Some of the five hooks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Hooks(u8);

impl Hooks {
    const RECEIVED: Hooks = Hooks::of(&[Hook::Prerouting, Hook::Input, Hook::Forward]);
    const SENT: Hooks = Hooks::of(&[Hook::Forward, Hook::Output, Hook::Postrouting]);

    const fn of(hooks: &[Hook]) -> Hooks {
        let (mut bits, mut at) = (0, 0);
        while at < hooks.len() {
            bits |= 1 << hooks[at] as u8;
            at += 1;
        }
        Hooks(bits)
    }

    /// One that is in `self` and not in `other`.
    fn beyond(self, other: Hooks) -> Option<Hook> {
        Hook::INET.into_iter().find(|hook| (self.0 & !other.0) >> *hook as u8 & 1 == 1)
    }
}

/// From where a chain is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Reached {
    /// It is a built-in chain.
    own: Option<Hook>,
    /// By jumps as well.
    all: Hooks,
}

/// The hooks that each chain of a table is reached from.
pub(super) fn reached(table: &Table) -> Vec<Reached> {
    let names: FxHashMap<&str, usize> =
        table.chains.iter().enumerate().map(|(index, chain)| (chain.name.as_str(), index)).collect();
    let calls: Vec<Vec<usize>> = table
        .chains
        .iter()
        .map(|chain| {
            let mut to: Vec<usize> = Vec::new();
            for rule in &chain.rules {
                if let Target::Jump(name) | Target::Goto(name) = &rule.target
                    && let Some(index) = names.get(name.as_str())
                    && to.last() != Some(index)
                {
                    to.push(*index);
                }
            }
            to
        })
        .collect();
    let mut all = vec![Reached::default(); table.chains.len()];
    for (index, chain) in table.chains.iter().enumerate() {
        let own = Hook::from_chain_name(&chain.name).filter(|hook| table.name.hooks().contains(hook));
        let Some(hook) = own else { continue };
        if let Some(reached) = all.get_mut(index) {
            reached.own = own;
        }
        let bit = Hooks::of(&[hook]).0;
        let mut open = vec![index];
        while let Some(chain) = open.pop() {
            let Some(reached) = all.get_mut(chain).filter(|reached| reached.all.0 & bit == 0) else {
                continue;
            };
            reached.all.0 |= bit;
            open.extend(calls.get(chain).into_iter().flatten());
        }
    }
    all
}

/// What of a rule is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// A device, or the like, of the rule itself.
    Head,
    /// The match of this position.
    Match(usize),
    /// The target.
    Target,
}

/// What of a rule is refused, and why.
pub(super) type Refusals = SmallVec<[(Part, String); 1]>;

/// Where a rule stands.
#[derive(Clone, Copy)]
struct Place<'r> {
    backend: Backend,
    table: TableName,
    reached: Reached,
    rule: &'r Rule,
}

type Checked = Result<(), String>;

/// Looks at one rule.
pub(super) fn of(backend: Backend, table: TableName, reached: Reached, rule: &Rule) -> Refusals {
    let place = Place { backend, table, reached, rule };
    let mut refusals = Refusals::new();
    let mut note = |part, checked: Checked| {
        if let Err(why) = checked {
            refusals.push((part, why));
        }
    };
    note(Part::Head, place.devices());
    for (position, one) in rule.matches.iter().enumerate() {
        note(Part::Match(position), place.one_match(one));
    }
    note(Part::Target, place.target(&rule.target));
    refusals
}

fn refuse(if_so: bool, why: impl FnOnce() -> String) -> Checked {
    if if_so { Err(why()) } else { Ok(()) }
}

impl Place<'_> {
    /// `generic_opt_check`: of built-in chains only.
    fn devices(self) -> Checked {
        let Some(own) = self.reached.own else { return Ok(()) };
        refuse(self.rule.ip.in_dev.is_some() && matches!(own, Hook::Output | Hook::Postrouting), || {
            format!("-i cannot stand in {own}")
        })?;
        refuse(self.rule.ip.out_dev.is_some() && matches!(own, Hook::Prerouting | Hook::Input), || {
            format!("-o cannot stand in {own}")
        })
    }

    /// The hooks that `checkentry` is told of.
    fn hook_mask(self) -> Hooks {
        match (self.backend, self.reached.own) {
            (Backend::Legacy, _) => self.reached.all,
            (Backend::Nft, own) => own.map_or(Hooks::default(), |own| Hooks::of(&[own])),
        }
    }

    fn in_table(self, what: &str, tables: &[TableName]) -> Checked {
        refuse(!tables.contains(&self.table), || format!("{what} cannot stand in table {}", self.table))
    }

    /// `hooks`, in all chains that lead here.
    fn at_hooks(self, what: &str, hooks: &[Hook]) -> Checked {
        not_beyond(what, self.reached.all, Hooks::of(hooks))
    }

    fn protocol(self) -> Option<Neg<u8>> {
        self.rule.ip.protocol
    }

    /// `proto`.
    fn needs(self, what: &str, protocol: u8, name: &str) -> Checked {
        refuse(self.protocol() != Some(Neg::is(protocol)), || format!("{what} needs -p {name}"))
    }

    /// As [`Place::needs`] for ports that iptables-nft makes expressions of: it asks for the number only.
    fn needs_number(self, what: &str, protocol: u8, expression: bool) -> Checked {
        let right = match self.protocol() {
            Some(Neg { not, value }) => {
                value == protocol && (!not || self.backend == Backend::Nft && expression)
            }
            None => false,
        };
        refuse(!right, || format!("-m {what} needs -p {what}"))
    }

    fn one_match(self, one: &Match) -> Checked {
        match one {
            Match::Tcp(tcp) => self.needs_number("tcp", TCP, super::compile::tcp_expression(tcp)),
            Match::Udp(udp) => self.needs_number("udp", UDP, super::compile::udp_expression(udp)),
            Match::Icmp(_) => self.needs("-m icmp", ICMP, "icmp"),
            Match::Multiport(_) => {
                let right = self.protocol().is_some_and(|protocol| {
                    !protocol.not && matches!(protocol.value, TCP | UDP | DCCP | SCTP | UDPLITE)
                });
                refuse(!right, || "-m multiport needs a protocol with ports".to_owned())
            }
            Match::Addrtype(addrtype) => self.addrtype(addrtype),
            Match::Limit(written) if self.backend == Backend::Legacy => legacy_limit(written),
            Match::Hashlimit(written) => {
                refuse(hashlimit::overflows(written), || "the burst is too long for the rate".to_owned())
            }
            Match::Mac(_) => self.at_hooks("-m mac", &[Hook::Prerouting, Hook::Input, Hook::Forward]),
            Match::Physdev(physdev) => self.physdev(physdev),
            Match::Owner(_) => self.at_hooks("-m owner", &[Hook::Output, Hook::Postrouting]),
            Match::Rpfilter(_) => {
                self.in_table("-m rpfilter", &[TableName::Raw, TableName::Mangle])?;
                self.at_hooks("-m rpfilter", &[Hook::Prerouting])
            }
            Match::Unmodelled(unmodelled) => self.other_match(unmodelled),
            Match::Conntrack(_)
            | Match::State(_)
            | Match::Mark(_)
            | Match::Connmark(_)
            | Match::Comment(_)
            | Match::Limit(_)
            | Match::Recent(_)
            | Match::Iprange(_)
            | Match::Set(_)
            | Match::Statistic(_)
            | Match::Pkttype(_) => Ok(()),
        }
    }

    /// `addrtype_mt_checkentry_v1`.
    fn addrtype(self, addrtype: &AddrtypeMatch) -> Checked {
        if addrtype.limit_iface_in {
            not_beyond("--limit-iface-in", self.hook_mask(), Hooks::RECEIVED)?;
        }
        if addrtype.limit_iface_out {
            not_beyond("--limit-iface-out", self.hook_mask(), Hooks::SENT)?;
        }
        Ok(())
    }

    /// `physdev_mt_check`: what a socket sends has no port yet.
    fn physdev(self, physdev: &PhysdevMatch) -> Checked {
        let out = physdev.out_dev.is_some() || physdev.is_out.is_some();
        let output = Hooks::of(&[Hook::Output]);
        refuse(out && physdev.is_bridged != Some(true) && self.hook_mask().0 & output.0 != 0, || {
            "--physdev-out and --physdev-is-out cannot stand in OUTPUT, unless for bridged packets".to_owned()
        })
    }

    fn other_match(self, unmodelled: &Unmodelled) -> Checked {
        let has = |word: &str| unmodelled.words.iter().any(|one| one == word);
        match unmodelled.name.as_str() {
            "sctp" => self.needs("-m sctp", SCTP, "sctp"),
            "dccp" => self.needs("-m dccp", DCCP, "dccp"),
            "esp" => self.needs("-m esp", ESP, "esp"),
            "ah" => self.needs("-m ah", AH, "ah"),
            "udplite" => Err("the tools have no match udplite".to_owned()),
            "socket" => self.at_hooks("-m socket", &[Hook::Prerouting, Hook::Input]),
            "devgroup" => {
                if has("--src-group") {
                    not_beyond("--src-group", self.hook_mask(), Hooks::RECEIVED)?;
                }
                if has("--dst-group") {
                    not_beyond("--dst-group", self.hook_mask(), Hooks::SENT)?;
                }
                Ok(())
            }
            "policy" if has("in") => not_beyond("--dir in", self.hook_mask(), Hooks::RECEIVED),
            "policy" if has("out") => not_beyond("--dir out", self.hook_mask(), Hooks::SENT),
            _ => Ok(()),
        }
    }

    fn target(self, target: &Target) -> Checked {
        match target {
            Target::Drop => {
                refuse(self.table == TableName::Nat, || "DROP cannot stand in table nat".to_owned())
            }
            Target::Reject(with) => {
                self.in_table("REJECT", &[TableName::Filter])?;
                if *with == crate::iptables::ast::RejectWith::TcpReset {
                    self.needs("--reject-with tcp-reset", TCP, "tcp")?;
                }
                self.at_hooks("REJECT", &[Hook::Input, Hook::Forward, Hook::Output])
            }
            Target::Ct(_) => self.in_table("CT", &[TableName::Raw]),
            Target::Dnat(nat) => self.nat("DNAT", nat, &[Hook::Prerouting, Hook::Output]),
            Target::Snat(nat) => self.nat("SNAT", nat, &[Hook::Input, Hook::Postrouting]),
            Target::Masquerade(nat) => self.nat("MASQUERADE", nat, &[Hook::Postrouting]),
            Target::Redirect(nat) => self.nat("REDIRECT", nat, &[Hook::Prerouting, Hook::Output]),
            Target::Tcpmss(tcpmss) => self.tcpmss(*tcpmss),
            Target::Checksum => self.in_table("CHECKSUM", &[TableName::Mangle]),
            Target::Unmodelled(unmodelled) => self.other_target(unmodelled),
            Target::None
            | Target::Accept
            | Target::Return
            | Target::Jump(_)
            | Target::Goto(_)
            | Target::Log(_)
            | Target::Nflog(_)
            | Target::Mark(_) => Ok(()),
            // `connmark_tg_check_v2`: the tool lets 32 pass.
            Target::Connmark(_, shift) => {
                refuse(shift.bits() > 31, || "CONNMARK shifts by 31 bits at most".to_owned())
            }
        }
    }

    fn nat(self, what: &str, nat: &NatTarget, hooks: &[Hook]) -> Checked {
        self.in_table(what, &[TableName::Nat])?;
        // `parse_to` of libxt_NAT, which does not look at `!`.
        let portly =
            self.protocol().is_some_and(|protocol| matches!(protocol.value, TCP | UDP | SCTP | DCCP | ICMP));
        refuse(nat.ports.is_some() && !portly, || format!("{what} with ports needs a protocol with ports"))?;
        self.at_hooks(what, hooks)
    }

    /// `tcpmss_tg4_check`. The nft backend does not ask for a test of SYN.
    fn tcpmss(self, tcpmss: TcpmssTarget) -> Checked {
        const SYN: u8 = 0x02;
        if tcpmss == TcpmssTarget::ClampToPmtu {
            not_beyond("--clamp-mss-to-pmtu", self.hook_mask(), Hooks::SENT)?;
        }
        self.needs("TCPMSS", TCP, "tcp")?;
        let asks_syn = |one: &Match| match one {
            Match::Tcp(tcp) => tcp.flags.is_some_and(|flags| !flags.not && flags.value.comp & SYN != 0),
            _ => false,
        };
        refuse(self.backend == Backend::Legacy && !self.rule.matches.iter().any(asks_syn), || {
            "TCPMSS needs a match of segments with SYN".to_owned()
        })
    }

    fn other_target(self, unmodelled: &Unmodelled) -> Checked {
        let name = unmodelled.name.as_str();
        match name {
            "TTL" | "TOS" | "DSCP" => self.in_table(name, &[TableName::Mangle]),
            "ECN" => {
                self.in_table(name, &[TableName::Mangle])?;
                if unmodelled.words.iter().any(|word| word.starts_with("--ecn-tcp")) {
                    self.needs(name, TCP, "tcp")?;
                }
                Ok(())
            }
            "CLASSIFY" => self.at_hooks(name, &[Hook::Forward, Hook::Output, Hook::Postrouting]),
            "NETMAP" => self.in_table(name, &[TableName::Nat]),
            "TRACE" if self.backend == Backend::Legacy => self.in_table(name, &[TableName::Raw]),
            "SYNPROXY" => {
                self.needs(name, TCP, "tcp")?;
                self.at_hooks(name, &[Hook::Input, Hook::Forward])
            }
            "TPROXY" => {
                self.in_table(name, &[TableName::Mangle])?;
                let right = self.protocol().is_some_and(|p| !p.not && matches!(p.value, TCP | UDP));
                refuse(!right, || "TPROXY needs -p tcp or -p udp".to_owned())?;
                self.at_hooks(name, &[Hook::Prerouting])
            }
            _ => Ok(()),
        }
    }
}

fn not_beyond(what: &str, there: Hooks, allowed: Hooks) -> Checked {
    match there.beyond(allowed) {
        Some(hook) => Err(format!("{what} cannot stand in {hook} or a chain that is called from there")),
        None => Ok(()),
    }
}

/// `limit_mt_check`.
fn legacy_limit(written: &LimitMatch) -> Checked {
    refuse(limit::overflows(written), || "the burst is none, or too long for the rate".to_owned())
}
