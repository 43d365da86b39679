//! Runs the differential runner by hand: `fuzz SEED RULESETS PACKETS JOBS (nft|legacy|backends) [noshrink]`, or `fuzz show SEED`.

use std::process::ExitCode;

use pktwalk_linux::hook::Backend;
use pktwalk_live::fuzz::run::{Plan, Versus, run};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|word| word == "show") {
        let seed = args.get(1).and_then(|word| word.parse().ok()).unwrap_or(1);
        let (config, _) = pktwalk_live::fuzz::run::namespace(seed, Backend::Legacy);
        print!("{}", pktwalk_linux::ipset::print(&config.sets));
        for ruleset in &config.rulesets {
            print!("{}", pktwalk_linux::iptables::print(&ruleset.save, false));
        }
        return ExitCode::SUCCESS;
    }
    let number = |at: usize, default: u64| args.get(at).and_then(|word| word.parse().ok()).unwrap_or(default);
    let versus = match args.get(4).map(String::as_str) {
        Some("nft") => Versus::Model(Backend::Nft),
        Some("legacy") => Versus::Model(Backend::Legacy),
        _ => Versus::Backends,
    };
    let plan = Plan {
        seed: number(0, 1),
        rulesets: number(1, 20) as u32,
        packets: number(2, 20) as usize,
        jobs: number(3, 4) as usize,
        versus,
        shrink: args.get(5).is_none(),
        max_failures: 10,
    };
    match run(&plan) {
        Ok(report) => {
            print!("{report}");
            if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
