use std::fmt;

use super::{Kind, Span};

/// One line, letter by letter, as it is shown and as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    shown: Vec<char>,
    /// The same letters with look-alikes made plain, ASCII letters in their case.
    seen: Vec<char>,
    /// … and in lower case.
    lower: Vec<char>,
}

impl Text {
    /// Leaves out invisible letters, so that they cannot break up what is looked for.
    pub(super) fn new(line: &str) -> Self {
        let shown = line.chars().filter(|c| !is_invisible(*c)).map(|c| if c.is_control() { ' ' } else { c });
        Self::of(shown.collect())
    }

    fn of(shown: Vec<char>) -> Self {
        let seen: Vec<char> = shown.iter().map(|c| plain(*c)).collect();
        let lower = seen.iter().map(char::to_ascii_lowercase).collect();
        Self { shown, seen, lower }
    }

    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }

    /// The letter at `i`; beyond the end, a NUL, which no line holds.
    pub(super) fn at(&self, i: usize) -> char {
        self.seen.get(i).copied().unwrap_or('\0')
    }

    /// The letter before `i`, or a NUL.
    pub(super) fn before(&self, i: usize) -> char {
        i.checked_sub(1).map_or('\0', |i| self.at(i))
    }

    pub(super) fn seen(&self, start: usize, end: usize) -> &[char] {
        &self.seen[start..end]
    }

    pub(super) fn lower(&self, start: usize, end: usize) -> String {
        self.lower[start..end].iter().collect()
    }

    /// Whether `needle`, in lower case, stands at `i` in any case.
    pub(super) fn has(&self, i: usize, needle: &str) -> bool {
        let mut at = i;
        needle.chars().all(|c| {
            at += 1;
            self.lower.get(at - 1) == Some(&c)
        })
    }

    /// Where `needle`, in lower case, next stands at or after `from`.
    pub(super) fn find(&self, needle: &str, from: usize) -> Option<usize> {
        (from..self.len()).find(|i| self.has(*i, needle))
    }

    /// The end of the run of letters from `start` that `wanted` takes.
    pub(super) fn run(&self, start: usize, wanted: impl Fn(char) -> bool) -> usize {
        (start..self.len()).find(|i| !wanted(self.seen[*i])).unwrap_or(self.len())
    }

    /// The start of the run of letters up to `end` that `wanted` takes.
    pub(super) fn run_back(&self, end: usize, wanted: impl Fn(char) -> bool) -> usize {
        (0..end).rev().find(|i| !wanted(self.seen[*i])).map_or(0, |i| i + 1)
    }

    /// Every maximal run of letters that `wanted` takes, as `(start, end)`.
    pub(super) fn runs(&self, wanted: impl Fn(char) -> bool) -> Vec<(usize, usize)> {
        let mut runs = Vec::new();
        let mut i = 0;
        while i < self.len() {
            let end = self.run(i, &wanted);
            if end > i {
                runs.push((i, end));
            }
            i = end.max(i + 1);
        }
        runs
    }

    pub(super) fn skip_spaces(&self, i: usize) -> usize {
        self.run(i, |c| c == ' ')
    }

    /// The placeholder that starts at `i`, by its end.
    pub(super) fn placeholder(&self, i: usize) -> Option<usize> {
        if self.at(i) != '[' {
            return None;
        }
        Kind::ALL.iter().map(|k| k.placeholder()).find(|p| self.has(i, p)).map(|p| i + p.len())
    }

    /// The text with each span's placeholder in its place. Spans that touch a placeholder swallow it;
    /// those within one are dropped.
    pub(super) fn without(&self, spans: &[Span]) -> Self {
        let placeholders: Vec<_> = (0..self.len()).filter_map(|i| Some((i, self.placeholder(i)?))).collect();
        let mut spans: Vec<Span> = spans.iter().filter_map(|s| widen(*s, &placeholders)).collect();
        spans.sort_by_key(|s| (s.start, s.kind));
        let mut shown = Vec::with_capacity(self.len());
        let mut at = 0;
        let mut spans = spans.into_iter().peekable();
        while let Some(mut span) = spans.next() {
            while let Some(next) = spans.next_if(|next| next.start < span.end) {
                span.end = span.end.max(next.end);
                span.kind = span.kind.min(next.kind);
            }
            shown.extend_from_slice(&self.shown[at..span.start]);
            shown.extend(span.kind.placeholder().chars());
            at = span.end;
        }
        shown.extend_from_slice(&self.shown[at..]);
        let first = shown.iter().position(|c| !c.is_whitespace()).unwrap_or(shown.len());
        shown.drain(..first);
        Self::of(shown)
    }

    /// At most `max` letters, no part of a placeholder, and no space at the end.
    pub(super) fn cut(self, max: usize) -> Self {
        let mut end = self.len().min(max);
        if end < self.len() {
            let straddles = |i: &usize| self.placeholder(*i).is_some_and(|e| e > end);
            end = (0..end).rev().take(10).find(straddles).unwrap_or(end);
        }
        let mut shown = self.shown;
        shown.truncate(end);
        while shown.last().is_some_and(|c| c.is_whitespace()) {
            shown.pop();
        }
        Self::of(shown)
    }
}

fn widen(mut span: Span, placeholders: &[(usize, usize)]) -> Option<Span> {
    for (start, end) in placeholders {
        if *start <= span.start && span.end <= *end {
            return None;
        }
        if *start < span.end && span.start < *end {
            span.start = span.start.min(*start);
            span.end = span.end.max(*end);
        }
    }
    (span.start < span.end).then_some(span)
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.iter().try_for_each(|c| fmt::Write::write_char(f, *c))
    }
}

/// Letters that print as nothing, or turn the reading direction.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
        | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
        || (c.is_control() && c != '\t' && c != '\0')
}

/// The plain letter that `c` looks like or that systems take it for.
fn plain(c: char) -> char {
    let digit = |base: u32| char::from_digit((c as u32 - base) % 10, 10).unwrap_or(c);
    let letter = |offset: u32, first: u8| char::from(first + (offset % 26) as u8);
    match c {
        _ if c.is_ascii() => c,
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(c as u32 - 0xFF01 + 0x21).unwrap_or(c),
        '\u{0660}'..='\u{0669}' => digit(0x0660),
        '\u{06F0}'..='\u{06F9}' => digit(0x06F0),
        '\u{0966}'..='\u{096F}' => digit(0x0966),
        '\u{1D7CE}'..='\u{1D7FF}' => digit(0x1D7CE),
        '\u{2460}'..='\u{2468}' => digit(0x245F),
        '\u{24EA}' => '0',
        '\u{24B6}'..='\u{24CF}' => letter(c as u32 - 0x24B6, b'A'),
        '\u{24D0}'..='\u{24E9}' => letter(c as u32 - 0x24D0, b'a'),
        '\u{1D400}'..='\u{1D6A3}' => {
            let offset = (c as u32 - 0x1D400) % 52;
            if offset < 26 { letter(offset, b'A') } else { letter(offset, b'a') }
        }
        '\u{3002}' | '\u{FF61}' | '\u{2024}' => '.',
        '\u{2044}' | '\u{2215}' | '\u{29F8}' => '/',
        '\u{FE68}' | '\u{2216}' | '\u{29F5}' => '\\',
        '\u{2236}' | '\u{02D0}' | '\u{A789}' | '\u{FE55}' => ':',
        '\u{FE6B}' => '@',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{201C}'..='\u{201F}' | '\u{00AB}' | '\u{00BB}' => '"',
        '\u{2018}'..='\u{201B}' | '\u{2039}' | '\u{203A}' => '\'',
        // Cyrillic and Greek letters that look like Latin ones.
        'а' => 'a',
        'е' => 'e',
        'о' | 'ο' => 'o',
        'р' => 'p',
        'с' => 'c',
        'х' => 'x',
        'у' => 'y',
        'і' => 'i',
        'ѕ' => 's',
        'ј' => 'j',
        _ if c.is_whitespace() => ' ',
        _ => c,
    }
}
