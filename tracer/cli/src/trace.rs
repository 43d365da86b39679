//! `pktwalk trace`.

use pktwalk_report::json::document;
use pktwalk_report::text::{Detail, TextOptions, render};
use pktwalk_scenario::case::Case;
use pktwalk_scenario::model::{ModelEngine, ModelRun};

use crate::args::{Format, Level, Trace};
use crate::exit::Exit;
use crate::input;
use crate::output::Out;

/// Walks the packets and prints what became of them.
pub fn run(out: &Out, args: &Trace) -> anyhow::Result<Exit> {
    let case = input::case(&args.source, &args.packets)?;
    let model = ModelEngine::new().walk(&case)?;
    print(out, &model, args.detail, args.output)?;
    Ok(exit(&case, &model))
}

/// The worst of all packets.
pub fn exit(case: &Case, model: &ModelRun) -> Exit {
    let walked = model.run.sends.iter().filter_map(|send| send.packets.first()?.disposition);
    let exit = walked.map(Exit::of).fold(Exit::Ok, Exit::worse);
    // A reply that does not arrive is a connection that does not work.
    let replies = model
        .run
        .sends
        .iter()
        .filter(|_| case.replies)
        .filter_map(|send| send.record.as_ref()?.reply.as_ref()?.end().map(|end| end.disposition));
    replies.map(Exit::of).fold(exit, Exit::worse)
}

/// Prints a run in the form that was asked for.
pub fn print(out: &Out, model: &ModelRun, detail: Level, format: Format) -> anyhow::Result<()> {
    let names = model.names();
    let records: Vec<_> = model.run.sends.iter().filter_map(|send| send.record.as_ref()).collect();
    if format == Format::Text {
        out.remarks(&model.remarks);
        let options = TextOptions {
            detail: match detail {
                Level::Minimal => Detail::Minimal,
                Level::Summary => Detail::Summary,
                Level::Full => Detail::Full,
            },
            color: true,
            width: out.width(),
            numbered: records.len() > 1,
        };
        for (index, record) in records.iter().enumerate() {
            if index > 0 && detail != Level::Minimal {
                out.text("\n")?;
            }
            out.text(&render(record, &[], &names, &options))?;
        }
        return Ok(());
    }
    for (index, record) in records.iter().enumerate() {
        let remarks = if index == 0 { model.remarks.as_slice() } else { &[] };
        let document = document(record, remarks, &names);
        let mut text = if format == Format::Json {
            serde_json::to_string_pretty(&document)?
        } else {
            serde_json::to_string(&document)?
        };
        text.push('\n');
        out.text(&text)?;
    }
    Ok(())
}
