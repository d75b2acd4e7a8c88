use std::{fmt, str::FromStr, sync::Arc};

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions, parse_crontab_with};

/// A cron expression: five fields, or a name that stands for them. It speaks of a calendar and a wall
/// clock; which hours of the world those are is its zone's to say.
#[derive(Clone)]
pub struct Cron {
    /// As it was given, with single spaces.
    text: Arc<str>,
    table: Arc<Crontab>,
    every_hour: bool,
}

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum CronError {
    #[error("there is no {0}: the names are @hourly, @daily, @weekly, @monthly and @yearly")]
    Name(String),
    #[error(
        "it has {0} fields and not five: minute, hour, day of month, month and day of week, such as 30 2 * * MON-FRI"
    )]
    Fields(usize),
    #[error("the field of the {field}, {text:?}, does not read: {why}")]
    Field { field: &'static str, text: String, why: String },
    #[error("it is longer than {} bytes", Cron::BYTES_MAX)]
    TooLong,
}

const FIELDS: [&str; 5] = ["minute", "hour", "day of month", "month", "day of week"];

const NAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// How many stretches of four years are searched for the next time. February 29 on a given day of the
/// week comes at least every 40.
const STRETCHES_MAX: usize = 11;
const FOUR_YEARS: i64 = 4 * 365 * 86_400;

impl Cron {
    pub const BYTES_MAX: usize = 255;

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it asks for every hour of the day, so that it follows time itself and not the wall clock.
    pub(super) const fn is_every_hour(&self) -> bool {
        self.every_hour
    }

    /// The first time after `civil` that it asks for. Both are wall clock readings, in seconds since the
    /// one that reads 1970-01-01 00:00.
    pub(super) fn next(&self, civil: i64) -> Option<i64> {
        let mut from = civil;
        for _ in 0..STRETCHES_MAX {
            // An error is the end of four years or of the calendar.
            match self.table.find_next(MakeTimestamp::from_second(from).ok()?) {
                Ok(next) => return Some(next.timestamp().as_second()),
                Err(_) => from += FOUR_YEARS,
            }
        }
        None
    }
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        if text.len() > Self::BYTES_MAX {
            return Err(CronError::TooLong);
        }
        let words: Vec<_> = text.split_ascii_whitespace().collect();
        let fields = match words[..] {
            [name] if name.starts_with('@') => {
                let named = NAMES.iter().find(|(known, _)| *known == name);
                named.ok_or_else(|| CronError::Name(name.to_owned()))?.1.split(' ').collect()
            }
            _ => words.clone(),
        };
        if fields.len() != FIELDS.len() {
            return Err(CronError::Fields(fields.len()));
        }
        for (at, field) in fields.iter().enumerate() {
            check(at, field)?;
        }
        let table = parse(&fields.join(" ")).expect("fields that read one by one read together");
        let every_hour = every_hour(fields[1]);
        Ok(Self { text: words.join(" ").into(), table: Arc::new(table), every_hour })
    }
}

/// Reads one field alone, so that an error names it.
fn check(at: usize, field: &str) -> Result<(), CronError> {
    let mut alone = ["*"; 5];
    alone[at] = field;
    let error = |why| CronError::Field { field: FIELDS[at], text: field.into(), why };
    parse(&alone.join(" ")).map(drop).map_err(error)
}

/// The zone plays no part here: the table is driven by wall clock readings as if they were UTC's.
fn parse(fields: &str) -> Result<Crontab, String> {
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    parse_crontab_with(fields, options).map_err(|error| {
        // The library draws a picture; the reason stands behind its arrow.
        let text = error.to_string();
        text.rsplit("^ ").next().unwrap_or_default().trim().to_owned()
    })
}

fn every_hour(field: &str) -> bool {
    let Ok(hours) = parse(&format!("0 {field} * * *")) else { return false };
    (0..24).all(|hour| {
        MakeTimestamp::from_second(hour * 3_600).is_ok_and(|at| hours.matches(at).unwrap_or(false))
    })
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.text)
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cron {}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<Cron>().expect_err("must not read").to_string()
    }

    #[test]
    fn an_error_names_the_field() {
        for (text, part) in [
            ("", "has 0 fields"),
            ("* * * *", "has 4 fields"),
            ("* * * * * UTC", "has 6 fields"),
            ("0 0 * * * * *", "has 7 fields"),
            ("61 * * * *", "the minute"),
            ("* 24 * * *", "the hour"),
            ("* * 0 * *", "the day of month"),
            ("* * * 13 *", "the month"),
            ("* * * * 8", "the day of week"),
            ("*/0 * * * *", "the minute"),
            ("5-1 * * * *", "ascending"),
            ("H * * * *", "the minute"),
            ("a * * * *", "the minute"),
            ("* * * * é", "the day of week"),
            ("@reboot", "no @reboot"),
            ("@hourly *", "has 2 fields"),
            (&"*".repeat(256), "longer than 255"),
        ] {
            let message = refused(text);
            assert!(message.contains(part), "{text}: {message}");
            assert!(!message.contains('\n') && !message.ends_with('.'), "{message:?}");
        }
    }

    #[test]
    fn names_stand_for_fields_and_spaces_do_not_count() {
        for (name, fields) in NAMES {
            let (named, spelt): (Cron, Cron) =
                (name.parse().expect("a name"), fields.parse().expect("its fields"));
            assert_eq!(named.as_str(), name, "it is shown as it was given");
            assert_eq!(named.next(12_345), spelt.next(12_345), "{name}");
        }
        let cron: Cron = " 5  4\t* * mon ".parse().expect("an expression");
        assert_eq!(cron.as_str(), "5 4 * * mon");
    }

    #[test]
    fn the_hour_field_says_whether_it_follows_time_itself() {
        for (field, all) in
            [("*", true), ("0-23", true), ("*/1", true), ("*/2", false), ("2", false), ("0-22", false)]
        {
            let cron: Cron = format!("0 {field} * * *").parse().expect("an expression");
            assert_eq!(cron.is_every_hour(), all, "{field}");
        }
    }

    #[test]
    fn what_never_comes_has_no_next() {
        let next = |text: &str| text.parse::<Cron>().expect("an expression").next(1_800_000_000);
        assert_eq!(next("0 0 30 2 *"), None);
        assert_eq!(next("0 0 31 4,6,9,11 *"), None);
        assert!(next("0 0 29 2 *").is_some());
        // With a star in front of one of the two, both days must fit: a February 29 that is a Sunday.
        let cron: Cron = "0 0 29 2 */7".parse().expect("an expression");
        assert_eq!(cron.next(1_800_000_000), Some(1_961_625_600));
        assert_eq!(cron.next(1_961_625_600), Some(2_845_238_400), "28 years on");
    }
}
