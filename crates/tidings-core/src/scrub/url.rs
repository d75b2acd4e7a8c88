//! URLs of every scheme, their slashes escaped or not; and where a run of letters without spaces ends.

use super::{Kind, Span, text::Text};

/// What stands between a scheme and the rest: plain, in JSON, and in a query.
const MARKS: [&str; 3] = ["://", ":\\/\\/", "%3a%2f%2f"];

pub(super) fn find(text: &Text, spans: &mut Vec<Span>) {
    for i in 0..text.len() {
        let Some(mark) = MARKS.iter().find(|m| text.has(i, m)) else { continue };
        let start = text.run_back(i, |c| c.is_ascii_alphanumeric() || "+.-:%".contains(c));
        let end = end_of_run(text, start, i + mark.len());
        let kind = if text.lower(start, i).ends_with("file") { Kind::Path } else { Kind::Url };
        spans.push(Span { start, end, kind });
    }
}

/// The end of what started at `start` and is at least known up to `from`: at white space or, where a
/// quote or a bracket opened right before it, at its closing. Punctuation at the end of a sentence is
/// left out.
pub(super) fn end_of_run(text: &Text, start: usize, from: usize) -> usize {
    let closing = match text.before(start) {
        quote @ ('"' | '\'' | '`' | '|') => Some(quote),
        '<' => Some('>'),
        _ => None,
    };
    let end = text.run(from, |c| c != ' ' && c != '<' && Some(c) != closing);
    trimmed(text, from, end)
}

/// Without the punctuation that ends a sentence or closes a bracket.
pub(super) fn trimmed(text: &Text, from: usize, end: usize) -> usize {
    let mut end = end;
    while end > from && ".,;:!?)]}>\"'`\\".contains(text.before(end)) {
        // A placeholder's own bracket is no punctuation.
        if text.before(end) == ']'
            && (1..10).any(|n| end.checked_sub(n).and_then(|i| text.placeholder(i)) == Some(end))
        {
            break;
        }
        end -= 1;
    }
    end
}
