//! File paths: absolute and relative, of Unix and Windows.

use super::{
    Kind, Span,
    text::Text,
    url::{end_of_run, trimmed},
};

/// Folders that a relative path starts with.
const ROOTS: [&str; 24] = [
    "src",
    "lib",
    "bin",
    "etc",
    "usr",
    "var",
    "tmp",
    "opt",
    "home",
    "root",
    "proc",
    "sys",
    "dev",
    "mnt",
    "srv",
    "app",
    "apps",
    "users",
    "target",
    "dist",
    "build",
    "node_modules",
    "site-packages",
    "vendor",
];

/// Media types look like relative paths.
const MEDIA: [&str; 9] =
    ["application", "text", "image", "audio", "video", "multipart", "font", "message", "model"];

pub(super) fn find(text: &Text, spans: &mut Vec<Span>) {
    let mut i = 0;
    while i < text.len() {
        let start = absolute_at(text, i).or_else(|| relative_at(text, i));
        i = match start {
            Some(start) => {
                let end = end(text, start, i + 1);
                spans.push(Span { start, end, kind: Kind::Path });
                end.max(i + 1)
            }
            None => i + 1,
        };
    }
}

/// Where an absolute path starts whose first separator is at `i`.
fn absolute_at(text: &Text, i: usize) -> Option<usize> {
    let before = text.before(i);
    match text.at(i) {
        '\\' if text.at(i + 1) == '\\' && !is_name(before) && starts_name(text, i + 2) => Some(i),
        '\\' | '/' if before == ':' && is_drive(text, i) => Some(i - 2),
        '\\' if is_escape(text, i) => None,
        '\\' if is_name(before) && starts_name(text, i + 1) => Some(text.run_back(i, is_name)),
        '\\' if ".~%}$".contains(before) && starts_name(text, i + 1) => Some(prefix(text, i)),
        '/' if before.is_alphanumeric() => tilde_user(text, i),
        '/' if starts_name(text, text.run(i, |c| c == '/')) => Some(prefix(text, i)),
        _ => None,
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || "_-.".contains(c)
}

fn starts_name(text: &Text, i: usize) -> bool {
    let c = text.at(i);
    c.is_alphanumeric() || (c != '\0' && "._-~%@+${[(:&=#!".contains(c))
}

fn is_drive(text: &Text, i: usize) -> bool {
    i >= 2
        && text.at(i - 2).is_ascii_alphabetic()
        && !text.before(i - 2).is_alphanumeric()
        && !(text.at(i) == '/' && text.at(i + 1) == '/')
}

/// `\n`, `\t` and `\"` as JSON and logs write them: followed by no name.
fn is_escape(text: &Text, i: usize) -> bool {
    "nrt".contains(text.at(i + 1)) && !is_name(text.at(i + 2)) && text.at(i + 2) != '\\'
}

/// `~ana/…` from its slash.
fn tilde_user(text: &Text, i: usize) -> Option<usize> {
    let start = text.run_back(i, |c| c.is_alphanumeric() || "_-".contains(c));
    let variable = start > 0 && "~$".contains(text.at(start - 1));
    (variable && starts_name(text, i + 1)).then(|| start - 1)
}

/// Includes `~`, `.`, `..`, `${HOME}` and `%APPDATA%` before the separator at `i`.
fn prefix(text: &Text, i: usize) -> usize {
    match text.before(i) {
        '}' => text.run_back(i, |c| c.is_alphanumeric() || "_{}$".contains(c)),
        '%' => text.run_back(i, |c| c.is_alphanumeric() || "_%()".contains(c)),
        '~' => i - 1,
        '.' => text.run_back(i, |c| c == '.'),
        _ => i,
    }
}

/// Where a relative path starts whose first separator is at `i`: a word with slashes that looks like
/// more than "and/or".
fn relative_at(text: &Text, i: usize) -> Option<usize> {
    if text.at(i) != '/' || !is_name(text.before(i)) {
        return None;
    }
    let inner = |c: char| is_name(c) || "/+@~%".contains(c);
    let (start, end) = (text.run_back(i, inner), text.run(i, inner));
    let word = text.lower(start, trimmed(text, i, end));
    let parts: Vec<&str> = word.split('/').filter(|p| !p.is_empty()).collect();
    let (&first, &last) = (parts.first()?, parts.last()?);
    if parts.len() < 2 || (parts.len() == 2 && MEDIA.contains(&first)) {
        return None;
    }
    let numbers = parts.iter().all(|p| p.bytes().all(|b| b.is_ascii_digit()));
    let looks = (parts.len() >= 3 && !numbers)
        || has_ending(last)
        || ROOTS.contains(&first)
        || parts.iter().any(|p| p.starts_with('.'));
    looks.then_some(start)
}

fn has_ending(name: &str) -> bool {
    let Some((stem, ending)) = name.rsplit_once('.') else { return false };
    !stem.is_empty()
        && (1..=5).contains(&ending.len())
        && ending.bytes().all(|b| b.is_ascii_alphanumeric())
        && ending.bytes().any(|b| b.is_ascii_alphabetic())
}

/// Where the path ends: in quotes, at the closing one; else at a space, unless a separator in one of the
/// next words shows that the space belongs to it ("Program Files").
fn end(text: &Text, start: usize, from: usize) -> usize {
    let quote = text.before(start);
    if "\"'`".contains(quote) {
        let close = text.run(from, |c| c != quote);
        if close < text.len() {
            return trimmed(text, from, close).max(from);
        }
    }
    let mut end = end_of_run(text, start, from.min(text.len()));
    let windows = text.seen(start, end).contains(&'\\');
    while let Some(next) = continued(text, end, windows) {
        end = next;
    }
    end
}

fn continued(text: &Text, end: usize, windows: bool) -> Option<usize> {
    let separator = if windows { '\\' } else { '/' };
    let mut at = end;
    for _ in 0..if windows { 3 } else { 1 } {
        if text.at(at) != ' ' {
            return None;
        }
        let word = at + 1;
        at = text.run(word, |c| c != ' ');
        let inner = text.seen(word, at).iter().position(|c| *c == separator);
        let drive = windows && inner == Some(2) && text.at(word + 1) == ':';
        if drive || inner == Some(0) || (inner.is_some() && text.seen(word, at).contains(&':') && !windows) {
            return None;
        }
        if inner.is_some() {
            return Some(trimmed(text, word, at));
        }
    }
    None
}
