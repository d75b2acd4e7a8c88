//! E-mail addresses, IP addresses and host names.

use super::{Kind, Span, prose, text::Text, url::end_of_run};

/// Last labels of names that are hosts. Country codes that are words (`it`, `is`) or file endings (`rs`,
/// `py`) are not among them.
const HOST_ENDINGS: [&str; 58] = [
    "com",
    "net",
    "org",
    "edu",
    "gov",
    "mil",
    "int",
    "info",
    "biz",
    "io",
    "dev",
    "app",
    "cloud",
    "ai",
    "co",
    "xyz",
    "tech",
    "online",
    "site",
    "store",
    "eu",
    "us",
    "uk",
    "de",
    "fr",
    "nl",
    "ch",
    "jp",
    "cn",
    "ru",
    "br",
    "au",
    "ca",
    "se",
    "pl",
    "cz",
    "es",
    "kr",
    "tr",
    "ua",
    "internal",
    "local",
    "localdomain",
    "localhost",
    "corp",
    "lan",
    "home",
    "intra",
    "intranet",
    "private",
    "svc",
    "cluster",
    "arpa",
    "onion",
    "example",
    "test",
    "invalid",
    "consul",
];

/// Endings of source files: `main.rs:10` is a place in one.
const SOURCE_ENDINGS: [&str; 28] = [
    "rs", "py", "js", "mjs", "cjs", "ts", "tsx", "jsx", "java", "kt", "go", "c", "cc", "cpp", "h", "hpp",
    "cs", "rb", "php", "swift", "scala", "ex", "exs", "erl", "sh", "lua", "pl", "sql",
];

pub(super) fn find(text: &Text, spans: &mut Vec<Span>) {
    for i in 0..text.len() {
        match text.at(i) {
            '@' => email(text, i, i + 1, spans),
            '%' if text.has(i, "%40") => email(text, i, i + 3, spans),
            c if c.is_ascii_digit() => ip_v4(text, i, spans),
            _ => {}
        }
    }
    for (start, end) in text.runs(|c| c.is_ascii_hexdigit() || c == ':') {
        ip_v6(text, start, end, spans);
    }
    for (start, end) in text.runs(is_host_letter) {
        host(text, start, end, spans);
    }
}

fn is_host_letter(c: char) -> bool {
    c.is_alphanumeric() || "._-".contains(c)
}

/// Takes names and passwords before the `@`, and whatever host stands behind it.
fn email(text: &Text, at: usize, after: usize, spans: &mut Vec<Span>) {
    let local = |c: char| !c.is_whitespace() && !"\"'`<>()[]{},;|".contains(c);
    let mut start = text.run_back(at, local);
    if start == at && "\"]".contains(text.before(at)) {
        let open = if text.before(at) == '"' { '"' } else { '[' };
        start = text.run_back(at - 1, |c| c != open).saturating_sub(1);
    }
    let literal =
        text.at(after) == '[' && (text.at(after + 1).is_ascii_digit() || text.has(after + 1, "ipv6:"));
    let end = if literal {
        (text.run(after, |c| c != ']') + 1).min(text.len())
    } else {
        text.run(after, |c| is_host_letter(c) || c == ':')
    };
    let end = super::url::trimmed(text, after, end);
    if start < at && end > after {
        let end = if text.at(end) == '/' { end_of_run(text, start, end) } else { end };
        spans.push(Span { start, end, kind: Kind::Email });
    }
}

/// Four numbers with dots (or dashes, as cloud hosts have them) between, with a port or a prefix.
fn ip_v4(text: &Text, start: usize, spans: &mut Vec<Span>) {
    if text.before(start).is_ascii_digit() {
        return;
    }
    for dot in ['.', '-'] {
        let mut end = start;
        let numbers = (0..4).all(|n| {
            if n > 0 {
                if text.at(end) != dot {
                    return false;
                }
                end += 1;
            }
            let digits = text.run(end, |c| c.is_ascii_digit());
            let fits = (1..=3).contains(&(digits - end));
            end = digits;
            fits
        });
        if numbers {
            end = with_port(text, end);
            spans.push(Span { start, end, kind: Kind::Ip });
        }
    }
}

/// Includes `:port` or `/prefix` that stands at `end`.
fn with_port(text: &Text, end: usize) -> usize {
    if !":/".contains(text.at(end)) {
        return end;
    }
    let digits = text.run(end + 1, |c| c.is_ascii_digit());
    if digits > end + 1 { digits } else { end }
}

/// Groups of hexadecimal digits with a `::` or at least five colons (hardware addresses too). Times of day
/// have fewer.
fn ip_v6(text: &Text, start: usize, end: usize, spans: &mut Vec<Span>) {
    let mut start = start;
    if text.at(start) == ':' && text.at(start + 1) != ':' {
        start += 1;
    } else if is_word(text.before(start)) {
        return;
    }
    let end = if text.before(end) == ':' && !(end >= 2 && text.at(end - 2) == ':') { end - 1 } else { end };
    if start >= end || is_word(text.at(end)) {
        return;
    }
    let group = text.lower(start, end);
    let colons = group.matches(':').count();
    let hextets = group.split(':').all(|g| g.len() <= 4);
    if !hextets || group.len() < 3 || !(group.contains("::") || colons >= 5) {
        return;
    }
    // A zone, and the brackets and port around it.
    let mut end = end;
    if text.at(end) == '%' {
        end = text.run(end + 1, |c| c.is_alphanumeric() || c == '_' || c == '-');
    }
    if text.before(start) == '[' && text.at(end) == ']' {
        (start, end) = (start - 1, with_port(text, end + 1));
    } else if text.at(end) == '/' {
        end = with_port(text, end);
    }
    spans.push(Span { start, end, kind: Kind::Ip });
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `name:port`, or a name whose ending says that it is a host's.
fn host(text: &Text, start: usize, end: usize, spans: &mut Vec<Span>) {
    let start = text.run(start, |c| "._-".contains(c)).min(end);
    let trimmed = text.run_back(end, |c| "._-".contains(c)).max(start);
    if start == trimmed || !text.seen(start, trimmed).iter().any(|c| c.is_alphabetic()) {
        return;
    }
    let name = text.lower(start, trimmed);
    let last = name.rsplit('.').next().unwrap_or_default();
    let dotted = last.len() < name.len();
    let port = text.run(trimmed + 1, |c| c.is_ascii_digit());
    let has_port = trimmed == end
        && text.at(trimmed) == ':'
        && (1..=5).contains(&(port.saturating_sub(trimmed + 1)))
        && !text.at(port).is_alphabetic();
    if has_port && dotted && SOURCE_ENDINGS.contains(&last) {
        spans.push(Span { start, end: end_of_run(text, start, port), kind: Kind::Path });
    } else if has_port && !prose::precedes_a_number(&name) && !is_date(&name) {
        spans.push(Span { start, end: port, kind: Kind::Host });
    } else if dotted && HOST_ENDINGS.contains(&last) {
        let more = "/?:#".contains(text.at(trimmed)) && !text.at(trimmed + 1).is_whitespace();
        let end = if more { end_of_run(text, start, trimmed) } else { trimmed };
        spans.push(Span { start, end, kind: Kind::Host });
    }
}

/// `2026-11-23t07` of a time in RFC 3339.
fn is_date(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() >= 13 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-' && bytes[10] == b't'
}
