//! Takes out of an error's text what must not leave the server.
//!
//! There is no telling a secret from a word for certain, so each detector errs on taking too much: the
//! whole text stays with the job. [`line`] chooses what is worth showing, [`text`] makes tricks with
//! look-alike and invisible letters plain, and each of the others finds one kind of thing.

mod address;
mod line;
mod path;
mod prose;
mod secret;
mod sql;
mod text;
mod token;
mod trace;
mod url;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use text::Text;

/// Letters of a scrubbed message.
const MESSAGE_MAX: usize = 300;

/// The first meaningful line of `raw` without SQL, file paths, stack traces, addresses, URLs, tokens,
/// secrets and e-mail addresses, each replaced by its kind in brackets (`[path]`). At most 300 letters.
///
/// Ordinary sentences stay as they are. Scrubbing a scrubbed message changes nothing.
pub fn scrub(raw: &str) -> String {
    let mut text = Text::new(&line::meaningful(raw));
    loop {
        // What one pass takes out can bring together what the next one finds. Every pass that changes
        // anything leaves fewer letters outside placeholders, so this ends.
        let next = text.without(&found(&text)).cut(MESSAGE_MAX);
        if next == text {
            return next.to_string();
        }
        text = next;
    }
}

/// What is taken out, and what stands in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Trace,
    Sql,
    Secret,
    Token,
    Url,
    Email,
    Path,
    Ip,
    Host,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Trace,
        Self::Sql,
        Self::Secret,
        Self::Token,
        Self::Url,
        Self::Email,
        Self::Path,
        Self::Ip,
        Self::Host,
    ];

    const fn placeholder(self) -> &'static str {
        match self {
            Self::Trace => "[trace]",
            Self::Sql => "[sql]",
            Self::Secret => "[secret]",
            Self::Token => "[token]",
            Self::Url => "[url]",
            Self::Email => "[email]",
            Self::Path => "[path]",
            Self::Ip => "[ip]",
            Self::Host => "[host]",
        }
    }
}

/// Letters `start..end` of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
    kind: Kind,
}

fn found(text: &Text) -> Vec<Span> {
    let mut spans = Vec::new();
    trace::find(text, &mut spans);
    sql::find(text, &mut spans);
    secret::find(text, &mut spans);
    token::find(text, &mut spans);
    url::find(text, &mut spans);
    address::find(text, &mut spans);
    path::find(text, &mut spans);
    spans
}
