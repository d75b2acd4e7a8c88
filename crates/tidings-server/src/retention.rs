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
    use std::{sync::Arc, time::Instant};

    use tidings_core::{
        Entropy as _, EventBody, EventId, EventType, NewEvent, RawJson, SystemClock, SystemEntropy, TenantId,
    };
    use tidings_live::LiveConfig;
    use tidings_store::{JournalConfig, Operation, SqliteConfig, SqliteStore};

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

    #[tokio::test]
    async fn an_open_feed_learns_where_its_log_begins_now() {
        let mut name = [0; 8];
        SystemEntropy.fill(&mut name);
        let folder =
            std::env::temp_dir().join(format!("tidings-retention-{:016x}", u64::from_le_bytes(name)));
        let opened =
            SqliteStore::open(SqliteConfig::new(&folder), Arc::new(SystemClock), Arc::new(SystemEntropy));
        let sqlite = Arc::new(opened.expect("opens"));
        let hub = Hub::start(sqlite.clone(), LiveConfig::default());
        let journal = Journal::start(sqlite.clone(), Arc::new(hub.clone()), JournalConfig::default());
        let tenant = TenantId::new("acme").expect("valid");
        let events = (0..10).map(|_| event()).collect();
        let operation = Operation::Publish { events, idempotency: None };
        let publish = Command::Tenant { tenant: tenant.clone(), create: true, operation };
        journal.submit(publish).await.expect("committed");
        let feed = hub.open(&tenant).await.expect("reads").expect("it is there");
        assert_eq!(feed.oldest().get(), 1);

        let mut config = Config::default();
        config.retention.events_per_tenant = Off(Some(3));
        let running = tokio::spawn(run(journal.clone(), hub.clone(), Settings::new(config), Metrics::new()));
        let deadline = Instant::now() + Duration::from_secs(20);
        while feed.oldest().get() != 8 {
            assert!(Instant::now() < deadline, "the feed still begins at {}", feed.oldest());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        running.abort();
        journal.close().await;
        sqlite.close().await;
        std::fs::remove_dir_all(&folder).expect("the folder can go");
    }
}
