//! A URL's text, before a parser mends it.

use crate::refusal::Refusal;

/// Bytes of a URL.
pub(crate) const BYTES_MAX: usize = 2048;

/// Parsers strip control characters, read backslashes as slashes and do without `//`: what was written would not be
/// what is judged.
pub(crate) fn judge(text: &str) -> Result<(), Refusal> {
    if text.len() > BYTES_MAX {
        return Err(Refusal::TooLong);
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(Refusal::Characters);
    }
    let authority = authority(text).filter(|authority| !authority.is_empty()).ok_or(Refusal::Form)?;
    if authority.contains('@') { Err(Refusal::Userinfo) } else { Ok(()) }
}

fn authority(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    if !(scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")) {
        return None;
    }
    rest.split(['/', '?', '#']).next()
}
