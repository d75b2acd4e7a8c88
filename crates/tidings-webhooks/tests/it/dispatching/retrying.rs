//! What failed is tried again, on a schedule, and then given up.

use std::time::Duration;

use serde_json::json;
use tidings_core::webhook::{AttemptFailure, DeliveryState, Format};
use tidings_store::{EndpointChange, ReplayWhat};
use tidings_webhooks::dispatcher::DispatcherConfig;

use super::{
    partner::{Does, Partner},
    works::{On, Works, on_both_stores, spec},
};

on_both_stores! {
    a_failed_event_holds_no_other_back_and_comes_again_under_its_id,
    after_the_last_try_it_is_a_dead_letter_that_can_be_sent_again,
    retry_after_makes_the_endpoint_quiet,
    redirects_and_refused_addresses_are_failures_and_followed_by_nothing,
    a_retried_cloud_event_is_the_same_message,
    a_retry_is_in_the_format_that_it_says,
    what_is_retried_has_an_age,
    what_a_receiver_asked_for_outlives_a_change_of_the_endpoint,
}

async fn a_failed_event_holds_no_other_back_and_comes_again_under_its_id(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    let partner =
        Partner::doing(
            |message, before| {
                if message.seq() == 1 && before < 6 { Does::Say("500 Oh No") } else { Does::Take }
            },
        );
    let id = works.endpoint(spec(&partner.url())).await;
    works.publish("note.created", 5).await;
    partner.has_taken(&[1, 2, 3, 4, 5]);
    assert_eq!(partner.taken().last(), Some(&1), "the others did not wait for it");
    works.until("the row goes", async || works.deliveries(id, false).await.is_empty()).await;
    works.cursor_reaches(id, 5).await;
    let of_first: Vec<_> =
        works.attempts(id).await.into_iter().filter(|tried| tried.seq.get() == 1).collect();
    let told: Vec<_> = of_first.iter().map(|tried| (tried.number, tried.status, tried.failure)).collect();
    let failed = Some(AttemptFailure::Status);
    assert_eq!(told, [(1, Some(500), failed), (2, Some(500), failed), (3, Some(200), None)]);
    let messages = partner.messages();
    let mut ids: Vec<_> = messages
        .iter()
        .filter(|message| message.seq() == 1)
        .map(|message| message.header("webhook-id").unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 3);
    ids.dedup();
    assert_eq!(ids.len(), 1, "every attempt has the same id");
    assert!(works.stored(id).await.failing_since.is_none());
}

async fn after_the_last_try_it_is_a_dead_letter_that_can_be_sent_again(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    let partner = Partner::doing(|_, before| if before < 3 { Does::Close } else { Does::Take });
    let id = works.endpoint(spec(&partner.url())).await;
    works.publish("note.created", 1).await;
    works.until("it is dead", async || works.deliveries(id, true).await.len() == 1).await;
    let dead = works.deliveries(id, true).await.remove(0);
    let DeliveryState::Dead { attempts: 3, failure: AttemptFailure::Closed, .. } = dead.state else {
        panic!("{:?}", dead.state)
    };
    assert_eq!(dead.body.unwrap(), partner.messages()[0].body, "as it was sent");
    works.cursor_reaches(id, 1).await;
    assert_eq!(works.dispatcher.stats().dead, 1);
    works.replay(id, ReplayWhat::Failures).await;
    partner.has_taken(&[1]);
    works.until("the row goes", async || works.deliveries(id, true).await.is_empty()).await;
}

async fn retry_after_makes_the_endpoint_quiet(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    let partner =
        Partner::doing(
            |_, before| {
                if before == 0 { Does::Say("429 Slow Down\r\nRetry-After: 3") } else { Does::Take }
            },
        );
    let mut wanted = spec(&partner.url());
    wanted.concurrency = 1;
    let id = works.endpoint(wanted).await;
    works.publish("note.created", 4).await;
    works.until("it is throttled", async || works.dispatcher.stats().throttled == 1).await;
    partner.has_taken(&[1, 2, 3, 4]);
    works.until("all is told", async || works.attempts(id).await.len() == 5).await;
    let attempts = works.attempts(id).await;
    assert_eq!(attempts[0].failure, Some(AttemptFailure::Throttled));
    let quiet = attempts[1].at.since(attempts[0].at);
    assert!(quiet >= Duration::from_secs(3), "it was sent to after {quiet:?}");
}

async fn redirects_and_refused_addresses_are_failures_and_followed_by_nothing(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    let silent = Partner::taking();
    let to = format!("302 Found\r\nLocation: {}", silent.url());
    let to: &'static str = Box::leak(to.into_boxed_str());
    let partner = Partner::doing(move |_, _| Does::Say(to));
    let redirecting = works.endpoint(spec(&partner.url())).await;
    let inside = works.endpoint(spec("http://169.254.169.254/latest/meta-data")).await;
    works.publish("note.created", 1).await;
    for (id, failure) in [(redirecting, AttemptFailure::Redirect), (inside, AttemptFailure::Refused)] {
        works.until("it is dead", async || works.deliveries(id, true).await.len() == 1).await;
        assert!(works.attempts(id).await.iter().all(|attempt| attempt.failure == Some(failure)));
        assert_eq!(works.attempts(id).await.len(), 3);
    }
    assert_eq!(silent.messages().len(), 0);
}

async fn a_retried_cloud_event_is_the_same_message(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    for format in [Format::Cloudevents, Format::CloudeventsBinary] {
        let partner = Partner::doing(|_, before| if before == 0 { Does::Say("500 No") } else { Does::Take });
        let mut wanted = spec(&partner.url());
        wanted.format = format;
        works.endpoint(wanted).await;
        works.enqueue().await;
        let messages = partner.wait(2);
        let names = ["content-type", "ce-id", "ce-time", "ce-jobid", "ce-jobtype", "ce-sequence", "ce-type"];
        let told = |at: usize| names.map(|name| messages[at].header(name));
        assert_eq!(told(0), told(1));
        assert_eq!(told(0)[3].is_some(), format == Format::CloudeventsBinary);
        assert_eq!(messages[0].body, messages[1].body);
    }
}

async fn a_retry_is_in_the_format_that_it_says(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    let formats = [Format::Standard, Format::Cloudevents, Format::CloudeventsBinary];
    for (from, to) in [(0, 1), (1, 2), (2, 0)].map(|(from, to)| (formats[from], formats[to])) {
        let partner = Partner::doing(|_, before| if before == 0 { Does::Say("500 No") } else { Does::Take });
        let mut wanted = spec(&partner.url());
        wanted.format = from;
        let id = works.endpoint(wanted.clone()).await;
        works.publish("note.created", 1).await;
        works.until("its try is told", async || works.deliveries(id, false).await.len() == 1).await;
        wanted.format = to;
        let seen = works.stored(id).await.change;
        works.change(id, EndpointChange::Spec { spec: Box::new(wanted), seen }).await;
        let again = partner.wait(2).remove(1);
        let (keys, kind) = (again.json(), again.header("content-type"));
        match to {
            Format::Standard => assert!(keys["seq"].is_u64() && kind == Some("application/json"), "{keys}"),
            Format::Cloudevents => {
                assert_eq!(
                    (&keys["specversion"], kind),
                    (&json!("1.0"), Some("application/cloudevents+json"))
                );
            }
            Format::CloudeventsBinary => {
                assert_eq!((keys, kind), (json!({"n": 0}), Some("application/json")));
                assert!(again.header("ce-time").is_some());
            }
        }
    }
}

async fn what_is_retried_has_an_age(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    let partner = Partner::doing(|_, before| if before == 0 { Does::Say("500 No") } else { Does::Take });
    let mut wanted = spec(&partner.url());
    wanted.retries = tidings_core::webhook::RetrySchedule::custom(vec![Duration::from_secs(5)]).unwrap();
    let id = works.endpoint(wanted).await;
    works.until("it is there", async || works.dispatcher.stats().active == 1).await;
    works.publish("note.created", 1).await;
    works.until("it failed", async || works.deliveries(id, false).await.len() == 1).await;
    works.cursor_reaches(id, 1).await;
    assert!(works.dispatcher.stats().oldest_age > Duration::ZERO, "it is tried again after 5 s");
    partner.has_taken(&[1]);
    works.until("nothing waits", async || works.dispatcher.stats().oldest_age == Duration::ZERO).await;
}

async fn what_a_receiver_asked_for_outlives_a_change_of_the_endpoint(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    let partner =
        Partner::doing(
            |_, before| {
                if before == 0 { Does::Say("429 Slow Down\r\nRetry-After: 5") } else { Does::Take }
            },
        );
    let mut wanted = spec(&partner.url());
    wanted.concurrency = 1;
    let id = works.endpoint(wanted.clone()).await;
    works.publish("note.created", 3).await;
    works.until("the first is told", async || works.attempts(id).await.len() == 1).await;
    wanted.ordered = true;
    let seen = works.stored(id).await.change;
    works.change(id, EndpointChange::Spec { spec: Box::new(wanted), seen }).await;
    partner.has_taken(&[1, 2, 3]);
    works.until("all is told", async || works.attempts(id).await.len() == 4).await;
    let attempts = works.attempts(id).await;
    let quiet = attempts[1].at.since(attempts[0].at);
    assert!(quiet >= Duration::from_secs(5), "it was sent to after {quiet:?}");
}
