//! What happens by itself.

use std::time::{Duration, Instant};

use super::{Content, Phase, Session};
use crate::{
    CloseCode, CloseReason, Ending,
    codec::{Opcode, frame},
    notice::{Fields, Notice},
};

/// The wall clock may be set: a far end is looked at again now and then.
const EXPIRY_LOOK_MAX: Duration = Duration::from_secs(30);

impl Session {
    /// When [`Session::on_time`] is to be called next.
    pub(crate) fn next_time(&self) -> Option<Instant> {
        self.times.next(&self.config)
    }

    /// Does what is due. `Some`: the connection is to be cut now.
    pub(crate) fn on_time(&mut self, now: Instant) -> Option<Ending> {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let config = &self.config;
        if due(self.times.cut_at) {
            return Some(self.ending());
        }
        if due(self.times.blocked_at.map(|at| at + config.stall)) {
            return Some(Ending::Stalled);
        }
        if self.phase != Phase::Open {
            return None;
        }
        let silent = due(self.times.pinged_at.map(|at| at + config.pong_deadline))
            || config.idle_timeout.is_some_and(|idle| due(self.times.received_at.map(|at| at + idle)));
        let unfinished = due(self.times.unfinished_at.map(|at| at + config.message_timeout));
        if due(self.times.expiry_at) {
            self.look_at_expiry(now);
        }
        if silent {
            let why = CloseReason::new(CloseCode::GoingAway, "nothing was heard from the client");
            self.close_as(&why, Ending::Silent, now);
        }
        if unfinished {
            self.close(&CloseReason::new(CloseCode::Policy, "a message was not finished in time"), now);
        }
        if due(self.times.close_at.as_ref().map(|c| c.0))
            && let Some(close) = self.times.close_at.take()
        {
            self.close(&close.1, now);
        }
        if self.phase == Phase::Open {
            self.beat(now);
        }
        None
    }

    /// Heartbeat and ping. A blocked socket gets neither: it would only hold them.
    fn beat(&mut self, now: Instant) {
        let blocked = self.is_blocked();
        if self.times.heartbeat_at.is_some_and(|at| at <= now) {
            self.times.heartbeat_at = Some(now + self.times.heartbeat);
            let stale = !blocked && self.tell_stale();
            if let (false, false, Content::Stream { subscription, .. }) = (blocked, stale, &self.content) {
                // All that matches up to here is before it in the byte stream: written, or in the outbox.
                let (cursor, head) = (subscription.cursor(), subscription.head());
                let notice = Notice::Heartbeat { cursor: &cursor, head };
                self.tell(&notice, &Fields { id: Some(&cursor), retry_ms: None });
            }
        }
        if let (Some(every), true) =
            (self.config.ping_interval, self.times.ping_at.is_some_and(|at| at <= now))
        {
            self.times.ping_at = Some(now + every);
            if !blocked {
                frame(Opcode::Ping, &[], self.outbox.control());
                self.times.pinged_at.get_or_insert(now);
            }
        }
    }

    /// No connection outlives its credential.
    pub(super) fn watch_expiry(&mut self, now: Instant) {
        let left = self.expires_at().map(|at| at.since(self.context.clock.now()));
        self.times.expiry_at = left.map(|left| now + left.min(EXPIRY_LOOK_MAX));
    }

    fn look_at_expiry(&mut self, now: Instant) {
        if self.expires_at().is_some_and(|at| at <= self.context.clock.now()) {
            self.close(&CloseReason::expired(), now);
        } else {
            self.watch_expiry(now);
        }
    }
}
