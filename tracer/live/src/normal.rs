//! From the kernel's trace to the normal form of [`pktwalk_scenario::event`].

use pktwalk_linux::hook::{Backend, Hook, TableName};
use pktwalk_linux::iptables::ast::{Policy, Target};
use pktwalk_linux::reason::{Disposition, DropCode};
use pktwalk_packet::{EtherType, Packet};
use pktwalk_scenario::event::{At, Decided, EventVerdict, FrameOut, PacketRun, ScenarioEvent};

use crate::both;
use crate::identity::Identity;
use crate::perf::Freed;
use crate::rules::{Loaded, TRACE_TABLE};
use crate::trace::{LegacyEvent, NftEvent, NftVerdict};

/// Everything seen of one sent packet.
pub(crate) struct Seen {
    /// nf_tables' trace; with x_tables only that of the side table.
    pub nft: Vec<NftEvent>,
    /// x_tables' trace.
    pub legacy: Vec<LegacyEvent>,
    /// What came out of the wires.
    pub frames: Vec<FrameOut>,
    /// What was freed; none if the tracepoint is not at hand.
    pub freed: Option<Vec<Freed>>,
    /// What the system call said, for packets from a socket.
    pub send_error: Option<nix::errno::Errno>,
}

/// One packet while its events are gathered.
struct Run {
    identity: Option<Identity>,
    begun: bool,
    hook: Hook,
    /// Of nf_tables; only good while the packet lives.
    trace_id: Option<u32>,
    passed_output: bool,
    /// How far it is within this pass, see [`progress`].
    at: (u8, i32),
    /// The table that it is inside of: its chain has neither accepted nor dropped yet.
    open: Option<TableName>,
    run: PacketRun,
}

impl Run {
    fn new(identity: Option<Identity>, parent: Option<u32>) -> Run {
        Run {
            identity,
            begun: false,
            hook: Hook::Prerouting,
            trace_id: None,
            passed_output: false,
            at: (0, i32::MIN),
            open: None,
            run: PacketRun { parent, ..PacketRun::default() },
        }
    }
}

/// How far along a pass through the stack a table at a hook is.
fn progress(table: TableName, hook: Hook) -> (u8, i32) {
    // iptables-nft gives its security chains 150 where x_tables has 50: at INPUT nat runs before them, not after.
    let priority = if table == TableName::Security { 150 } else { table.priority(hook) };
    let hook_rank = match hook {
        Hook::Ingress | Hook::Prerouting | Hook::Output => 0,
        Hook::Input | Hook::Forward => 1,
        Hook::Postrouting | Hook::Egress => 2,
    };
    (hook_rank, priority)
}

impl Run {
    /// Whether an event can be this packet's next one. All events of a packet that REJECT makes come before the rule's own.
    fn could_show(&self, loaded: &Loaded, event: &NftEvent) -> bool {
        let Some(table) = TableName::from_name(&event.table) else { return false };
        let last = self.run.events.last();
        if last.is_some_and(|last| last.verdict == EventVerdict::Drop) {
            return false;
        }
        if let Some(open) = self.open {
            return open == table;
        }
        let built_in =
            is_base(loaded, table, &event.chain).then(|| Hook::from_chain_name(&event.chain)).flatten();
        built_in.is_some_and(|hook| progress(table, hook) > self.at && self.reaches(hook))
    }

    fn reaches(&self, hook: Hook) -> bool {
        match self.hook {
            Hook::Output => matches!(hook, Hook::Output | Hook::Postrouting),
            Hook::Prerouting => hook != Hook::Output,
            Hook::Input => hook == Hook::Input,
            Hook::Forward => matches!(hook, Hook::Forward | Hook::Postrouting),
            Hook::Postrouting => hook == Hook::Postrouting,
            Hook::Ingress | Hook::Egress => true,
        }
    }
}

fn is_base(loaded: &Loaded, table: TableName, chain: &str) -> bool {
    let known = loaded.chains.get(&(Backend::Nft, table, chain.to_owned()));
    known.map_or_else(|| Hook::from_chain_name(chain).is_some(), |chain| chain.policy.is_some())
}

/// What a send led to.
pub(crate) struct Packets {
    /// The packets; the first is the one that was sent.
    pub packets: Vec<PacketRun>,
    /// The IP ids of those that the namespace made, in order of creation.
    pub ids: Vec<u16>,
    /// Whether the order of all events is known.
    pub ordered: bool,
}

/// The packets that a send led to.
pub(crate) fn packets(
    loaded: &Loaded,
    sent: &Packet,
    local: bool,
    loopback: Option<u32>,
    seen: Seen,
) -> Packets {
    let identity = if sent.ethertype() == EtherType::IPV4 { Identity::of(sent.l3()) } else { None };
    let mut runs = vec![Run::new(identity, None)];
    let mut active = 0;
    for event in &seen.nft {
        if event.table == TRACE_TABLE {
            if !event.network.is_empty() {
                active = enter(&mut runs, event, active, local, loopback);
            }
            continue;
        }
        // The id may change between hooks; the first event of each base chain shows the packet, and so whose id it is.
        let identity = Identity::of_parts(&event.network, &event.transport);
        let same = |run: &Run| {
            if identity.is_some() { run.identity == identity } else { run.trace_id == Some(event.id) }
        };
        let found = runs.iter().rposition(|run| same(run) && run.could_show(loaded, event));
        if let Some(found) = found.or_else(|| runs.iter().rposition(same)) {
            active = found;
            runs[active].trace_id = Some(event.id);
        }
        nft(loaded, &mut runs[active], event);
    }
    let nft_events: Vec<usize> = runs.iter().map(|run| run.run.events.len()).collect();
    for event in &seen.legacy {
        let identity = Identity::of(&event.payload);
        let at = runs.iter().position(|run| run.identity == identity).unwrap_or(0);
        legacy(loaded, &mut runs[at].run, event);
    }
    let mut ordered = true;
    if let Some(first) = loaded.first {
        for (run, nft_events) in runs.iter_mut().zip(nft_events) {
            let legacy = run.run.events.split_off(nft_events);
            let nft = std::mem::take(&mut run.run.events);
            let (events, known) = both::merge(first, run.passed_output, nft, legacy);
            run.run.events = events;
            ordered &= known;
        }
    }
    for frame in seen.frames {
        let identity =
            if frame.packet.ethertype() == EtherType::IPV4 { Identity::of(frame.packet.l3()) } else { None };
        let owner = runs.iter().position(|run| run.identity == identity && identity.is_some());
        // ARP has no id: copies for several ports are alike, and no device gets two.
        let owner = owner.or_else(|| {
            let alike = |run: &Run| {
                let frames = &run.run.frames;
                run.identity.is_none()
                    && frames.iter().any(|other| other.packet.bytes() == frame.packet.bytes())
                    && frames.iter().all(|other| other.dev != frame.dev)
            };
            (identity.is_none()).then(|| runs.iter().skip(1).position(alike)).flatten().map(|at| at + 1)
        });
        let owner = owner.or_else(|| {
            let piece = |whole: Identity| identity.is_some_and(|identity| identity.is_piece_of(whole));
            runs.iter().position(|run| run.identity.is_some_and(piece))
        });
        match owner {
            Some(owner) => runs[owner].run.frames.push(frame),
            None if frame.packet.l3() == sent.l3() => runs[0].run.frames.push(frame),
            None => {
                let mut run = Run::new(identity, Some(0));
                run.run.frames.push(frame);
                runs.push(run);
            }
        }
    }
    // Resets have id 0 by construction: that was no choice.
    let made = runs.iter().skip(1).filter_map(|run| run.identity);
    let ids = made.filter(|made| !made.is_reset()).map(|made| made.id).collect();
    let told: Vec<bool> = (0..runs.len()).map(|at| tells(&runs, at)).collect();
    // What the namespace tells itself arrives, and is consumed: nothing is freed for a reason.
    let arrived: Vec<bool> = runs
        .iter()
        .map(|run| {
            let here = matches!(run.hook, Hook::Prerouting | Hook::Input) && run.passed_output;
            here && run.run.parent.is_some() && run.identity.is_some_and(Identity::is_icmp_error)
        })
        .collect();
    // What left and came back besides: its copy may be freed for a reason.
    let heard: Vec<bool> = runs
        .iter()
        .map(|run| run.passed_output && matches!(run.hook, Hook::Prerouting | Hook::Input))
        .collect();
    let mut runs: Vec<PacketRun> = runs.into_iter().map(|run| run.run).collect();
    ends(
        loaded,
        &mut runs,
        Hints { told: &told, arrived: &arrived, heard: &heard },
        seen.freed,
        seen.send_error,
    );
    Packets { packets: runs, ids, ordered }
}

/// A packet enters PREROUTING or OUTPUT, as the side table tells. Gives its number.
fn enter(runs: &mut Vec<Run>, event: &NftEvent, active: usize, local: bool, loopback: Option<u32>) -> usize {
    let identity = Identity::of_parts(&event.network, &event.transport);
    let output = event.chain == "o";
    let by_loopback = !output && event.iif.is_some() && event.iif == loopback;
    let again = by_loopback.then(|| {
        runs.iter()
            .rposition(|run| run.passed_output && run.trace_id == Some(event.id))
            .or_else(|| runs.iter().rposition(|run| run.passed_output && run.identity == identity))
    });
    // A broadcast that its sender hears itself comes back by the device that it went out by.
    let heard = || {
        let by_wire = !output && !by_loopback && identity.is_some();
        runs.iter().rposition(|run| by_wire && run.passed_output && run.identity == identity)
    };
    let at = match again.flatten().or_else(heard) {
        Some(at) => at,
        None if !runs[0].begun && output == local => 0,
        // A bridge shows copies of the same packet.
        None if !output && !local && runs[0].identity == identity => 0,
        None => {
            // What the packet itself tells goes before the order of events: x_tables' own lines are not among them.
            let caused = |run: &Run| {
                identity.zip(run.identity).and_then(|(this, cause)| this.because_of(&event.transport, cause))
            };
            let cause = runs.iter().rposition(|run| caused(run) == Some(true)).unwrap_or(active);
            runs.push(Run::new(identity, Some(cause as u32)));
            runs.len() - 1
        }
    };
    let run = &mut runs[at];
    if at == 0 && !run.begun && identity.is_some() {
        // The kernel may have given the id.
        run.identity = identity;
    }
    run.begun = true;
    run.passed_output |= output;
    run.hook = if output { Hook::Output } else { Hook::Prerouting };
    run.trace_id = Some(event.id);
    (run.at, run.open) = ((0, i32::MIN), None);
    at
}

fn nft(loaded: &Loaded, run: &mut Run, event: &NftEvent) {
    let Some(table) = TableName::from_name(&event.table) else { return };
    let base = is_base(loaded, table, &event.chain);
    if base && let Some(hook) = Hook::from_chain_name(&event.chain) {
        run.hook = hook;
    }
    run.at = progress(table, run.hook);
    let left = event.policy.is_some()
        || matches!(
            event.verdict,
            Some(NftVerdict::Accept | NftVerdict::Drop | NftVerdict::Stolen | NftVerdict::Queue)
        );
    run.open = (!left).then_some(table);
    let (at, verdict) = match (event.policy, event.handle) {
        (Some(policy), _) => {
            (At::Policy, if policy == 0 { EventVerdict::Drop } else { EventVerdict::Accept })
        }
        (None, None) if base => return,
        (None, None) => (At::End, EventVerdict::Return),
        (None, Some(handle)) => {
            let position = loaded.handles.get(&(table, handle)).copied().unwrap_or(0);
            let verdict = match event.verdict.clone() {
                Some(NftVerdict::Drop) => EventVerdict::Drop,
                Some(NftVerdict::Accept) => EventVerdict::Accept,
                Some(NftVerdict::Stolen) => EventVerdict::Stolen,
                Some(NftVerdict::Queue) => EventVerdict::Queue,
                Some(NftVerdict::Continue) => EventVerdict::Continue,
                Some(NftVerdict::Return) => EventVerdict::Return,
                Some(NftVerdict::Jump(to)) => EventVerdict::Jump(to),
                Some(NftVerdict::Goto(to)) => EventVerdict::Goto(to),
                Some(NftVerdict::Other(_)) | None => EventVerdict::Unknown,
            };
            (At::Rule(position), verdict)
        }
    };
    run.run.events.push(ScenarioEvent {
        hook: run.hook,
        backend: Backend::Nft,
        table,
        chain: event.chain.clone(),
        at,
        verdict,
        mark_before: None,
        mark: Some(event.mark),
    });
}

fn legacy(loaded: &Loaded, run: &mut PacketRun, event: &LegacyEvent) {
    let Some(table) = TableName::from_name(&event.table) else { return };
    // A table that an earlier case touched is empty by now, but still says its policy.
    let Some(chain) = loaded.chains.get(&(Backend::Legacy, table, event.chain.clone())) else { return };
    let Some(hook) = Hook::INET.get(usize::from(event.hook)).copied() else { return };
    let rule = (event.number as usize).checked_sub(1).and_then(|at| chain.rules.get(at));
    let (at, verdict) = match (rule, chain.policy) {
        (Some(rule), _) => (At::Rule(event.number), of_target(&rule.target)),
        (None, Some(Policy::Accept)) => (At::Policy, EventVerdict::Accept),
        (None, Some(Policy::Drop)) => (At::Policy, EventVerdict::Drop),
        (None, None) => (At::End, EventVerdict::Return),
    };
    run.events.push(ScenarioEvent {
        hook,
        backend: Backend::Legacy,
        table,
        chain: event.chain.clone(),
        at,
        verdict,
        mark_before: Some(event.mark),
        mark: None,
    });
}

/// What x_tables' trace leaves unsaid. NAT targets and TCPMSS can also drop: see [`ends`].
fn of_target(target: &Target) -> EventVerdict {
    match target {
        Target::Accept | Target::Dnat(_) | Target::Snat(_) | Target::Masquerade(_) | Target::Redirect(_) => {
            EventVerdict::Accept
        }
        Target::Drop | Target::Reject(_) => EventVerdict::Drop,
        Target::Return => EventVerdict::Return,
        Target::Jump(to) => EventVerdict::Jump(to.clone()),
        Target::Goto(to) => EventVerdict::Goto(to.clone()),
        Target::None
        | Target::Log(_)
        | Target::Nflog(_)
        | Target::Mark(_)
        | Target::Connmark(..)
        | Target::Ct(_)
        | Target::Tcpmss(_)
        | Target::Checksum => EventVerdict::Continue,
        Target::Unmodelled(_) => EventVerdict::Unknown,
    }
}

/// Whether a target that is not there to drop may drop all the same: no address on a device, a header that is none. MASQUERADE takes the address of
/// any device that has one if need be.
fn may_drop(loaded: &Loaded, target: &Target) -> bool {
    match target {
        Target::Masquerade(_) => !loaded.any_address,
        Target::Redirect(_) => loaded.device_without_address,
        Target::Tcpmss(_) | Target::Unmodelled(_) => true,
        _ => false,
    }
}

/// The target of the rule of an event.
fn target<'a>(loaded: &'a Loaded, event: &ScenarioEvent) -> Option<&'a Target> {
    let At::Rule(position) = event.at else { return None };
    let chain = loaded.chains.get(&(event.backend, event.table, event.chain.clone()))?;
    chain.rules.get((position as usize).checked_sub(1)?).map(|rule| &rule.target)
}

/// What is known of each packet besides.
struct Hints<'a> {
    /// Its sender is told that it will not arrive.
    told: &'a [bool],
    /// It cannot have been freed for a reason.
    arrived: &'a [bool],
    /// A copy of it came back here.
    heard: &'a [bool],
}

/// How each packet ended, as far as the kernel tells.
fn ends(
    loaded: &Loaded,
    runs: &mut [PacketRun],
    Hints { told, arrived, heard }: Hints<'_>,
    freed: Option<Vec<Freed>>,
    send_error: Option<nix::errno::Errno>,
) {
    let known = freed.is_some();
    let mut reasons: Vec<String> = freed
        .unwrap_or_default()
        .into_iter()
        .filter(Freed::is_of_the_namespace)
        .map(|freed| freed.reason)
        .collect();
    let mut take =
        |wanted: &str| reasons.iter().position(|reason| reason == wanted).map(|at| reasons.remove(at));
    for run in runs.iter_mut() {
        if run.events.last().is_some_and(|event| event.verdict == EventVerdict::Drop) {
            run.kernel_reason = take("NETFILTER_DROP");
        }
    }
    // x_tables does not say when a target drops against its nature.
    for run in runs.iter_mut().filter(|run| run.frames.is_empty()) {
        let Some(last) = run.events.last_mut() else { continue };
        let unsaid = last.backend == Backend::Legacy
            && target(loaded, last).is_some_and(|target| may_drop(loaded, target));
        if unsaid && let Some(reason) = take("NETFILTER_DROP") {
            last.verdict = EventVerdict::Drop;
            run.kernel_reason = Some(reason);
        }
    }
    let open: Vec<usize> = (0..runs.len())
        .filter(|at| runs[*at].frames.is_empty() || heard[*at])
        .filter(|at| runs[*at].kernel_reason.is_none() && !arrived[*at])
        .filter(|at| runs[*at].events.last().is_none_or(|event| event.verdict != EventVerdict::Drop))
        .collect();
    // Which of several was freed for which of several reasons is not told; that does not matter where all were freed alike.
    let alike = reasons.iter().all(|reason| Some(reason) == reasons.first()) && reasons.len() == open.len();
    if alike {
        for (at, reason) in open.iter().zip(&reasons) {
            // Of one that left, it is its copy's.
            let left = !runs[*at].frames.is_empty();
            runs[*at].kernel_reason = (!left).then(|| reason.clone());
        }
    }
    let ambiguous = !reasons.is_empty() && !alike;
    for (at, run) in runs.iter_mut().enumerate() {
        let last = run.events.last();
        let dropped = last.filter(|event| event.verdict == EventVerdict::Drop);
        if let Some(event) = dropped {
            run.decided = Decided {
                node: String::new(),
                hook: Some(event.hook),
                table: Some(event.table),
                chain: Some(event.chain.clone()),
                rule: if let At::Rule(position) = event.at { Some(position) } else { None },
            };
            let (code, disposition) = match (event.at, target(loaded, event)) {
                (At::Policy, _) => (Some(DropCode::ChainPolicy), Disposition::Dropped),
                (_, Some(Target::Drop)) => (Some(DropCode::RuleDrop), Disposition::Dropped),
                (_, Some(Target::Reject(_))) if told[at] => {
                    (Some(DropCode::RuleReject), Disposition::Rejected)
                }
                (_, Some(Target::Reject(_))) => (Some(DropCode::RuleReject), Disposition::Dropped),
                (_, Some(target))
                    if event.backend == Backend::Nft
                        && !may_drop(loaded, target)
                        && !matches!(target, Target::Dnat(_) | Target::Snat(_)) =>
                {
                    (Some(DropCode::Hotdrop), Disposition::Dropped)
                }
                _ => (None, Disposition::Dropped),
            };
            run.code = code.map(DropCode::code);
            run.disposition = Some(disposition);
        } else if !run.frames.is_empty() {
            run.disposition = Some(Disposition::Forwarded);
        } else if let Some(reason) = &run.kernel_reason {
            run.disposition = Some(if told[at] { Disposition::Rejected } else { Disposition::Dropped });
            let mut codes = DropCode::ALL.iter().filter(|code| code.kernel_reason() == reason);
            if let (Some(code), None) = (codes.next(), codes.next()) {
                run.code = Some(code.code());
            }
        } else if at == 0 && send_error.is_some() && run.events.is_empty() {
            run.disposition = Some(Disposition::Dropped);
        } else if known && !ambiguous && last.is_some_and(|event| event.hook == Hook::Input) {
            run.disposition = Some(Disposition::Delivered);
        }
    }
}

/// Whether a packet made because of number `at` tells its sender that it will not arrive: an ICMP error or a RST.
fn tells(runs: &[Run], at: usize) -> bool {
    let refusal =
        |run: &Run| run.identity != runs[at].identity && run.identity.is_some_and(Identity::refuses);
    runs.iter().any(|run| run.run.parent == Some(at as u32) && refusal(run))
}

#[cfg(test)]
mod tests;
