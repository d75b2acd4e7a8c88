use std::time::{Duration, Instant};

use crate::{CloseReason, DeliveryConfig};

/// When things are due on one connection. Kept as moments, looked at when the connection's one timer
/// fires: writing and reading move no timer.
#[derive(Debug)]
pub(crate) struct Times {
    pub(crate) heartbeat_at: Option<Instant>,
    /// Between two heartbeats, as `stream.open` has told the client.
    pub(crate) heartbeat: Duration,
    pub(crate) ping_at: Option<Instant>,
    /// A ping has gone out and nothing has come since.
    pub(crate) pinged_at: Option<Instant>,
    /// When the client was last heard, where that matters.
    pub(crate) received_at: Option<Instant>,
    /// The socket took nothing since.
    pub(crate) blocked_at: Option<Instant>,
    /// A message of the client's is unfinished since.
    pub(crate) unfinished_at: Option<Instant>,
    /// When the credential's end is looked at.
    pub(crate) expiry_at: Option<Instant>,
    /// A close that was put off.
    pub(crate) close_at: Option<Box<(Instant, CloseReason)>>,
    /// When a closed connection is cut.
    pub(crate) cut_at: Option<Instant>,
}

impl Times {
    pub(crate) fn new(config: &DeliveryConfig, streams: bool, web_socket: bool, now: Instant) -> Self {
        Self {
            heartbeat_at: streams.then(|| now + config.heartbeat),
            heartbeat: config.heartbeat,
            // An echo sends nothing unasked.
            ping_at: config.ping_interval.filter(|_| web_socket && streams).map(|every| now + every),
            pinged_at: None,
            received_at: web_socket.then_some(now),
            blocked_at: None,
            unfinished_at: None,
            expiry_at: None,
            close_at: None,
            cut_at: None,
        }
    }

    /// Goes by other intervals, for an open connection. What is due sooner by them comes sooner.
    pub(crate) fn configure(&mut self, config: &DeliveryConfig, now: Instant) {
        // A WebSocket that is no echo.
        let pinged = self.received_at.is_some() && self.heartbeat_at.is_some();
        self.ping_at = config.ping_interval.filter(|_| pinged).map(|every| {
            let next = now + every;
            self.ping_at.map_or(next, |at| at.min(next))
        });
        if self.ping_at.is_none() {
            self.pinged_at = None;
        }
    }

    /// When to look again.
    pub(crate) fn next(&self, config: &DeliveryConfig) -> Option<Instant> {
        let after = |since: Option<Instant>, wait: Duration| since.map(|s| s + wait);
        [
            self.heartbeat_at,
            self.ping_at,
            after(self.pinged_at, config.pong_deadline),
            config.idle_timeout.and_then(|idle| after(self.received_at, idle)),
            after(self.blocked_at, config.stall),
            after(self.unfinished_at, config.message_timeout),
            self.expiry_at,
            self.close_at.as_ref().map(|c| c.0),
            self.cut_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// A closed connection has one thing left to wait for (and its stall).
    pub(crate) fn closing(&mut self, cut_at: Instant) {
        let Self { blocked_at, heartbeat, .. } = *self;
        *self = Self {
            heartbeat_at: None,
            heartbeat,
            ping_at: None,
            pinged_at: None,
            received_at: None,
            blocked_at,
            unfinished_at: None,
            expiry_at: None,
            close_at: None,
            cut_at: Some(cut_at),
        };
    }
}
