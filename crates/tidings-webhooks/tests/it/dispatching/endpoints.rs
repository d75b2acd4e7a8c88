//! States, rates and replays.

use std::time::Duration;

use serde_json::json;
use tidings_core::{
    Rate,
    webhook::{AttemptFailure, DisabledReason, EndpointState, Resume},
};
use tidings_store::EndpointChange;
use tidings_webhooks::dispatcher::DispatcherConfig;

use super::{
    partner::{Does, Partner},
    works::{On, Works, on_both_stores, spec},
};

on_both_stores! {
    gone_disables_and_enabling_goes_on_where_it_stood,
    one_that_fails_for_too_long_is_disabled_and_heals_by_a_probe,
    a_paused_endpoint_gets_nothing_until_it_is_enabled,
    a_tenants_rate_holds_for_all_its_endpoints_and_is_seen,
    a_range_is_sent_again_under_the_same_ids,
    a_sample_is_sent_at_once_and_logged_nowhere,
    a_probe_undoes_no_change_that_was_made_meanwhile,
    timeouts_that_are_reloaded_hold_from_the_next_attempt_on,
    failures_far_apart_disable_nothing,
}

async fn gone_disables_and_enabling_goes_on_where_it_stood(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    let partner = Partner::doing(|_, before| if before == 0 { Does::Say("410 Gone") } else { Does::Take });
    let mut wanted = spec(&partner.url());
    wanted.concurrency = 1;
    let id = works.endpoint(wanted).await;
    works.publish("note.created", 3).await;
    let disabled = async || matches!(works.stored(id).await.state, EndpointState::Disabled { .. });
    works.until("it is disabled", disabled).await;
    assert_eq!(works.stored(id).await.state.reason(), Some(DisabledReason::Gone));
    assert_eq!(partner.messages().len(), 1);
    let (kind, data) = works.events(3).await.remove(0);
    assert_eq!(
        (&*kind, &data["reason"], &data["endpoint_id"]),
        ("webhook.disabled", &json!("gone"), &json!(id))
    );
    works.until("it is counted", async || works.dispatcher.stats().disabled == 1).await;
    works.change(id, EndpointChange::Enable(Resume::Cursor)).await;
    partner.has_taken(&[1, 2, 3, 4]);
}

async fn one_that_fails_for_too_long_is_disabled_and_heals_by_a_probe(on: On) {
    let config = DispatcherConfig {
        disable_after: Duration::from_millis(500),
        probe_every: Duration::from_millis(300),
        ..DispatcherConfig::default()
    };
    let works = Works::open(on, config).await;
    let back = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_back = back.clone();
    let partner = Partner::doing(move |_, _| {
        if is_back.load(std::sync::atomic::Ordering::SeqCst) { Does::Take } else { Does::Say("500 No") }
    });
    let id = works.endpoint(spec(&partner.url())).await;
    works.publish("note.created", 1).await;
    let disabled = async || works.stored(id).await.state.reason() == Some(DisabledReason::Failing);
    works.until("it is disabled", disabled).await;
    works.publish("note.created", 2).await;
    back.store(true, std::sync::atomic::Ordering::SeqCst);
    works.until("it is active", async || works.stored(id).await.state == EndpointState::Active).await;
    // The second is webhook.disabled itself.
    partner.has_taken(&[1, 2, 3, 4]);
    works.until("nothing is left", async || works.deliveries(id, false).await.is_empty()).await;
}

async fn a_paused_endpoint_gets_nothing_until_it_is_enabled(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    let (paused, other) = (Partner::taking(), Partner::taking());
    let id = works.endpoint(spec(&paused.url())).await;
    works.endpoint(spec(&other.url())).await;
    works.publish("note.created", 1).await;
    paused.has_taken(&[1]);
    works.change(id, EndpointChange::Pause).await;
    works.until("it is counted", async || works.dispatcher.stats().paused == 1).await;
    works.publish("note.created", 2).await;
    other.has_taken(&[1, 2, 3]);
    assert_eq!(paused.taken(), [1]);
    works.change(id, EndpointChange::Enable(Resume::Now)).await;
    works.until("it is active", async || works.dispatcher.stats().active == 2).await;
    works.publish("note.created", 1).await;
    paused.has_taken(&[1, 4]);
}

async fn a_tenants_rate_holds_for_all_its_endpoints_and_is_seen(on: On) {
    let rate = Rate { count: 10, per: Duration::from_hours(1) };
    let works =
        Works::open(on, DispatcherConfig { rate_per_tenant: Some(rate), ..DispatcherConfig::default() })
            .await;
    let (a, b) = (Partner::taking(), Partner::taking());
    works.endpoint(spec(&a.url())).await;
    works.endpoint(spec(&b.url())).await;
    works.until("both are there", async || works.dispatcher.stats().active == 2).await;
    works.publish("note.created", 20).await;
    works.until("both are held back", async || works.dispatcher.stats().throttled == 2).await;
    works.until("all went", async || works.dispatcher.stats().in_flight == 0).await;
    assert_eq!(a.messages().len() + b.messages().len(), 10);
    assert!(works.dispatcher.stats().oldest_age > Duration::ZERO);
}

async fn a_range_is_sent_again_under_the_same_ids(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    let partner = Partner::taking();
    let id = works.endpoint(spec(&partner.url())).await;
    works.publish("note.created", 6).await;
    partner.has_taken(&[1, 2, 3, 4, 5, 6]);
    works.cursor_reaches(id, 6).await;
    works.replay_range(id, 2, 4).await;
    let messages = partner.wait(9);
    works.until("the replay is over", async || works.replays(id).await == 0).await;
    let mut again: Vec<_> = messages[6..].iter().map(super::super::receiver::Message::seq).collect();
    again.sort_unstable();
    assert_eq!(again, [2, 3, 4]);
    for message in &messages[6..] {
        let first = messages.iter().find(|first| first.seq() == message.seq()).unwrap();
        assert_eq!(first.header("webhook-id"), message.header("webhook-id"));
    }
}

async fn a_sample_is_sent_at_once_and_logged_nowhere(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    let partner = Partner::taking();
    let id = works.endpoint(spec(&partner.url())).await;
    works.change(id, EndpointChange::Pause).await;
    let attempt = works.dispatcher.test(&works.stored(id).await).await.unwrap();
    assert_eq!(attempt.status, Some(200));
    assert_eq!(partner.messages()[0].json()["type"], "webhook.test");
    assert!(works.events(0).await.is_empty() && works.attempts(id).await.is_empty());
}

async fn a_probe_undoes_no_change_that_was_made_meanwhile(on: On) {
    let config = DispatcherConfig {
        disable_after: Duration::ZERO,
        probe_every: Duration::from_millis(100),
        ..DispatcherConfig::default()
    };
    let works = Works::open(on, config).await;
    let partner = Partner::doing(|_, before| {
        if before == 0 { Does::Say("500 No") } else { Does::TakeAfter(Duration::from_millis(1_500)) }
    });
    let id = works.endpoint(spec(&partner.url())).await;
    works.publish("note.created", 1).await;
    partner.wait(2);
    works.change(id, EndpointChange::Pause).await;
    works.until("the probe is told", async || works.attempts(id).await.len() == 2).await;
    works.until("it is counted", async || works.dispatcher.stats().paused == 1).await;
    assert_eq!(works.stored(id).await.state.name(), tidings_core::webhook::StateName::Paused);
    assert_eq!(partner.messages().len(), 2);
}

async fn timeouts_that_are_reloaded_hold_from_the_next_attempt_on(on: On) {
    let long = DispatcherConfig { timeout: Duration::from_mins(5), ..DispatcherConfig::default() };
    let works = Works::open(on, long.clone()).await;
    let partner = Partner::doing(|_, _| Does::Hang);
    let id = works.endpoint(spec(&partner.url())).await;
    works.until("it is there", async || works.dispatcher.stats().active == 1).await;
    works.dispatcher.configure(DispatcherConfig { timeout: Duration::from_millis(200), ..long });
    works.publish("note.created", 1).await;
    works.until("an attempt ran out", async || !works.attempts(id).await.is_empty()).await;
    assert_eq!(works.attempts(id).await[0].failure, Some(AttemptFailure::Timeout));
}

async fn failures_far_apart_disable_nothing(on: On) {
    let config = DispatcherConfig {
        disable_after: Duration::from_millis(500),
        failing_gap_max: Duration::from_millis(400),
        ..DispatcherConfig::default()
    };
    let works = Works::open(on, config).await;
    let partner = Partner::doing(|_, _| Does::Say("500 No"));
    let mut wanted = spec(&partner.url());
    wanted.retries = tidings_core::webhook::RetrySchedule::custom(vec![]).unwrap();
    let id = works.endpoint(wanted).await;
    for tries in 1..=3 {
        works.publish("note.created", 1).await;
        works.until("it is dead", async || works.deliveries(id, true).await.len() == tries).await;
        assert_eq!(works.stored(id).await.state, EndpointState::Active);
        let last = works.attempts(id).await[tries - 1].at;
        assert!(works.stored(id).await.failing_since.is_some_and(|since| since >= last));
        let now = || tidings_core::Clock::now(&tidings_core::SystemClock);
        works.until("a gap", async || now().since(last) > Duration::from_millis(600)).await;
    }
}
