//! `pktwalk verify`: the kernel's answer beside the model's.

use pktwalk_linux::hook::Backend;
use pktwalk_live::fuzz::differ::Plan;
use pktwalk_report::fold;
use pktwalk_scenario::case::Entry;
use pktwalk_scenario::confirm::{Backends, confirm, on_backends};
use pktwalk_scenario::runner;

use crate::args::{BackendArg, Verify};
use crate::exit::Exit;
use crate::input;
use crate::kernel::Kernel;
use crate::output::Out;
use crate::side_by_side::{Side, overall, side_by_side};

/// A reply that `trace` delivers to the process that sent the packet is one that nobody waits for here.
const RAW: &str = "packets made here are sent by raw sockets there: their replies find no socket (NO_SOCKET), which pktwalk trace delivers to the sender\n\n";

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
    // One at a time: rules that one backend does not load may load on the other.
    let apart =
        on_backends(&case, backends).into_iter().filter_map(|backed| backed.backend.map(Backends::One));
    let apart: Vec<Backends> = apart.collect();
    let parts = if backends == Backends::Both && apart.len() > 1 { apart } else { vec![backends] };
    let mut kernel = Kernel::new();
    let mut exit = Exit::Ok;
    let mut failed = None;
    let mut confirmations = Vec::new();
    for part in parts {
        match confirm(&case, part, &mut |case: &_| kernel.judge(case)) {
            Ok(some) => confirmations.extend(some),
            Err(error) => {
                failed.get_or_insert(error);
            }
        }
    }
    let sides: Vec<Side> = confirmations.iter().map(side_by_side).collect();
    // First and last: of several runs the last one's is not that of all. What could not be run is said last, and nothing is said of all then.
    let verdict = match sides.as_slice() {
        _ if failed.is_some() => None,
        [] => None,
        [one] => Some(one.verdict.clone()),
        _ => Some(overall(&confirmations)),
    };
    if let Some(verdict) = &verdict {
        out.text(&fold(&format!("{verdict}\n\n"), out.width()))?;
    }
    let told = case.config.sockets.is_some();
    if told && case.replies && case.sends.iter().any(|send| matches!(send.entry, Entry::Local(_))) {
        out.text(&fold(RAW, out.width()))?;
    }
    for (at, side) in sides.iter().enumerate() {
        if at > 0 {
            out.text("\n")?;
        }
        out.text(&fold(&side.text, out.width()))?;
        exit = exit.worse(side.exit);
    }
    if let Some(verdict) = verdict.filter(|_| sides.len() > 1) {
        out.text(&fold(&format!("\n{verdict}\n"), out.width()))?;
    }
    // What could not be run is no agreement, whatever the other came to.
    failed.map_or(Ok(exit), |error| Err(error.into()))
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
    Ok(if report.agrees() { Exit::Ok } else { Exit::Bad })
}
