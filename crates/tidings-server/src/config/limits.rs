use std::{ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};
use tidings_core::{Quota, Rate, RawJson};

use super::{ConfigError, Off, RateText, Span};

/// What one client, one request or one connection may cost. SIGHUP reloads them, for live connections
/// too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Live connections of the whole server; beyond it 503.
    pub connections: usize,
    /// … of one address, on this node; beyond it 429. An IPv6 address counts with its /64.
    pub connections_per_ip: Off<u32>,
    /// … of one user, over all nodes; beyond it 429.
    pub connections_per_user: Off<u32>,
    /// … of one tenant, over all nodes; beyond it 429.
    pub connections_per_tenant: Off<u32>,
    /// Streams that one address begins on this node, a burst of twice as many is taken; beyond it 429.
    pub upgrades_per_ip: Off<RateText>,
    /// Inbound messages of one WebSocket; a burst of twice as many is taken.
    pub messages_per_connection: Off<RateText>,
    /// Requests that are being answered at one time, long polls included; beyond it 503. Fewer than `listener_connections`: that is
    /// said, and whether the server lives, on those that are left.
    pub requests_in_flight: usize,
    /// Connections of each listener that are no live ones; more wait in the kernel's backlog.
    pub listener_connections: usize,
    /// … of one address; beyond it 429.
    pub listener_connections_per_ip: Off<u32>,
    /// Requests of one tenant on this node, as all of these a burst of twice as many; beyond it 429.
    pub requests_per_tenant: Off<RateText>,
    /// … of one API key, or of one user's tokens.
    pub requests_per_key: Off<RateText>,
    /// Events that one tenant publishes.
    pub publishes_per_tenant: Off<RateText>,
    pub publishes_per_key: Off<RateText>,
    /// Jobs that one tenant enqueues.
    pub enqueues_per_tenant: Off<RateText>,
    pub enqueues_per_key: Off<RateText>,
    /// Bytes of the bodies of one tenant's requests.
    pub bytes_per_tenant: Off<RateText>,
    pub bytes_per_key: Off<RateText>,
    /// Tenants that come into being by use on this node, a burst of ten times as many; beyond it 429.
    pub new_tenants: Off<RateText>,
    /// Bytes of an inbound WebSocket message; beyond it 1009.
    pub frame_bytes: usize,
    /// Bytes of a request's body; beyond it 413.
    pub body_bytes: usize,
    /// Bytes of one event's data, or of one job's payload or result; beyond it 413.
    pub event_bytes: usize,
    /// Items of an array; beyond it 413.
    pub batch_items: usize,
    /// How many arrays and objects may enclose one another in an event's data, in a job's payload or result; beyond it 422.
    pub json_depth: usize,
    /// Bytes of a URL; beyond it 414.
    pub url_bytes: usize,
    /// Bytes of a request's head; beyond it 431. This and the next hold for connections that come later.
    pub head_bytes: usize,
    /// Fields of a request's head; beyond it 431.
    pub head_fields: usize,
    /// How often the server pings a WebSocket.
    pub ping_interval: Off<Span>,
    /// How long after a ping nothing may come.
    pub pong_deadline: Span,
    /// How long a WebSocket may send nothing at all, pongs included.
    pub idle_timeout: Off<Span>,
    /// How long a request's head may take.
    pub header_timeout: Span,
    /// How long a request's body may take to arrive; beyond it 408. And a WebSocket message; beyond it 1008.
    pub request_timeout: Span,
    /// How long an answer 429 is held back.
    pub refusal_delay: Off<Span>,
    /// How many events a live subscriber may be behind; beyond it 4408.
    pub lag: Off<u64>,
}

/// A limit that is a number, and what it may be.
struct Count {
    key: &'static str,
    /// `None`: it is off.
    value: Option<usize>,
    range: RangeInclusive<usize>,
    may_be_off: bool,
}

const REFUSAL_DELAY_MAX: Duration = Duration::from_secs(10);
/// What is longer does not read.
const URL_BYTES_MAX: usize = 65_534;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_000,
            connections_per_ip: Off::at(10),
            connections_per_user: Off::at(5),
            connections_per_tenant: Off::OFF,
            upgrades_per_ip: Off::at(RateText::per_second(10)),
            messages_per_connection: Off::at(RateText::per_second(20)),
            requests_in_flight: 3_072,
            listener_connections: 4_096,
            listener_connections_per_ip: Off::at(1_024),
            requests_per_tenant: Off::OFF,
            requests_per_key: Off::OFF,
            publishes_per_tenant: Off::OFF,
            publishes_per_key: Off::OFF,
            enqueues_per_tenant: Off::OFF,
            enqueues_per_key: Off::OFF,
            bytes_per_tenant: Off::OFF,
            bytes_per_key: Off::OFF,
            new_tenants: Off::at(RateText::per_second(10)),
            frame_bytes: 1 << 20,
            body_bytes: 1 << 20,
            event_bytes: 64 << 10,
            batch_items: 1_000,
            json_depth: RawJson::DEPTH_MAX,
            url_bytes: URL_BYTES_MAX,
            head_bytes: 128 << 10,
            head_fields: 100,
            ping_interval: Off::at(Span::secs(30)),
            pong_deadline: Span::secs(60),
            idle_timeout: Off::at(Span::secs(300)),
            header_timeout: Span::secs(10),
            request_timeout: Span::secs(30),
            refusal_delay: Off::at(Span(Duration::from_millis(100))),
            lag: Off::at(1_000),
        }
    }
}

impl Limits {
    /// What `new_tenants` at this rate is.
    pub(crate) const fn new_tenants_quota(rate: Rate) -> Quota {
        /// A new installation's tenants come all at once: so many seconds' worth of them.
        const BURST: u32 = 10;
        Quota { rate, burst: rate.count.saturating_mul(BURST) }
    }

    /// What the number of this key may be, as a sentence; `None`: it is no number's.
    pub(super) fn form(key: &str) -> Option<String> {
        Self::default().counts().iter().find(|count| count.key == key).map(Count::form)
    }

    fn counts(&self) -> [Count; 16] {
        const MANY: usize = 10_000_000;
        [
            Count::of("limits.connections", self.connections, 1..=MANY),
            Count::or_off("limits.connections_per_ip", self.connections_per_ip, 1..=MANY),
            Count::or_off("limits.connections_per_user", self.connections_per_user, 1..=MANY),
            Count::or_off("limits.connections_per_tenant", self.connections_per_tenant, 1..=MANY),
            Count::or_off("limits.listener_connections_per_ip", self.listener_connections_per_ip, 1..=MANY),
            Count::of("limits.listener_connections", self.listener_connections, 2..=1_000_000),
            Count::of("limits.requests_in_flight", self.requests_in_flight, 1..=1_000_000),
            Count::of("limits.frame_bytes", self.frame_bytes, 1_024..=64 << 20),
            Count::of("limits.body_bytes", self.body_bytes, 1_024..=64 << 20),
            Count::of("limits.event_bytes", self.event_bytes, 64..=16 << 20),
            Count::of("limits.batch_items", self.batch_items, 1..=10_000),
            Count::of("limits.json_depth", self.json_depth, 1..=RawJson::DEPTH_MAX),
            Count::of("limits.url_bytes", self.url_bytes, 256..=URL_BYTES_MAX),
            Count::of("limits.head_bytes", self.head_bytes, 4_096..=1 << 20),
            Count::of("limits.head_fields", self.head_fields, 16..=1_000),
            Count::or_off("limits.lag", self.lag, 1..=usize::MAX),
        ]
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        for count in self.counts() {
            count.check()?;
        }
        if self.requests_in_flight >= self.listener_connections {
            let message = format!(
                "must be less than limits.listener_connections, which is {}: each request has a connection, and what is too much, and \
                 /health, is answered on those that are left",
                self.listener_connections
            );
            return Err(ConfigError::invalid("limits.requests_in_flight", message));
        }
        if self.event_bytes > self.body_bytes {
            let message = "must not be more than limits.body_bytes: no event of that size could be sent";
            return Err(ConfigError::invalid("limits.event_bytes", message));
        }
        if self.refusal_delay.0.is_some_and(|delay| delay.0 > REFUSAL_DELAY_MAX) {
            return Err(ConfigError::invalid(
                "limits.refusal_delay",
                "must be at most 10s: clients would give up",
            ));
        }
        for (key, span) in [
            ("limits.ping_interval", self.ping_interval.0),
            ("limits.pong_deadline", Some(self.pong_deadline)),
            ("limits.idle_timeout", self.idle_timeout.0),
            ("limits.header_timeout", Some(self.header_timeout)),
            ("limits.request_timeout", Some(self.request_timeout)),
            ("limits.refusal_delay", self.refusal_delay.0),
        ] {
            if span.is_some_and(|s| s.0.is_zero()) {
                return Err(ConfigError::invalid(key, "must be longer than zero"));
            }
        }
        Ok(())
    }
}

impl Count {
    /// One that cannot be lifted.
    const fn of(key: &'static str, value: usize, range: RangeInclusive<usize>) -> Self {
        Self { key, value: Some(value), range, may_be_off: false }
    }

    fn or_off<T: TryInto<usize>>(key: &'static str, value: Off<T>, range: RangeInclusive<usize>) -> Self {
        // What no usize holds is beyond every range.
        let value = value.0.map(|value| value.try_into().unwrap_or(usize::MAX));
        Self { key, value, range, may_be_off: true }
    }

    fn check(&self) -> Result<(), ConfigError> {
        match self.value {
            Some(value) if !self.range.contains(&value) => {
                Err(ConfigError::invalid(self.key, format!("{}, not {value}", self.form())))
            }
            _ => Ok(()),
        }
    }

    fn form(&self) -> String {
        let (least, most) = (self.range.start(), self.range.end());
        let off = if self.may_be_off { " (or off)" } else { "" };
        if *most == usize::MAX {
            format!("must be a whole number of at least {least}{off}")
        } else {
            format!("must be a whole number from {least} to {most}{off}")
        }
    }
}
