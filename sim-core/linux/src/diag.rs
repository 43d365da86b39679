//! Diagnostics: what a reader or compiler has to say of its input without giving up on the rest.

use crate::ids::SourceLine;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Something was read otherwise than it may have been meant.
    Warning,
    /// Something could not be used.
    Error,
}

/// What of the input is not known because of what a remark is about. What is kept in its place (a rule with words that are not understood) is not
/// lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Lost {
    /// Nothing.
    Nothing,
    /// Something that cannot be read: a line, a chain's name, the end of a file.
    Part,
    /// Rules of iptables-legacy, which the tool says it does not print.
    LegacyRules,
    /// Rules of native nft tables, of which the tool says the same.
    NftRules,
}

/// One remark about one place of the input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// Where.
    pub source: SourceLine,
    /// What is lost there.
    pub lost: Lost,
}

impl Diagnostic {
    /// An [`Severity::Error`].
    pub fn error(source: SourceLine, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Error, message: message.into(), source, lost: Lost::Nothing }
    }

    /// A [`Severity::Warning`].
    pub fn warning(source: SourceLine, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, message: message.into(), source, lost: Lost::Nothing }
    }

    /// A [`Severity::Note`].
    pub fn note(source: SourceLine, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Note, message: message.into(), source, lost: Lost::Nothing }
    }
}

/// Remarks on one namespace beyond this number are only counted: rubbish must not take more memory than it has itself.
pub const MOST_REMARKS: usize = 10_000;

/// Remarks as a reader makes them, bounded.
#[derive(Debug, Default)]
pub struct Remarks {
    list: Vec<Diagnostic>,
    left_out: usize,
}

impl Remarks {
    /// Adds one. The first that says that something is lost is never left out.
    pub fn push(&mut self, mut remark: Diagnostic) {
        // What is quoted of the input must not act on a terminal.
        if remark.message.chars().any(char::is_control) {
            let escaped =
                |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
            remark.message = remark.message.chars().map(escaped).collect();
        }
        let known = |lost: Lost| lost == Lost::Nothing || self.list.iter().any(|one| one.lost == lost);
        if self.list.len() < MOST_REMARKS || !known(remark.lost) {
            self.list.push(remark);
        } else {
            self.left_out += 1;
        }
    }

    /// Whether another one would be left out: then it need not be made.
    pub fn is_full(&self) -> bool {
        self.list.len() >= MOST_REMARKS
    }

    /// Takes over those of another reader.
    pub fn extend(&mut self, others: impl IntoIterator<Item = Diagnostic>) {
        for other in others {
            self.push(other);
        }
    }

    /// How many there are, those that are left out among them.
    pub fn count(&self) -> usize {
        self.list.len() + self.left_out
    }

    /// All of them, the last of which says how many are left out, if any are.
    pub fn finish(mut self, file: u32) -> Vec<Diagnostic> {
        if self.left_out > 0 {
            let message = format!("{} more remarks are left out", self.left_out);
            self.list.push(Diagnostic::error(SourceLine { file, line: 0 }, message));
        }
        self.list
    }
}
