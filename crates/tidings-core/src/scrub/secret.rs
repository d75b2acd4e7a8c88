//! Values that a name gives away: `password=…`, `"token": "…"`, `Bearer …`, `Authorization: …`.

use super::{Kind, Span, prose, text::Text};

/// Parts of names whose values are secret however they are written.
const STRONG: [&str; 30] = [
    "password",
    "passwd",
    "passphrase",
    "passwort",
    "contraseña",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "masterkey",
    "encryptionkey",
    "licensekey",
    "accountkey",
    "credential",
    "authkey",
    "authorization",
    "sessionid",
    "sessid",
    "sessionkey",
    "connectionstring",
    "connstr",
    "clientsecret",
    "bearer",
    "signature",
    "mnemonic",
    "seedphrase",
    "csrf",
    "xsrf",
];

/// Whole names that are also words: only an equals sign, or quotes around the value, makes them secret.
const WEAK: [&str; 17] = [
    "pwd", "pass", "pw", "auth", "key", "sid", "sig", "session", "cookie", "otp", "pin", "cvv", "dsn", "jwt",
    "nonce", "salt", "creds",
];

/// Headers and names behind which everything is secret, spaces included.
const WHOLE_LINE: [&str; 9] = [
    "authorization:",
    "authorization=",
    "cookie:",
    "cookie=",
    "x-api-key:",
    "passphrase:",
    "passphrase=",
    "mnemonic:",
    "seed phrase:",
];

pub(super) fn find(text: &Text, spans: &mut Vec<Span>) {
    for i in 0..text.len() {
        if let Some(header) = WHOLE_LINE.iter().find(|h| text.has(i, h)) {
            let start = text.skip_spaces(i + header.len());
            if start < text.len() && !is_done(text, start, text.len()) {
                spans.push(Span { start, end: text.len(), kind: Kind::Secret });
            }
        }
    }
    for (start, end) in text.runs(is_key_letter) {
        if "/\\".contains(text.before(start)) {
            // The end of a path, such as `/etc/passwd:`.
            continue;
        }
        let name = text.lower(start, end);
        let name = name.trim_matches(['-', '.', '_']);
        scheme(text, name, end, spans);
        match Strength::of(name) {
            Some(strength) => {
                let flag = text.has(start, "--");
                spans.extend(value(text, start, end, strength, flag));
            }
            None => spans.extend(two_words(text, name, end)),
        }
    }
}

fn is_key_letter(c: char) -> bool {
    c.is_alphanumeric() || "_-.".contains(c)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strength {
    Strong,
    Weak,
}

impl Strength {
    fn of(name: &str) -> Option<Self> {
        let joined: String = name.chars().filter(|c| !"_-.".contains(*c)).collect();
        if STRONG.iter().any(|s| joined.contains(s)) || joined.ends_with("pwd") && joined.len() > 3 {
            return Some(Self::Strong);
        }
        let compound_key = joined.ends_with("key") && joined.len() < name.len();
        (WEAK.contains(&joined.as_str()) || compound_key || joined.ends_with("pass")).then_some(Self::Weak)
    }
}

/// "api key: …", "access key = …": two words of a name with a space between.
fn two_words(text: &Text, first: &str, end: usize) -> Option<Span> {
    const FIRST: [&str; 9] =
        ["api", "access", "private", "signing", "master", "encryption", "account", "license", "session"];
    let second = text.skip_spaces(end);
    let second_end = text.run(second, is_key_letter);
    let named = FIRST.contains(&first)
        && second > end
        && ["key", "id"].contains(&text.lower(second, second_end).as_str());
    if named { value(text, second, second_end, Strength::Strong, false) } else { None }
}

/// The value that belongs to the name that ends at `end`.
fn value(text: &Text, start: usize, end: usize, strength: Strength, flag: bool) -> Option<Span> {
    let mut i = end;
    let quoted_name = skip_quote(text, &mut i);
    let gap = text.skip_spaces(i);
    let separator = separator(text, gap);
    let open = text.skip_spaces(gap + separator);
    let mut from = open;
    let quote = take_quote(text, &mut from);
    if separator == 0 {
        // Without one: an element's text, a flag's value, a quoted value, or "is".
        if text.at(i) == '>' && "</".contains(text.before(start)) {
            let close = text.run(i + 1, |c| c != '<');
            return taken(text, i + 1, close);
        }
        if gap == i || quoted_name {
            return None;
        }
        if flag || (quote.is_some() && strength == Strength::Strong) {
            return taken(text, from, end_of_value(text, from, quote));
        }
        return if strength == Strength::Strong { stated(text, gap) } else { None };
    }
    let equals = text.at(gap) != ':' || text.has(gap, ":=");
    if strength == Strength::Weak && !(equals || quote.is_some()) {
        return None;
    }
    taken(text, from, end_of_value(text, from, quote))
}

/// Letters of the separator at `i`; none: 0.
fn separator(text: &Text, i: usize) -> usize {
    ["=>", ":=", "==", "->", "%3d", "=", ":"].iter().find(|s| text.has(i, s)).map_or(0, |s| s.len())
}

fn skip_quote(text: &Text, i: &mut usize) -> bool {
    let bare = *i;
    if text.at(*i) == '\\' {
        *i += 1;
    }
    if "\"'`]".contains(text.at(*i)) {
        *i += 1;
        true
    } else {
        *i = bare;
        false
    }
}

#[derive(Clone, Copy)]
struct Quote {
    mark: char,
    escaped: bool,
}

fn take_quote(text: &Text, i: &mut usize) -> Option<Quote> {
    let escaped = text.at(*i) == '\\';
    let mark = text.at(*i + usize::from(escaped));
    if !"\"'`".contains(mark) {
        return None;
    }
    *i += 1 + usize::from(escaped);
    Some(Quote { mark, escaped })
}

fn end_of_value(text: &Text, from: usize, quote: Option<Quote>) -> usize {
    match quote {
        Some(Quote { mark, escaped }) => {
            let closes = |i: &usize| text.at(*i) == mark && (text.before(*i) == '\\') == escaped;
            let close = (from..text.len()).find(closes).unwrap_or(text.len());
            if escaped && close < text.len() { close - 1 } else { close }
        }
        // A list or an object: nothing says where its secrets end.
        None if "[{(".contains(text.at(from)) && text.placeholder(from).is_none() => text.len(),
        None => text.run(from, |c| c != ' '),
    }
}

/// "password is hunter2", from behind the name.
fn stated(text: &Text, gap: usize) -> Option<Span> {
    let verb = text.run(gap, char::is_alphanumeric);
    if !["is", "was"].contains(&text.lower(gap, verb).as_str()) {
        return None;
    }
    let start = text.skip_spaces(verb);
    let end = text.run(start, |c| c != ' ');
    let word = text.lower(start, text.run(start, char::is_alphanumeric));
    if prose::follows_a_secret(&word) { None } else { taken(text, start, end) }
}

/// `Bearer …` and `Basic …`, from behind the scheme.
fn scheme(text: &Text, name: &str, end: usize, spans: &mut Vec<Span>) {
    let start = text.skip_spaces(end);
    if start == end || !(name == "bearer" || name == "basic") {
        return;
    }
    let close = text.run(start, |c| c != ' ');
    let word: String = text.lower(start, close);
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    let encoded =
        word.len() >= 8 && text.seen(start, close).iter().any(|c| c.is_ascii_digit() || "=+/".contains(*c));
    if if name == "bearer" { !prose::follows_a_secret(word) } else { encoded } {
        spans.extend(taken(text, start, close));
    }
}

fn taken(text: &Text, start: usize, end: usize) -> Option<Span> {
    (start < end && !is_done(text, start, end)).then_some(Span { start, end, kind: Kind::Secret })
}

/// Whether nothing but a placeholder and punctuation stands there.
fn is_done(text: &Text, start: usize, end: usize) -> bool {
    let mut i = start;
    while i < end {
        match text.placeholder(i) {
            Some(next) => i = next,
            None if text.at(i).is_alphanumeric() => return false,
            None => i += 1,
        }
    }
    text.seen(start, end).contains(&'[') || text.seen(start, end).iter().all(|c| c.is_whitespace())
}
