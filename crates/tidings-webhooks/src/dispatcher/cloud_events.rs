//! CloudEvents' HTTP binding, in binary mode: attributes as headers.

use http::{HeaderName, HeaderValue};

/// Headers of these attributes, and of the version.
pub(super) fn headers(
    attributes: impl Iterator<Item = (&'static str, String)>,
) -> Vec<(HeaderName, HeaderValue)> {
    let version = [("specversion", "1.0".to_owned())];
    let header = |(name, value): (&str, String)| {
        let name = HeaderName::try_from(format!("ce-{name}")).expect("attributes are lower-case letters");
        (name, HeaderValue::try_from(escaped(&value)).expect("what is escaped is visible ASCII"))
    };
    version.into_iter().chain(attributes).map(header).collect()
}

/// As the binding (section 3.1.3.2) has it: what is not visible ASCII, and `"` and `%`, percent-encoded from UTF-8.
fn escaped(value: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'"' | b'%' => write!(out, "%{byte:02X}").expect("a String takes every write"),
            0x21..=0x7E => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("a String takes every write"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_become_headers_that_split_nothing() {
        let found = headers([("id", "1".to_owned()), ("subject", "né \"x\"\r\n%".to_owned())].into_iter());
        let text = |at: usize| (found[at].0.as_str(), found[at].1.to_str().expect("ASCII"));
        assert_eq!(text(0), ("ce-specversion", "1.0"));
        assert_eq!(text(1), ("ce-id", "1"));
        assert_eq!(text(2), ("ce-subject", "n%C3%A9%20%22x%22%0D%0A%25"));
    }
}
