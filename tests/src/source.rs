//! The sources of the workspace, for tests that look at them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::repo_root;

/// The packages of the workspace, as `cargo metadata` tells them.
///
/// # Panics
/// If cargo does not.
pub fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(repo_root())
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// Rust files below a folder, sorted, without what was built.
///
/// # Panics
/// If a folder cannot be read.
pub fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(dir).expect("folder can be read").map(|entry| entry.expect("entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target" && name != ".git") {
                rust_files(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The words of Rust code: identifiers and keywords, not what stands in comments, strings and characters. Of what a macro is given everything counts,
/// for it may become code.
pub fn words(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let word = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric() || byte >= 0x80;
    let starts = |at: usize, what: &str| text.as_bytes()[at..].starts_with(what.as_bytes());
    let (mut words, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if starts(at, "//") {
            at += text[at..].find('\n').unwrap_or(bytes.len() - at);
        } else if starts(at, "/*") {
            at = comment_end(bytes, at);
        } else if bytes[at] == b'"' {
            at = string_end(bytes, at);
        } else if bytes[at] == b'\'' {
            at = quote_end(text, at);
        } else if word(bytes[at]) {
            let from = at;
            while at < bytes.len() && word(bytes[at]) {
                at += 1;
            }
            let found = &text[from..at];
            // r"..", br#".."#, cr".."; but r#name is a word.
            let hashes = bytes[at..].iter().take_while(|byte| **byte == b'#').count();
            if matches!(found, "r" | "br" | "cr") && bytes.get(at + hashes) == Some(&b'"') {
                let end = format!("\"{}", "#".repeat(hashes));
                let inside = at + hashes + 1;
                at = text[inside..].find(&end).map_or(bytes.len(), |found| inside + found + end.len());
            } else {
                words.push(found);
            }
        } else {
            at += 1;
        }
    }
    words
}

/// The end of a comment that begins here; they nest.
fn comment_end(bytes: &[u8], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0usize);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if bytes[at..].starts_with(b"*/") {
            (at, depth) = (at + 2, depth - 1);
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// The end of the character that begins here; of a lifetime only the quote.
fn quote_end(text: &str, from: usize) -> usize {
    let mut inside = text[from + 1..].char_indices();
    match inside.next() {
        Some((_, '\\')) => {
            let escaped = from + 1 + 2;
            text.get(escaped..).and_then(|rest| rest.find('\'')).map_or(text.len(), |end| escaped + end + 1)
        }
        Some(_) if inside.next().is_some_and(|(_, next)| next == '\'') => {
            from + 1 + inside.next().map_or(text.len() - from - 1, |(at, _)| at)
        }
        _ => from + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_are_those_of_the_code() {
        let code = "fn a<'b>(c: &'b str) -> char { // d unsafe\n\
            /* e /* f */ g */ let _h = \"i \\\" j\"; r#\"k \" l\"#; br\"m\"; b'n'; 'o' ; '\\''; '\\u{61}'; '\u{e4}'; p!(unsafe\n{ q }) }";
        let expected = ["fn", "a", "b", "c", "b", "str", "char", "let", "_h", "b", "p", "unsafe", "q"];
        assert_eq!(words(code), expected);
        assert_eq!(words("r#unsafe \"x"), ["r", "unsafe"]);
        assert_eq!(words("'\\"), [""; 0]);
        assert_eq!(words("/* x"), [""; 0]);
    }
}
