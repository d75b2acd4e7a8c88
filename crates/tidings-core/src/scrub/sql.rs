//! SQL: from where a statement starts, nothing of the line is shown, since nothing says where it ends.

use super::{Kind, Span, prose, text::Text};

pub(super) fn find(text: &Text, spans: &mut Vec<Span>) {
    let words = Words::of(text);
    let starts = (0..words.0.len()).find(|i| words.statement_at(*i));
    spans.extend(starts.map(|i| Span { start: words.0[i].start, end: text.len(), kind: Kind::Sql }));
}

struct Word {
    start: usize,
    end: usize,
    lower: String,
    /// Written as keywords are: in capitals.
    capitals: bool,
}

struct Words<'a>(Vec<Word>, &'a Text);

/// What an object is that is created, altered or dropped.
const OBJECTS: [&str; 22] = [
    "table",
    "index",
    "view",
    "database",
    "schema",
    "function",
    "procedure",
    "trigger",
    "sequence",
    "role",
    "user",
    "type",
    "extension",
    "policy",
    "column",
    "constraint",
    "materialized",
    "unique",
    "temporary",
    "temp",
    "virtual",
    "or",
];

impl<'a> Words<'a> {
    fn of(text: &'a Text) -> Self {
        let runs = text.runs(|c| c.is_alphanumeric() || c == '_');
        let word = |(start, end): (usize, usize)| {
            let capitals = text.seen(start, end).iter().all(char::is_ascii_uppercase);
            Word { start, end, lower: text.lower(start, end), capitals }
        };
        Self(runs.into_iter().map(word).collect(), text)
    }

    fn lower(&self, i: usize) -> &str {
        self.0.get(i).map_or("", |w| &w.lower)
    }

    fn statement_at(&self, i: usize) -> bool {
        let (word, next) = (&self.0[i], self.lower(i + 1));
        match word.lower.as_str() {
            "select" => self.select(i),
            "insert" | "merge" | "replace" => next == "into" && self.names_after(i + 1),
            "delete" => next == "from" && self.names_after(i + 1),
            "create" | "alter" | "drop" => OBJECTS.contains(&next) && self.names_after(i + 1),
            "truncate" => next == "table" || (word.capitals && !next.is_empty()),
            "update" => self.update(i),
            "with" => self.lower(i + 2) == "as" && self.punctuated(i + 2, "("),
            "where" | "having" => (word.capitals && !next.is_empty()) || self.condition(i),
            "values" => self.punctuated(i, "("),
            "order" | "group" => word.capitals && next == "by",
            "union" => next == "select" || next == "all" && self.lower(i + 2) == "select",
            "inner" | "left" | "right" | "outer" | "cross" | "full" => {
                word.capitals && ["join", "outer"].contains(&next)
            }
            "from" => word.capitals && self.capitals_later(i, &["where", "join", "order", "group", "limit"]),
            "join" | "returning" | "pragma" | "exec" | "execute" => word.capitals && !next.is_empty(),
            "copy" => word.capitals && ["from", "to"].contains(&self.lower(i + 2)),
            "grant" | "revoke" => word.capitals && self.capitals_later(i, &["on", "to", "from"]),
            "on" => word.capitals && ["conflict", "duplicate"].contains(&next),
            _ => false,
        }
    }

    /// Whether what follows word `i` is a name rather than the rest of a sentence.
    fn names_after(&self, i: usize) -> bool {
        let next = self.lower(i + 1);
        self.0[i].capitals || self.evidence(i) || !(next.is_empty() || prose::is_article(next))
    }

    fn select(&self, i: usize) -> bool {
        let word = &self.0[i];
        if word.capitals && word.end < self.1.len() {
            return true;
        }
        let Some(from) = (i + 1..self.0.len()).find(|j| self.lower(*j) == "from") else {
            return self.punctuated(i, "*") || self.evidence_between(word.end, self.1.len());
        };
        let listed = self.evidence_between(word.end, self.0[from].start);
        let single = from == i + 2 && !prose::is_article(self.lower(i + 1));
        let distinct = ["distinct", "all", "top"].contains(&self.lower(i + 1));
        listed || single || distinct || self.evidence(from)
    }

    fn update(&self, i: usize) -> bool {
        let sets = (i + 2..self.0.len().min(i + 6)).find(|j| self.lower(*j) == "set");
        sets.is_some_and(|set| {
            self.0[i].capitals
                || self.evidence(set)
                || (set == i + 2 && !prose::is_article(self.lower(i + 1)))
        })
    }

    /// `where x = …`, `where x in (…)`, `where x is null`.
    fn condition(&self, i: usize) -> bool {
        let end = self.0.get(i + 2).map_or(self.1.len(), |w| w.start.min(self.1.len()));
        let compared = self.1.seen(self.0[i].end, end).iter().any(|c| "=<>".contains(*c));
        compared
            || (self.lower(i + 2) == "in" && self.punctuated(i + 2, "("))
            || (self.lower(i + 2) == "like" && self.punctuated(i + 2, "'"))
            || (self.lower(i + 2) == "is" && ["null", "not"].contains(&self.lower(i + 3)))
    }

    /// Whether the next letter after word `i` and spaces is one of `marks`.
    fn punctuated(&self, i: usize, marks: &str) -> bool {
        self.0.get(i).is_some_and(|w| marks.contains(self.1.at(self.1.skip_spaces(w.end))))
    }

    fn capitals_later(&self, i: usize, keywords: &[&str]) -> bool {
        self.0[i + 1..].iter().any(|w| w.capitals && keywords.contains(&w.lower.as_str()))
    }

    /// Marks and words that SQL has after word `i` and a sentence hardly.
    fn evidence(&self, i: usize) -> bool {
        const CLAUSES: [&str; 8] =
            ["where", "values", "join", "having", "limit", "returning", "order", "group"];
        self.0[i + 1..].iter().any(|w| CLAUSES.contains(&w.lower.as_str()))
            || self
                .0
                .get(i)
                .is_some_and(|w| self.1.seen(w.end, self.1.len()).iter().any(|c| "=;*`".contains(*c)))
    }

    /// Marks of a list of columns.
    fn evidence_between(&self, start: usize, end: usize) -> bool {
        let part = self.1.seen(start, end.max(start));
        let dotted = |w: &[char]| w[0].is_alphanumeric() && w[1] == '.' && w[2].is_alphanumeric();
        part.iter().any(|c| "*(,=`\"$".contains(*c)) || part.windows(3).any(dotted)
    }
}
