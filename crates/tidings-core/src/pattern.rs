use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A literal, or a prefix written with a trailing `*`: `note/42`, `note/*`, `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    Literal(Arc<str>),
    Prefix(Arc<str>),
}

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    #[error("a pattern is 1 to 255 characters without control characters or commas")]
    Malformed,
    #[error("a pattern's only wildcard is one '*' at its end")]
    InnerWildcard,
}

impl Pattern {
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => **literal == *text,
            Self::Prefix(prefix) => text.starts_with(&**prefix),
        }
    }

    /// Whether everything that `other` matches is matched by `self` too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Literal(text)) => self.matches(text),
            (Self::Prefix(mine), Self::Prefix(theirs)) => theirs.starts_with(&**mine),
            (Self::Literal(_), Self::Prefix(_)) => false,
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if !(1..=255).contains(&text.len()) || text.chars().any(|c| c.is_control() || c == ',') {
            return Err(PatternError::Malformed);
        }
        let (body, prefix) = match text.strip_suffix('*') {
            Some(body) => (body, true),
            None => (text, false),
        };
        if body.contains('*') {
            return Err(PatternError::InnerWildcard);
        }
        Ok(if prefix { Self::Prefix(body.into()) } else { Self::Literal(body.into()) })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Prefix(text) => write!(f, "{text}*"),
        }
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_covers_matches_all_that_is_covered(a in "[ab/]{0,3}\\*?", b in "[ab/]{0,3}\\*?", text in "[ab/]{0,5}") {
            let (Ok(a), Ok(b)) = (a.parse::<Pattern>(), b.parse::<Pattern>()) else { return Ok(()) };
            if a.covers(&b) && b.matches(&text) {
                prop_assert!(a.matches(&text));
            }
        }

        #[test]
        fn a_pattern_reads_back(text in "[a-z/.]{0,8}\\*?") {
            if let Ok(pattern) = text.parse::<Pattern>() {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }

    #[test]
    fn a_wildcard_stands_at_the_end_only() {
        assert_eq!("a*b".parse::<Pattern>(), Err(PatternError::InnerWildcard));
        assert_eq!("**".parse::<Pattern>(), Err(PatternError::InnerWildcard));
        assert_eq!("".parse::<Pattern>(), Err(PatternError::Malformed));
    }
}
