//! Standard output and standard error: colours as the user wants them, and a reader that has gone away.

use std::cell::Cell;
use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use clap::ValueEnum;
use pktwalk_report::Remark;
use pktwalk_report::json::severity_name;

/// When to use colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Remarks that are printed before the rest is only counted.
const REMARKS: usize = 20;

/// Where everything is printed.
pub struct Out {
    color: ColorChoice,
    quiet: bool,
    /// Whoever read standard output has gone away. That changes nothing about what the program found out: it goes on, and its exit status is the
    /// same.
    gone: Cell<bool>,
}

impl Out {
    /// With `quiet`, only errors are printed.
    pub fn new(color: Color, quiet: bool) -> Out {
        let color = match color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        Out { color, quiet, gone: Cell::new(false) }
    }

    /// Text, which may hold colours.
    pub fn text(&self, text: &str) -> anyhow::Result<()> {
        if self.unread() {
            return Ok(());
        }
        let mut out = AutoStream::new(io::stdout().lock(), self.color);
        self.unless_gone(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    /// Bytes as they are, quiet or not.
    pub fn bytes(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        self.unless_gone(out.write_all(bytes).and_then(|()| out.flush()))
    }

    /// Whether what goes to standard output as text is read by nobody.
    pub fn unread(&self) -> bool {
        self.quiet || self.gone.get()
    }

    fn unless_gone(&self, result: io::Result<()>) -> anyhow::Result<()> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.gone.set(true);
                Ok(())
            }
            result => Ok(result?),
        }
    }

    /// What readers had to say, on standard error.
    pub fn remarks(&self, remarks: &[Remark]) {
        if self.quiet {
            return;
        }
        let mut text = String::new();
        for remark in remarks.iter().take(REMARKS) {
            if let Some(location) = &remark.location {
                text.push_str(&format!("{location}: "));
            }
            text.push_str(&format!("{}: {}\n", severity_name(remark.severity), remark.message));
        }
        if remarks.len() > REMARKS {
            text.push_str(&format!("... and {} more (-o json lists all)\n", remarks.len() - REMARKS));
        }
        // Nobody is left to be told if this fails.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// An error, on standard error.
    pub fn error(&self, message: &str) {
        let _ = writeln!(io::stderr().lock(), "pktwalk: {message}");
    }

    /// Columns to write to.
    pub fn width(&self) -> usize {
        std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(80).clamp(60, 160)
    }
}
