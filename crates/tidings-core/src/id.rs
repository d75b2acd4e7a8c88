use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{Entropy, Timestamp};

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("an id is a UUID such as 019ab0c4-0000-7000-8000-000000000000")]
pub struct IdError;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id (UUID version 7): sorts by the time it was made.
            pub fn generate(now: Timestamp, entropy: &dyn Entropy) -> Self {
                let mut random = [0; 10];
                entropy.fill(&mut random);
                let millis = now.as_micros().max(0) as u64 / 1_000;
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                // One spelling only, so that an id is compared as text anywhere.
                if text.len() != 36 || text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(IdError);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| IdError)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

uuid_id!(
    /// Names a job for good, in every tenant.
    JobId
);
uuid_id!(
    /// Names an event for good: what receivers make "at least once" into "once" by.
    EventId
);
uuid_id!(
    /// Names an API key; it is no secret.
    KeyId
);
uuid_id!(
    /// Names a schedule for good: one that is made again under the same name has another.
    ScheduleId
);
uuid_id!(
    /// Names a webhook endpoint for good.
    EndpointId
);
uuid_id!(
    /// Names one of an endpoint's secrets; it is no secret itself.
    SecretId
);
uuid_id!(
    /// Names a replay of a part of the log to an endpoint.
    ReplayId
);

impl JobId {
    /// The id of the job that `schedule` enqueues for the fire time `at` (UUID version 8): whoever fires
    /// it, and however often, it is the same job. It sorts by the fire time among other ids.
    pub fn of_fire(schedule: ScheduleId, at: Timestamp) -> Self {
        let millis = at.as_micros().max(0) as u64 / 1_000;
        let digest = Sha256::new()
            .chain_update(b"tidings schedule")
            .chain_update(schedule.as_bytes())
            .chain_update(at.as_micros().to_be_bytes())
            .finalize();
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&digest[..10]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fire_time_has_one_id_that_sorts_by_it() {
        let (one, other) = (ScheduleId::from_bytes([1; 16]), ScheduleId::from_bytes([2; 16]));
        let at = Timestamp::from_secs(1_790_000_000);
        let id = JobId::of_fire(one, at);
        assert_eq!(id, JobId::of_fire(one, at));
        assert_ne!(id, JobId::of_fire(other, at));
        assert_eq!(id.to_string().as_bytes()[14], b'8', "{id}");
        let minute = std::time::Duration::from_mins(1);
        let (before, after) = (at - minute, at + minute);
        assert!(JobId::of_fire(other, before) < id && id < JobId::of_fire(other, after));
        let usual = |at| JobId::generate(at, &crate::SystemEntropy);
        assert!(usual(before) < id && id < usual(after), "among those of other jobs too");
    }
}
