//! How values are written: durations `30s`, rates `10/s`, and `off` where a limit may be lifted.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use tidings_core::{DurationError, Rate, RateError, format_duration, parse_duration};

/// A duration, written `250ms`, `30s`, `1h30m`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

/// A rate, written `10/s`, `100/m`, `5/h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateText(pub Rate);

impl RateText {
    pub const fn per_second(count: u32) -> Self {
        Self(Rate { count, per: Duration::from_secs(1) })
    }

    pub const fn per_minute(count: u32) -> Self {
        Self(Rate { count, per: Duration::from_mins(1) })
    }
}

/// A limit that `off` lifts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Off<T>(pub Option<T>);

impl<T> Off<T> {
    pub const fn at(limit: T) -> Self {
        Self(Some(limit))
    }

    pub const OFF: Self = Self(None);
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_duration(self.0))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = text(d, DurationError)?;
        parse_duration(&text).map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for RateText {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RateText {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = text(d, RateError)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// A text. What is none is refused by `form`, which says how one is written.
fn text<'de, D: Deserializer<'de>>(d: D, form: impl fmt::Display) -> Result<String, D::Error> {
    let value = toml::Value::deserialize(d)?;
    value.as_str().map(str::to_owned).ok_or_else(|| D::Error::custom(form))
}

impl<T: Serialize> Serialize for Off<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(limit) => limit.serialize(s),
            None => s.serialize_str("off"),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Off<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(d)?;
        if value.as_str() == Some("off") {
            return Ok(Self(None));
        }
        T::deserialize(value)
            .map(|limit| Self(Some(limit)))
            .map_err(|e| D::Error::custom(format!("{} (or off)", e.message())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct All {
        age: Off<Span>,
        lag: Off<u64>,
        rate: RateText,
    }

    #[test]
    fn values_read_back_as_they_are_written() {
        for text in
            ["age = \"off\"\nlag = 1000\nrate = \"10/s\"\n", "age = \"7d\"\nlag = \"off\"\nrate = \"5/m\"\n"]
        {
            let all: All = toml::from_str(text).expect("reads");
            assert_eq!(toml::to_string(&all).expect("writes"), text);
        }
        assert!(toml::from_str::<All>("age = \"7\"\nlag = 1\nrate = \"1/s\"").is_err());
        assert!(toml::from_str::<All>("age = \"7d\"\nlag = \"of\"\nrate = \"1/s\"").is_err());
    }
}
