//! `pktwalk verify`: the kernel's answer beside the model's.

use std::fmt::Write as _;

use pktwalk_linux::hook::Backend;
use pktwalk_live::fuzz::differ::Plan;
use pktwalk_report::flow::packet_line;
use pktwalk_report::fold;
use pktwalk_scenario::compare::Difference;
use pktwalk_scenario::confirm::{Agreement, Backends, Confirmation, confirm};
use pktwalk_scenario::event::PacketRun;
use pktwalk_scenario::runner;

use crate::args::{BackendArg, Verify};
use crate::exit::Exit;
use crate::input;
use crate::kernel::Kernel;
use crate::output::Out;

/// Runs both and prints them side by side.
pub fn run(out: &Out, args: &Verify) -> anyhow::Result<Exit> {
    if args.fuzz {
        return generated(out, args);
    }
    let case = match &args.scenario {
        Some(folder) => runner::load(folder)?.case,
        None => input::case(out, &args.source, &args.packets)?,
    };
    out.remarks(&case.remarks);
    let backends = match args.backend {
        BackendArg::Bundle => Backends::AsGiven,
        BackendArg::Legacy => Backends::One(Backend::Legacy),
        BackendArg::Nft => Backends::One(Backend::Nft),
        BackendArg::Both => Backends::Both,
    };
    let mut kernel = Kernel::new();
    let mut exit = Exit::Ok;
    for (at, confirmation) in confirm(&case, backends, &mut |case: &_| kernel.judge(case))?.iter().enumerate()
    {
        if at > 0 {
            out.text("\n")?;
        }
        let (text, one) = side_by_side(confirmation);
        out.text(&fold(&text, out.width()))?;
        exit = exit.worse(one);
    }
    Ok(exit)
}

/// One backend's runs in text, and what they come to.
fn side_by_side(confirmation: &Confirmation) -> (String, Exit) {
    let mut text = String::new();
    let on =
        confirmation.backend.map_or("rules as given".to_owned(), |backend| format!("rules on {backend}"));
    let release = confirmation.other.kernel.as_deref().unwrap_or("unknown release");
    let _ = writeln!(text, "kernel {release}, {on}; = both saw it, ! they differ\n");
    if let Some(backend) = confirmation.left_out {
        let _ = writeln!(text, "tables of {backend} hold no rules: they are left out\n");
    }
    for gap in &confirmation.other.gaps {
        let _ = writeln!(text, "not confirmed: {gap}\n");
    }
    let mut events = 0;
    for (number, (model, kernel)) in
        confirmation.model.run.sends.iter().zip(&confirmation.other.sends).enumerate()
    {
        let record = model.record.as_ref();
        for (at, packet) in model.packets.iter().enumerate() {
            let start =
                record.and_then(|record| record.request.packets.get(at)).map(|p| packet_line(&p.start));
            let start = start.unwrap_or_default();
            if at == 0 {
                // By its number in a capture, if it is of one.
                let called = record.map_or(number + 1, |record| record.number as usize);
                let _ = writeln!(text, "packet {called}: {start}");
            } else {
                let _ = writeln!(text, "  because of it: {start}");
            }
            let nothing = PacketRun::default();
            let other = kernel.packets.get(at).unwrap_or(&nothing);
            events += one_packet(&mut text, packet, other);
        }
        for difference in confirmation.differences.iter().filter(|d| d.send == number) {
            differ_line(&mut text, difference);
        }
    }
    let packets = confirmation.model.run.sends.len();
    let so_far = format!("{}, {}", count(packets, "packet"), count(events, "event"));
    match confirmation.agreement() {
        Agreement::Agree => {
            let _ = writeln!(text, "\nAGREE  {so_far}, {on}, kernel {release}");
            (text, Exit::Ok)
        }
        Agreement::Unknown => {
            let _ = writeln!(text, "\nUNKNOWN  {so_far}, {on}, kernel {release}");
            let _ = writeln!(
                text,
                "as far as the model knows they agree, but it does not know what becomes of a packet: see pktwalk trace"
            );
            (text, Exit::Unknown)
        }
        Agreement::Differ => {
            let differences = count(confirmation.differences.len(), "difference");
            let _ = writeln!(text, "\nDIFFER  {differences}, {on}, kernel {release}");
            if let Some(first) = confirmation.differences.first() {
                let _ = writeln!(text, "first (model | kernel): {first}");
            }
            if confirmation.undecided().next().is_none() {
                return (text, Exit::Bad);
            }
            let _ = writeln!(text, "the model does not know what becomes of a packet: see pktwalk trace");
            (text, Exit::Unknown)
        }
    }
}

/// `1 packet`, `2 packets`.
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The events of one packet up to the first that differs; how many were the same.
fn one_packet(text: &mut String, model: &PacketRun, kernel: &PacketRun) -> usize {
    let mut same = 0;
    for at in 0..model.events.len().max(kernel.events.len()) {
        match (model.events.get(at), kernel.events.get(at)) {
            (Some(a), Some(b)) if a.agrees(b) => {
                same += 1;
                let _ = writeln!(text, "  =  {a}");
            }
            (a, b) => {
                let show = |event: Option<&pktwalk_scenario::event::ScenarioEvent>| {
                    event.map_or_else(|| "nothing more".to_owned(), ToString::to_string)
                };
                let _ = writeln!(text, "  !  model:  {}", show(a));
                let _ = writeln!(text, "     kernel: {}", show(b));
                break;
            }
        }
    }
    let frames = |run: &PacketRun| {
        run.frames
            .iter()
            .map(|frame| format!("out by {}: {}", frame.dev, packet_line(&frame.packet)))
            .collect::<Vec<_>>()
    };
    let (left, right) = (frames(model), frames(kernel));
    if left == right {
        for frame in left {
            let _ = writeln!(text, "  =  {frame}");
        }
    }
    if let Some(disposition) = model.disposition {
        let code = model.code.map(|code| format!(" {code}")).unwrap_or_default();
        let mark = if kernel.disposition == Some(disposition) { "=" } else { " " };
        let _ = writeln!(text, "  {mark}  {}{code}", disposition.name());
    }
    same
}

fn differ_line(text: &mut String, difference: &Difference) {
    let _ = writeln!(text, "  !  (model | kernel) {difference}");
}

/// Generated rulesets and packets.
fn generated(out: &Out, args: &Verify) -> anyhow::Result<Exit> {
    let backends: &[Backend] = match args.backend {
        BackendArg::Bundle | BackendArg::Both => &[Backend::Legacy, Backend::Nft],
        BackendArg::Legacy => &[Backend::Legacy],
        BackendArg::Nft => &[Backend::Nft],
    };
    let plan = Plan {
        seed: args.packets.seed,
        rulesets: u64::from(args.rulesets),
        first: u64::from(args.first),
        packets: args.packets_each as usize,
        backends: backends.to_vec(),
        jobs: args.jobs,
        stop_after: args.stop_after as usize,
        shrink: !args.no_shrink,
    };
    let report = pktwalk_live::fuzz::differ::run(&plan, &|_| {})?;
    out.text(&format!("seed {}\n{report}", plan.seed))?;
    // What could not be run was not compared.
    let agreed = report.findings.is_empty() && report.refused.is_empty();
    Ok(if agreed { Exit::Ok } else { Exit::Bad })
}
