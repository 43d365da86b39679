//! Two engines on one case, backend by backend.

use pktwalk_linux::hook::Backend;
use pktwalk_linux::iptables::ast::Policy;

use pktwalk_packet::checksum::checksum;
use pktwalk_packet::{EtherType, Ipv4Fields, Packet};

use crate::case::{Case, CaseSend, Entry};
use crate::compare::{Difference, compare};
use crate::engine::EngineError;
use crate::event::EngineRun;
use crate::model::{Choices, ModelEngine, ModelRun};

/// The case on one backend: what both engines saw, and where they differ.
#[derive(Debug)]
pub struct Confirmation {
    /// The backend that its rules were given to; none if the case has rules of both, which stay where they are, or of none.
    pub backend: Option<Backend>,
    /// The model's run.
    pub model: ModelRun,
    /// The other engine's run.
    pub other: EngineRun,
    /// Empty if they agree.
    pub differences: Vec<Difference>,
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

/// The cases that `backends` asks for. Rules of both backends stay where they are.
pub fn on_backends(case: &Case, backends: Backends) -> Vec<(Option<Backend>, Case)> {
    let rulesets: Vec<Backend> = case
        .config
        .rulesets
        .iter()
        .filter(|ruleset| {
            ruleset
                .save
                .tables
                .iter()
                .flat_map(|table| &table.chains)
                .any(|chain| !chain.rules.is_empty() || chain.policy == Some(Policy::Drop))
        })
        .map(|ruleset| ruleset.backend)
        .collect();
    let mixed = rulesets.contains(&Backend::Legacy) && rulesets.contains(&Backend::Nft);
    let on = |backend| {
        let mut case = case.clone();
        for ruleset in &mut case.config.rulesets {
            ruleset.backend = backend;
        }
        (Some(backend), case)
    };
    match backends {
        _ if mixed || rulesets.is_empty() => vec![(None, case.clone())],
        Backends::AsGiven => vec![(rulesets.first().copied(), case.clone())],
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
    for (backend, case) in on_backends(&case, backends) {
        let (run, choices) = other(&case)?;
        let model = ModelEngine::with_choices(choices).walk(&case)?;
        let differences = compare(&model.run, &run);
        confirmations.push(Confirmation { backend, model, other: run, differences });
    }
    Ok(confirmations)
}
