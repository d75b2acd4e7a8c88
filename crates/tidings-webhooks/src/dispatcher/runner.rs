//! Delivering to one active endpoint, until it changes.
//!
//! One task owns all of it: what it reads, the attempts that are under way, the results that the store has not taken.
//! It waits for whatever happens first and then looks at everything: reads on, begins attempts, reports.

mod age;
mod begin;
mod finish;
mod report;
mod timing;

use std::{future::Future, pin::Pin, sync::Arc};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tidings_core::{
    Endpoint, ReplayId, Seq, TenantId, Timestamp,
    webhook::{Delivery, DeliveryState, Replay},
};
use tidings_live::{FeedId, Page, Watch, Watcher};
use tidings_store::{AttemptQuery, CommandError, DeliveryQuery, Outcome, ReadError, Report};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    Shared,
    ledger::Ledger,
    pace::Pace,
    reader::Reader,
    retries::Retries,
    route::{Message, Route},
    stats::Standing,
    window::Window,
};
use crate::sender;
use age::Age;
use begin::Turns;

/// Why delivering to an endpoint came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// The endpoint is another one now, or gone.
    Changed,
    /// The server stops.
    Stopped,
    /// It must begin anew, from what the store says.
    Anew,
}

/// How a runner has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) over: Over,
    /// The cursor that the store was told last.
    pub(super) cursor: Seq,
    /// Until when the receiver asked to be left alone.
    pub(super) quiet_until: Option<Timestamp>,
}

pub(super) struct Runner {
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    route: Arc<Route>,
    standing: Arc<Standing>,
    bell: Arc<Notify>,
    _watch: Watch,
    /// Whatever is awaited. Bounded: a page and an attempt for each of few readers, looks, a report, and attempts.
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Happened> + Send>>>,
    main: Reader,
    window: Window,
    /// Where an ordered endpoint stands, when its next event has failed.
    held: Option<Held>,
    retries: Retries,
    replays: Vec<Replaying>,
    ledger: Ledger,
    reporting: Option<Report>,
    /// The store takes no more of it.
    refused: bool,
    /// What the store has as the cursor, and when it was last told.
    stored: (Seq, Instant),
    in_flight: usize,
    /// Of these, those that are no first attempts.
    in_flight_again: usize,
    /// How many attempts may be under way: it halves with each failure and rises with each success, so that a receiver
    /// that hangs has one at a time.
    allowed: u16,
    /// Counts attempts, so that each kind has its turn.
    turn: u8,
    pace: Option<Pace>,
    turns: Turns,
    quiet_until: Option<Timestamp>,
    /// The node has no slot for it now.
    crowded: bool,
    failing_since: Option<Timestamp>,
    /// The last attempt that failed, where the endpoint fails.
    failed_at: Option<Timestamp>,
    age: Age,
    /// Nothing new is begun.
    closing: Option<Over>,
}

/// The event that an ordered endpoint stands before.
#[derive(Debug)]
struct Held {
    seq: Seq,
    message: Option<Message>,
    /// How often it has failed.
    attempts: u32,
    next_at: Timestamp,
}

#[derive(Debug)]
struct Replaying {
    replay: Replay,
    reader: Reader,
    window: Window,
}

/// What an attempt is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    First,
    Retry,
    Replay(ReplayId),
}

/// What the task waits for.
enum Happened {
    Tried(Box<Tried>),
    Page(Option<ReplayId>, Result<Arc<Page>, ReadError>),
    Retries(Result<Vec<Delivery>, ReadError>),
    Reported(Result<Outcome, CommandError>),
    /// The time of the oldest event that is retried, where the store has said it.
    Aged(Option<Timestamp>),
}

struct Tried {
    kind: Kind,
    message: Message,
    number: u32,
    at: Timestamp,
    attempt: sender::Attempt,
}

/// A feed's watcher that rings a bell.
struct Bell(Arc<Notify>);

impl Watcher for Bell {
    fn advanced(&self, _: FeedId) {
        self.0.notify_one();
    }
}

impl Runner {
    /// Gets ready; `None` where the store or the tenant's feed does not answer, or nothing can be signed.
    pub(super) async fn open(
        shared: &Arc<Shared>,
        endpoint: Arc<Endpoint>,
        standing: Arc<Standing>,
    ) -> Option<Self> {
        let config = shared.config.load_full();
        let route = shared.route(&endpoint, &config)?;
        let feed = shared.open_feed(&endpoint.tenant).await?;
        let bell = Arc::new(Notify::new());
        // Registered first: what is committed from here on rings.
        let watch = feed.watch(Arc::new(Bell(Arc::clone(&bell))));
        let (now, tenant) = (shared.clock.now(), endpoint.tenant.clone());
        let mut retries = Retries::new(now);
        let held = if endpoint.spec.ordered { held(shared, &tenant, &endpoint).await.ok()? } else { None };
        if let Some(held) = &held {
            retries.hold(held.seq);
        }
        let webhooks = shared.store.webhooks()?;
        let replays = webhooks.replays(&tenant, endpoint.id).await.ok()?;
        let failed_at = match endpoint.failing_since {
            Some(since) => Some(last_attempt(shared, &endpoint).await.ok()?.unwrap_or(since)),
            None => None,
        };
        if let Ok(Some(backlog)) = webhooks.backlog(&tenant, endpoint.id).await {
            standing.set_retrying(backlog.retrying);
        }
        let replaying = |replay: Replay| Replaying {
            // What of it has expired is passed over.
            reader: Reader::new(feed.clone(), &endpoint, replay.position.max(feed.oldest().prev())),
            replay,
            window: Window::default(),
        };
        Some(Self {
            main: Reader::new(feed.clone(), &endpoint, endpoint.cursor),
            replays: replays.into_iter().map(replaying).collect(),
            ledger: Ledger::new(endpoint.id, endpoint.generation),
            stored: (endpoint.cursor, Instant::now()),
            allowed: if endpoint.failing_since.is_some() { 1 } else { endpoint.spec.concurrency },
            pace: endpoint.spec.rate.map(Pace::new),
            failing_since: endpoint.failing_since,
            failed_at,
            shared: Arc::clone(shared),
            endpoint,
            route: Arc::new(route),
            standing,
            bell,
            _watch: watch,
            under_way: FuturesUnordered::new(),
            window: Window::default(),
            held,
            retries,
            reporting: None,
            refused: false,
            in_flight: 0,
            in_flight_again: 0,
            turn: 0,
            turns: Turns::default(),
            quiet_until: None,
            crowded: false,
            age: Age::default(),
            closing: None,
        })
    }

    /// What the receiver has asked for before holds on.
    pub(super) fn keep_quiet(&mut self, until: Option<Timestamp>) {
        self.quiet_until = until;
    }

    /// Delivers until the endpoint changes or the server stops. Then what is under way is finished and reported;
    /// dropping the future earlier leaves it to be sent again.
    pub(super) async fn run(mut self, changes: &mut watch::Receiver<Arc<Endpoint>>) -> Ended {
        loop {
            self.look();
            if let Some(over) = self.over() {
                self.standing.set_throttled(false);
                return self.ended(over);
            }
            let bell = Arc::clone(&self.bell);
            let (stop, wake) = (self.shared.stop.clone(), self.wake_at());
            tokio::select! {
                biased;
                Some(happened) = self.under_way.next(), if !self.under_way.is_empty() => self.take_all(happened),
                heard = changes.changed(), if self.closing.is_none() => {
                    self.closing = Some(Over::Changed);
                    // It is gone: what is under way concerns nobody.
                    if heard.is_err() {
                        return self.ended(Over::Changed);
                    }
                }
                () = stop.cancelled(), if self.closing.is_none() => self.closing = Some(Over::Stopped),
                () = bell.notified() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    const fn ended(&self, over: Over) -> Ended {
        Ended { over, cursor: self.stored.0, quiet_until: self.quiet_until }
    }

    /// Everything that can be done now without waiting.
    fn look(&mut self) {
        if self.closing.is_none() {
            self.read_on();
            self.begin_attempts();
            self.look_at_age();
        }
        self.report_when_due();
        self.standing.set_oldest(self.oldest());
    }

    fn over(&self) -> Option<Over> {
        let told = self.refused || (self.reporting.is_none() && self.ledger.since().is_none());
        self.closing.filter(|_| told && self.in_flight == 0)
    }

    /// With one that has happened, those that have meanwhile: each look then serves them all.
    fn take_all(&mut self, first: Happened) {
        use futures_util::FutureExt as _;
        self.take(first);
        while let Some(Some(happened)) = self.under_way.next().now_or_never() {
            self.take(happened);
        }
    }

    fn take(&mut self, happened: Happened) {
        match happened {
            Happened::Tried(tried) => self.finish(*tried),
            Happened::Page(None, page) => self.main.supply(page),
            Happened::Page(Some(id), page) => {
                if let Some(replaying) = self.replays.iter_mut().find(|replaying| replaying.replay.id == id) {
                    replaying.reader.supply(page);
                }
            }
            Happened::Retries(Ok(rows)) => self.retries.loaded(rows, self.shared.clock.now()),
            Happened::Retries(Err(_)) => self.retries.failed(self.shared.clock.now()),
            Happened::Reported(outcome) => self.reported(outcome),
            Happened::Aged(oldest) => self.aged(oldest),
        }
    }

    fn read_on(&mut self) {
        let pager = self.shared.hub.pager().clone();
        let mut wanted = Vec::new();
        wanted.extend(self.main.fill().map(|request| (None, request)));
        for replaying in &mut self.replays {
            wanted.extend(replaying.reader.fill().map(|request| (Some(replaying.replay.id), request)));
        }
        for (id, request) in wanted {
            let pager = pager.clone();
            self.under_way.push(Box::pin(async move { Happened::Page(id, pager.read(request).await) }));
        }
        if self.main.is_over() || self.replays.iter().any(|replaying| replaying.reader.is_over()) {
            self.closing = Some(Over::Anew);
        }
        self.settle_replays();
        self.leave_held();
        if self.retries.look(self.shared.clock.now()) {
            let (shared, endpoint) = (Arc::clone(&self.shared), Arc::clone(&self.endpoint));
            self.under_way.push(Box::pin(async move {
                let webhooks = shared.store.webhooks().expect("it was opened on a store that keeps webhooks");
                let rows = webhooks.retrying(&endpoint.tenant, endpoint.id, Retries::LOOK).await;
                Happened::Retries(rows)
            }));
        }
    }

    /// Every match up to here was tried at least once.
    fn low(&self) -> Seq {
        self.window.first().map_or_else(|| self.main.through(), |(seq, _)| seq.prev())
    }

    /// The time of the oldest event that was not tried.
    fn oldest(&self) -> Option<Timestamp> {
        let waiting = || self.main.front().map(|due| due.event.time);
        self.window.first().map(|(_, time)| time).or_else(waiting)
    }

    fn concurrency(&self) -> usize {
        if self.endpoint.spec.ordered { 1 } else { self.allowed.min(self.endpoint.spec.concurrency).into() }
    }
}

/// When the delivery log's newest attempt was: of an endpoint that fails, one that failed.
async fn last_attempt(shared: &Shared, endpoint: &Endpoint) -> Result<Option<Timestamp>, ReadError> {
    let Some(webhooks) = shared.store.webhooks() else { return Ok(None) };
    let query = AttemptQuery { endpoint: Some(endpoint.id), limit: 1, ..AttemptQuery::default() };
    Ok(webhooks.attempts(&endpoint.tenant, query).await?.pop().map(|logged| logged.attempt.at))
}

/// Where an ordered endpoint has failed before: the first row after its cursor.
async fn held(shared: &Shared, tenant: &TenantId, endpoint: &Endpoint) -> Result<Option<Held>, ReadError> {
    let Some(webhooks) = shared.store.webhooks() else { return Ok(None) };
    let query = DeliveryQuery { dead: false, after: endpoint.cursor, limit: 1, bytes: 1 };
    let rows = webhooks.deliveries(tenant, endpoint.id, query).await?;
    Ok(rows.into_iter().find_map(|row| match row.state {
        DeliveryState::Retrying { attempts, next_at } => {
            Some(Held { seq: row.seq, message: None, attempts, next_at })
        }
        DeliveryState::Dead { .. } => None,
    }))
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("endpoint", &self.endpoint.id).finish_non_exhaustive()
    }
}
