//! [`ModelEngine`]: this project's own walk as an engine.
//!
//! It compiles the case's namespace once, walks every packet in order with one state, and turns the recorded steps into the normal form of
//! [`event`](crate::event). Where both backends have rules and nothing says which was registered first, every packet is walked in both orders;
//! packets that would fare differently end `Unknown`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use pktwalk_linux::choice::{Choice, Seeded};
use pktwalk_linux::config::{Device, DeviceKind, MissingState, NetNsConfig, Socket};
use pktwalk_linux::hook::Hook;
use pktwalk_linux::ids::{CtId, DevId};
use pktwalk_linux::iptables::ast::Policy;
use pktwalk_linux::netns::{NetNs, NetNsState};
use pktwalk_linux::reason::{Because, Disposition, End, Locus};
use pktwalk_linux::skb::{MadeBy, SkbCt, SkbSocket};
use pktwalk_linux::trace::{CtResult, NeighResult, PacketTrace, Recorder, RuleVerdict, Step};
use pktwalk_linux::walk::{Inject, walk};
use pktwalk_packet::EtherType;
use pktwalk_report::flow::{Flow, L4};
use pktwalk_report::netns_names::location;
use pktwalk_report::{Connection, Names, NetNsNames, Remark, SendRecord, WalkRecord};

use crate::case::{Case, CaseSend, Entry};
use crate::engine::{Engine, EngineError};
use crate::event::{
    At, CT_STATUS_MASK, CtSnapshot, Decided, EngineRun, EventVerdict, FrameOut, PacketRun, Question,
    ScenarioEvent, SendRun,
};
use crate::reply::reply_to;

/// Gives the choice source of each sent packet: replays of a kernel's random choices come in here.
pub trait Choices {
    /// The source for the packet at this position of the case. `ns` tells what the ids in the questions mean.
    fn for_send(&mut self, send: usize, ns: &NetNs) -> Box<dyn Choice>;

    /// The source for the reply to it; none: as for any reply, from the case's seed.
    fn for_reply(&mut self, send: usize, ns: &NetNs) -> Option<Box<dyn Choice>> {
        let _ = (send, ns);
        None
    }

    /// When that packet was sent, in nanoseconds from the first one on: limits of rates count with it. None: no time passes.
    fn time(&self, send: usize) -> Option<u64> {
        let _ = send;
        None
    }
}

/// What the model made of a case, and what is needed to tell it.
#[derive(Debug)]
pub struct ModelRun {
    /// What it saw; every send has its record.
    pub run: EngineRun,
    /// The namespace that the records' ids are of.
    pub ns: NetNs,
    /// The node's name, for [`ModelRun::names`].
    pub node: String,
    /// Where frames are received, for [`ModelRun::names`].
    pub peers: BTreeMap<String, String>,
    /// What compiling the namespace had to say, after what its readers said.
    pub remarks: Vec<Remark>,
    /// The replies that were walked, by the position of the packet that they answer: for an engine that has to be given them.
    pub replies: BTreeMap<usize, CaseSend>,
}

impl ModelRun {
    /// The names of the records' ids.
    pub fn names(&self) -> NetNsNames<'_> {
        NetNsNames::new(&self.ns, self.node.as_str()).with_peers(&self.peers)
    }
}

/// The model as an engine.
#[derive(Default)]
pub struct ModelEngine<'c> {
    choices: Option<Box<dyn Choices + 'c>>,
}

impl<'c> ModelEngine<'c> {
    /// With random choices from the case's seed.
    pub fn new() -> ModelEngine<'c> {
        ModelEngine::default()
    }

    /// With choices from `choices`.
    pub fn with_choices(choices: Box<dyn Choices + 'c>) -> ModelEngine<'c> {
        ModelEngine { choices: Some(choices) }
    }

    /// As [`Engine::run`], with the namespace that the ids in the records are of.
    ///
    /// # Errors
    /// If a packet enters at a device that the namespace does not have.
    pub fn walk(&mut self, case: &Case) -> Result<ModelRun, EngineError> {
        let compiled = Compiled::of(case)?;
        let mut run = EngineRun { engine: self.name().to_owned(), ..EngineRun::default() };
        let mut replies = BTreeMap::new();
        let mut known = BTreeSet::new();
        self.walk_each(case, &compiled, |walked| {
            if let Some(answer) = walked.answer {
                replies.insert(run.sends.len(), answer);
            }
            run.sends.push(SendRun {
                packets: walked.packets,
                conntrack: snapshots(walked.state),
                at_ns: None,
                questions: Some(questions(&walked.record.request.packets, &compiled.ns, &mut known)),
                record: Some(walked.record),
            });
            Ok::<(), EngineError>(())
        })?;
        let Compiled { ns, node, peers, remarks, .. } = compiled;
        Ok(ModelRun { run, node, peers, ns, remarks, replies })
    }

    /// Walks the packets one after the other and gives each to `take` as soon as it has ended, so that a long capture need not be kept.
    ///
    /// # Errors
    /// If a packet enters at a device that the namespace does not have, and whatever `take` returns.
    pub fn walk_each<E: From<EngineError>>(
        &mut self,
        case: &Case,
        compiled: &Compiled,
        mut take: impl FnMut(Walked<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let ns = &compiled.ns;
        let mut first = World::new(ns);
        let mut second = compiled.other.as_ref().map(World::new);
        let mut seeded = Seeded::new(case.seed);
        let mut seeded_second = Seeded::new(case.seed);
        for (index, send) in case.sends.iter().enumerate() {
            let inject = inject(ns, send)?;
            if let Some(now_ns) = self.choices.as_ref().and_then(|choices| choices.time(index)) {
                let worlds = [Some(&mut first), second.as_mut()];
                worlds.into_iter().flatten().for_each(|world| world.state.now_ns = now_ns);
            }
            let mut sent = match &mut self.choices {
                Some(choices) => {
                    let mut choice = choices.for_send(index, ns);
                    first.send(&case.node, inject.clone(), choice.as_mut())
                }
                None => first.send(&case.node, inject.clone(), &mut seeded),
            };
            if let Some(second) = &mut second {
                let also = match &mut self.choices {
                    Some(choices) => {
                        let mut choice = choices.for_send(index, second.ns);
                        second.send(&case.node, inject, choice.as_mut())
                    }
                    None => second.send(&case.node, inject, &mut seeded_second),
                };
                sent.if_order_decides(&also);
            }
            let (mut reply, mut answered) = (None, None);
            if case.replies
                && let Some(answer) = reply_to(&sent.record, &first.names(&case.node))
            {
                // The reply goes through what the request left behind: the same state.
                if let Ok(inject) = inject_of(ns, &answer) {
                    let mut of_reply =
                        self.choices.as_mut().and_then(|choices| choices.for_reply(index, first.ns));
                    let choice: &mut dyn Choice = match &mut of_reply {
                        Some(choice) => choice.as_mut(),
                        None => &mut seeded,
                    };
                    let mut walked = first.send(&case.node, inject.clone(), choice);
                    if let Some(second) = &mut second {
                        walked.if_order_decides(&second.send(&case.node, inject, &mut seeded_second));
                    }
                    reply = Some(walked.record);
                    answered = Some(answer);
                }
            }
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let number = send.number.unwrap_or(index.saturating_add(1));
            take(Walked {
                record: SendRecord { index, number, request: sent.record, reply },
                packets: sent.packets,
                state: &first.state,
                answer: answered,
            })?;
        }
        Ok(())
    }
}

/// A case's namespace, ready for packets.
#[derive(Debug)]
pub struct Compiled {
    /// What the ids in records are of.
    pub ns: NetNs,
    /// The node's name, for [`Compiled::names`].
    pub node: String,
    /// Where frames are received, for [`Compiled::names`].
    pub peers: BTreeMap<String, String>,
    /// What compiling had to say, after what the case's readers said.
    pub remarks: Vec<Remark>,
    /// The namespace with its backends registered the other way round, where that could matter.
    other: Option<NetNs>,
}

impl Compiled {
    /// Compiles the namespace of a case.
    ///
    /// # Errors
    /// If a packet enters at a device that the namespace does not have.
    pub fn of(case: &Case) -> Result<Compiled, EngineError> {
        let mut config = case.config.clone();
        senders_sockets(&mut config, case);
        let other = other_order(&config);
        if other.is_some() {
            config.missing.retain(|missing| *missing != MissingState::RegistrationOrder);
        }
        let (ns, diagnostics) = NetNs::compile(config);
        let mut remarks = case.remarks.clone();
        remarks.extend(diagnostics.into_iter().map(|diagnostic| Remark {
            severity: diagnostic.severity,
            message: diagnostic.message,
            location: location(&ns.config.files, diagnostic.source),
        }));
        for send in &case.sends {
            if let Entry::Device(name) = &send.entry
                && ns.dev(name).is_none()
            {
                inject(&ns, send)?;
            }
        }
        let other = other.filter(|_| ns.netfilter.order_matters()).map(|config| NetNs::compile(config).0);
        Ok(Compiled { ns, node: case.node.clone(), peers: case.peers.clone(), remarks, other })
    }

    /// The names of the records' ids.
    pub fn names(&self) -> NetNsNames<'_> {
        NetNsNames::new(&self.ns, self.node.as_str()).with_peers(&self.peers)
    }

    /// Whether every packet is walked twice, as nothing says which backend's rules run first.
    pub fn has_two_orders(&self) -> bool {
        self.other.is_some()
    }
}

/// One packet of a case, walked.
#[derive(Debug)]
pub struct Walked<'a> {
    /// Every step of it and of the reply.
    pub record: SendRecord,
    /// What every engine tells of it.
    pub packets: Vec<PacketRun>,
    /// What the packets so far have left behind.
    pub state: &'a NetNsState,
    /// The reply that was walked.
    pub answer: Option<CaseSend>,
}

impl Engine for ModelEngine<'_> {
    fn name(&self) -> &'static str {
        "model"
    }

    fn run(&mut self, case: &Case) -> Result<EngineRun, EngineError> {
        self.walk(case).map(|model| model.run)
    }
}

fn inject(ns: &NetNs, send: &CaseSend) -> Result<Inject, EngineError> {
    inject_of(ns, send).map_err(|dev| {
        let known: Vec<&str> = ns.config.devices.iter().map(|device| device.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let whose = if ns.config.name.is_empty() {
            "the namespace".to_owned()
        } else {
            format!("namespace {}", ns.config.name)
        };
        EngineError::Unsupported {
            engine: "model",
            what: format!("{whose} has no device {dev}; its devices: {known}"),
        }
    })
}

/// The error is the name of the device that is not there.
fn inject_of<'a>(ns: &NetNs, send: &'a CaseSend) -> Result<Inject, &'a str> {
    Ok(match &send.entry {
        Entry::Device(name) => {
            Inject::Rx { dev: ns.dev(name).ok_or(name.as_str())?, packet: send.packet.clone() }
        }
        Entry::Local(socket) => {
            let mut packet = send.packet.clone();
            packet.clear_mac_header();
            Inject::Local { packet, socket: *socket }
        }
    })
}

/// Who sends from here has a socket, which takes the replies. Raw sockets are not bound to ports, and only replies are looked at.
fn senders_sockets(config: &mut NetNsConfig, case: &Case) {
    let Some(sockets) = config.sockets.as_mut().filter(|_| case.replies) else { return };
    for send in &case.sends {
        let Entry::Local(SkbSocket { raw: false, uid, .. }) = send.entry else { continue };
        let Some(flow) = Flow::of(&send.packet) else { continue };
        let (sport, dport) = match flow.l4 {
            L4::Tcp { sport, dport, .. } => (sport, dport),
            L4::Ports { sport, dport } if flow.protocol == 17 => (sport, dport),
            _ => continue,
        };
        let local = IpAddr::V4(flow.src.into());
        let remote = Some((IpAddr::V4(flow.dst.into()), dport));
        let there = |s: &Socket| s.protocol == flow.protocol && s.port == sport && s.remote == remote;
        if sockets.iter().any(there) {
            continue;
        }
        let owner = Some("the sender".to_owned());
        let protocol = flow.protocol;
        sockets.push(Socket {
            protocol,
            local,
            port: sport,
            remote,
            dev: None,
            v6_only: false,
            listening: false,
            owner,
            uid,
        });
    }
}

/// The namespace with its backends registered the other way round, if that is not known and could matter.
fn other_order(config: &NetNsConfig) -> Option<NetNsConfig> {
    if !config.missing.contains(&MissingState::RegistrationOrder) || config.rulesets.len() < 2 {
        return None;
    }
    let mut other = config.clone();
    other.rulesets.reverse();
    other.missing.retain(|missing| *missing != MissingState::RegistrationOrder);
    Some(other)
}

/// One namespace under way.
struct World<'a> {
    ns: &'a NetNs,
    state: NetNsState,
}

/// One packet walked, in both forms.
struct Sent {
    record: WalkRecord,
    packets: Vec<PacketRun>,
}

impl Sent {
    /// Makes the end `Unknown` if the packet fared otherwise with the backends registered the other way round.
    fn if_order_decides(&mut self, also: &Sent) {
        let told = |packets: &[PacketRun]| -> Vec<_> {
            packets.iter().map(|packet| (packet.disposition, packet.code, packet.frames.clone())).collect()
        };
        if told(&self.packets) == told(&also.packets) {
            return;
        }
        let hook = first_difference(&self.packets, &also.packets).unwrap_or(Hook::Forward);
        let end = End::unknown(Because::RegistrationOrder { hook });
        if let Some(packet) = self.record.packets.first_mut() {
            packet.end = Some(end);
        }
        if let Some(packet) = self.packets.first_mut() {
            packet.disposition = Some(Disposition::Unknown);
            packet.code = end.code();
            packet.kernel_reason = None;
            packet.decided =
                Decided { node: packet.decided.node.clone(), hook: Some(hook), ..Decided::default() };
        }
    }
}

/// The hook of the first event that two walks of the same packet do not share.
fn first_difference(one: &[PacketRun], other: &[PacketRun]) -> Option<Hook> {
    let (one, other) = (&one.first()?.events, &other.first()?.events);
    let at = one.iter().zip(other).position(|(a, b)| a != b).unwrap_or(one.len().min(other.len()));
    one.get(at).or_else(|| other.get(at)).map(|event| event.hook)
}

impl<'a> World<'a> {
    fn new(ns: &'a NetNs) -> World<'a> {
        World { ns, state: NetNsState::start(ns) }
    }

    fn names(&self, node: &str) -> NetNsNames<'a> {
        NetNsNames::new(self.ns, node)
    }

    fn send(&mut self, node: &str, inject: Inject, choice: &mut dyn Choice) -> Sent {
        let mut recorder = Recorder::default();
        let end = walk(self.ns, &mut self.state, inject, choice, &mut recorder);
        let mut packets = recorder.packets;
        if let Some(first) = packets.first_mut()
            && first.end.is_none()
        {
            first.end = Some(end);
        }
        let connections = connections(&packets, &self.state);
        let record = WalkRecord { packets, connections };
        let names = self.names(node);
        let packets: Vec<PacketRun> =
            record.packets.iter().map(|packet| packet_run(packet, &names)).collect();
        Sent { record, packets }
    }
}

/// The confirmed connections, sorted.
fn snapshots(state: &NetNsState) -> Vec<CtSnapshot> {
    let mut entries: Vec<CtSnapshot> = state
        .ct
        .confirmed(state.now_ns)
        .map(|(_, entry)| CtSnapshot {
            original: entry.original,
            reply: entry.reply,
            mark: entry.mark,
            status: entry.status & CT_STATUS_MASK,
            tcp_state: entry.tcp.map(|state| state.name().to_owned()),
            zone: entry.zone_original,
        })
        .collect();
    entries.sort();
    entries
}

/// Whom these packets make the namespace ask for. Who answers, and everybody but neighbours that have failed is assumed to, is not asked again.
fn questions(packets: &[PacketTrace], ns: &NetNs, answered: &mut BTreeSet<Question>) -> Vec<Question> {
    let mut asked = BTreeSet::new();
    for recorded in packets.iter().flat_map(|packet| &packet.steps) {
        let Step::Neighbour { dev, addr, result } = recorded.step else { continue };
        let question = || Question { dev: ns.device(dev).name.clone(), target: addr.into() };
        match result {
            NeighResult::Assumed if is_heard(ns, dev) => {
                let question = question();
                if answered.insert(question.clone()) {
                    asked.insert(question);
                }
            }
            NeighResult::Failed if is_heard(ns, dev) => {
                asked.insert(question());
            }
            _ => {}
        }
    }
    asked.into_iter().collect()
}

/// Whether what `dev` sends to everybody comes out of the namespace.
fn is_heard(ns: &NetNs, dev: DevId) -> bool {
    let device = ns.device(dev);
    let works = |device: &Device| device.up && device.carrier;
    let port =
        |port: &Device| port.master.as_ref() == Some(&device.name) && works(port) && port.port.forwarding;
    match device.kind {
        // `arp_send_dst`.
        _ if device.no_arp => false,
        DeviceKind::Physical | DeviceKind::Veth { .. } | DeviceKind::Other(_) => works(device),
        DeviceKind::Bridge { .. } => device.up && ns.config.devices.iter().any(port),
        DeviceKind::Loopback | DeviceKind::Dummy => false,
    }
}

/// The connections that the steps of these packets speak of, as they are now.
fn connections(packets: &[PacketTrace], state: &NetNsState) -> BTreeMap<CtId, Connection> {
    let mut ids = BTreeSet::new();
    for packet in packets {
        if let SkbCt::Entry { id, .. } = packet.ct {
            ids.insert(id);
        }
        for recorded in &packet.steps {
            match recorded.step {
                Step::CtLookup { result: CtResult::Entry { id, .. }, .. } | Step::CtConfirm { id, .. } => {
                    ids.insert(id);
                }
                _ => {}
            }
        }
    }
    ids.into_iter()
        .filter_map(|id| {
            let entry = state.ct.get(id)?;
            let connection = Connection {
                original: entry.original,
                reply: entry.reply,
                mark: entry.mark,
                status: entry.status,
                tcp_state: entry.tcp.map(|state| state.name()),
            };
            Some((id, connection))
        })
        .collect()
}

/// The recorded walk of one packet in the form that engines are compared in.
pub fn packet_run(packet: &PacketTrace, names: &dyn Names) -> PacketRun {
    let frames: Vec<FrameOut> = packet
        .frames
        .iter()
        .map(|(dev, frame)| FrameOut { dev: names.device(*dev), packet: frame.clone() })
        .collect();
    PacketRun {
        parent: packet.parent,
        copy: matches!(packet.made_by, MadeBy::Copy | MadeBy::Fragment),
        places: places(packet),
        events: events(packet, names),
        unseen: packet.parent.is_some() && packet.start.ethertype() != EtherType::IPV4 && frames.is_empty(),
        frames,
        disposition: packet.end.as_ref().map(|end| end.disposition),
        code: packet.end.as_ref().and_then(End::code),
        kernel_reason: packet.end.as_ref().and_then(End::kernel_reason).map(str::to_owned),
        decided: decided(packet, names),
    }
}

/// Whether a step is an event.
fn is_event(step: &Step) -> bool {
    matches!(step, Step::Rule { .. } | Step::ChainEnd { .. } | Step::ChainPolicy { .. })
}

fn places(packet: &PacketTrace) -> Vec<u32> {
    packet.steps.iter().filter(|recorded| is_event(&recorded.step)).map(|recorded| recorded.place).collect()
}

fn events(packet: &PacketTrace, names: &dyn Names) -> Vec<ScenarioEvent> {
    let mut events = Vec::new();
    for recorded in &packet.steps {
        match recorded.step {
            Step::Rule { hook, rule, verdict, mark_before, mark, .. } => {
                let rule = names.rule(rule);
                let verdict = match verdict {
                    RuleVerdict::Accept => EventVerdict::Accept,
                    RuleVerdict::Drop => EventVerdict::Drop,
                    RuleVerdict::Return => EventVerdict::Return,
                    RuleVerdict::Continue => EventVerdict::Continue,
                    RuleVerdict::Jump(to) => EventVerdict::Jump(names.chain(to).chain),
                    RuleVerdict::Goto(to) => EventVerdict::Goto(names.chain(to).chain),
                    RuleVerdict::Stolen => EventVerdict::Stolen,
                    RuleVerdict::Unknown => EventVerdict::Unknown,
                };
                events.push(ScenarioEvent {
                    hook,
                    backend: rule.chain.backend,
                    table: rule.chain.table,
                    chain: rule.chain.chain,
                    at: At::Rule(rule.position),
                    verdict,
                    mark_before: Some(mark_before),
                    mark: Some(mark),
                });
            }
            Step::ChainEnd { hook, chain, .. } => {
                let chain = names.chain(chain);
                events.push(ScenarioEvent {
                    hook,
                    backend: chain.backend,
                    table: chain.table,
                    chain: chain.chain,
                    at: At::End,
                    verdict: EventVerdict::Return,
                    mark_before: Some(recorded.mark),
                    mark: Some(recorded.mark),
                });
            }
            Step::ChainPolicy { hook, chain, policy, .. } => {
                let chain = names.chain(chain);
                events.push(ScenarioEvent {
                    hook,
                    backend: chain.backend,
                    table: chain.table,
                    chain: chain.chain,
                    at: At::Policy,
                    verdict: match policy {
                        Policy::Accept => EventVerdict::Accept,
                        Policy::Drop => EventVerdict::Drop,
                    },
                    mark_before: Some(recorded.mark),
                    mark: Some(recorded.mark),
                });
            }
            _ => {}
        }
    }
    events
}

fn decided(packet: &PacketTrace, names: &dyn Names) -> Decided {
    let mut decided = Decided { node: names.node().to_owned(), ..Decided::default() };
    let Some(end) = &packet.end else { return decided };
    match (end.locus, end.because) {
        (Some(Locus::Rule { hook, rule }), _) => {
            let rule = names.rule(rule);
            decided.hook = Some(hook);
            decided.table = Some(rule.chain.table);
            decided.chain = Some(rule.chain.chain);
            decided.rule = Some(rule.position);
        }
        (Some(Locus::Policy { hook, chain }), _) => {
            let chain = names.chain(chain);
            decided.hook = Some(hook);
            decided.table = Some(chain.table);
            decided.chain = Some(chain.chain);
        }
        (Some(Locus::Conntrack { hook }), _) | (None, Some(Because::RegistrationOrder { hook })) => {
            decided.hook = Some(hook);
        }
        (None, Some(Because::Match { rule, .. } | Because::Target { rule } | Because::Set { rule, .. })) => {
            let rule = names.rule(rule);
            decided.hook = last_hook(packet);
            decided.table = Some(rule.chain.table);
            decided.chain = Some(rule.chain.chain);
            decided.rule = Some(rule.position);
        }
        _ => {}
    }
    decided
}

/// The hook of the last step that was at one.
fn last_hook(packet: &PacketTrace) -> Option<Hook> {
    packet.steps.iter().rev().find_map(|recorded| match recorded.step {
        Step::ChainEnter { hook, .. }
        | Step::Rule { hook, .. }
        | Step::ChainEnd { hook, .. }
        | Step::ChainPolicy { hook, .. } => Some(hook),
        _ => None,
    })
}
