use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{format_duration, parse_duration};

/// When a failed delivery is tried again. Written `"default"`, `"standard"` or a list such as `["10s", "5m"]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RetrySchedule {
    /// As many as the server is set to, by itself three: after 5 s, 30 s and 3 min.
    #[default]
    Default,
    /// Seven, over nearly 28 hours: as Standard Webhooks proposes and Svix does.
    Standard,
    Custom(Box<[Duration]>),
}

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("retries are default, standard or a list of at most 20 durations from 1s to 7d, together at most 7d")]
pub struct RetryError;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

/// What [`RetrySchedule::Default`] takes its first delays from.
const LADDER: [Duration; 8] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(3),
    Duration::from_mins(15),
    HOUR,
    Duration::from_hours(4),
    Duration::from_hours(10),
    Duration::from_hours(10),
];
const STANDARD: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(10),
];

impl RetrySchedule {
    /// How many retries a list may have.
    pub const MAX: usize = 20;
    /// How many [`RetrySchedule::Default`] may be set to.
    pub const DEFAULT_MAX: usize = LADDER.len();
    /// How long all retries together may take, before jitter.
    pub const SPAN_MAX: Duration = Duration::from_hours(7 * 24);

    pub fn custom(delays: Vec<Duration>) -> Result<Self, RetryError> {
        let fits = delays.len() <= Self::MAX
            && delays.iter().all(|delay| *delay >= SECOND)
            && delays
                .iter()
                .try_fold(Duration::ZERO, |sum, delay| sum.checked_add(*delay))
                .is_some_and(|sum| sum <= Self::SPAN_MAX);
        if fits { Ok(Self::Custom(delays.into())) } else { Err(RetryError) }
    }

    /// How long after the `failed`th failed attempt (from 1) the next one is due; `None`: it was the last.
    /// `retries` is how many the server's default has.
    pub fn delay_after(&self, failed: u32, retries: usize) -> Option<Duration> {
        let delays = match self {
            Self::Default => &LADDER[..retries.min(LADDER.len())],
            Self::Standard => &STANDARD,
            Self::Custom(delays) => delays,
        };
        delays.get(failed.checked_sub(1)? as usize).copied()
    }

    /// A delay with up to `percent` of it on top: `unit` is uniform in `0.0..1.0`. Never earlier, so that what
    /// a receiver asked for holds.
    pub fn jittered(delay: Duration, percent: u8, unit: f64) -> Duration {
        delay + delay.mul_f64(f64::from(percent) / 100.0 * unit.clamp(0.0, 1.0))
    }
}

impl Serialize for RetrySchedule {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Default => s.serialize_str("default"),
            Self::Standard => s.serialize_str("standard"),
            Self::Custom(delays) => s.collect_seq(delays.iter().map(|delay| format_duration(*delay))),
        }
    }
}

impl<'de> Deserialize<'de> for RetrySchedule {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Name(String),
            Delays(Vec<String>),
        }
        let wrong = |_| D::Error::custom(RetryError);
        match Written::deserialize(d).map_err(|_| D::Error::custom(RetryError))? {
            Written::Name(name) if name == "default" => Ok(Self::Default),
            Written::Name(name) if name == "standard" => Ok(Self::Standard),
            Written::Name(_) => Err(D::Error::custom(RetryError)),
            Written::Delays(delays) => {
                let delays: Result<_, _> = delays.iter().map(|text| parse_duration(text)).collect();
                Self::custom(delays.map_err(wrong)?).map_err(D::Error::custom)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn read(text: &str) -> Result<RetrySchedule, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn the_default_is_three_tries_more() {
        let delays: Vec<_> = (1..=4).map(|n| RetrySchedule::Default.delay_after(n, 3)).collect();
        assert_eq!(delays, [Some(SECOND * 5), Some(SECOND * 30), Some(MINUTE * 3), None]);
        assert_eq!(RetrySchedule::Default.delay_after(1, 0), None);
        assert_eq!(RetrySchedule::Default.delay_after(0, 3), None);
    }

    #[test]
    fn the_standard_one_goes_on_for_nearly_28_hours() {
        let delays = (1..).map_while(|n| RetrySchedule::Standard.delay_after(n, 3));
        assert_eq!(delays.sum::<Duration>(), HOUR * 27 + MINUTE * 35 + SECOND * 5);
    }

    #[test]
    fn schedules_read_back_and_are_bounded() {
        for text in [r#""default""#, r#""standard""#, r#"["10s","5m","1d12h"]"#, "[]"] {
            let schedule = read(text).expect("valid");
            assert_eq!(serde_json::to_string(&schedule).expect("serialises"), text);
        }
        let many = format!("[{}]", vec![r#""1s""#; 21].join(","));
        for text in [r#""other""#, "3", r#"["500ms"]"#, r#"["4d","4d"]"#, r#"["x"]"#, &many] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn jitter_only_adds() {
        assert_eq!(RetrySchedule::jittered(SECOND * 10, 20, 0.0), SECOND * 10);
        assert_eq!(RetrySchedule::jittered(SECOND * 10, 20, 1.0), SECOND * 12);
    }
}
