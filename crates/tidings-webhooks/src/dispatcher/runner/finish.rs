//! What came of an attempt.

use tidings_core::{
    Timestamp,
    webhook::{Attempt, AttemptFailure, Delivery, DeliveryState, DisabledReason},
};

use super::{Held, Kind, Over, Runner, Tried};
use crate::dispatcher::{
    route::Message,
    verdict::{self, Next},
};

impl Runner {
    pub(super) fn finish(&mut self, tried: Tried) {
        let Tried { kind, message, number, at, attempt } = tried;
        self.in_flight -= 1;
        self.in_flight_again -= usize::from(kind != Kind::First);
        let (now, config) = (self.shared.clock.now(), self.shared.config.load_full());
        let unit = self.shared.entropy.unit();
        let verdict = verdict::judge(&attempt, number, (&self.endpoint.spec, &config), now, unit);
        self.shared.stats.attempted(attempt.failure);
        if let Some(until) = verdict.quiet_until {
            self.quiet_until = self.quiet_until.max(Some(until));
            // Of one that is another now, it may be that its URL is: what the old one's receiver asked for is kept here alone.
            if self.closing != Some(Over::Changed) {
                self.ledger.quiet(until);
            }
        }
        let next_at = match verdict.next {
            // The endpoint is disabled: nothing follows by itself.
            Next::Again(_) if attempt.failure == Some(AttemptFailure::Gone) => None,
            Next::Again(next_at) => Some(next_at),
            Next::Delivered | Next::Dead(_) => None,
        };
        self.ledger.attempted(Attempt {
            seq: message.seq,
            event: message.event,
            number,
            at,
            latency: attempt.latency,
            status: attempt.status,
            request_bytes: attempt.request_bytes,
            answer_bytes: attempt.answer_bytes,
            answer: attempt.answer,
            failure: attempt.failure,
            next_at,
        });
        self.judge_endpoint(attempt.failure, now);
        match verdict.next {
            Next::Delivered => self.delivered(kind, &message, number),
            Next::Again(next_at) => self.again(kind, message, number, next_at),
            Next::Dead(failure) => {
                self.dead(kind, &message, DeliveryState::Dead { attempts: number, at: now, failure });
            }
        }
    }

    /// How the endpoint as a whole does.
    fn judge_endpoint(&mut self, failure: Option<AttemptFailure>, now: Timestamp) {
        if failure.is_none() {
            self.allowed = self.allowed.saturating_add(1).min(self.endpoint.spec.concurrency);
            self.failed_at = None;
            if self.failing_since.take().is_some() {
                self.ledger.failing(None);
            }
            return;
        }
        self.allowed = (self.allowed / 2).max(1);
        let config = self.shared.config.load();
        let (gap_max, disable_after) = (config.failing_gap_max, config.disable_after);
        drop(config);
        // Two failures far apart say nothing of what was between them.
        let goes_on = self.failed_at.replace(now).is_some_and(|last| now.since(last) <= gap_max);
        let since = self.failing_since.filter(|_| goes_on).unwrap_or(now);
        if self.failing_since.replace(since) != Some(since) {
            self.ledger.failing(Some(since));
        }
        let reason = match failure {
            Some(AttemptFailure::Gone) => DisabledReason::Gone,
            _ if now.since(since) >= disable_after => DisabledReason::Failing,
            _ => return,
        };
        self.ledger.disable(reason);
        self.closing.get_or_insert(Over::Anew);
    }

    fn delivered(&mut self, kind: Kind, message: &Message, number: u32) {
        // A first try of an event that was never tried before has no row.
        if kind != Kind::First || number > 1 {
            self.ledger.delivered(message.seq);
        }
        if kind == Kind::Retry || number > 1 {
            self.standing.retry_done();
            self.age.look_soon();
        }
        self.done(kind, message);
    }

    fn again(&mut self, kind: Kind, message: Message, number: u32, next_at: Timestamp) {
        let state = DeliveryState::Retrying { attempts: number, next_at };
        self.put(&message, state, number);
        if kind == Kind::First && self.endpoint.spec.ordered {
            self.retries.hold(message.seq);
            self.held = Some(Held { seq: message.seq, message: Some(message), attempts: number, next_at });
        } else {
            self.done(kind, &message);
        }
    }

    fn dead(&mut self, kind: Kind, message: &Message, state: DeliveryState) {
        self.put(message, state, state.attempts());
        self.shared.stats.died();
        self.standing.retry_done();
        self.age.look_soon();
        self.done(kind, message);
    }

    fn put(&mut self, message: &Message, state: DeliveryState, number: u32) {
        if number == 1 {
            self.standing.retry_begun(message.source.as_ref().map(|event| event.time));
        }
        self.ledger.put(Delivery {
            seq: message.seq,
            event: message.event,
            event_type: message.event_type.clone(),
            state,
            body: Some(message.body.clone()),
            format: message.format,
        });
    }

    /// The cursor that it came from may go on.
    fn done(&mut self, kind: Kind, message: &Message) {
        match kind {
            Kind::First => {
                self.held = None;
                self.window.done(message.seq);
            }
            Kind::Retry => {}
            Kind::Replay(id) => {
                if let Some(replaying) = self.replays.iter_mut().find(|replaying| replaying.replay.id == id) {
                    replaying.window.done(message.seq);
                }
            }
        }
    }

    /// Notes how far replays are; one that is through its range is over.
    pub(super) fn settle_replays(&mut self) {
        for replaying in &mut self.replays {
            let to = replaying.replay.to;
            let read = replaying.reader.through();
            let position = replaying.window.first().map_or(read, |(seq, _)| seq.prev()).min(to);
            if position > replaying.replay.position {
                replaying.replay.position = position;
                self.ledger.replayed(replaying.replay.id, position);
            }
        }
        self.replays.retain(|replaying| replaying.replay.position < replaying.replay.to);
    }
}
