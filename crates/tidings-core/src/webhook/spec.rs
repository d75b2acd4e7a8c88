use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Format, HeaderError, Headers, RetrySchedule};
use crate::{Filter, FilterError, Grant, Rate, Scope, Verbosity};

/// What an endpoint is told to do. Whether its address may be sent to at all is the guard's to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointSpec {
    pub url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    pub filter: Filter,
    pub verbosity: Verbosity,
    pub format: Format,
    /// Strictly in the order of the log: an event that fails holds back those after it.
    pub ordered: bool,
    #[serde(skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// The tenant's own notes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// How many requests may be under way at once.
    pub concurrency: u16,
    /// `None`: only the tenant's rate counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// `None`: as the server is set to.
    #[serde(with = "written", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    pub retries: RetrySchedule,
    /// How much longer a delay may get, in percent.
    pub jitter: u8,
    /// Once disabled for failing, one event now and then tries whether the receiver is back.
    pub probe: bool,
}

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum SpecError {
    #[error("an endpoint needs a url of at most {max} bytes", max = EndpointSpec::URL_MAX)]
    Url,
    #[error("a description has at most {max} bytes and no control characters", max = EndpointSpec::DESCRIPTION_MAX)]
    Description,
    #[error("metadata has at most 16 entries, keys of 1 to 64 bytes and values of at most 512")]
    Metadata,
    #[error("concurrency is 1 to {max}", max = EndpointSpec::CONCURRENCY_MAX)]
    Concurrency,
    #[error("a timeout is 1s to 30s")]
    Timeout,
    #[error("jitter is 0 to 100 percent")]
    Jitter,
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("verbosity {name} needs the scope events:detail", name = if *.0 == Verbosity::Minimal { "minimal" } else { "detail" })]
    Verbosity(Verbosity),
    #[error(
        "the filter lets events of jobs alone through, which need the scope jobs:read:own or jobs:read:all"
    )]
    Jobs,
    #[error("an endpoint's verbosity is minimal or detail")]
    Debug,
}

impl SpecError {
    /// What it is about, as it is called in JSON.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Description => "description",
            Self::Metadata => "metadata",
            Self::Concurrency => "concurrency",
            Self::Timeout => "timeout",
            Self::Jitter => "jitter",
            Self::Header(_) => "headers",
            Self::Filter(_) | Self::Jobs => "filter",
            Self::Verbosity(_) | Self::Debug => "verbosity",
        }
    }
}

impl Default for EndpointSpec {
    fn default() -> Self {
        Self {
            url: String::new(),
            description: String::new(),
            filter: Filter::default(),
            verbosity: Verbosity::Minimal,
            format: Format::Standard,
            ordered: false,
            headers: Headers::default(),
            metadata: BTreeMap::new(),
            concurrency: 8,
            rate: None,
            timeout: None,
            retries: RetrySchedule::Default,
            jitter: 20,
            probe: true,
        }
    }
}

impl EndpointSpec {
    pub const URL_MAX: usize = 2_048;
    pub const DESCRIPTION_MAX: usize = 1_024;
    pub const CONCURRENCY_MAX: u16 = 256;
    const TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);

    pub fn of(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Whether every value is within its bounds and `grant` carries what it asks for.
    pub fn check(&self, grant: &Grant) -> Result<(), SpecError> {
        let metadata = self.metadata.len() <= 16
            && self.metadata.iter().all(|(key, value)| (1..=64).contains(&key.len()) && value.len() <= 512);
        let reads_jobs =
            grant.scopes.contains(Scope::JobsReadOwn) || grant.scopes.contains(Scope::JobsReadAll);
        let refused = [
            (!(1..=Self::URL_MAX).contains(&self.url.len()), SpecError::Url),
            (
                self.description.len() > Self::DESCRIPTION_MAX || self.description.contains(char::is_control),
                SpecError::Description,
            ),
            (!metadata, SpecError::Metadata),
            (!(1..=Self::CONCURRENCY_MAX).contains(&self.concurrency), SpecError::Concurrency),
            (self.timeout.is_some_and(|timeout| !Self::TIMEOUT.contains(&timeout)), SpecError::Timeout),
            (self.jitter > 100, SpecError::Jitter),
            (self.verbosity == Verbosity::Debug, SpecError::Debug),
            (self.filter.is_of_jobs() && !reads_jobs, SpecError::Jobs),
            (
                self.verbosity > Verbosity::Minimal && !grant.scopes.contains(Scope::EventsDetail),
                SpecError::Verbosity(self.verbosity),
            ),
        ];
        refused.into_iter().find_map(|(wrong, why)| wrong.then_some(Err(why))).unwrap_or(Ok(()))
    }
}

/// Durations as people write them.
mod written {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use crate::{format_duration, parse_duration};

    #[allow(clippy::ref_option, reason = "the shape that serde calls")]
    pub(super) fn serialize<S: Serializer>(value: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => s.serialize_str(&format_duration(*duration)),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(d)?;
        text.map(|text| parse_duration(&text).map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tenants;

    fn grant(scopes: &str) -> Grant {
        Grant { tenants: Tenants::All, user: None, scopes: scopes.parse().expect("valid"), subjects: None }
    }

    #[test]
    fn a_spec_reads_back() {
        let text = concat!(
            r#"{"url":"https://example.com/hook","description":"orders","filter":{"types":["job.*"],"owner":["me"]},"#,
            r#""verbosity":"detail","format":"cloudevents-binary","ordered":true,"headers":{"x-team":"eu"},"#,
            r#""metadata":{"plan":"gold"},"concurrency":1,"rate":"10/s","timeout":"5s","retries":["1m"],"#,
            r#""jitter":0,"probe":false}"#
        );
        let spec: EndpointSpec = serde_json::from_str(text).expect("valid");
        assert_eq!(serde_json::to_string(&spec).expect("serialises"), text);
        assert_eq!(spec.check(&grant("events:detail jobs:read:own")), Ok(()));
        assert_eq!(spec.check(&grant("events:detail events:read")), Err(SpecError::Jobs));
        assert_eq!(spec.check(&grant("jobs:read:own")), Err(SpecError::Verbosity(Verbosity::Detail)));
        let least: EndpointSpec = serde_json::from_str(r#"{"url":"https://example.com"}"#).expect("valid");
        assert_eq!(least, EndpointSpec::of("https://example.com"));
        assert!(serde_json::from_str::<EndpointSpec>(r#"{"url":"https://example.com","colour":1}"#).is_err());
    }

    #[test]
    fn values_are_bounded() {
        let spec = || EndpointSpec::of("https://example.com");
        let cases = [
            (EndpointSpec::of(""), SpecError::Url),
            (EndpointSpec { description: "a".repeat(1_025), ..spec() }, SpecError::Description),
            (EndpointSpec { description: "a\nb".into(), ..spec() }, SpecError::Description),
            (EndpointSpec { concurrency: 0, ..spec() }, SpecError::Concurrency),
            (EndpointSpec { concurrency: 257, ..spec() }, SpecError::Concurrency),
            (EndpointSpec { timeout: Some(Duration::from_secs(31)), ..spec() }, SpecError::Timeout),
            (EndpointSpec { jitter: 101, ..spec() }, SpecError::Jitter),
            (EndpointSpec { metadata: [(String::new(), "x".into())].into(), ..spec() }, SpecError::Metadata),
            (EndpointSpec { verbosity: Verbosity::Debug, ..spec() }, SpecError::Debug),
        ];
        for (spec, why) in cases {
            assert_eq!(spec.check(&grant("events:detail")), Err(why));
        }
    }
}
