//! From rules as written to flat arrays: names become ids, devices become bits, what the tool translates is translated as it does.
//!
//! For the nft backend, `tcp` and `udp` ports and flags, `limit` and `mark` become expressions of nf_tables as iptables-nft 1.8.9 makes them
//! (`add_nft_tcp`, `add_nft_udp`, `add_nft_limit`); everything else runs the x_tables code in both backends.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rustc_hash::FxHashMap;

use super::devs::DevTestCompiler;
use super::eval::NFT_JUMP_DEPTH;
use super::matches::{limit, recent};
use super::program::{
    ChainInfo, HashlimitTable, Head, Matcher, PhysdevTest, Ports, Program, RecentList, TargetOp,
    TcpFlagsTest, flag,
};
use super::{references, refused};
use crate::config::NetNsConfig;
use crate::diag::{Diagnostic, Remarks};
use crate::hook::{Backend, Family, Hook};
use crate::ids::{ChainId, DevId, SetId};
use crate::iptables::ast::{
    AddrMask, Match, Neg, Policy, PortRange, Rule, SetMatch, Table, Target, TcpFlags, TcpMatch, UdpMatch,
};
use crate::nat::NatKind;

/// The position of what a rule tests before any match.
const HEAD: u16 = u16::MAX;

struct Compiler<'a> {
    program: Program,
    dev_tests: DevTestCompiler<'a>,
    set_ids: FxHashMap<&'a str, SetId>,
    hashlimit_ids: FxHashMap<&'a str, u32>,
    recent_ids: FxHashMap<&'a str, u32>,
    remarks: Remarks,
    references: references::References,
}

/// Compiles the IPv4 rulesets of `config`.
pub(super) fn compile(
    config: &NetNsConfig,
    dev_by_name: &BTreeMap<String, DevId>,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Program, references::References) {
    let mut compiler = Compiler {
        program: Program::default(),
        dev_tests: DevTestCompiler::new(config),
        set_ids: config
            .sets
            .iter()
            .enumerate()
            .map(|(i, set)| (set.name.as_str(), SetId(i as u32)))
            .collect(),
        hashlimit_ids: FxHashMap::default(),
        recent_ids: FxHashMap::default(),
        remarks: Remarks::default(),
        references: references::References::default(),
    };
    for (index, ruleset) in config.rulesets.iter().enumerate() {
        if ruleset.save.family != Family::V4 {
            continue;
        }
        let later = config.rulesets.iter().skip(index + 1);
        for (table_index, table) in ruleset.save.tables.iter().enumerate() {
            let again = ruleset.save.tables.iter().skip(table_index + 1).any(|t| t.name == table.name)
                || later.clone().any(|r| {
                    r.backend == ruleset.backend
                        && r.save.family == Family::V4
                        && r.save.tables.iter().any(|t| t.name == table.name)
                });
            if again {
                compiler.remarks.push(Diagnostic::warning(
                    table.source,
                    format!("table {} is given again later, which replaces this one", table.name),
                ));
                continue;
            }
            compiler.table(ruleset.backend, index as u32, table_index as u32, table);
        }
    }
    let Compiler { mut program, dev_tests, references, remarks, .. } = compiler;
    let file = config.rulesets.iter().flat_map(|ruleset| &ruleset.save.tables).map(|table| table.source.file);
    diagnostics.extend(remarks.finish(file.min().unwrap_or_default()));
    program.heads.push(Head {
        src: 0,
        src_mask: 0,
        dst: 0,
        dst_mask: 0,
        in_test: 0,
        out_test: 0,
        matches: program.matches.len() as u32,
        protocol: 0,
        protocol_mask: 0,
        flags: 0,
    });
    program.devs = dev_tests.finish();
    debug_assert!(dev_by_name.len() <= config.devices.len());
    (program, references)
}

impl<'a> Compiler<'a> {
    fn table(&mut self, backend: Backend, ruleset: u32, table_index: u32, table: &'a Table) {
        let first_chain = self.program.chains.len();
        let mut by_name: FxHashMap<&'a str, ChainId> = FxHashMap::default();
        let info = |chain_index: u32, base: Option<(Hook, Policy)>| ChainInfo {
            backend,
            table: table.name,
            ruleset,
            table_index,
            chain_index,
            first: 0,
            end: 0,
            base,
        };
        for (chain_index, chain) in table.chains.iter().enumerate() {
            let hook = Hook::from_chain_name(&chain.name).filter(|hook| table.name.hooks().contains(hook));
            let base = hook.map(|hook| (hook, chain.policy.unwrap_or(Policy::Accept)));
            let id = ChainId(self.program.chains.len() as u32);
            if by_name.insert(&chain.name, id).is_some() {
                self.remarks.push(Diagnostic::error(
                    chain.source,
                    format!("chain {} of table {} stands here twice", chain.name, table.name),
                ));
            }
            self.program.chains.push(info(chain_index as u32, base));
        }
        let reached = refused::reached(table);
        for ((chain, index), reached) in table.chains.iter().zip(first_chain..).zip(reached) {
            let first = self.program.targets.len() as u32;
            for rule in &chain.rules {
                let refused = refused::of(backend, table.name, reached, rule);
                self.rule(backend, table, rule, &by_name, &refused);
            }
            let end = self.program.targets.len() as u32;
            if let Some(info) = self.program.chains.get_mut(index) {
                (info.first, info.end) = (first, end);
            }
        }
        let loops = self.refuse_loops(table, first_chain);
        if backend == Backend::Nft && !loops {
            self.refuse_depth(table, first_chain);
        }
        // A table of x_tables has all its built-in chains, named in the file or not.
        if backend == Backend::Legacy {
            for &hook in table.name.hooks() {
                if !by_name.contains_key(hook.name()) {
                    let end = self.program.targets.len() as u32;
                    let chain = info(u32::MAX, Some((hook, Policy::Accept)));
                    self.program.chains.push(ChainInfo { first: end, end, ..chain });
                }
            }
        }
    }

    fn rule(
        &mut self,
        backend: Backend,
        table: &'a Table,
        rule: &'a Rule,
        chains: &FxHashMap<&'a str, ChainId>,
        refused: &refused::Refusals,
    ) {
        for (_, why) in refused {
            self.remarks.push(Diagnostic::error(
                rule.source,
                format!("this rule is refused when it is loaded: {why}"),
            ));
        }
        let is_refused = |part| refused.iter().any(|(one, _)| *one == part);
        let matches = self.program.matches.len() as u32;
        let mut head = Head {
            src: 0,
            src_mask: 0,
            dst: 0,
            dst_mask: 0,
            in_test: 0,
            out_test: 0,
            matches,
            protocol: 0,
            protocol_mask: 0,
            flags: 0,
        };
        for (addr, bit) in [(&rule.ip.src, flag::NOT_SRC), (&rule.ip.dst, flag::NOT_DST)] {
            let Some(Neg { not, value }) = addr else { continue };
            let AddrMask { addr: IpAddr::V4(addr), mask: IpAddr::V4(mask) } = *value else {
                self.remarks.push(Diagnostic::error(rule.source, "an IPv6 address in an IPv4 rule"));
                self.push(Matcher::Unmodelled, HEAD);
                continue;
            };
            let (addr, mask) = (u32::from(addr) & u32::from(mask), u32::from(mask));
            if bit == flag::NOT_SRC {
                (head.src, head.src_mask) = (addr, mask);
            } else {
                (head.dst, head.dst_mask) = (addr, mask);
            }
            head.flags |= if *not { bit } else { 0 };
        }
        if let Some(Neg { not, value }) = rule.ip.protocol {
            (head.protocol, head.protocol_mask) = (value, if value == 0 { 0 } else { 255 });
            head.flags |= if not { flag::NOT_PROTOCOL } else { 0 };
        }
        let head_refused = is_refused(refused::Part::Head);
        if let Some(pattern) = rule.ip.in_dev.as_ref().filter(|_| !head_refused) {
            head.in_test = self.dev_tests.test(&pattern.value, pattern.not);
            head.flags |= flag::DEVICES;
        }
        if let Some(pattern) = rule.ip.out_dev.as_ref().filter(|_| !head_refused) {
            head.out_test = self.dev_tests.test(&pattern.value, pattern.not);
            head.flags |= flag::DEVICES;
        }
        head.flags |= match rule.ip.fragment {
            Some(true) => flag::FRAGMENT,
            Some(false) => flag::NO_FRAGMENT,
            None => 0,
        };
        if head_refused {
            self.push(Matcher::Unmodelled, HEAD);
        }
        for (position, written) in rule.matches.iter().enumerate() {
            self.references.of_match(written);
            if is_refused(refused::Part::Match(position)) {
                self.push(Matcher::Unmodelled, position as u16);
            } else if let Some(matcher) = self.matcher(backend, rule, written) {
                self.push(matcher, position as u16);
            }
        }
        self.references.of_target(&rule.target);
        let target = if is_refused(refused::Part::Target) {
            TargetOp::Unmodelled
        } else {
            self.target(table, rule, chains)
        };
        self.program.heads.push(head);
        self.program.targets.push(target);
    }

    /// Refuses rules that lead deeper below a built-in chain than nf_tables lets a table of it load, by jumps and gotos (`nft_chain_validate`:
    /// EMLINK). For a table without loops.
    fn refuse_depth(&mut self, table: &Table, first_chain: usize) {
        let program = &mut self.program;
        let mut depth = vec![0usize; program.chains.len()];
        let built_in = |(_, info): &(usize, &ChainInfo)| info.base.is_some();
        let mut open: Vec<usize> = program
            .chains
            .iter()
            .enumerate()
            .skip(first_chain)
            .filter(built_in)
            .map(|(index, _)| index)
            .collect();
        while let Some(chain) = open.pop() {
            let (Some(info), Some(&below)) = (program.chains.get(chain), depth.get(chain)) else { continue };
            for rule in info.first..info.end {
                let Some(target) = program.targets.get_mut(rule as usize) else { continue };
                let (TargetOp::Jump(to) | TargetOp::Goto(to)) = *target else { continue };
                if below == NFT_JUMP_DEPTH {
                    *target = TargetOp::Unmodelled;
                    let chain = table.chains.get(info.chain_index as usize);
                    let rule = chain.and_then(|chain| chain.rules.get((rule - info.first) as usize));
                    self.remarks.push(Diagnostic::error(
                        rule.map_or(table.source, |rule| rule.source),
                        format!(
                            "this rule is refused when it is loaded: it leads more than {NFT_JUMP_DEPTH} chains deep \
                             (Too many links)"
                        ),
                    ));
                } else if let Some(deepest) = depth.get_mut(to.index()).filter(|deepest| **deepest <= below) {
                    *deepest = below + 1;
                    open.push(to.index());
                }
            }
        }
    }

    /// Remarks on chains that call themselves, by whatever way: the kernel loads no such table. Walks that meet one end at a bound. Whether there
    /// are any.
    fn refuse_loops(&mut self, table: &Table, first_chain: usize) -> bool {
        let mut loops = false;
        #[derive(Clone, Copy, PartialEq)]
        enum Seen {
            No,
            Open,
            Done,
        }
        let program = &self.program;
        let calls = |chain: usize, from: u32| {
            let info = program.chains.get(chain)?;
            (from.max(info.first)..info.end).find_map(|rule| match program.targets.get(rule as usize) {
                Some(TargetOp::Jump(to) | TargetOp::Goto(to)) => Some((rule, to.index())),
                _ => None,
            })
        };
        let mut seen = vec![Seen::No; program.chains.len()];
        for start in first_chain..program.chains.len() {
            let mut stack = vec![(start, 0)];
            while let Some((chain, next)) = stack.pop() {
                if next == 0 && seen.get(chain) != Some(&Seen::No) {
                    continue;
                }
                if let Some(seen) = seen.get_mut(chain) {
                    *seen = Seen::Open;
                }
                let Some((rule, to)) = calls(chain, next) else {
                    if let Some(seen) = seen.get_mut(chain) {
                        *seen = Seen::Done;
                    }
                    continue;
                };
                stack.push((chain, rule + 1));
                match seen.get(to) {
                    Some(Seen::Open) => {
                        loops = true;
                        let info = program.chains.get(chain);
                        let source = info
                            .and_then(|info| {
                                Some((table.chains.get(info.chain_index as usize)?, rule - info.first))
                            })
                            .and_then(|(chain, position)| chain.rules.get(position as usize))
                            .map_or(table.source, |rule| rule.source);
                        self.remarks.push(Diagnostic::error(
                            source,
                            format!(
                                "this rule of table {} closes a loop of chains, which the kernel refuses",
                                table.name
                            ),
                        ));
                    }
                    Some(Seen::No) => stack.push((to, 0)),
                    Some(Seen::Done) | None => {}
                }
            }
        }
        loops
    }

    fn push(&mut self, matcher: Matcher, position: u16) {
        self.program.matches.push(matcher);
        self.program.positions.push(position);
    }

    fn slot(&mut self) -> u32 {
        self.program.slots += 1;
        self.program.slots - 1
    }

    /// `None` for a match that always holds.
    fn matcher(&mut self, backend: Backend, rule: &'a Rule, written: &'a Match) -> Option<Matcher> {
        let nft = backend == Backend::Nft;
        Some(match written {
            Match::Comment(_) => return None,
            Match::Tcp(tcp) => {
                if nft && tcp_expression(tcp) {
                    let flags = tcp.flags.filter(|flags| flags.value.mask != 0).map(tcp_flags);
                    return payload(tcp.sport, tcp.dport, flags);
                } else {
                    let (sport, dport) =
                        (tcp.sport.map_or(Ports::ANY, ports), tcp.dport.map_or(Ports::ANY, ports));
                    let flags = tcp.flags.map_or(TcpFlagsTest::ANY, tcp_flags);
                    match tcp.option.filter(|option| option.value != 0) {
                        None => Matcher::Tcp { sport, dport, flags },
                        Some(Neg { not, value }) => {
                            Matcher::TcpOption { sport, dport, flags, option: value, not }
                        }
                    }
                }
            }
            Match::Udp(udp) => {
                if nft && udp_expression(udp) {
                    return payload(udp.sport, udp.dport, None);
                } else {
                    Matcher::Udp {
                        sport: udp.sport.map_or(Ports::ANY, ports),
                        dport: udp.dport.map_or(Ports::ANY, ports),
                    }
                }
            }
            Match::Icmp(icmp) => Matcher::Icmp {
                not: icmp.not,
                icmp_type: icmp.icmp_type,
                code_lo: icmp.code_lo,
                code_hi: icmp.code_hi,
            },
            Match::Multiport(multiport) => {
                let first = self.program.ports.len() as u32;
                self.program.ports.extend(multiport.ports.iter().map(|e| (e.range.lo, e.range.hi)));
                Matcher::Multiport {
                    kind: multiport.kind,
                    not: multiport.not,
                    first,
                    count: multiport.ports.len().min(255) as u8,
                }
            }
            Match::Conntrack(conntrack) => Matcher::Conntrack(keep(&mut self.program.conntrack, conntrack)),
            Match::State(state) => Matcher::State { not: state.not, states: state.value },
            Match::Mark(mark) => {
                Matcher::Mark { not: mark.not, value: mark.value.value, mask: mark.value.mask }
            }
            Match::Connmark(mark) => {
                Matcher::Connmark { not: mark.not, value: mark.value.value, mask: mark.value.mask }
            }
            Match::Addrtype(addrtype) => Matcher::Addrtype(keep(&mut self.program.addrtype, addrtype)),
            Match::Limit(limit) => {
                let slot = self.slot();
                if nft { limit::compile_nft(slot, limit) } else { limit::compile(slot, limit) }
            }
            Match::Hashlimit(hashlimit) => {
                let next = self.program.hashlimit_tables.len() as u32;
                let table = *self.hashlimit_ids.entry(&hashlimit.name).or_insert(next);
                if table == next {
                    self.program.hashlimit_tables.push(HashlimitTable(self.program.hashlimit.len() as u32));
                }
                Matcher::Hashlimit { table, rule: keep(&mut self.program.hashlimit, hashlimit) }
            }
            Match::Recent(written) => {
                let next = self.program.recent_lists.len() as u32;
                let list = *self.recent_ids.entry(&written.name).or_insert(next);
                let stamps_mask = recent::stamps_mask(written.hitcount);
                match self.program.recent_lists.get_mut(list as usize) {
                    Some(known) => known.stamps_mask = known.stamps_mask.max(stamps_mask),
                    None => {
                        let mask = match written.mask {
                            IpAddr::V4(mask) => Some(u32::from(mask)),
                            IpAddr::V6(_) => None,
                        };
                        self.program.recent_lists.push(RecentList { mask, stamps_mask });
                    }
                }
                Matcher::Recent { list, rule: keep(&mut self.program.recent, written) }
            }
            Match::Mac(mac) => Matcher::Mac { not: mac.not, addr: mac.value },
            Match::Physdev(physdev) => {
                let in_dev = physdev.in_dev.as_ref().map(|p| (self.dev_tests.test(&p.value, false), p.not));
                let out_dev = physdev.out_dev.as_ref().map(|p| (self.dev_tests.test(&p.value, false), p.not));
                self.program.physdev.push(PhysdevTest {
                    in_dev,
                    out_dev,
                    is_in: physdev.is_in,
                    is_out: physdev.is_out,
                    is_bridged: physdev.is_bridged,
                });
                Matcher::Physdev(self.program.physdev.len() as u32 - 1)
            }
            Match::Iprange(iprange) => Matcher::Iprange(keep(&mut self.program.iprange, iprange)),
            Match::Set(set) => {
                let id = self.set_ids.get(set.name.as_str()).copied();
                if id.is_none() {
                    self.remarks.push(Diagnostic::warning(
                        rule.source,
                        format!("there is no set {}: whether this rule matches is not known", set.name),
                    ));
                }
                self.program.sets.push((id, SetMatch::clone(set)));
                Matcher::Set { index: self.program.sets.len() as u32 - 1 }
            }
            Match::Owner(owner) => Matcher::Owner(keep(&mut self.program.owner, owner)),
            Match::Statistic(crate::iptables::ast::StatisticMatch::Random { not, threshold }) => {
                Matcher::Random { not: *not, threshold: *threshold }
            }
            Match::Statistic(crate::iptables::ast::StatisticMatch::Nth { not, every, packet }) => {
                Matcher::Nth { not: *not, slot: self.slot(), every: *every, packet: *packet }
            }
            Match::Rpfilter(rpfilter) => Matcher::Rpfilter(*rpfilter),
            Match::Pkttype(pkttype) => Matcher::Pkttype { not: pkttype.not, pkt_type: pkttype.value },
            Match::Unmodelled(_) => Matcher::Unmodelled,
        })
    }

    fn target(&mut self, table: &Table, rule: &'a Rule, chains: &FxHashMap<&'a str, ChainId>) -> TargetOp {
        let mut nat = |kind, range: &crate::iptables::ast::NatTarget| {
            self.program.nat.push(*range);
            TargetOp::Nat { kind, range: self.program.nat.len() as u32 - 1 }
        };
        match &rule.target {
            Target::None => TargetOp::None,
            Target::Accept => TargetOp::Accept,
            Target::Drop => TargetOp::Drop,
            Target::Return => TargetOp::Return,
            Target::Jump(name) | Target::Goto(name) => {
                let chain = chains.get(name.as_str()).copied();
                let base = chain
                    .and_then(|id| self.program.chains.get(id.index()))
                    .is_some_and(|c| c.base.is_some());
                match chain {
                    Some(chain) if !base => match rule.target {
                        Target::Goto(_) => TargetOp::Goto(chain),
                        _ => TargetOp::Jump(chain),
                    },
                    _ => {
                        self.remarks.push(Diagnostic::error(
                            rule.source,
                            format!("table {} has no user-defined chain {name} to jump to", table.name),
                        ));
                        TargetOp::Unmodelled
                    }
                }
            }
            Target::Reject(with) => TargetOp::Reject(*with),
            Target::Log(_) | Target::Nflog(_) => TargetOp::Log,
            Target::Mark(mark) => TargetOp::Mark { value: mark.value, mask: mark.mask },
            Target::Connmark(connmark, shift) => TargetOp::Connmark(*connmark, *shift),
            Target::Ct(ct) => {
                if ct.notrack {
                    TargetOp::Notrack
                } else if ct.helper.is_some() || ct.timeout.is_some() {
                    TargetOp::Unmodelled
                } else {
                    let zone = ct.zone.unwrap_or(crate::iptables::ast::CtTargetZone {
                        id: Some(0),
                        original: true,
                        reply: true,
                    });
                    TargetOp::Template { zone: zone.id, original: zone.original, reply: zone.reply }
                }
            }
            Target::Dnat(range) => nat(NatKind::Dnat, range),
            Target::Snat(range) => nat(NatKind::Snat, range),
            Target::Masquerade(range) => nat(NatKind::Masquerade, range),
            Target::Redirect(range) => nat(NatKind::Redirect, range),
            Target::Tcpmss(tcpmss) => TargetOp::Tcpmss(*tcpmss),
            Target::Checksum => TargetOp::Checksum,
            Target::Unmodelled(_) => TargetOp::Unmodelled,
        }
    }
}

fn keep<T: Clone>(array: &mut Vec<T>, value: &T) -> u32 {
    array.push(value.clone());
    array.len() as u32 - 1
}

/// Whether iptables-nft makes expressions of a match, rather than to call the code of x_tables.
pub(super) fn tcp_expression(tcp: &TcpMatch) -> bool {
    let option = tcp.option.filter(|option| option.value != 0 || option.not);
    let plain = [tcp.sport, tcp.dport].into_iter().flatten().all(says_nothing)
        && tcp.flags.is_none_or(|flags| !flags.not && (flags.value.mask, flags.value.comp) == (0, 0));
    option.is_none() && !plain
}

/// As [`tcp_expression`].
pub(super) fn udp_expression(udp: &UdpMatch) -> bool {
    ![udp.sport, udp.dport].into_iter().flatten().all(says_nothing)
}

/// Whether a test of ports is what stands in the binary rule without any (`tcp_all_zero` of iptables-nft).
fn says_nothing(test: Neg<PortRange>) -> bool {
    !test.not && is_all(test)
}

fn is_all(test: Neg<PortRange>) -> bool {
    (test.value.lo, test.value.hi) == (0, u16::MAX)
}

/// What iptables-nft makes of ports and flags. A test of all ports, inverted or not, and one of no flag leave no expression (`add_nft_tcpudp`,
/// `add_nft_tcpflags` of 1.8.9): the rule then matches what the other backend's would not.
fn payload(
    sport: Option<Neg<PortRange>>,
    dport: Option<Neg<PortRange>>,
    flags: Option<TcpFlagsTest>,
) -> Option<Matcher> {
    let left = |test: Option<Neg<PortRange>>| test.filter(|test| !is_all(*test)).map(ports);
    let (sport, dport) = (left(sport), left(dport));
    (sport.is_some() || dport.is_some() || flags.is_some()).then_some(Matcher::Payload {
        sport,
        dport,
        flags,
    })
}

fn ports(test: Neg<PortRange>) -> Ports {
    Ports { lo: test.value.lo, hi: test.value.hi, not: test.not }
}

fn tcp_flags(test: Neg<TcpFlags>) -> TcpFlagsTest {
    TcpFlagsTest { mask: test.value.mask, comp: test.value.comp, not: test.not }
}
