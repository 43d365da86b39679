//! Whether a packet did what was expected of it.

use pktwalk_linux::reason::{Disposition, DropCode};
use pktwalk_packet::{Ipv4Fields, Packet, spec};

use crate::event::{FrameOut, PacketRun, SendRun};
use crate::file::{Expect, Out};

/// One expectation that was not met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unmet {
    /// Which key of `expect`.
    pub key: &'static str,
    /// What was expected.
    pub expected: String,
    /// What happened; empty if the engine saw nothing of the kind.
    pub got: String,
}

impl std::fmt::Display for Unmet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let got = if self.got.is_empty() { "nothing" } else { &self.got };
        write!(f, "{}: expected {}, got {got}", self.key, self.expected)
    }
}

/// Compares what the model saw of a packet with what was expected.
pub fn unmet(expect: &Expect, send: &SendRun) -> Vec<Unmet> {
    let mut unmet = Checks::default();
    let Some(run) = send.packets.first() else { return unmet.0 };
    unmet.check(
        "disposition",
        expect.disposition.map(|d| d.name().to_owned()),
        run.disposition.map(|d| d.name().to_owned()),
    );
    unmet.check("code", expect.code.clone(), run.code.map(str::to_owned));
    unmet.check("node", expect.node.clone(), Some(run.decided.node.clone()));
    unmet.place(expect, run);
    unmet.leaves("out", expect.out.as_deref(), own_frames(send));
    unmet.leaves("made", expect.made.as_deref(), made_frames(send));
    unmet.0
}

/// Compares what the kernel did with what was expected. It knows no nodes, does not always tell how a packet ended ([`untold`] says where that is
/// missing), and of places in the rules only those that dropped.
pub fn unmet_by_kernel(expect: &Expect, send: &SendRun) -> Vec<Unmet> {
    let mut unmet = Checks::default();
    let Some(run) = send.packets.first() else { return unmet.0 };
    if let Some(disposition) = run.disposition {
        let expected = expect.disposition.map(|d| d.name().to_owned());
        unmet.check("disposition", expected, Some(disposition.name().to_owned()));
    }
    if let (Some(code), Some(reason)) = (drop_code(expect), &run.kernel_reason) {
        unmet.check("kernel's reason", Some(code.kernel_reason().to_owned()), Some(reason.clone()));
    }
    if run.decided.hook.is_some() {
        unmet.place(expect, run);
    }
    unmet.leaves("out", expect.out.as_deref(), own_frames(send));
    unmet.leaves("made", expect.made.as_deref(), made_frames(send));
    unmet.0
}

/// The code that is expected, if it is one of a packet that was dropped.
fn drop_code(expect: &Expect) -> Option<DropCode> {
    DropCode::ALL.iter().copied().find(|code| Some(code.code()) == expect.code.as_deref())
}

/// Reasons that no kernel tells, and why.
const NEVER_TOLD: &[(DropCode, &str)] = &[(
    DropCode::ArpIgnored,
    "arp_process consumes the question, as if it had been answered; that there is no answer is compared",
)];

/// Whether the kernel left untold why a packet ended, where something is expected of that: then it confirms less than it seems to. A packet of a
/// socket (`local`) that the system call refused was never made, and so is not freed; of one with copies (`model` tells them) no single end is told.
pub fn untold(expect: &Expect, send: &SendRun, model: &SendRun, local: bool) -> Option<Unmet> {
    let code = drop_code(expect).filter(|code| !NEVER_TOLD.iter().any(|(never, _)| never == code))?;
    let run = send.packets.first()?;
    let refused = local && run.events.is_empty() && run.disposition == Some(Disposition::Dropped);
    let copied = model.packets.iter().any(|packet| packet.copy);
    let told = refused || copied || run.disposition.is_some() && run.kernel_reason.is_some();
    (!told).then(|| Unmet {
        key: "kernel's reason",
        expected: code.kernel_reason().to_owned(),
        got: run.kernel_reason.clone().unwrap_or_default(),
    })
}

#[derive(Default)]
struct Checks(Vec<Unmet>);

impl Checks {
    fn check(&mut self, key: &'static str, expected: Option<String>, got: Option<String>) {
        if let Some(expected) = expected
            && got.as_ref() != Some(&expected)
        {
            self.0.push(Unmet { key, expected, got: got.unwrap_or_default() });
        }
    }

    /// Where it was decided.
    fn place(&mut self, expect: &Expect, run: &PacketRun) {
        let decided = &run.decided;
        self.check("hook", expect.hook.map(|h| h.to_string()), decided.hook.map(|h| h.to_string()));
        self.check("table", expect.table.map(|t| t.to_string()), decided.table.map(|t| t.to_string()));
        self.check("chain", expect.chain.clone(), decided.chain.clone());
        self.check("rule", expect.rule.map(|r| r.to_string()), decided.rule.map(|r| r.to_string()));
    }

    /// What leaves.
    fn leaves(&mut self, key: &'static str, expected: Option<&[Out]>, mut frames: Vec<&FrameOut>) {
        let Some(expected) = expected else { return };
        frames.sort_by(|a, b| a.dev.cmp(&b.dev));
        let mut wanted: Vec<&Out> = expected.iter().collect();
        wanted.sort_by(|a, b| a.dev.cmp(&b.dev));
        let is = |wanted: &Out, frame: &Packet| {
            let any = wanted.packets.is_empty() || wanted.packets.iter().any(|packet| same(packet, frame));
            any && wanted.not.as_ref().is_none_or(|packet| !same(packet, frame))
        };
        let mut pairs = wanted.iter().zip(&frames);
        let all = pairs.all(|(wanted, frame)| wanted.dev == frame.dev && is(wanted, &frame.packet));
        if all && frames.len() == wanted.len() {
            return;
        }
        let list =
            |parts: Vec<String>| if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
        let wanted = wanted.iter().map(|out| {
            let quoted = |packet: &Packet| format!("'{}'", spec::print(packet));
            let packets: Vec<String> = out.packets.iter().map(quoted).collect();
            let mut words = vec![out.dev.clone()];
            words.extend((!packets.is_empty()).then(|| packets.join(" or ")));
            words.extend(out.not.as_ref().map(|packet| format!("not {}", quoted(packet))));
            words.join(" ")
        });
        // As it would have to be written: with the link-layer header where that was looked at.
        let mut said = expected.iter().flat_map(|out| out.packets.iter().chain(&out.not));
        let link = said.any(|packet| packet.mac_dst().is_some());
        let got = frames.iter().map(|frame| {
            let mut packet = frame.packet.clone();
            if !link {
                packet.clear_mac_header();
            }
            format!("{} '{}'", frame.dev, spec::print(&packet))
        });
        self.0.push(Unmet { key, expected: list(wanted.collect()), got: list(got.collect()) });
    }
}

/// Whether this is the packet that was sent, or a copy of it.
fn own(at: usize, packet: &PacketRun) -> bool {
    at == 0 || packet.copy && packet.parent == Some(0)
}

/// The frames of the packet that was sent, and of its copies.
fn own_frames(send: &SendRun) -> Vec<&FrameOut> {
    let packets = send.packets.iter().enumerate().filter(|(at, packet)| own(*at, packet));
    packets.flat_map(|(_, packet)| &packet.frames).collect()
}

/// The frames of everything else, which was made because of it.
fn made_frames(send: &SendRun) -> Vec<&FrameOut> {
    let packets = send.packets.iter().enumerate().filter(|(at, packet)| !own(*at, packet));
    packets.flat_map(|(_, packet)| &packet.frames).collect()
}

/// Whether a frame is the packet that is expected: with the link-layer header if that says one, and with any identification if that says none.
fn same(expected: &Packet, frame: &Packet) -> bool {
    let mut frame = frame.clone();
    if expected.mac_dst().is_none() {
        frame.clear_mac_header();
    }
    let id = |packet: &Packet| Ipv4Fields::parse(packet.l3()).map(|ip| ip.id).unwrap_or_default();
    frame.bytes() == expected.bytes()
        || id(expected) == 0 && {
            let texts = [expected, &frame].map(spec::print);
            let icmp = texts[0].starts_with("icmp ");
            let mut words = texts.each_ref().map(|text| text.split(' ').collect::<Vec<_>>());
            let key = if icmp { "ipid=" } else { "id=" };
            words.iter_mut().for_each(|words| words.retain(|word| !word.starts_with(key)));
            words[0] == words[1]
        }
}
