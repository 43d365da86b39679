//! The `pktwalk` command: reads what the user gives, hands it to the engines, and prints what they say.

mod args;
mod demo;
mod exit;
mod explain;
mod input;
mod kernel;
mod output;
mod render;
mod side_by_side;
mod test;
mod trace;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Command};
use exit::Exit;
use output::Out;

fn main() -> ExitCode {
    exit::on_panic();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to standard output and are no error.
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            let _ = error.print();
            if let Some(hint) = args::bundle_meant(&error) {
                eprintln!("{hint}");
            }
            return code.into();
        }
    };
    let out = Out::new(args.color, args.quiet);
    let result = match args.command {
        None => demo::run(&out),
        Some(Command::Trace(trace)) => trace::run(&out, &trace),
        Some(Command::Verify(verify)) => verify::run(&out, &verify),
        Some(Command::Test(test)) => test::run(&out, &test),
        Some(Command::Render(render)) => render::run(&out, &render),
        Some(Command::Explain { code }) => explain::run(&out, code.as_deref()),
        Some(Command::Completions { shell }) => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "pktwalk", &mut text);
            out.bytes(&text).map(|()| Exit::Ok)
        }
        Some(Command::Man) => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Args::command())
                .render(&mut text)
                .map_err(anyhow::Error::from)
                .and_then(|()| out.bytes(&text))
                .map(|()| Exit::Ok)
        }
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            out.error(&format!("{error:#}"));
            Exit::Usage.into()
        }
    }
}
