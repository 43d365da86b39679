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

/// One remark about one place of the input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// Where.
    pub source: SourceLine,
}

impl Diagnostic {
    /// An [`Severity::Error`].
    pub fn error(source: SourceLine, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Error, message: message.into(), source }
    }

    /// A [`Severity::Warning`].
    pub fn warning(source: SourceLine, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, message: message.into(), source }
    }

    /// A [`Severity::Note`].
    pub fn note(source: SourceLine, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Note, message: message.into(), source }
    }
}
