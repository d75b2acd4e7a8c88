//! Which line of an error says what happened.

use super::text::is_invisible;

/// Letters of a line that are looked at. Far more than a message shows; beyond it a word is dropped
/// whole, so that none is cut to something that is no longer known for what it is.
const LINE_MAX: usize = 4_096;

/// The first line that is neither blank nor part of a stack trace, without colours. After a header
/// that announces a trace, it is the first line behind the trace's frames.
pub(super) fn meaningful(raw: &str) -> String {
    let plain = without_colours(raw);
    let lines = plain.split(['\n', '\r', '\u{0B}', '\u{0C}', '\u{85}', '\u{2028}', '\u{2029}']);
    let mut first = None;
    let mut in_trace = false;
    for line in lines.filter(|l| !is_blank(l)) {
        first.get_or_insert(line);
        let indented = line.starts_with([' ', '\t']);
        if is_header(line.trim()) {
            in_trace = true;
        } else if !(is_frame(line.trim()) || in_trace && indented) {
            return bounded(line);
        }
    }
    first.map(bounded).unwrap_or_default()
}

fn is_blank(line: &str) -> bool {
    line.chars().all(|c| c.is_whitespace() || is_invisible(c))
}

fn bounded(line: &str) -> String {
    let line = line.trim();
    match line.char_indices().nth(LINE_MAX) {
        None => line.to_owned(),
        Some((end, _)) => {
            let kept = line[..end].rfind(char::is_whitespace).unwrap_or(0);
            format!("{} [token]", line[..kept].trim_end()).trim_start().to_owned()
        }
    }
}

/// Terminal control sequences: `ESC [ … letter`.
fn without_colours(raw: &str) -> String {
    let mut plain = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || ";?".contains(c));
        rest = rest.strip_prefix(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest);
    }
    plain.push_str(rest);
    plain
}

fn is_header(line: &str) -> bool {
    line.starts_with("Traceback (most recent call last)")
        || line.eq_ignore_ascii_case("stack backtrace:")
        || line.eq_ignore_ascii_case("stack trace:")
        || line.eq_ignore_ascii_case("stacktrace:")
        || (line.starts_with("thread '") && line.contains("panicked at") && line.ends_with(':'))
        || (line.starts_with("goroutine ") && line.ends_with(':'))
        || line.starts_with("During handling of the above exception")
        || line.starts_with("The above exception was the direct cause")
}

fn is_frame(line: &str) -> bool {
    let after_digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = after_digits.len() < line.len() && after_digits.starts_with(": ");
    let located = |rest: &str| rest.contains('(') || rest.contains(".rs:") || rest.contains(" in ");
    (line.starts_with("at ") && (located(line) || line.contains(":\\") || line.contains('/')))
        || line.starts_with("File \"")
        || (line.starts_with("... ") && line.ends_with(" more"))
        || (line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_digit()))
        || (numbered && after_digits.contains("::"))
        || line.starts_with("note: run with `RUST_BACKTRACE")
        || line.chars().all(|c| "^~-=*_".contains(c))
}
