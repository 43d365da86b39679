//! A line to words, with the quoting of iptables-restore.

use std::borrow::Cow;

/// A word of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Token<'a> {
    /// Without quotes and escapes.
    pub(super) text: Cow<'a, str>,
    /// Whether any of it stood in quotes: then it is never an option of something that is not modelled.
    pub(super) quoted: bool,
}

/// Splits `line` into `out`. `false` if a quote is never closed (it then ends with the line).
///
/// Blanks and tabs separate words; `"` quotes, and ends the word when it closes; a backslash escapes any character within quotes and is itself
/// outside of them. An empty pair of quotes is an empty word. (iptables-restore's `add_param_to_argv`.)
pub(super) fn split<'a>(line: &'a str, out: &mut Vec<Token<'a>>) -> bool {
    out.clear();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return true;
        }
        let end = rest.find([' ', '\t', '"']).unwrap_or(rest.len());
        let (plain, after) = rest.split_at(end);
        if !after.starts_with('"') {
            out.push(Token { text: Cow::Borrowed(plain), quoted: false });
            rest = after;
            continue;
        }
        // A quoted word, or one that turns into a quoted one.
        let body = &after[1..];
        let end = body.find(['"', '\\']).unwrap_or(body.len());
        if plain.is_empty() && body[end..].starts_with('"') {
            out.push(Token { text: Cow::Borrowed(&body[..end]), quoted: true });
            rest = &body[end + 1..];
            continue;
        }
        let mut text = plain.to_owned();
        let mut escaped = false;
        let mut closed = None;
        for (at, c) in body.char_indices() {
            match c {
                _ if escaped => {
                    text.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    closed = Some(at);
                    break;
                }
                _ => text.push(c),
            }
        }
        out.push(Token { text: Cow::Owned(text), quoted: true });
        match closed {
            Some(at) => rest = &body[at + 1..],
            None => return false,
        }
    }
}
