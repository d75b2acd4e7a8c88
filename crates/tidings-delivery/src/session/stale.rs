//! Feeds whose head nobody confirms, and feeds that have ended.

use tidings_core::Timestamp;
use tidings_live::Ended;

use super::{Content, Phase, Session};
use crate::{
    CloseCode, CloseReason,
    drain::{comeback, comeback_within},
    notice::{Fields, Notice},
};

impl Session {
    /// Tells the client once when its feed becomes stale. Afterwards the heartbeat's turn does.
    pub(super) fn look_at_freshness(&mut self) {
        let Content::Stream { subscription, .. } = &self.content else { return };
        let stale = subscription.feed().stale_for().is_some();
        if !stale {
            self.stale = false;
        } else if !self.stale && self.phase == Phase::Open && !self.is_blocked() {
            self.tell_stale();
        }
    }

    /// In the heartbeat's place, where the feed is stale. Returns whether it is.
    pub(super) fn tell_stale(&mut self) -> bool {
        let Content::Stream { subscription, .. } = &self.content else { return false };
        let Some(age) = subscription.feed().stale_for() else { return false };
        let micros = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let now = self.context.clock.now().as_micros();
        let as_of = Timestamp::from_micros(now.saturating_sub(micros));
        self.tell(&Notice::Stale { as_of }, &Fields::default());
        self.stale = true;
        true
    }

    /// What a client is closed with whose feed has ended.
    pub(super) fn why_ended(&self, ended: Ended) -> CloseReason {
        match ended {
            Ended::Closed => CloseReason::new(CloseCode::Forbidden, "the tenant was closed"),
            Ended::Gone => CloseReason::new(CloseCode::Forbidden, "the tenant is gone"),
            Ended::Renewed => CloseReason::new(CloseCode::Restart, "the tenant's history was renewed"),
            Ended::Unavailable => CloseReason::new(CloseCode::TryLater, "the log cannot be read at present"),
            Ended::Unconfirmed => {
                let within = comeback(self.context.active.count());
                let after = comeback_within(within, &*self.context.entropy);
                CloseReason::try_later("the log has been out of reach for too long", after)
            }
            Ended::Unreadable => CloseReason::new(CloseCode::Internal, "the log cannot be read"),
        }
    }
}
