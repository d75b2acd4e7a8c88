use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidings_core::JobType;

use super::{ConfigError, Off, RateText, Span};

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// The origins whose pages may call the API, such as `https://app.example.com`. SIGHUP reloads them.
    pub origins: Vec<String>,
}

impl Cors {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        for origin in &self.origins {
            if !is_origin(origin) {
                let message = format!(
                    "{origin:?} is not an origin: write scheme, host and port only, such as https://app.example.com; \
                     a wildcard is not taken"
                );
                return Err(ConfigError::invalid("cors.origins", message));
            }
        }
        Ok(())
    }
}

/// As a browser writes it in `Origin`: lower-case, no path, no default port needed.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    !host.is_empty()
        && !host.bytes().any(|b| b.is_ascii_uppercase() || b.is_ascii_whitespace() || b.is_ascii_control())
        && !host.contains(['/', '*', '@', '?', '#'])
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Live {
    pub slow_clients: SlowClientsSetting,
    /// How often a stream says where it is.
    pub heartbeat: Span,
    /// How long a socket may take nothing before it is cut.
    pub stall: Span,
    /// On a store that several nodes share: how long it may not say that a stream's head is the newest
    /// before the stream says `stream.stale`.
    pub stale: Span,
    /// How long before the stream is closed with 1013.
    pub stale_close: Span,
}

/// What happens to a subscriber that is more than `limits.lag` behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlowClientsSetting {
    /// It is told where to resume and closed.
    Disconnect,
    /// It is caught up from the log.
    CatchUp,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            slow_clients: SlowClientsSetting::Disconnect,
            heartbeat: Span::secs(15),
            stall: Span::secs(30),
            stale: Span::secs(5),
            stale_close: Span::secs(30),
        }
    }
}

impl Live {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        positive("live.heartbeat", self.heartbeat)?;
        positive("live.stall", self.stall)?;
        positive("live.stale", self.stale)?;
        if self.stale_close <= self.stale {
            return Err(ConfigError::invalid("live.stale_close", "must be longer than live.stale"));
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tenants {
    pub create: Create,
}

/// Who makes tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Create {
    /// The first use by a credential that was made here.
    Auto,
    /// An operator only.
    Explicit,
}

impl Default for Tenants {
    fn default() -> Self {
        Self { create: Create::Auto }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jobs {
    /// How long a lease holds without a heartbeat.
    pub lease: Span,
    /// How many progress events of one job are written; the newest report wins.
    pub progress_rate: RateText,
    /// How many jobs of a type one tenant may have running. SIGHUP reloads it.
    pub concurrency: BTreeMap<JobType, u32>,
}

impl Default for Jobs {
    fn default() -> Self {
        Self { lease: Span::secs(30), progress_rate: RateText::per_second(10), concurrency: BTreeMap::new() }
    }
}

impl Jobs {
    /// `concurrency` as stores take it.
    pub(crate) fn limits(&self) -> HashMap<JobType, u32> {
        self.concurrency.iter().map(|(job_type, most)| (job_type.clone(), *most)).collect()
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.lease.0.as_millis() < 500 || self.lease > Span::secs(86_400) {
            return Err(ConfigError::invalid("jobs.lease", "must be from 500ms to 1d"));
        }
        match self.concurrency.iter().find(|(_, n)| **n == 0) {
            Some((job_type, _)) => {
                Err(ConfigError::invalid(format!("jobs.concurrency.{job_type}"), "must be at least 1"))
            }
            None => Ok(()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// How long a stopping server waits for connections and requests.
    pub timeout: Span,
    /// How much of it goes by first, in which the server is unready and goes on answering, so that what sends traffic sees it.
    pub notice: Span,
}

impl Default for Drain {
    fn default() -> Self {
        Self { timeout: Span::secs(30), notice: Span(Duration::ZERO) }
    }
}

impl Drain {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.timeout > Span::secs(3_600) {
            return Err(ConfigError::invalid("drain.timeout", "must be at most 1h"));
        }
        if self.notice.0 * 2 > self.timeout.0 {
            let message =
                "must be at most half of drain.timeout: live connections are closed in the rest of it";
            return Err(ConfigError::invalid("drain.notice", message));
        }
        Ok(())
    }
}

/// How long events are kept: whichever bound is met first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    pub age: Off<Span>,
    pub events_per_tenant: Off<u64>,
    /// Events that a webhook endpoint has not got are kept for so long beyond that.
    pub webhook_backlog: Span,
    /// How long the log of webhook attempts is kept.
    pub attempts: Off<Span>,
    /// And how many attempts of one endpoint.
    pub attempts_per_endpoint: u64,
    /// How long a webhook delivery is kept after it was given up.
    pub dead_letters: Off<Span>,
    /// And how many of one endpoint: the oldest go.
    pub dead_letters_per_endpoint: Off<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            age: Off::at(Span::secs(7 * 86_400)),
            events_per_tenant: Off::at(1_000_000),
            webhook_backlog: Span::secs(30 * 86_400),
            attempts: Off::at(Span::secs(7 * 86_400)),
            attempts_per_endpoint: 10_000,
            dead_letters: Off::at(Span::secs(30 * 86_400)),
            dead_letters_per_endpoint: Off::at(100_000),
        }
    }
}

impl Retention {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if let Some(age) = self.age.0 {
            positive("retention.age", age)?;
        }
        positive("retention.webhook_backlog", self.webhook_backlog)?;
        if let Some(attempts) = self.attempts.0 {
            positive("retention.attempts", attempts)?;
        }
        if self.attempts_per_endpoint == 0 {
            return Err(ConfigError::invalid("retention.attempts_per_endpoint", "must be at least 1"));
        }
        if let Some(dead_letters) = self.dead_letters.0 {
            positive("retention.dead_letters", dead_letters)?;
        }
        let counts = [
            ("retention.events_per_tenant", self.events_per_tenant),
            ("retention.dead_letters_per_endpoint", self.dead_letters_per_endpoint),
        ];
        match counts.into_iter().find(|(_, count)| count.0 == Some(0)) {
            Some((key, _)) => Err(ConfigError::invalid(key, "must be at least 1; \"off\" lifts it")),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// As `RUST_LOG` is written: `info`, `tidings_server=debug,info`. SIGHUP reloads it.
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    Text,
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Auto }
    }
}

impl Log {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        match self.filter.parse::<tracing_subscriber::EnvFilter>() {
            Ok(_) => Ok(()),
            Err(e) => Err(ConfigError::invalid("log.filter", format!("is not a filter such as info: {e}"))),
        }
    }
}

fn positive(key: &str, span: Span) -> Result<(), ConfigError> {
    if span.0.is_zero() { Err(ConfigError::invalid(key, "must be longer than zero")) } else { Ok(()) }
}
