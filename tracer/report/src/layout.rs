//! Lines on a terminal: indentation, wrapping, the dim note at the end of a line, colours.

use std::borrow::Cow;
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

/// What a piece of text is; decides its colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tone {
    /// The packet arrived.
    Good,
    /// It did not.
    Bad,
    /// Nobody knows.
    Unsure,
    /// Begins a group.
    Head,
    /// Something changed.
    Change,
    /// As it is.
    Plain,
    /// Where it comes from.
    Dim,
}

impl Tone {
    fn style(self) -> Style {
        let color = |color: AnsiColor| Style::new().fg_color(Some(color.into()));
        match self {
            Tone::Good => color(AnsiColor::Green).bold(),
            Tone::Bad => color(AnsiColor::Red).bold(),
            Tone::Unsure => color(AnsiColor::Yellow).bold(),
            Tone::Head => Style::new().bold(),
            Tone::Change => color(AnsiColor::Cyan),
            Tone::Plain => Style::new(),
            Tone::Dim => Style::new().dimmed(),
        }
    }
}

/// One logical line, which may take several on the terminal.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Stands at the very left, before the indentation, which begins at column 0 all the same.
    pub gutter: String,
    /// Columns before the label.
    pub indent: usize,
    /// Stands before the body; wrapped lines of the body stand under its start.
    pub label: String,
    /// How the label looks.
    pub label_tone: Tone,
    /// The text.
    pub body: String,
    /// How the text looks.
    pub tone: Tone,
    /// Where it comes from: at the right end, or under the text where there is no room.
    pub note: String,
}

impl Line {
    /// Text without label and note.
    pub(crate) fn new(indent: usize, tone: Tone, body: impl Into<String>) -> Line {
        Line {
            gutter: String::new(),
            indent,
            label: String::new(),
            label_tone: Tone::Plain,
            body: body.into(),
            tone,
            note: String::new(),
        }
    }

    /// Puts a label before it.
    pub(crate) fn label(mut self, tone: Tone, label: impl Into<String>) -> Line {
        self.label = label.into();
        self.label_tone = tone;
        self
    }

    /// Puts a note after it.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Line {
        self.note = note.into();
        self
    }
}

/// Writes lines of at most `width` columns where their words allow it.
pub(crate) struct Paper {
    out: String,
    width: usize,
    color: bool,
}

impl Paper {
    pub(crate) fn new(width: usize, color: bool) -> Paper {
        Paper { out: String::with_capacity(256), width: width.max(40), color }
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }

    pub(crate) fn blank(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    pub(crate) fn line(&mut self, line: &Line) {
        let gap = if line.label.is_empty() { 0 } else { 2 };
        let start = line.indent + columns(&line.label) + gap;
        // A label that leaves no room for its text is no help: the text then hangs a little deeper than the label.
        let hang = if start + 24 > self.width {
            line.indent + 4
        } else if line.label.is_empty() {
            start + 2
        } else {
            start
        };
        let room = self.width.saturating_sub(hang).max(16);
        let pieces = wrap(&line.body, self.width.saturating_sub(start).max(16), room);
        let last = pieces.len().saturating_sub(1);
        for (number, piece) in pieces.iter().enumerate() {
            let mut column;
            if number == 0 {
                self.paint(Tone::Dim, &line.gutter);
                self.spaces(line.indent.saturating_sub(columns(&line.gutter)));
                self.paint(line.label_tone, &line.label);
                if !piece.is_empty() {
                    self.spaces(gap);
                }
                column = start;
            } else {
                self.spaces(hang);
                column = hang;
            }
            self.paint(line.tone, piece);
            column += columns(piece);
            if number == last && !line.note.is_empty() {
                let note = columns(&line.note);
                if column + 2 + note <= self.width {
                    self.spaces(self.width - column - note);
                } else {
                    self.out.push('\n');
                    self.spaces(self.width.saturating_sub(note).max(hang.min(self.width)));
                }
                self.paint(Tone::Dim, &line.note);
            }
            self.out.push('\n');
        }
    }

    fn spaces(&mut self, count: usize) {
        const BLANK: &str = "                                                                ";
        let mut left = count;
        while left > 0 {
            let some = left.min(BLANK.len());
            self.out.push_str(&BLANK[..some]);
            left -= some;
        }
    }

    fn paint(&mut self, tone: Tone, text: &str) {
        if text.is_empty() {
            return;
        }
        let style = tone.style();
        if self.color && style != Style::new() {
            // Writing to a String cannot fail.
            let _ = write!(self.out, "{}{text}{}", style.render(), style.render_reset());
        } else {
            self.out.push_str(text);
        }
    }
}

/// Breaks the lines of a text that are longer than `width` at their spaces. What is broken off stands a little deeper than the line began, and
/// behind a label at its start (`  =  `, `  !  model:  `): what comes after two spaces.
pub fn fold(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = match line.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (line, ""),
        };
        if line.chars().count() <= width {
            out.push_str(line);
        } else {
            let indent = line.len() - line.trim_start().len();
            let label = line.get(..indent + 12).unwrap_or(line).rfind("  ").map_or(0, |at| at + 2);
            let hang = (label.max(indent) + 2).min(width / 2);
            let (head, body) = line.split_at(indent);
            let pieces =
                wrap_words(body, width.saturating_sub(indent).max(16), width.saturating_sub(hang).max(16));
            out.push_str(head);
            out.push_str(&pieces.join(&format!("\n{}", " ".repeat(hang))));
        }
        out.push_str(end);
    }
    out
}

/// Words of a text in lines, spaces between them as they are.
fn wrap_words(text: &str, first: usize, rest: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let room = if lines.len() == 1 { first } else { rest };
        let have = lines.last().map_or(0, |line| line.chars().count());
        if have > 0 && have + word.trim_end().chars().count() > room {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// Columns that a text takes.
fn columns(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// Breaks text into lines: the first of `first` columns, the others of `rest`. Options stay with their values while these fit.
fn wrap(text: &str, first: usize, rest: usize) -> Vec<Cow<'_, str>> {
    // Most do: there may be millions of them.
    if columns(text) <= first {
        return vec![Cow::Borrowed(text)];
    }
    let mut lines: Vec<String> = vec![String::new()];
    let mut room = first;
    for group in groups(text) {
        if fits(&lines, &group, room) {
            push(&mut lines, &group);
            continue;
        }
        if group.chars().count() <= rest {
            lines.push(group);
            room = rest;
            continue;
        }
        for word in group.split(' ') {
            if !fits(&lines, word, room) {
                lines.push(String::new());
                room = rest;
            }
            push(&mut lines, word);
        }
    }
    lines.into_iter().map(Cow::Owned).collect()
}

fn fits(lines: &[String], more: &str, room: usize) -> bool {
    let have = lines.last().map_or(0, |line| line.chars().count());
    have == 0 || have + 1 + more.chars().count() <= room
}

fn push(lines: &mut [String], more: &str) {
    if let Some(line) = lines.last_mut() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(more);
    }
}

/// Words, but an option of a rule together with its values (`--dport 80`, `! -i eth0`) as one.
fn groups(text: &str) -> Vec<String> {
    let is_rule = text.starts_with('-') || text.starts_with("! -");
    let mut groups: Vec<String> = Vec::new();
    let mut negated = false;
    let mut quoted = false;
    for word in text.split(' ') {
        let starts = !is_rule || (!quoted && !negated && (word.starts_with('-') || word == "!"));
        match groups.last_mut() {
            Some(last) if !starts => {
                last.push(' ');
                last.push_str(word);
            }
            _ => groups.push(word.to_owned()),
        }
        negated = !quoted && word == "!";
        if word.contains('"') && word.replace("\\\"", "").matches('"').count() % 2 == 1 {
            quoted = !quoted;
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stay_with_their_values() {
        let rule =
            "-d 10.0.0.0/8 ! -i eth0 -p tcp -m comment --comment \"two -j words\" -m tcp --dport 80 -j DROP";
        assert_eq!(
            groups(rule),
            [
                "-d 10.0.0.0/8",
                "! -i eth0",
                "-p tcp",
                "-m comment",
                "--comment \"two -j words\"",
                "-m tcp",
                "--dport 80",
                "-j DROP"
            ]
        );
    }

    #[test]
    fn lines_keep_to_the_width_and_notes_to_the_right() {
        let mut paper = Paper::new(40, false);
        paper
            .line(&Line::new(2, Tone::Plain, "-p tcp -j DROP").label(Tone::Dim, "1").note("iptables-save:9"));
        paper.line(
            &Line::new(2, Tone::Plain, "-p tcp -m tcp --dport 8080 -m mark --mark 0x1 -j DROP")
                .label(Tone::Dim, "2")
                .note("iptables-save:10"),
        );
        assert_eq!(
            paper.finish(),
            "  1  -p tcp -j DROP      iptables-save:9\n  2  -p tcp -m tcp --dport 8080 -m mark\n     --mark 0x1 -j DROP iptables-save:10\n"
                .replace("DROP iptables-save:10", "DROP\n                        iptables-save:10")
        );
    }

    #[test]
    fn long_lines_are_folded_behind_their_labels() {
        let text = "packet 1\n  =  filter FORWARD rule 1 ACCEPT and more\n  !  model:  aaaa bbbb cccc dddd eeee\nshort\n";
        assert_eq!(
            fold(text, 30),
            "packet 1\n  =  filter FORWARD rule 1\n       ACCEPT and more\n  !  model:  aaaa bbbb cccc\n               dddd eeee\nshort\n"
        );
    }

    #[test]
    fn colours_do_not_change_the_columns() {
        let line = Line::new(0, Tone::Bad, "DROPPED it is").label(Tone::Head, "x").note("n");
        let mut plain = Paper::new(60, false);
        plain.line(&line);
        let mut colored = Paper::new(60, true);
        colored.line(&line);
        let text = colored.finish();
        let mut stripped = String::new();
        let mut skip = false;
        for c in text.chars() {
            match c {
                '\u{1b}' => skip = true,
                'm' if skip => skip = false,
                _ if !skip => stripped.push(c),
                _ => {}
            }
        }
        assert_eq!(stripped, plain.finish());
    }
}
