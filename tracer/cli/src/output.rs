//! Standard output and standard error: colours as the user wants them, and a reader that has gone away.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal, Write};

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

/// Bytes that are kept before they are written.
const KEPT: usize = 1 << 16;

/// Where everything is printed.
pub struct Out {
    color: ColorChoice,
    quiet: bool,
    /// What is not written yet: a capture may hold millions of packets, and a write for each costs more than the packet.
    kept: RefCell<String>,
    terminal: bool,
    /// Whoever read standard output has gone away. That changes nothing about what the program found out: it goes on, and its exit status is the
    /// same.
    gone: Cell<bool>,
}

impl Out {
    /// With `quiet`, only errors are printed.
    pub fn new(color: Color, quiet: bool) -> Out {
        let color = match color {
            // Asked once, not for each packet.
            Color::Auto => AutoStream::choice(&io::stdout()),
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        let (kept, terminal) = (RefCell::default(), io::stdout().is_terminal());
        Out { color, quiet, kept, terminal, gone: Cell::new(false) }
    }

    /// Whether colours are shown.
    pub fn colors(&self) -> bool {
        self.color != ColorChoice::Never
    }

    /// Text, which may hold colours.
    pub fn text(&self, text: &str) -> anyhow::Result<()> {
        self.flush()?;
        self.write(text)
    }

    /// As [`Out::text`], but it may be written later, with what follows: at the latest by [`Out::flush`]. On a terminal it is written now.
    pub fn text_of_many(&self, text: &str) -> anyhow::Result<()> {
        self.kept.borrow_mut().push_str(text);
        if self.terminal || self.kept.borrow().len() >= KEPT { self.flush() } else { Ok(()) }
    }

    /// Writes what is kept.
    pub fn flush(&self) -> anyhow::Result<()> {
        let mut kept = self.kept.borrow_mut();
        let result = if kept.is_empty() { Ok(()) } else { self.write(&kept) };
        kept.clear();
        result
    }

    fn write(&self, text: &str) -> anyhow::Result<()> {
        if self.unread() {
            return Ok(());
        }
        // What has no colours needs none taken away.
        if !self.colors() && !text.contains('\u{1b}') {
            let mut out = io::stdout().lock();
            return self.unless_gone(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
        }
        let mut out = AutoStream::new(io::stdout().lock(), self.color);
        self.unless_gone(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    /// Bytes as they are, quiet or not.
    pub fn bytes(&self, bytes: &[u8]) -> anyhow::Result<()> {
        self.flush()?;
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
