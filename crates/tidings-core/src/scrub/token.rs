//! Tokens, keys and digests: by what they start with, or because no word looks like them.

use super::{Kind, Span, text::Text};

/// What tokens of well-known services, and of this one, start with.
const PREFIXES: [&str; 38] = [
    "tdk_",
    "tdt_",
    "eyj",
    "sk-",
    "sk_",
    "pk_",
    "rk_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "glptt-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xoxr-",
    "xoxs-",
    "xapp-",
    "akia",
    "asia",
    "aiza",
    "ya29.",
    "sg.",
    "hf_",
    "npm_",
    "pypi-",
    "dop_v1_",
    "whsec_",
    "shpat_",
    "shpss_",
    "sq0",
    "eaac",
    "aqaaa",
    "ssh-rsa ",
    "ssh-ed25519 ",
];

/// Letters behind a prefix, at least.
const AFTER_PREFIX: usize = 6;

/// Letters of a run that is looked at for its own sake.
const RUN_MIN: usize = 20;

/// Letters of `0x…` that is an address in memory or a key.
const POINTER_MIN: usize = 8;

/// Letters of a run of lower-case letters that is no word of any language.
const WORD_MAX: usize = 30;

/// Letters of a name's parts on average, at least: shorter ones are chance.
const PART_MEAN: usize = 3;

pub(super) fn find(text: &Text, spans: &mut Vec<Span>) {
    if let Some(start) = text.find("-----begin", 0) {
        spans.push(Span { start, end: text.len(), kind: Kind::Token });
    }
    for (start, end) in text.runs(|c| c.is_ascii_alphanumeric() || "+/_=-".contains(c)) {
        let unlike_a_name = end - start >= RUN_MIN && !is_name(text.seen(start, end));
        if unlike_a_name || (text.has(start, "0x") && end - start >= POINTER_MIN) {
            spans.push(Span { start, end, kind: Kind::Token });
        }
    }
    for i in 0..text.len() {
        if text.before(i).is_ascii_alphanumeric() {
            continue;
        }
        if let Some(prefix) = PREFIXES.iter().find(|p| text.has(i, p)) {
            let end = text.run(i + prefix.len(), |c| c.is_ascii_alphanumeric() || "+/_=-.".contains(c));
            let end = super::url::trimmed(text, i, end);
            let rest = text.seen(i + prefix.len(), end.max(i + prefix.len()));
            if rest.len() >= AFTER_PREFIX && !is_plain_word(prefix, rest) {
                spans.push(Span { start: i, end, kind: Kind::Token });
            }
        }
    }
}

/// Whether a run after a prefix that also starts words ("asia", "sk-") is just letters of one case.
fn is_plain_word(prefix: &str, rest: &[char]) -> bool {
    !prefix.starts_with("td")
        && prefix != "eyj"
        && rest.iter().all(|c| c.is_ascii_lowercase() || "-.".contains(*c))
}

/// Whether every part of a run is a word or a number that a person would write, so that the whole is a
/// name: `max_connections_per_tenant`, `IndexOutOfBoundsException`, `text-embedding-3-small`.
fn is_name(run: &[char]) -> bool {
    let parts = || run.split(|c| "+/_=-".contains(*c)).filter(|p| !p.is_empty());
    let letters: usize = parts().map(<[char]>::len).sum();
    letters >= PART_MEAN * parts().count() && parts().all(is_name_part)
}

fn is_name_part(part: &[char]) -> bool {
    let letters = part.iter().take_while(|c| c.is_ascii_alphabetic()).count();
    let (word, digits) = part.split_at(letters);
    if digits.is_empty() {
        return is_word(word);
    }
    if part.len() <= 4 || (word.is_empty() && part.len() <= 8 && digits.iter().all(char::is_ascii_digit)) {
        return true;
    }
    // `sha256`, `int32`, `utf8`.
    digits.len() <= 4 && digits.iter().all(char::is_ascii_digit) && word.len() >= 2 && is_word(word)
}

/// Letters in one case, or in humps as identifiers have them: four letters long on average, with few
/// acronyms and few humps of two letters ("Of", "In").
fn is_word(word: &[char]) -> bool {
    let capitals = word.iter().filter(|c| c.is_ascii_uppercase()).count();
    if capitals == 0 || capitals == word.len() {
        return word.len() < WORD_MAX;
    }
    let humps =
        1 + word.windows(2).filter(|w| w[0].is_ascii_lowercase() && w[1].is_ascii_uppercase()).count();
    let runs = || word.chunk_by(|a, b| a.is_ascii_uppercase() == b.is_ascii_uppercase());
    let acronyms = runs().filter(|r| r.len() > 1 && r[0].is_ascii_uppercase()).count();
    let short = runs().filter(|r| r.len() == 1 && r[0].is_ascii_lowercase()).count();
    word.len() <= 4 || (word.len() < 2 * WORD_MAX && word.len() >= 4 * humps && acronyms <= 2 && short <= 2)
}
