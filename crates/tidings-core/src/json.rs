mod strict;

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::value::RawValue;

pub use strict::{StrictJson, StrictObject};

/// One valid JSON value as minified text: no newline can be in it, so that it cannot split a record.
///
/// It is what every strict reader takes: at most [`RawJson::DEPTH_MAX`] levels deep, numbers that fit
/// a double, no lone surrogates.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RawJson(Bytes);

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum JsonError {
    #[error("the text is not valid JSON")]
    Invalid,
    #[error("the JSON is nested deeper than 64 levels")]
    TooDeep,
    #[error("the JSON holds a number that no double can hold")]
    NumberTooLarge,
    #[error("the JSON holds half of a surrogate pair")]
    LoneSurrogate,
}

impl RawJson {
    /// How many arrays and objects may enclose one another.
    pub const DEPTH_MAX: usize = 64;

    /// Validates and minifies.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        serde_json::from_str::<&RawValue>(text).map_err(|_| JsonError::Invalid)?;
        minify(text.as_bytes()).map(|bytes| Self(bytes.into()))
    }

    /// Text that this program minified before and stored.
    pub fn from_stored(text: impl Into<Bytes>) -> Self {
        Self(text.into())
    }

    pub fn from_value(value: &impl Serialize) -> Self {
        Self(serde_json::to_vec(value).expect("the value has string keys and no failing serializer").into())
    }

    pub fn null() -> Self {
        Self(Bytes::from_static(b"null"))
    }

    pub fn empty_object() -> Self {
        Self(Bytes::from_static(b"{}"))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same bytes, shared.
    pub fn bytes(&self) -> Bytes {
        self.0.clone()
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("JSON text is UTF-8 since it was parsed")
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many arrays and objects enclose one another where it is deepest.
    pub fn depth(&self) -> usize {
        let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
        for byte in &self.0 {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = in_string,
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b'{' | b'[' => {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        deepest
    }

    pub fn to_value(&self) -> serde_json::Value {
        serde_json::from_slice(&self.0).expect("JSON text was validated when it was made")
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawJson({} bytes)", self.0.len())
    }
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_slice(&self.0).map_err(S::Error::custom)?;
        raw.serialize(s)
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(d)?;
        minify(raw.get().as_bytes()).map(|bytes| Self(bytes.into())).map_err(D::Error::custom)
    }
}

/// Takes white space out of valid JSON and applies the bounds that the grammar leaves open.
fn minify(text: &[u8]) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::with_capacity(text.len());
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = text.get(at) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            b'"' => {
                let end = string_end(text, at)?;
                out.extend_from_slice(&text[at..end]);
                at = end;
            }
            b'-' | b'0'..=b'9' => {
                let end = number_end(text, at)?;
                out.extend_from_slice(&text[at..end]);
                at = end;
            }
            _ => {
                match byte {
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                if depth > RawJson::DEPTH_MAX {
                    return Err(JsonError::TooDeep);
                }
                out.push(byte);
                at += 1;
            }
        }
    }
    Ok(out)
}

/// The index after the string that opens at `start`.
fn string_end(text: &[u8], start: usize) -> Result<usize, JsonError> {
    let mut at = start + 1;
    loop {
        match text.get(at) {
            None => return Err(JsonError::Invalid),
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') if text.get(at + 1) == Some(&b'u') => at = escape_end(text, at)?,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

/// The index after the `\uXXXX` at `at`, with its other half where it is a surrogate.
fn escape_end(text: &[u8], at: usize) -> Result<usize, JsonError> {
    match code_unit(text, at) {
        Some(0xD800..=0xDBFF) => match code_unit(text, at + 6) {
            Some(0xDC00..=0xDFFF) => Ok(at + 12),
            _ => Err(JsonError::LoneSurrogate),
        },
        Some(0xDC00..=0xDFFF) => Err(JsonError::LoneSurrogate),
        Some(_) => Ok(at + 6),
        None => Err(JsonError::Invalid),
    }
}

fn code_unit(text: &[u8], at: usize) -> Option<u16> {
    let hex = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
}

fn number_end(text: &[u8], start: usize) -> Result<usize, JsonError> {
    let len = text[start..]
        .iter()
        .take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
        .count();
    let number = std::str::from_utf8(&text[start..start + len]).map_err(|_| JsonError::Invalid)?;
    // Short plain integers cannot overflow: only the rest is worth parsing.
    let plain = len < 300 && !number.contains(['e', 'E']);
    if !plain && !number.parse::<f64>().is_ok_and(f64::is_finite) {
        return Err(JsonError::NumberTooLarge);
    }
    Ok(start + len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn white_space_goes_and_strings_stay() {
        let json = RawJson::parse("{ \"a b\" : [ 1 , \"x \\\" \\n y\" ] ,\n \"c\":null }").expect("valid");
        assert_eq!(json.as_str(), r#"{"a b":[1,"x \" \n y"],"c":null}"#);
    }

    #[test]
    fn what_a_strict_reader_would_refuse_is_refused() {
        assert_eq!(RawJson::parse("{"), Err(JsonError::Invalid));
        assert_eq!(RawJson::parse(""), Err(JsonError::Invalid));
        assert_eq!(RawJson::parse("\"a\nb\""), Err(JsonError::Invalid));
        assert_eq!(RawJson::parse("1e999"), Err(JsonError::NumberTooLarge));
        assert_eq!(RawJson::parse(r#""\ud800""#), Err(JsonError::LoneSurrogate));
        assert_eq!(RawJson::parse(r#""\udc00\ud800""#), Err(JsonError::LoneSurrogate));
        assert!(RawJson::parse(r#""\ud83d\ude00""#).is_ok());
        let deep = |n| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(RawJson::parse(&deep(64)).is_ok());
        assert_eq!(RawJson::parse(&deep(65)), Err(JsonError::TooDeep));
    }

    #[test]
    fn depth_is_where_brackets_enclose_most() {
        for (text, depth) in [
            ("1", 0),
            ("\"[[[\"", 0),
            ("[]", 1),
            (r#"[{"a\"[[":"\\"},[[]],{}]"#, 3),
            (r#"{"a":{"b":{}},"c":[1]}"#, 3),
        ] {
            assert_eq!(RawJson::parse(text).expect("valid").depth(), depth, "{text}");
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                proptest::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn minifying_keeps_the_value(value in any_json()) {
            let pretty = serde_json::to_string_pretty(&value).expect("serialises");
            let json = RawJson::parse(&pretty).expect("valid");
            prop_assert_eq!(json.as_str(), serde_json::to_string(&value).expect("serialises"));
            prop_assert!(!json.as_str().contains(['\n', '\r']));
        }
    }
}
