use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// Headers of an endpoint's own: none that Tidings, HTTP or a proxy decides, and none that could split a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Headers(BTreeMap<String, String>);

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum HeaderError {
    #[error("{0:?} is no header's name: letters, digits and -_.~!#$%&'*+^`|, at most 64")]
    Name(String),
    #[error("the header {0} is not an endpoint's to set")]
    Reserved(String),
    #[error("the value of {0} is not 1 to 1024 visible characters of ASCII without spaces at its ends")]
    Value(String),
    #[error("the header {0} is given more than once")]
    Twice(String),
    #[error("an endpoint has at most {max} headers of its own", max = Headers::MAX)]
    TooMany,
}

/// What is set by whoever sends, or says how long and whose a request is.
const RESERVED: [&str; 25] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "origin",
    "te",
    "trailer",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-real-ip",
    "x-webhook-id",
    "max-forwards",
];
/// Whole families of them.
const RESERVED_PREFIXES: [&str; 6] = ["webhook-", "ce-", "proxy-", "sec-", "x-forwarded-", "svix-"];

impl Headers {
    pub const MAX: usize = 16;
    const NAME_MAX: usize = 64;
    const VALUE_MAX: usize = 1_024;

    /// Names become lower case.
    pub fn new(headers: impl IntoIterator<Item = (String, String)>) -> Result<Self, HeaderError> {
        let mut kept = BTreeMap::new();
        for (name, value) in headers {
            let name = checked_name(&name)?;
            if !is_value(&value) {
                return Err(HeaderError::Value(name));
            }
            if kept.insert(name.clone(), value).is_some() {
                return Err(HeaderError::Twice(name));
            }
            if kept.len() > Self::MAX {
                return Err(HeaderError::TooMany);
            }
        }
        Ok(Self(kept))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::new(BTreeMap::<String, String>::deserialize(d)?).map_err(D::Error::custom)
    }
}

fn checked_name(name: &str) -> Result<String, HeaderError> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-_.~!#$%&'*+^`|".contains(&b);
    if !(1..=Headers::NAME_MAX).contains(&name.len()) || !name.bytes().all(token) {
        return Err(HeaderError::Name(name.chars().take(80).collect()));
    }
    let name = name.to_ascii_lowercase();
    let reserved =
        RESERVED.contains(&name.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if reserved { Err(HeaderError::Reserved(name)) } else { Ok(name) }
}

fn is_value(value: &str) -> bool {
    (1..=Headers::VALUE_MAX).contains(&value.len())
        && value.bytes().all(|b| (b' '..=b'~').contains(&b))
        && value.trim() == value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Result<Headers, HeaderError> {
        Headers::new([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn what_is_not_an_endpoints_to_set_is_refused() {
        for name in [
            "Host",
            "AUTHORIZATION",
            "Content-Length",
            "webhook-id",
            "Webhook-Signature",
            "X-Webhook-ID",
            "transfer-encoding",
            "Connection",
            "X-Forwarded-For",
            "ce-id",
            "User-Agent",
            "Proxy-Authorization",
        ] {
            assert_eq!(one(name, "x"), Err(HeaderError::Reserved(name.to_ascii_lowercase())), "{name}");
        }
    }

    #[test]
    fn nothing_splits_a_request() {
        for name in ["", "a b", "a:b", "a\r\nb", "é", &"a".repeat(65)] {
            assert!(matches!(one(name, "x"), Err(HeaderError::Name(_))), "{name:?}");
        }
        for value in ["", "a\r\nb", "a\nb", "a\0", " a", "a ", "é", &"a".repeat(1_025)] {
            assert!(matches!(one("x-a", value), Err(HeaderError::Value(_))), "{value:?}");
        }
        let headers = one("X-Team", "payments, eu").expect("valid");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("x-team", "payments, eu")]);
        let twice = ["x-a", "X-A"].map(|name| (name.to_owned(), "1".to_owned()));
        assert_eq!(Headers::new(twice), Err(HeaderError::Twice("x-a".into())));
        let many = (0..17).map(|n| (format!("x-{n}"), "1".to_owned()));
        assert_eq!(Headers::new(many), Err(HeaderError::TooMany));
    }
}
