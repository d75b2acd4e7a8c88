//! Old events, finished jobs and spent keys are removed, a small piece at a time.

use std::time::Duration;

use tidings_live::Hub;
use tidings_store::{Command, Journal, Maintain, Outcome, Retention, WebhookRetention};

use crate::{metrics::Metrics, settings::Settings};

/// How often the floors move.
const EVERY: Duration = Duration::from_secs(30);

/// Rows of one piece: little enough that no commit waits long behind it.
const LIMIT: usize = 500;

/// Removes what has expired until cancelled, by the settings of the moment, and has the open feeds look where their logs begin now.
pub(crate) async fn run(journal: Journal, hub: Hub, settings: Settings, metrics: Metrics) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        while sweep(&journal, kept(&settings), &metrics).await {
            // Commits go first: this is housekeeping.
            tokio::task::yield_now().await;
        }
        hub.look_again().await;
    }
}

fn kept(settings: &Settings) -> Retention {
    let config = &settings.get().retention;
    Retention {
        age: config.age.0.map(|span| span.0),
        events_per_tenant: config.events_per_tenant.0,
        webhooks: WebhookRetention {
            backlog: config.webhook_backlog.0,
            attempts_age: config.attempts.0.map(|span| span.0),
            attempts_per_endpoint: config.attempts_per_endpoint,
            dead_letters_age: config.dead_letters.0.map(|span| span.0),
            dead_letters_per_endpoint: config.dead_letters_per_endpoint.0,
        },
    }
}

/// Has the open feeds look where their logs begin, whichever server moves that, until cancelled.
pub(crate) async fn follow(hub: Hub) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        hub.look_again().await;
    }
}

/// Removes one piece; `true` where more is left.
async fn sweep(journal: &Journal, retention: Retention, metrics: &Metrics) -> bool {
    match journal.submit(Command::Maintain(Maintain::Retain { retention, limit: LIMIT })).await {
        Ok(Outcome::Swept(swept)) => {
            if swept.gaps > 0 {
                tracing::warn!(
                    endpoints = swept.gaps,
                    "webhook endpoints lost events that had waited for too long"
                );
                metrics.webhooks.lost(swept.gaps);
            }
            if swept.dead_letters > 0 {
                tracing::info!(count = swept.dead_letters, "dead letters of webhooks have expired");
                metrics.webhooks.expired(swept.dead_letters);
            }
            swept.more
        }
        Ok(other) => unreachable!("a sweep is answered by its size, not by {other:?}"),
        Err(error) => {
            tracing::warn!(%error, "what has expired could not be removed; trying again later");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc, time::Instant};

    use tidings_core::{
        Clock as _, EndpointId, EndpointSpec, Entropy as _, EventBody, EventId, EventType, Grant, NewEvent,
        RawJson, Seq, SystemClock, SystemEntropy, TenantId, Tenants,
        webhook::{AttemptFailure, Delivery, DeliveryState, Format},
    };
    use tidings_live::LiveConfig;
    use tidings_store::{JournalConfig, NewEndpoint, Operation, Report, SqliteConfig, SqliteStore};
    use tokio_util::task::AbortOnDropHandle;

    use super::*;
    use crate::config::{Config, Off, Span};

    const DAY: Duration = Duration::from_hours(24);

    fn event() -> NewEvent {
        NewEvent {
            id: EventId::generate(tidings_core::Timestamp::default(), &SystemEntropy),
            event_type: EventType::parse("note.created").expect("valid"),
            job: None,
            owner: None,
            subject: None,
            body: EventBody::same_for_all(RawJson::parse("1").expect("valid")),
        }
    }

    #[test]
    fn a_reload_changes_what_is_kept() {
        let settings = Settings::new(Config::default());
        assert_eq!(kept(&settings), Retention::of_log(Some(DAY * 7), Some(1_000_000)));
        let mut config = Config::default();
        config.retention.events_per_tenant = Off::OFF;
        config.retention.dead_letters = Off::at(Span::secs(60));
        config.retention.dead_letters_per_endpoint = Off::at(5);
        settings.reload(&config);
        let now = kept(&settings);
        assert_eq!(now.events_per_tenant, None);
        assert_eq!(now.webhooks.dead_letters_age, Some(Duration::from_mins(1)));
        assert_eq!(now.webhooks.dead_letters_per_endpoint, Some(5));
    }

    /// A store in a folder of its own.
    struct Works {
        folder: PathBuf,
        store: Arc<SqliteStore>,
        hub: Hub,
        journal: Journal,
    }

    impl Works {
        fn open() -> Self {
            let mut name = [0; 8];
            SystemEntropy.fill(&mut name);
            let name = format!("tidings-retention-{:016x}", u64::from_le_bytes(name));
            let folder = std::env::temp_dir().join(name);
            let opened =
                SqliteStore::open(SqliteConfig::new(&folder), Arc::new(SystemClock), Arc::new(SystemEntropy));
            let store = Arc::new(opened.expect("opens"));
            let hub = Hub::start(store.clone(), LiveConfig::default());
            let journal = Journal::start(store.clone(), Arc::new(hub.clone()), JournalConfig::default());
            Self { folder, store, hub, journal }
        }

        async fn operate(&self, operation: Operation) {
            let command = Command::Tenant { tenant: tenant(), create: true, operation };
            self.journal.submit(command).await.expect("committed");
        }

        fn run(&self, config: Config, metrics: &Metrics) -> AbortOnDropHandle<()> {
            let (journal, hub) = (self.journal.clone(), self.hub.clone());
            AbortOnDropHandle::new(tokio::spawn(run(journal, hub, Settings::new(config), metrics.clone())))
        }

        /// That has had nothing yet.
        async fn put_endpoint(&self) -> EndpointId {
            let id = EndpointId::generate(SystemClock.now(), &SystemEntropy);
            let grant = Grant {
                tenants: Tenants::One(tenant()),
                user: None,
                scopes: "events:read".parse().expect("valid"),
                subjects: None,
            };
            let spec = EndpointSpec::of("https://example.com");
            let new = NewEndpoint { id, spec, grant, secrets: Vec::new(), cursor: None, limit: 1 };
            self.operate(Operation::PutEndpoint(Box::new(new))).await;
            id
        }

        async fn close(self) {
            self.journal.close().await;
            self.store.close().await;
            std::fs::remove_dir_all(&self.folder).expect("the folder can go");
        }
    }

    fn tenant() -> TenantId {
        TenantId::new("acme").expect("valid")
    }

    async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn an_open_feed_learns_where_its_log_begins_now() {
        let works = Works::open();
        let events = (0..10).map(|_| event()).collect();
        works.operate(Operation::Publish { events, idempotency: None }).await;
        let feed = works.hub.open(&tenant()).await.expect("reads").expect("it is there");
        assert_eq!(feed.oldest().get(), 1);
        let mut config = Config::default();
        config.retention.events_per_tenant = Off(Some(3));
        let running = works.run(config, &Metrics::new());
        until("the feed begins at 8", || feed.oldest().get() == 8).await;
        drop(running);
        works.close().await;
    }

    #[tokio::test]
    async fn what_an_endpoint_lost_is_counted() {
        let works = Works::open();
        works.put_endpoint().await;
        let events = (0..10).map(|_| event()).collect();
        works.operate(Operation::Publish { events, idempotency: None }).await;
        let mut config = Config::default();
        config.retention.events_per_tenant = Off::at(3);
        config.retention.webhook_backlog = Span(Duration::from_micros(1));
        let metrics = Metrics::new();
        let running = works.run(config, &metrics);
        let counted = "webhook_gaps_total 1\n";
        until(counted, || metrics.encode().contains(counted)).await;
        drop(running);
        works.close().await;
    }

    #[tokio::test]
    async fn dead_letters_that_went_are_counted() {
        let works = Works::open();
        let (now, id) = (SystemClock.now(), works.put_endpoint().await);
        let mut report = Report::new(id, 1);
        let dead = |seq| Delivery {
            seq: Seq::new(seq),
            event: event().id,
            event_type: event().event_type,
            state: DeliveryState::Dead { attempts: 1, at: now, failure: AttemptFailure::Status },
            body: None,
            format: Format::Standard,
        };
        report.deliveries = (1..=5).map(dead).collect();
        works.operate(Operation::Report(Box::new(report))).await;
        let mut config = Config::default();
        config.retention.dead_letters_per_endpoint = Off::at(2);
        let metrics = Metrics::new();
        let running = works.run(config, &metrics);
        let counted = "webhook_dead_letters_expired_total 3\n";
        until(counted, || metrics.encode().contains(counted)).await;
        drop(running);
        works.close().await;
    }
}
