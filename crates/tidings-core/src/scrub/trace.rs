//! Frames of a stack that stand in the line itself: from the first one on, nothing is shown.

use super::{Kind, Span, text::Text};

pub(super) fn find(text: &Text, spans: &mut Vec<Span>) {
    let starts = (0..text.len()).find(|i| starts_here(text, *i));
    spans.extend(starts.map(|start| Span { start, end: text.len(), kind: Kind::Trace }));
}

fn starts_here(text: &Text, i: usize) -> bool {
    let at_word = !text.before(i).is_alphanumeric();
    (at_word && text.has(i, "at ") && is_frame(text, i + 3))
        || (text.has(i, "file \"") && python_frame(text, i + 6))
        || (at_word && text.has(i, "goroutine ") && text.at(i + 10).is_ascii_digit())
        || (at_word && text.has(i, "stack backtrace:"))
        || (at_word && text.has(i, "traceback (most recent call last)"))
        || (text.at(i) == ':' && (text.has(i, ":in `") || text.has(i, ":in '")))
}

/// `Object.method (file:1:2)`, `com.acme.Job.run(Job.java:12)`, `Acme.Job.Run() in C:\x.cs:line 3`, or
/// a place alone (`/app/x.js:1:2`).
fn is_frame(text: &Text, start: usize) -> bool {
    let mut i = start;
    for word in ["async ", "new "] {
        if text.has(i, word) {
            i += word.len();
        }
    }
    let name = text.run(i, |c| c.is_alphanumeric() || "_$.<>[]:#/@~\\-|`+".contains(c));
    if name == i {
        return false;
    }
    let named_place = ends_with_line_number(&text.lower(i, name));
    let mut open = text.skip_spaces(name);
    if text.has(open, "[as ") {
        open = text.skip_spaces(text.run(open, |c| c != ']') + 1);
    }
    if text.at(open) != '(' {
        return named_place && (text.seen(i, name).contains(&'/') || text.seen(i, name).contains(&'\\'));
    }
    let close = text.run(open, |c| c != ')');
    let inside = text.lower(open + 1, close.max(open + 1));
    ends_with_line_number(&inside)
        || ["native", "unknown source", "<anonymous>", "index "].iter().any(|s| inside.starts_with(s))
        || text.has(close, ") in ")
}

fn ends_with_line_number(place: &str) -> bool {
    let head = place.trim_end_matches(|c: char| c.is_ascii_digit());
    head.len() < place.len() && head.ends_with(':') && head.len() > 1
}

/// `File "x.py", line 3, in run`, from behind the opening quote.
fn python_frame(text: &Text, start: usize) -> bool {
    let close = text.run(start, |c| c != '"');
    text.has(close, "\", line ")
}
