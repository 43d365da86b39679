//! `pktwalk test`.

use anyhow::{Context, bail};
use pktwalk_scenario::confirm::{Backends, Judge};
use pktwalk_scenario::runner::{self, RunOptions};

use crate::args::{EngineArg, Test};
use crate::exit::Exit;
use crate::kernel::Kernel;
use crate::output::Out;

/// Runs scenarios, one line each, and what failed below it.
pub fn run(out: &Out, args: &Test) -> anyhow::Result<Exit> {
    let mut folders = Vec::new();
    for path in &args.scenarios {
        let found = runner::find(path).with_context(|| path.display().to_string())?;
        if found.is_empty() {
            bail!("{}: no {} in it or below it", path.display(), runner::SCENARIO);
        }
        folders.extend(found);
    }
    let options =
        RunOptions { model: args.engine != EngineArg::Kernel, bless: args.bless, backends: Backends::Both };
    if args.bless && !options.model {
        bail!("--bless writes what the model walks: --engine model or both");
    }
    let mut kernel = (args.engine != EngineArg::Model).then(Kernel::new);
    let (mut exit, mut failed) = (Exit::Ok, 0usize);
    let all = folders.len();
    for folder in folders {
        let result = runner::load(&folder).map_err(anyhow::Error::from).and_then(|scenario| {
            let mut judge = kernel.as_mut().map(|kernel| |case: &_| kernel.judge(case));
            let judge = judge.as_mut().map(|judge| judge as &mut Judge<'_>);
            Ok(runner::run(&scenario, options, judge)?)
        });
        let name = folder.display();
        let mut text = String::new();
        match result {
            Ok(outcome) => {
                let (word, one) = match (outcome.failures.as_slice(), outcome.unknown.as_slice()) {
                    ([], []) => ("ok    ", Exit::Ok),
                    ([], _) => ("UNKNOWN", Exit::Unknown),
                    _ => ("FAILED", Exit::Bad),
                };
                text.push_str(&format!("{word}  {name}\n"));
                for line in outcome.failures.iter().chain(&outcome.unknown).chain(&outcome.notes) {
                    text.push_str(&format!("        {line}\n"));
                }
                failed += usize::from(one != Exit::Ok);
                exit = exit.worse(one);
            }
            Err(error) => {
                text.push_str(&format!("ERROR   {name}\n        {error:#}\n"));
                failed += 1;
                exit = exit.worse(Exit::Usage);
            }
        }
        out.text(&text)?;
    }
    out.text(&format!("{all} scenarios, {failed} failed\n"))?;
    Ok(exit)
}
