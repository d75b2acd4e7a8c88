use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// What happened: a dotted lower-case name. The families `job`, `webhook` and `stream` are Tidings'
/// own; anything else is published.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(Inner);

/// The types that Tidings makes cost no allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Inner {
    Known(&'static str),
    Published(Arc<str>),
}

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum EventTypeError {
    #[error(
        "an event type is 1 to 100 of a-z, 0-9, '_' and '-' in parts joined by dots, such as note.created"
    )]
    Malformed,
    #[error("event types that start with job., webhook. or stream. are made by the server alone")]
    Reserved,
}

macro_rules! known {
    ($($name:ident = $text:literal),+ $(,)?) => {
        impl EventType {
            $(pub const $name: Self = Self(Inner::Known($text));)+

            fn known(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

known! {
    JOB_QUEUED = "job.queued",
    JOB_SCHEDULED = "job.scheduled",
    JOB_STARTED = "job.started",
    JOB_PROGRESS = "job.progress",
    JOB_RETRYING = "job.retrying",
    JOB_COMPLETED = "job.completed",
    JOB_FAILED = "job.failed",
    JOB_CANCELLED = "job.cancelled",
    WEBHOOK_DISABLED = "webhook.disabled",
    WEBHOOK_GAP = "webhook.gap",
}

impl EventType {
    /// A type that a publisher may use.
    pub fn published(text: &str) -> Result<Self, EventTypeError> {
        if !is_dotted_name(text) {
            return Err(EventTypeError::Malformed);
        }
        let family = text.split('.').next().unwrap_or_default();
        if matches!(family, "job" | "webhook" | "stream") {
            return Err(EventTypeError::Reserved);
        }
        Ok(Self(Inner::Published(text.into())))
    }

    /// A type of either kind, as the store or a server gives it.
    pub fn parse(text: &str) -> Result<Self, EventTypeError> {
        if let Some(known) = Self::known(text) {
            return Ok(known);
        }
        if is_dotted_name(text) {
            Ok(Self(Inner::Published(text.into())))
        } else {
            Err(EventTypeError::Malformed)
        }
    }

    pub fn as_str(&self) -> &str {
        match &self.0 {
            Inner::Known(text) => text,
            Inner::Published(text) => text,
        }
    }

    /// Whether it tells of a job, so that `jobs:read:*` decides who sees it.
    pub fn is_job(&self) -> bool {
        self.as_str().starts_with("job.")
    }

    /// Whether it ends a job for good.
    pub fn is_terminal(&self) -> bool {
        [Self::JOB_COMPLETED, Self::JOB_FAILED, Self::JOB_CANCELLED].contains(self)
    }
}

fn is_dotted_name(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text.split('.').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
        })
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl FromStr for EventType {
    type Err = EventTypeError;
    fn from_str(text: &str) -> Result<Self, EventTypeError> {
        Self::parse(text)
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EventType {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_families_cannot_be_published() {
        for text in ["job.completed", "job.mine", "stream.open", "webhook.gap", "job"] {
            assert_eq!(EventType::published(text), Err(EventTypeError::Reserved), "{text}");
        }
        for text in ["", ".", "a.", ".a", "a..b", "A.b", "a b", "é", &"a".repeat(101)] {
            assert_eq!(EventType::published(text), Err(EventTypeError::Malformed), "{text}");
        }
        for text in ["note.created", "jobs.done", "x", "a-b.c_d.0"] {
            assert_eq!(EventType::published(text).expect("valid").as_str(), text);
        }
    }

    #[test]
    fn a_stored_type_is_the_same_as_a_known_one() {
        assert_eq!(EventType::parse("job.completed"), Ok(EventType::JOB_COMPLETED));
        assert!(EventType::JOB_COMPLETED.is_terminal() && !EventType::JOB_RETRYING.is_terminal());
    }
}
