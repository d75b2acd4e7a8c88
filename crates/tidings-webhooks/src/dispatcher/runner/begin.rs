//! Beginning attempts: which, and whether now.

use std::sync::Arc;

use smallvec::SmallVec;
use tidings_core::{Seq, Timestamp};

use super::{Happened, Kind, Runner, Tried};
use crate::dispatcher::{resend, route::Message, slots::Slot};

/// Turns that were reserved and not used.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub(super) own: Option<Timestamp>,
    pub(super) of_tenant: Option<Timestamp>,
}

impl Turns {
    fn use_up(&mut self, kind: Kind) {
        self.own = None;
        if kind != Kind::Retry {
            self.of_tenant = None;
        }
    }

    /// When the last of them is.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.own.max(self.of_tenant)
    }
}

/// An attempt that may begin.
struct Ready {
    kind: Kind,
    message: Message,
    number: u32,
    /// Of the event, where it is a first attempt.
    time: Option<Timestamp>,
}

impl Runner {
    pub(super) fn begin_attempts(&mut self) {
        let now = self.shared.clock.now();
        self.crowded = false;
        while self.has_room() && self.quiet_until.is_none_or(|until| until <= now) {
            let Some((kind, slot)) = self.choose(now) else { break };
            self.turns.use_up(kind);
            let Some(ready) = self.take_next(kind) else { break };
            self.begin(ready, slot, now);
        }
        let later = |at: Option<Timestamp>| at.is_some_and(|at| at > now);
        self.standing.set_throttled(later(self.turns.next()) || later(self.quiet_until));
    }

    /// The first that has its turn and gets a slot: where there is none for repeats, first attempts go on.
    fn choose(&mut self, now: Timestamp) -> Option<(Kind, Slot)> {
        let mut refused = None;
        for kind in self.kinds(now) {
            let again = kind != Kind::First;
            if refused == Some(again) || self.reserve(kind, now) > now {
                continue;
            }
            if let Some(slot) = self.shared.slots.take(&self.endpoint.tenant, again, &self.bell) {
                return Some((kind, slot));
            }
            refused = Some(again);
            self.crowded = true;
        }
        None
    }

    fn has_room(&self) -> bool {
        let config = self.shared.config.load();
        let unreported =
            self.ledger.attempts() + self.reporting.as_ref().map_or(0, |report| report.attempts.len());
        self.in_flight < self.concurrency()
            && self.window.len() < config.window
            && unreported + self.in_flight < config.unreported_max
    }

    /// What there is to do, the first to be done first: first attempts; of eight times retries have one and replays one.
    fn kinds(&self, now: Timestamp) -> SmallVec<[Kind; 3]> {
        let again = self.in_flight_again < (self.concurrency() / 4).max(1);
        let first = self.has_first(now).then_some(Kind::First);
        let retry = (again && self.retries.has_ready()).then_some(Kind::Retry);
        let replay = if again { self.next_replay() } else { None };
        let kinds = match self.turn % 8 {
            3 => [retry, first, replay],
            7 => [replay, first, retry],
            _ => [first, retry, replay],
        };
        kinds.into_iter().flatten().collect()
    }

    fn has_first(&self, now: Timestamp) -> bool {
        match &self.held {
            Some(held) if held.message.is_some() => held.next_at <= now,
            Some(held) => {
                let front = self.main.front();
                front.is_some_and(|due| due.event.seq != held.seq || held.next_at <= now)
            }
            None => self.main.front().is_some(),
        }
    }

    fn next_replay(&self) -> Option<Kind> {
        let ready = self.replays.iter().find(|replaying| {
            let to = replaying.replay.to;
            replaying.reader.front().is_some_and(|due| due.event.seq <= to)
        });
        ready.map(|replaying| Kind::Replay(replaying.replay.id))
    }

    /// When its turn is in the endpoint's pace and, but for retries, in the tenant's: what fails at one endpoint is not at
    /// the expense of the others.
    fn reserve(&mut self, kind: Kind, now: Timestamp) -> Timestamp {
        let pace = &mut self.pace;
        let own = *self.turns.own.get_or_insert_with(|| pace.as_mut().map_or(now, |pace| pace.reserve(now)));
        if kind == Kind::Retry {
            return own;
        }
        let (shared, tenant) = (&self.shared, &self.endpoint.tenant);
        let turn = || {
            let rate = shared.config.load().rate_per_tenant;
            rate.map_or(now, |rate| shared.paces.reserve(tenant, rate, now))
        };
        own.max(*self.turns.of_tenant.get_or_insert_with(turn))
    }

    fn take_next(&mut self, kind: Kind) -> Option<Ready> {
        match kind {
            Kind::First => self.take_first(),
            Kind::Retry => {
                let row = self.retries.pop()?;
                let number = row.state.attempts() + 1;
                Some(Ready { kind, message: Message::of_row(row), number, time: None })
            }
            Kind::Replay(id) => {
                let replaying = self.replays.iter_mut().find(|replaying| replaying.replay.id == id)?;
                let due = replaying.reader.pop()?;
                replaying.window.begin(due.event.seq, due.event.time);
                Some(Ready {
                    kind,
                    message: Message::of_due(due, self.endpoint.spec.format),
                    number: 1,
                    time: None,
                })
            }
        }
    }

    fn take_first(&mut self) -> Option<Ready> {
        let kind = Kind::First;
        if let Some(message) = self.held.as_mut().and_then(|held| held.message.take()) {
            let number = self.held.as_ref().map_or(0, |held| held.attempts) + 1;
            return Some(Ready { kind, message, number, time: None });
        }
        let due = self.main.pop()?;
        let (seq, time) = (due.event.seq, due.event.time);
        self.pass_held(seq);
        let held = self.held.as_ref().filter(|held| held.seq == seq);
        let number = held.map_or(0, |held| held.attempts) + 1;
        Some(Ready {
            kind,
            message: Message::of_due(due, self.endpoint.spec.format),
            number,
            time: Some(time),
        })
    }

    /// Where everything up to the event that an ordered endpoint stands before was read, and that was not among it, it does
    /// not match any more, and nothing later may ever come.
    pub(super) fn leave_held(&mut self) {
        let through = self.main.through();
        let unread = self.held.as_ref().is_some_and(|held| held.message.is_none() && held.seq <= through);
        if unread && self.window.first().is_none() {
            self.pass_held(through.next());
        }
    }

    /// The event that an ordered endpoint stood before does not match any more: its row is one like others.
    fn pass_held(&mut self, seq: Seq) {
        if let Some(held) = self.held.take_if(|held| held.seq < seq) {
            self.retries.reported(held.seq);
            self.retries.due(held.next_at);
        }
    }

    fn begin(&mut self, ready: Ready, slot: Slot, now: Timestamp) {
        let Ready { kind, message, number, time } = ready;
        if let Some(time) = time {
            self.window.begin(message.seq, time);
        }
        self.turn = self.turn.wrapping_add(1);
        self.in_flight += 1;
        self.in_flight_again += usize::from(kind != Kind::First);
        let (shared, route) = (Arc::clone(&self.shared), Arc::clone(&self.route));
        let endpoint = Arc::clone(&self.endpoint);
        self.under_way.push(Box::pin(async move {
            let message =
                if kind == Kind::Retry { resend::fitted(&shared, &endpoint, message).await } else { message };
            let (config, world) = (shared.config.load_full(), (&*shared.clock, &*shared.entropy));
            let attempt = route.attempt(&shared.sender, world, &config, &message).await;
            drop(slot);
            Happened::Tried(Box::new(Tried { kind, message, number, at: now, attempt }))
        }));
    }
}
