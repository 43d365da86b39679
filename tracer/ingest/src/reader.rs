//! What every reader of a file has at hand: the namespace that it fills and the place that it is at.

use std::borrow::Cow;
use std::collections::BTreeSet;

use pktwalk_linux::config::{NetNsConfig, UnmodelledPoint, UnmodelledState};
use pktwalk_linux::diag::{Diagnostic, Remarks};
use pktwalk_linux::ids::SourceLine;

/// Lines of a file that are read: with what they become they take many times their room.
const MOST_LINES: u32 = 1_500_000;

/// One file, being read into a namespace.
pub(crate) struct Reader<'a> {
    pub(crate) config: &'a mut NetNsConfig,
    pub(crate) remarks: &'a mut Remarks,
    /// The file's number.
    pub(crate) file: u32,
    /// Set where part of the file is lost: something in it cannot be read, or has no end.
    pub(crate) broken: bool,
    /// Set where the rest of the file is not read.
    pub(crate) given_up: bool,
    /// Keys that are not understood, each with what should print it: they are said once.
    pub(crate) named: BTreeSet<(&'static str, String)>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(config: &'a mut NetNsConfig, remarks: &'a mut Remarks, file: u32) -> Reader<'a> {
        Reader { config, remarks, file, broken: false, given_up: false, named: BTreeSet::new() }
    }

    pub(crate) fn at(&self, line: u32) -> SourceLine {
        SourceLine { file: self.file, line }
    }

    pub(crate) fn error(&mut self, line: u32, message: impl Into<String>) {
        self.broken = true;
        let at = self.at(line);
        self.remarks.push(Diagnostic::error(at, message));
    }

    pub(crate) fn warning(&mut self, line: u32, message: impl Into<String>) {
        let at = self.at(line);
        self.remarks.push(Diagnostic::warning(at, message));
    }

    pub(crate) fn note(&mut self, line: u32, message: impl Into<String>) {
        let at = self.at(line);
        self.remarks.push(Diagnostic::note(at, message));
    }

    /// Something that the walk must not pass silently.
    pub(crate) fn unmodelled(&mut self, line: u32, what: impl Into<String>, point: UnmodelledPoint) {
        let source = self.at(line);
        self.config.unmodelled.push(UnmodelledState { what: what.into(), point, source });
    }

    /// The lines of a text file with their numbers, without their ends, given to `each`; says where they are no UTF-8, and whether the last one is cut
    /// off.
    pub(crate) fn lines(&mut self, text: &[u8], mut each: impl FnMut(&mut Self, u32, &str)) {
        let mut number = 0u32;
        for line in text.split(|&b| b == b'\n') {
            number = number.saturating_add(1);
            if number > MOST_LINES {
                self.error(number, "too many lines: the rest is not read");
                self.given_up = true;
                return;
            }
            let decoded = String::from_utf8_lossy(line);
            if matches!(decoded, Cow::Owned(_)) {
                self.warning(number, "bytes that are no UTF-8");
            }
            if !decoded.trim().is_empty() {
                each(self, number, &decoded);
            }
        }
        if text.last().is_some_and(|&b| b != b'\n') {
            self.broken = true;
            self.warning(number, "the last line has no end: the file may be cut off");
        }
    }
}
