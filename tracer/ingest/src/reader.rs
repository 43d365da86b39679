//! What every reader of a file has at hand: the namespace that it fills and the place that it is at.

use std::borrow::Cow;

use pktwalk_linux::config::{NetNsConfig, UnmodelledPoint, UnmodelledState};
use pktwalk_linux::diag::Diagnostic;
use pktwalk_linux::ids::SourceLine;

/// One file, being read into a namespace.
pub(crate) struct Reader<'a> {
    pub(crate) config: &'a mut NetNsConfig,
    pub(crate) diagnostics: &'a mut Vec<Diagnostic>,
    /// The file's number.
    pub(crate) file: u32,
    /// Set where part of the file is lost because its form is broken.
    pub(crate) broken: bool,
}

impl Reader<'_> {
    pub(crate) fn at(&self, line: u32) -> SourceLine {
        SourceLine { file: self.file, line }
    }

    pub(crate) fn error(&mut self, line: u32, message: impl Into<String>) {
        let at = self.at(line);
        self.diagnostics.push(Diagnostic::error(at, message));
    }

    pub(crate) fn warning(&mut self, line: u32, message: impl Into<String>) {
        let at = self.at(line);
        self.diagnostics.push(Diagnostic::warning(at, message));
    }

    pub(crate) fn note(&mut self, line: u32, message: impl Into<String>) {
        let at = self.at(line);
        self.diagnostics.push(Diagnostic::note(at, message));
    }

    /// Something that the walk must not pass silently.
    pub(crate) fn unmodelled(&mut self, line: u32, what: impl Into<String>, point: UnmodelledPoint) {
        let source = self.at(line);
        self.config.unmodelled.push(UnmodelledState { what: what.into(), point, source });
    }

    /// The lines of a text file with their numbers, without their ends; says where they are no UTF-8, and whether the last one is cut off.
    pub(crate) fn lines<'t>(&mut self, text: &'t [u8]) -> Vec<(u32, Cow<'t, str>)> {
        let mut lines = Vec::new();
        let mut number = 0u32;
        for line in text.split(|&b| b == b'\n') {
            number = number.saturating_add(1);
            let decoded = String::from_utf8_lossy(line);
            if matches!(decoded, Cow::Owned(_)) {
                self.warning(number, "bytes that are no UTF-8");
            }
            if !decoded.trim().is_empty() {
                lines.push((number, decoded));
            }
        }
        if text.last().is_some_and(|&b| b != b'\n') {
            self.warning(number, "the last line has no end: the file may be cut off");
        }
        lines
    }
}
