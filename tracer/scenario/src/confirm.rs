//! Two engines on one case, backend by backend.

use std::collections::BTreeSet;

use pktwalk_linux::config::Ruleset;
use pktwalk_linux::hook::{Backend, Family};
use pktwalk_linux::iptables::ast::Policy;
use pktwalk_linux::reason::Disposition;
use pktwalk_packet::checksum::checksum;
use pktwalk_packet::{EtherType, Ipv4Fields, Packet};

use crate::case::{Case, CaseSend, Entry};
use crate::compare::{Difference, What, compare};
use crate::engine::EngineError;
use crate::event::{EngineRun, EventVerdict, SendRun};
use crate::model::{Choices, ModelEngine, ModelRun};

mod left_out;

use left_out::{Met, assumed, may_assume, without_connections};
pub use left_out::{is_made, is_opened};

/// The case on one backend: what both engines saw, and where they differ.
#[derive(Debug)]
pub struct Confirmation {
    /// The backend that its rules were given to; none if the case has rules of both, which stay where they are, or of none.
    pub backend: Option<Backend>,
    /// The model's run.
    pub model: ModelRun,
    /// The other engine's run.
    pub other: EngineRun,
    /// Empty if they agree as far as the model knows: see [`Confirmation::agreement`].
    pub differences: Vec<Difference>,
    /// The backend whose tables, which hold nothing, were left out: an engine runs rules of one backend.
    pub left_out: Option<Backend>,
    /// The first packet that met what the other engine is not given; the gaps of its run name it. From that one on nothing is judged.
    pub unlike: Option<usize>,
    /// Connections of the case that the other engine is not given, a line each. Packets of theirs end `Unknown` on the model.
    pub not_made: Vec<String>,
    /// IP protocol and port of sockets that the model assumed, and that the other engine was given for that.
    pub assumed: BTreeSet<(u8, u16)>,
}

/// What two runs come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Agreement {
    /// They agree in all that both can tell, and the model knew what became of every packet.
    Agree,
    /// They differ.
    Differ,
    /// They differ in nothing that the model knew, but there is a packet of which it did not know what becomes: nothing is confirmed.
    Unknown,
    /// They differ in nothing, but the other engine could not bring all of it about or could not see all of it: nothing is confirmed either.
    Unconfirmed,
}

impl Confirmation {
    /// What it comes to.
    pub fn agreement(&self) -> Agreement {
        if !self.differences.iter().all(|difference| self.is_only_unknown(difference)) {
            return Agreement::Differ;
        }
        if self.undecided().next().is_some() {
            Agreement::Unknown
        } else if self.other.gaps.is_empty() {
            Agreement::Agree
        } else {
            Agreement::Unconfirmed
        }
    }

    /// Positions of the sends that led to a packet of which the model does not know what becomes.
    pub fn undecided(&self) -> impl Iterator<Item = usize> {
        self.model.run.sends.iter().enumerate().filter(|(_, send)| undecided(send)).map(|(at, _)| at)
    }

    /// Whether a difference is no more than that the model stopped where it did not know and the other engine went on, or that the other engine
    /// was not given what the packet, or one before it, met.
    pub fn is_only_unknown(&self, difference: &Difference) -> bool {
        if self.unlike.is_some_and(|first| first <= difference.send) {
            return true;
        }
        // What a packet left behind is not known to the packets after it either: their events are those of a state that may be another.
        let mut before = self.model.run.sends.iter().take(difference.send);
        if before.any(undecided) {
            return true;
        }
        let known = matches!(&difference.what, What::Event(_, Some(event), _) if event.verdict != EventVerdict::Unknown);
        !known && self.model.run.sends.get(difference.send).is_some_and(undecided)
    }
}

fn undecided(send: &SendRun) -> bool {
    send.packets.iter().any(|packet| packet.disposition == Some(Disposition::Unknown))
}

/// Which backends a case's rules are given to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Backends {
    /// As the bundle says.
    #[default]
    AsGiven,
    /// Legacy and nft, one after the other.
    Both,
    /// This one.
    One(Backend),
}

/// Runs a case on another engine, and gives the random choices that it made, for the model to make the same.
pub type Judge<'a> = dyn FnMut(&Case) -> Result<(EngineRun, Box<dyn Choices>), EngineError> + 'a;

/// The case with the replies that the model walks given as packets of their own, so that another engine sends the very same.
///
/// # Errors
/// If the model cannot run it.
pub fn with_replies(case: &Case) -> Result<Case, EngineError> {
    if !case.replies {
        return Ok(case.clone());
    }
    let mut model = ModelEngine::new().walk(case)?;
    let mut out = Case { sends: Vec::new(), replies: false, ..case.clone() };
    for (index, send) in case.sends.iter().enumerate() {
        out.sends.push(send.clone());
        // Of a capture, the reply is called as the packet that it answers.
        let reply = model.replies.remove(&index).map(|reply| CaseSend { number: send.number, ..reply });
        out.sends.extend(reply);
    }
    Ok(out)
}

/// Whether a packet can fare otherwise for these rules.
fn acts(ruleset: &Ruleset) -> bool {
    let mut chains = ruleset.save.tables.iter().flat_map(|table| &table.chains);
    chains.any(|chain| !chain.rules.is_empty() || chain.policy == Some(Policy::Drop))
}

/// A case on one backend.
#[derive(Clone, Debug)]
pub struct Backed {
    /// Which; none for a case that stays as it is.
    pub backend: Option<Backend>,
    /// The case.
    pub case: Case,
    /// The backend whose tables, which hold nothing, it is without.
    pub left_out: Option<Backend>,
}

/// The cases that `backends` asks for. Rules of both backends stay where they are. Tables without rules of the backend that has none are left out:
/// they would stand beside those of the other on one backend.
pub fn on_backends(case: &Case, backends: Backends) -> Vec<Backed> {
    let v4 = |ruleset: &&Ruleset| ruleset.save.family == Family::V4;
    let rulesets = || case.config.rulesets.iter().filter(v4);
    let acting = |backend| rulesets().any(|ruleset| ruleset.backend == backend && acts(ruleset));
    let first = rulesets().next().map(|ruleset| ruleset.backend);
    let (given, acts) = match (acting(Backend::Nft), acting(Backend::Legacy), first) {
        (true, true, _) | (false, false, None) => {
            return vec![Backed { backend: None, case: case.clone(), left_out: None }];
        }
        (true, false, _) => (Backend::Nft, true),
        (false, true, _) => (Backend::Legacy, true),
        (false, false, Some(first)) => (first, false),
    };
    let left_out = rulesets().map(|ruleset| ruleset.backend).find(|backend| *backend != given);
    let on = |backend| {
        let mut case = case.clone();
        case.config.rulesets.retain(|ruleset| ruleset.save.family != Family::V4 || ruleset.backend == given);
        for ruleset in &mut case.config.rulesets {
            ruleset.backend = backend;
        }
        Backed { backend: Some(backend), case, left_out }
    };
    match backends {
        // Nothing to be seen alike by both.
        _ if !acts => vec![Backed { backend: None, ..on(given) }],
        Backends::AsGiven => vec![on(given)],
        Backends::Both => vec![on(Backend::Legacy), on(Backend::Nft)],
        Backends::One(backend) => vec![on(backend)],
    }
}

/// Gives an IPv4 packet an identification if it has none: the kernel would choose one, which no packet before it tells.
fn number(packet: &mut Packet) {
    let Ok(ip) = Ipv4Fields::parse(packet.l3()) else { return };
    let mut bytes = packet.l3().to_vec();
    let Some(header) = bytes.get_mut(..usize::from(ip.header_len)) else { return };
    // A checksum that is wrong stays wrong.
    if packet.ethertype() != EtherType::IPV4 || ip.id != 0 || checksum(header) != 0 {
        return;
    }
    header[4..6].copy_from_slice(&1u16.to_be_bytes());
    header[10..12].fill(0);
    let sum = checksum(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    *packet = Packet::from_l3(EtherType::IPV4, bytes).with_missing(packet.missing());
}

/// How often a case is run again for sockets that only the other engine's random choices led to.
const MORE_SOCKETS: usize = 3;

/// One run on each, of the same random choices.
fn both(case: &Case, other: &mut Judge<'_>) -> Result<(EngineRun, ModelRun), EngineError> {
    let (run, choices) = other(case)?;
    let model = ModelEngine::with_choices(choices).walk(case)?;
    Ok((run, model))
}

/// Runs `case` on the `other` engine and on the model. Packets of the namespace's own are those of a raw socket on both: a kernel is given their
/// headers as they are, and that is the socket which can do that.
///
/// # Errors
/// If one of them cannot run it at all.
pub fn confirm(
    case: &Case,
    backends: Backends,
    other: &mut Judge<'_>,
) -> Result<Vec<Confirmation>, EngineError> {
    let mut case = with_replies(case)?;
    for send in &mut case.sends {
        if let Entry::Local(socket) = &mut send.entry {
            socket.raw = true;
            number(&mut send.packet);
        }
    }
    let mut confirmations = Vec::new();
    for Backed { backend, mut case, left_out } in on_backends(&case, backends) {
        if may_assume(&case.config) {
            case.assumed = assumed(&ModelEngine::new().walk(&case)?);
        }
        let (mut run, mut model) = both(&case, other)?;
        for _ in 0..MORE_SOCKETS {
            // Random choices of the other engine led to sockets that the model's own did not.
            let also = assumed(&model);
            if also.is_subset(&case.assumed) {
                break;
            }
            case.assumed.extend(also);
            (run, model) = both(&case, other)?;
        }
        let Met { first: unlike, lines } = Met::of(&case, &model, &run.stand_ins);
        run.gaps.extend(lines);
        let not_made = without_connections(&case, &mut model.run);
        let differences = compare(&model.run, &run);
        confirmations.push(Confirmation {
            backend,
            model,
            other: run,
            differences,
            left_out,
            unlike,
            not_made,
            assumed: case.assumed,
        });
    }
    Ok(confirmations)
}

#[cfg(test)]
pub(crate) mod tests;
