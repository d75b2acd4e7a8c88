//! Durations as people write them: `30s`, `5m`, `1h30m`, `250ms`, `7d`.

use std::time::Duration;

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("a duration is a number and a unit (ms, s, m, h, d), such as 30s, 5m or 1h30m, at most 36500d")]
pub struct DurationError;

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let mut rest = text;
    let mut millis = 0_u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let n: u64 = rest[..digits].parse().map_err(|_| DurationError)?;
        let unit = &rest[digits..digits + letters];
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(DurationError)?;
        millis = n.checked_mul(*scale).and_then(|n| n.checked_add(millis)).ok_or(DurationError)?;
        rest = &rest[digits + letters..];
    }
    // A century is beyond any limit here, and far within what timestamps can add.
    if text.is_empty() || millis > 100 * 365 * 86_400_000 {
        Err(DurationError)
    } else {
        Ok(Duration::from_millis(millis))
    }
}

/// The shortest text that [`parse_duration`] reads back (to the millisecond).
pub fn format_duration(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (unit, scale) in UNITS.iter().rev() {
        if millis >= *scale {
            text += &(millis / scale).to_string();
            text += unit;
            millis %= scale;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_mins(90)));
        for bad in ["", "5", "s", "-5s", "5 s", "1.5s", "5y", "99999999999999999999s", "40000d"] {
            assert_eq!(parse_duration(bad), Err(DurationError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_duration_reads_back(millis in 0_u64..3_153_600_000_000) {
            let d = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(d)), Ok(d));
        }
    }
}
