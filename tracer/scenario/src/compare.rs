//! Two engines' runs of one case, side by side.

use std::collections::BTreeMap;
use std::fmt;

use pktwalk_linux::hook::Hook;

use pktwalk_packet::Packet;

use crate::event::{At, CtSnapshot, EngineRun, EventVerdict, PacketRun, Question, ScenarioEvent, SendRun};

/// A point where two runs differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Position of the sent packet in the case.
    pub send: usize,
    /// Position of the packet among those that came of it, copies not counted ([`Compared`]); none if it is about all of them.
    pub packet: Option<usize>,
    /// What differs.
    pub what: What,
}

/// What differs between two runs; first the left engine's, then the right one's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// Event number (from 0): what each saw there; none where it saw no more.
    Event(usize, Option<Box<ScenarioEvent>>, Option<Box<ScenarioEvent>>),
    /// How it ended.
    Disposition(String, String),
    /// Why, as the kernel names it.
    KernelReason(String, String),
    /// Devices and lengths of the frames that left.
    Frames(String, String),
    /// A frame's bytes from the network header on, in hexadecimal.
    FrameBytes(usize, String, String),
    /// A frame's link-layer header, in hexadecimal.
    LinkHeader(usize, String, String),
    /// Whom the namespace asked for by ARP.
    Questions(String, String),
    /// How many packets came of it.
    Packets(usize, usize),
    /// The entries of the connection table that only this one has.
    Conntrack(String, String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packet {}", self.send + 1)?;
        if let Some(child) = self.packet.filter(|child| *child > 0) {
            write!(f, " (number {child} of those made because of it)")?;
        }
        f.write_str(": ")?;
        let event = |event: &Option<Box<ScenarioEvent>>| {
            event.as_ref().map_or_else(|| "nothing more".to_owned(), |event| event.to_string())
        };
        match &self.what {
            What::Event(at, left, right) => {
                write!(f, "event {}: {} | {}", at + 1, event(left), event(right))?;
                match (left, right) {
                    (Some(left), Some(right)) if left.backend != right.backend => {
                        write!(f, " (of {} | {})", left.backend, right.backend)
                    }
                    _ => Ok(()),
                }
            }
            What::Disposition(left, right) => write!(f, "ended {left} | {right}"),
            What::KernelReason(left, right) => write!(f, "reason {left} | {right}"),
            What::Frames(left, right) => write!(f, "frames {left} | {right}"),
            What::FrameBytes(at, left, right) => write!(f, "frame {}: {left} | {right}", at + 1),
            What::LinkHeader(at, left, right) => {
                write!(f, "link-layer header of frame {}: {left} | {right}", at + 1)
            }
            What::Questions(left, right) => write!(f, "asked for {left} | {right}"),
            What::Packets(left, right) => write!(f, "{left} packets in all | {right}"),
            What::Conntrack(left, right) => write!(f, "connections that only one has: {left} | {right}"),
        }
    }
}

impl fmt::Display for ScenarioEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table;
        write!(f, "{table} {}", self.chain)?;
        if Hook::from_chain_name(&self.chain).is_none() {
            write!(f, " ({})", self.hook)?;
        }
        match self.at {
            At::Rule(position) => write!(f, " rule {position}")?,
            At::End => f.write_str(" end")?,
            At::Policy => f.write_str(" policy")?,
        }
        match &self.verdict {
            EventVerdict::Accept => f.write_str(" ACCEPT")?,
            EventVerdict::Drop => f.write_str(" DROP")?,
            EventVerdict::Return => f.write_str(" RETURN")?,
            EventVerdict::Continue => f.write_str(" CONTINUE")?,
            EventVerdict::Jump(to) => write!(f, " JUMP {to}")?,
            EventVerdict::Goto(to) => write!(f, " GOTO {to}")?,
            EventVerdict::Queue => f.write_str(" QUEUE")?,
            EventVerdict::Stolen => f.write_str(" STOLEN")?,
            EventVerdict::Unknown => f.write_str(" UNKNOWN")?,
        }
        match (self.mark_before, self.mark) {
            (_, Some(mark)) if mark != 0 => write!(f, " mark {mark:#x}"),
            (Some(mark), None) if mark != 0 => write!(f, " mark before {mark:#x}"),
            _ => Ok(()),
        }
    }
}

impl ScenarioEvent {
    /// Whether two engines saw the same, as far as both can tell.
    pub fn agrees(&self, other: &ScenarioEvent) -> bool {
        let marks = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.hook == other.hook
            && self.backend == other.backend
            && self.table == other.table
            && self.chain == other.chain
            && self.at == other.at
            && self.verdict == other.verdict
            && marks(self.mark_before, other.mark_before)
            && marks(self.mark, other.mark)
    }
}

/// Every difference between two runs of the same case, in order. Empty: the engines agree in all that both can tell.
pub fn compare(left: &EngineRun, right: &EngineRun) -> Vec<Difference> {
    let mut differences = Vec::new();
    for send in 0..left.sends.len().max(right.sends.len()) {
        match (left.sends.get(send), right.sends.get(send)) {
            (Some(left), Some(right)) => compare_send(send, left, right, &mut differences),
            (left, right) => differences.push(Difference {
                send,
                packet: None,
                what: What::Packets(
                    left.map_or(0, |s| s.packets.len()),
                    right.map_or(0, |s| s.packets.len()),
                ),
            }),
        }
    }
    differences
}

/// The events of each packet with those of its copies, in the order in which they happened.
fn events_with_copies(packets: &[PacketRun]) -> Vec<Vec<ScenarioEvent>> {
    let placed = |packet: &PacketRun| {
        let places = packet.places.iter().copied().chain(std::iter::repeat(u32::MAX));
        places.zip(packet.events.iter().cloned()).collect::<Vec<_>>()
    };
    let mut events: Vec<_> = packets.iter().map(placed).collect();
    // Copies of copies first.
    for (at, packet) in packets.iter().enumerate().rev().filter(|(_, packet)| packet.copy) {
        let Some(parent) = packet.parent.map(|parent| parent as usize).filter(|parent| *parent < at) else {
            continue;
        };
        let own = std::mem::take(&mut events[at]);
        events[parent].extend(own);
        events[parent].sort_by_key(|(place, _)| *place);
    }
    events.into_iter().map(|events| events.into_iter().map(|(_, event)| event).collect()).collect()
}

/// A packet with its copies put under it: what of one engine is held against the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whole {
    /// Position of the packet itself among those of its send.
    pub at: usize,
    /// Positions of its copies, and of copies of these.
    pub copies: Vec<usize>,
    /// Its run, with the events of the copies in the order in which they happened and the frames of all, in the order of their devices. Where either engine made
    /// copies of it it has no single end: there is no disposition and no reason.
    pub run: PacketRun,
}

/// What is compared of one send, each engine's packets: two at the same position are held against each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compared {
    /// Of the left engine.
    pub left: Vec<Whole>,
    /// Of the right engine.
    pub right: Vec<Whole>,
}

impl Compared {
    /// What is compared of these two.
    pub fn of(left: &SendRun, right: &SendRun) -> Compared {
        let ((left, of_left), (right, of_right)) = (with_copies(left), with_copies(right));
        let mut compared = Compared { left, right };
        excuse(&mut compared.left, &of_right);
        excuse(&mut compared.right, &of_left);
        let copied =
            |wholes: &[Whole], at: usize| wholes.get(at).is_some_and(|whole| !whole.copies.is_empty());
        for at in 0..compared.left.len().max(compared.right.len()) {
            if copied(&compared.left, at) || copied(&compared.right, at) {
                for whole in
                    [&mut compared.left, &mut compared.right].into_iter().filter_map(|side| side.get_mut(at))
                {
                    whole.run.disposition = None;
                    whole.run.kernel_reason = None;
                }
            }
        }
        compared
    }
}

/// What was freed of packets that only the other engine knows of looks as if it had been one of these: an end for such a reason is nobody's.
fn excuse(wholes: &mut [Whole], unseen: &[Option<String>]) {
    for Whole { run, .. } in wholes {
        if run.kernel_reason.is_some() && unseen.contains(&run.kernel_reason) {
            run.disposition = None;
            run.kernel_reason = None;
        }
    }
}

/// The packets with every copy put under what it is a copy of, without those that nobody could have seen; and why these were freed.
fn with_copies(send: &SendRun) -> (Vec<Whole>, Vec<Option<String>>) {
    let mut whole: Vec<Whole> = Vec::new();
    // Where each packet of the send is in `whole`.
    let mut places: Vec<usize> = Vec::new();
    for (at, (packet, events)) in send.packets.iter().zip(events_with_copies(&send.packets)).enumerate() {
        let parent = packet.parent.and_then(|parent| places.get(parent as usize)).copied();
        let into = match parent {
            Some(parent) if packet.copy => parent,
            _ => {
                places.push(whole.len());
                let run = PacketRun { events, ..packet.clone() };
                whole.push(Whole { at, copies: Vec::new(), run });
                continue;
            }
        };
        places.push(into);
        let original = &mut whole[into];
        original.run.frames.extend(packet.frames.iter().cloned());
        original.copies.push(at);
    }
    for whole in &mut whole {
        whole.run.frames.sort_by(|a, b| a.dev.cmp(&b.dev));
    }
    let (unseen, seen): (Vec<Whole>, Vec<Whole>) =
        whole.into_iter().partition(|whole| whole.run.unseen && whole.run.frames.is_empty());
    (seen, unseen.into_iter().map(|whole| whole.run.kernel_reason).collect())
}

fn compare_send(send: usize, left: &SendRun, right: &SendRun, differences: &mut Vec<Difference>) {
    let compared = Compared::of(left, right);
    let mut add = |packet, what| differences.push(Difference { send, packet, what });
    if compared.left.len() != compared.right.len() {
        add(None, What::Packets(compared.left.len(), compared.right.len()));
    }
    for (number, (left, right)) in compared.left.iter().zip(&compared.right).enumerate() {
        compare_packet(&left.run, &right.run, &mut |what| add(Some(number), what));
    }
    if let (Some(left), Some(right)) = (&left.questions, &right.questions)
        && left != right
    {
        let show = |questions: &[Question]| {
            let asked: Vec<String> = questions.iter().map(|q| format!("{} at {}", q.target, q.dev)).collect();
            if asked.is_empty() { "nobody".to_owned() } else { asked.join(", ") }
        };
        add(None, What::Questions(show(left), show(right)));
    }
    if left.conntrack != right.conntrack {
        let (left, right) =
            (only_in(&left.conntrack, &right.conntrack), only_in(&right.conntrack, &left.conntrack));
        add(None, What::Conntrack(left, right));
    }
}

/// The entries of one table that the other does not have, in words.
fn only_in(table: &[CtSnapshot], other: &[CtSnapshot]) -> String {
    // How often the other has it: each of its entries accounts for one of these.
    let mut left: BTreeMap<&CtSnapshot, usize> = BTreeMap::new();
    for entry in other {
        *left.entry(entry).or_default() += 1;
    }
    let mut lines: Vec<String> = Vec::new();
    for entry in table {
        match left.get_mut(entry) {
            Some(count) if *count > 0 => *count -= 1,
            _ => lines.push(entry_line(entry)),
        }
    }
    if lines.is_empty() { "none".to_owned() } else { lines.join("; ") }
}

fn entry_line(entry: &CtSnapshot) -> String {
    let mut line = format!(
        "{} reply {} mark {:#x} status {:#x}",
        pktwalk_report::flow::tuple_line(&entry.original),
        pktwalk_report::flow::tuple_line(&entry.reply),
        entry.mark,
        entry.status,
    );
    if entry.zone != 0 {
        line.push_str(&format!(" zone {}", entry.zone));
    }
    if let Some(state) = &entry.tcp_state {
        line.push_str(&format!(" {state}"));
    }
    line
}

fn compare_packet(left: &PacketRun, right: &PacketRun, add: &mut dyn FnMut(What)) {
    let longest = left.events.len().max(right.events.len());
    let first = (0..longest).find(|&at| match (left.events.get(at), right.events.get(at)) {
        (Some(left), Some(right)) => !left.agrees(right),
        _ => true,
    });
    if let Some(at) = first {
        let event = |run: &PacketRun| run.events.get(at).cloned().map(Box::new);
        add(What::Event(at, event(left), event(right)));
    }
    if let (Some(left), Some(right)) = (left.disposition, right.disposition)
        && left != right
    {
        add(What::Disposition(left.name().to_owned(), right.name().to_owned()));
    }
    if let (Some(left), Some(right)) = (&left.kernel_reason, &right.kernel_reason)
        && left != right
    {
        add(What::KernelReason(left.clone(), right.clone()));
    }
    let devices = |run: &PacketRun| {
        let frames: Vec<String> = run
            .frames
            .iter()
            .map(|frame| format!("{} ({} bytes)", frame.dev, frame.packet.l3().len()))
            .collect();
        if frames.is_empty() { "none".to_owned() } else { frames.join(", ") }
    };
    let (left_devices, right_devices) = (devices(left), devices(right));
    if left_devices != right_devices {
        add(What::Frames(left_devices, right_devices));
        return;
    }
    for (at, (left, right)) in left.frames.iter().zip(&right.frames).enumerate() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let link = |packet: &Packet| packet.mac_header().unwrap_or_default().to_vec();
        let (left_link, right_link) = (link(&left.packet), link(&right.packet));
        if left_link != right_link {
            add(What::LinkHeader(at, hex(&left_link), hex(&right_link)));
        }
        let (left, right) = (left.packet.l3(), right.packet.l3());
        if left != right {
            add(What::FrameBytes(at, hex(left), hex(right)));
        }
    }
}

#[cfg(test)]
mod tests {
    use pktwalk_linux::hook::{Backend, TableName};
    use pktwalk_packet::spec;

    use super::*;
    use crate::event::FrameOut;

    fn run(frame: &str, questions: Option<Vec<Question>>) -> EngineRun {
        let frames = vec![FrameOut { dev: "eth0".to_owned(), packet: spec::parse(frame).unwrap() }];
        let packets = vec![PacketRun { frames, ..PacketRun::default() }];
        EngineRun {
            sends: vec![SendRun { packets, questions, ..SendRun::default() }],
            ..EngineRun::default()
        }
    }

    #[test]
    fn frames_to_different_neighbours_differ() {
        let to = |mac: &str| {
            let text = format!("udp 10.0.1.2:1 > 10.0.2.2:2 smac=02:00:00:00:00:02 dmac={mac}");
            run(&text, None)
        };
        let (left, right) = (to("02:00:00:00:01:02"), to("02:00:00:00:01:14"));
        assert_eq!(compare(&left, &left), []);
        let differences = compare(&left, &right);
        let [Difference { what: What::LinkHeader(0, ..), .. }] = differences.as_slice() else {
            panic!("{differences:?}")
        };
    }

    #[test]
    fn of_connections_only_those_that_differ_are_shown() {
        use pktwalk_linux::conntrack::tuple::{CtL4, CtTuple};
        let entry = |port: u16, mark: u32| {
            let l4 = CtL4::Ports { src: port, dst: 53 };
            let original = CtTuple { src: 0x0a00_0001, dst: 0x0a00_0002, protocol: 17, l4 };
            let reply = original.invert().unwrap();
            CtSnapshot { original, reply, mark, status: 0, tcp_state: None, zone: 0 }
        };
        let run = |conntrack: Vec<CtSnapshot>| EngineRun {
            sends: vec![SendRun { conntrack, ..SendRun::default() }],
            ..EngineRun::default()
        };
        let left = run(vec![entry(1, 0), entry(2, 0), entry(3, 7)]);
        let right = run(vec![entry(1, 0), entry(2, 0), entry(3, 8), entry(4, 0)]);
        let [difference] = compare(&left, &right).try_into().expect("one");
        let text = difference.to_string();
        assert!(text.contains("mark 0x7") && text.contains("mark 0x8"), "{text}");
        assert_eq!(text.matches(" reply ").count(), 3, "{text}");
        let alone = compare(&run(vec![entry(1, 0)]), &run(vec![entry(1, 0), entry(1, 0)]));
        assert!(alone[0].to_string().contains(": none | "), "{alone:?}");
    }

    #[test]
    fn who_is_asked_for_is_compared_where_both_tell() {
        let about = |dev: &str, target: [u8; 4]| Question { dev: dev.to_owned(), target: target.into() };
        let asks = |questions| run("udp 10.0.1.2:1 > 10.0.2.2:2", questions);
        let one = asks(Some(vec![about("eth0", [10, 0, 2, 2])]));
        assert_eq!(compare(&one, &one), []);
        assert_eq!(compare(&one, &asks(None)), []);
        for other in [vec![], vec![about("eth0", [10, 0, 2, 3])], vec![about("eth1", [10, 0, 2, 2])]] {
            let differences = compare(&one, &asks(Some(other)));
            assert!(matches!(differences[0].what, What::Questions(..)), "{differences:?}");
        }
    }

    #[test]
    fn a_packet_and_its_copies_take_turns() {
        let event = |number: u32| ScenarioEvent {
            hook: Hook::Forward,
            backend: Backend::Nft,
            table: TableName::Filter,
            chain: "FORWARD".to_owned(),
            at: At::Rule(number),
            verdict: EventVerdict::Continue,
            mark_before: None,
            mark: None,
        };
        let packet = |parent, numbers: &[u32]| PacketRun {
            parent,
            copy: parent.is_some(),
            places: numbers.to_vec(),
            events: numbers.iter().map(|number| event(*number)).collect(),
            ..PacketRun::default()
        };
        let model = [
            packet(None, &[1, 2, 8, 10]),
            packet(Some(0), &[3, 6]),
            packet(Some(0), &[7, 9]),
            packet(Some(1), &[4, 5]),
        ];
        let whole = events_with_copies(&model);
        let order: Vec<ScenarioEvent> = (1..=10).map(event).collect();
        assert_eq!(whole[0], order);
    }
}
