//! `pktwalk` alone: two packets through a node that is built in.

use std::path::Path;

use pktwalk_ingest::{DEMO_SCENARIO, demo_bundle};
use pktwalk_scenario::file::parse;
use pktwalk_scenario::runner::assemble;
use pktwalk_scenario::world::{World, places};

use crate::args::{Format, Level};
use crate::exit::Exit;
use crate::output::Out;
use crate::trace;

/// What to try next.
const NEXT: &str = "\
Next, with the outputs of your own node in a folder (see the README):
  pktwalk trace --bundle DIR --at eth0 -s 203.0.113.5 -d 192.168.50.1:80/tcp
  pktwalk explain CODE     cause, how to confirm it, what helps
";

/// Walks the packets. That one of them is dropped is the point, and no failure.
pub fn run(out: &Out) -> anyhow::Result<Exit> {
    let file = parse("demo/scenario.yaml", DEMO_SCENARIO)?;
    let world = World { places: places(&demo_bundle(), "", "demo", true) };
    let (mut case, _) = assemble("demo/scenario.yaml", &file, &world, Path::new(""))?;
    case.replies = true;
    out.text(&format!("{}:\n{}\n\n", file.title, file.symptom))?;
    trace::walk(out, &case, Level::Summary, Format::Text)?;
    out.text(&format!("\n{NEXT}"))?;
    Ok(Exit::Ok)
}
