use std::time::Duration;

use tidings_core::Rate;

use crate::sender::Timeouts;

/// How deliveries are made. What an endpoint says for itself comes first.
#[derive(Debug, Clone)]
pub struct DispatcherConfig {
    /// Of the server, for `User-Agent`.
    pub version: &'static str,
    /// For one attempt, where the endpoint has no timeout of its own.
    pub timeout: Duration,
    /// For looking the name up, connecting and TLS; the whole attempt's comes first where it is shorter.
    pub connect_timeout: Duration,
    /// From the request's first byte to the answer's head; `None`: what the whole attempt has.
    pub first_byte_timeout: Option<Duration>,
    /// How many retries the schedule `default` has.
    pub retries: usize,
    /// How many first attempts a tenant gets on this node, all its endpoints together, what is replayed included;
    /// `None`: any number.
    pub rate_per_tenant: Option<Rate>,
    /// Attempts under way at once on this node; of those that are no first ones, a quarter.
    pub in_flight_max: usize,
    /// How far first attempts may run ahead of the oldest that is under way, in attempts.
    pub window: usize,
    /// A result waits no longer than this before it is handed to the store.
    pub flush_every: Duration,
    /// And not beyond so many of one endpoint.
    pub flush_results: usize,
    /// With so many results of one endpoint that the store has not taken, nothing more is sent to it.
    pub unreported_max: usize,
    /// An endpoint at which every attempt has failed for so long is disabled.
    pub disable_after: Duration,
    /// Failures further apart than this are no series: what counts towards `disable_after` begins anew with the later one.
    pub failing_gap_max: Duration,
    /// What a receiver may ask for by `Retry-After`, at most.
    pub retry_after_max: Duration,
    /// How often an endpoint that was disabled for failing is tried with one event, where it wants that.
    pub probe_every: Duration,
    /// How often the store is asked which endpoints have changed.
    pub poll: Duration,
}

impl Default for DispatcherConfig {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: None,
            retries: 3,
            rate_per_tenant: Some(Rate { count: 100, per: Duration::from_mins(1) }),
            in_flight_max: 1_024,
            window: 1_024,
            flush_every: Duration::from_millis(100),
            flush_results: 256,
            unreported_max: 512,
            disable_after: Duration::from_hours(5 * 24),
            failing_gap_max: Duration::from_hours(24),
            retry_after_max: Duration::from_hours(1),
            probe_every: Duration::from_mins(10),
            poll: Duration::from_secs(1),
        }
    }
}

impl DispatcherConfig {
    /// Of an endpoint's attempts, where it may have one of its `own` for the whole.
    pub(super) fn timeouts(&self, own: Option<Duration>) -> Timeouts {
        let whole = own.unwrap_or(self.timeout);
        Timeouts {
            connect: self.connect_timeout.min(whole),
            first_byte: self.first_byte_timeout.unwrap_or(whole).min(whole),
            whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_an_attempt_has_longer_than_the_whole() {
        let seconds = |own: Option<u64>, config: &DispatcherConfig| {
            let Timeouts { connect, first_byte, whole } = config.timeouts(own.map(Duration::from_secs));
            [connect, first_byte, whole].map(|timeout| timeout.as_secs())
        };
        let config = DispatcherConfig::default();
        assert_eq!(seconds(None, &config), [5, 10, 10]);
        assert_eq!(seconds(Some(30), &config), [5, 30, 30]);
        assert_eq!(seconds(Some(2), &config), [2, 2, 2]);
        let config = DispatcherConfig { first_byte_timeout: Some(Duration::from_secs(3)), ..config };
        assert_eq!(seconds(Some(30), &config), [5, 3, 30]);
        assert_eq!(seconds(Some(2), &config), [2, 2, 2]);
    }
}
