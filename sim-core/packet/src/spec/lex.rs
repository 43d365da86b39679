//! Words of a packet text.

use super::error::{SpecError, SpecProblem};

/// One word, `>`, `(` or `)`, and where it starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) offset: usize,
}

impl Word<'_> {
    pub(super) fn error(&self, problem: SpecProblem) -> SpecError {
        SpecError { offset: self.offset, word: self.text.chars().take(60).collect(), problem }
    }
}

/// Splits at white space and around `>`, `(`, `)`, none of which counts between double quotes. A quote ends at the next `"` without a `\`
/// before it.
pub(super) fn words(text: &str) -> Result<Vec<Word<'_>>, SpecError> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote: Option<usize> = None;
    let mut escaped = false;
    for (at, char) in text.char_indices() {
        if quote.is_some() {
            if escaped {
                escaped = false;
            } else if char == '\\' {
                escaped = true;
            } else if char == '"' {
                quote = None;
            }
            continue;
        }
        let single = matches!(char, '>' | '(' | ')');
        if (single || char.is_whitespace())
            && let Some(from) = start.take()
        {
            words.push(Word { text: &text[from..at], offset: from });
        }
        if single {
            words.push(Word { text: &text[at..at + 1], offset: at });
        } else if !char.is_whitespace() {
            start.get_or_insert(at);
            if char == '"' {
                quote = Some(at);
            }
        }
    }
    if let Some(offset) = quote {
        let what = "a closing `\"` before the end";
        return Err(Word { text: &text[offset..], offset }.error(SpecProblem::Expected { what }));
    }
    if let Some(from) = start {
        words.push(Word { text: &text[from..], offset: from });
    }
    Ok(words)
}
