use std::{fmt, str::FromStr, sync::Arc};

use jiff::{
    Timestamp,
    tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase},
};

/// A time zone of the IANA database. The data comes with the program: every node of one release knows the
/// same, and none depends on what its machine has.
#[derive(Clone)]
pub struct Zone {
    name: Arc<str>,
    rules: TimeZone,
}

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("there is no time zone {0:?}: name one of the IANA database, such as Europe/Berlin or UTC")]
pub struct ZoneError(String);

impl Zone {
    pub fn utc() -> Self {
        Self { name: "UTC".into(), rules: TimeZone::UTC }
    }

    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// How far its wall clocks are ahead of UTC at this second since 1970.
    pub(super) fn offset(&self, second: i64) -> Option<i64> {
        Some(seconds(self.rules.to_offset(Timestamp::from_second(second).ok()?)))
    }

    /// When its wall clocks are next moved after this second; `None` where they never are.
    pub(super) fn next_shift(&self, second: i64) -> Option<i64> {
        let after = Timestamp::from_second(second).ok()?;
        self.rules.following(after).next().map(|shift| shift.timestamp().as_second())
    }

    /// The second in which its wall clocks read `civil` for the first time. A reading that they skip comes
    /// when they skip it.
    pub(super) fn first(&self, civil: i64) -> Option<i64> {
        let reading = Offset::UTC.to_datetime(Timestamp::from_second(civil).ok()?);
        match self.rules.to_ambiguous_timestamp(reading).offset() {
            AmbiguousOffset::Unambiguous { offset } => Some(civil - seconds(offset)),
            AmbiguousOffset::Fold { before, .. } => Some(civil - seconds(before)),
            AmbiguousOffset::Gap { after, .. } => self.next_shift(civil - seconds(after)),
        }
    }
}

fn seconds(offset: Offset) -> i64 {
    i64::from(offset.seconds())
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        let unknown = || ZoneError(text.chars().take(64).collect());
        let rules = TimeZoneDatabase::bundled().get(text).map_err(|_| unknown())?;
        // In the database's own spelling.
        let name = rules.iana_name().ok_or_else(unknown)?.into();
        Ok(Self { name, rules })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.name)
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_known_by_name_whatever_the_machine_has() {
        for (given, name) in [
            ("Europe/Berlin", "Europe/Berlin"),
            ("europe/berlin", "Europe/Berlin"),
            ("UTC", "UTC"),
            ("Asia/Kathmandu", "Asia/Kathmandu"),
        ] {
            assert_eq!(given.parse::<Zone>().expect("known").as_str(), name);
        }
        for bad in ["", "Mars/Olympus", "CET-1CEST", "../Europe/Berlin", "+02:00", "Europe/Berlin "] {
            assert!(bad.parse::<Zone>().is_err(), "{bad:?}");
        }
    }
}
