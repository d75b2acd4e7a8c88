use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// So many in so long: written `10/s`, `100/m`, `5/h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}

impl Rate {
    /// The most that a rate may be of, whatever its time.
    pub const COUNT_MAX: u32 = 1_000_000_000;
}

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("a rate is a number above zero and s, m or h, such as 10/s or 100/m")]
pub struct RateError;

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (count, unit) = text.split_once('/').ok_or(RateError)?;
        let per = Duration::from_secs(match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            _ => return Err(RateError),
        });
        match count.parse() {
            Ok(count) if count > 0 && count <= Self::COUNT_MAX => Ok(Self { count, per }),
            _ => Err(RateError),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            60 => "m",
            3_600 => "h",
            _ => "s",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_back_and_nonsense_is_refused() {
        for text in ["10/s", "100/m", "5/h"] {
            assert_eq!(text.parse::<Rate>().expect("valid").to_string(), text);
        }
        for text in ["", "10", "0/s", "-1/s", "1/d", "/s", "9999999999/s"] {
            assert_eq!(text.parse::<Rate>(), Err(RateError), "{text}");
        }
    }
}
