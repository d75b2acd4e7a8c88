//! From the log to receivers, on both stores.

mod endpoints;
mod order;
mod partner;
mod restarts;
mod retrying;
mod sick;
mod works;

use serde_json::json;
use tidings_core::webhook::Format;
use tidings_webhooks::dispatcher::DispatcherConfig;

use partner::Partner;
use works::{On, Works, on_both_stores, spec};

on_both_stores! {
    every_event_of_the_filter_comes_signed_and_once,
    cloud_events_come_in_both_modes,
    an_endpoint_is_sent_no_more_than_its_grant,
    a_hundred_endpoints_read_the_log_once,
}

async fn every_event_of_the_filter_comes_signed_and_once(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    let (all, notes) = (Partner::taking(), Partner::taking());
    let to_all = works.endpoint(spec(&all.url())).await;
    let mut filtered = spec(&notes.url());
    filtered.filter = tidings_core::Filter::from_pairs([("types", "note.*")], None).unwrap();
    works.endpoint(filtered).await;
    works.publish("note.created", 3).await;
    works.publish("order.paid", 2).await;
    works.publish("note.gone", 1).await;
    all.has_taken(&[1, 2, 3, 4, 5, 6]);
    notes.has_taken(&[1, 2, 3, 6]);
    let messages = all.messages();
    let verifier = standardwebhooks::Webhook::new(works::SECRET).unwrap();
    for message in &messages {
        verifier.verify(&message.body, &message.to_headers()).unwrap();
        assert_eq!(message.header("content-type"), Some("application/json"));
        let event = message.json();
        assert_eq!(
            message.header("webhook-id"),
            Some(&*format!("{}_{to_all}", event["id"].as_str().unwrap()))
        );
    }
    // Which comes first is not promised.
    let first = messages.iter().find(|message| message.json()["seq"] == 1).expect("it came");
    assert_eq!(first.json()["data"], json!({"n": 0}));
    works.cursor_reaches(to_all, 6).await;
    assert_eq!(all.messages().len(), 6, "nothing came twice");
    let attempts = works.attempts(to_all).await;
    assert_eq!(attempts.len(), 6);
    assert!(attempts.iter().all(|attempt| attempt.status == Some(200) && attempt.number == 1));
}

async fn cloud_events_come_in_both_modes(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    let (structured, binary) = (Partner::taking(), Partner::taking());
    for (partner, format) in [(&structured, Format::Cloudevents), (&binary, Format::CloudeventsBinary)] {
        let mut spec = spec(&partner.url());
        spec.format = format;
        works.endpoint(spec).await;
    }
    works.publish("note.created", 1).await;
    let message = structured.wait(1).remove(0);
    assert_eq!(message.header("content-type"), Some("application/cloudevents+json"));
    let event = message.json();
    assert_eq!((&event["specversion"], &event["sequence"]), (&json!("1.0"), &json!("1")));
    let message = binary.wait(1).remove(0);
    assert_eq!(message.header("content-type"), Some("application/json"));
    assert_eq!(message.header("ce-type"), Some("note.created"));
    assert_eq!(message.header("ce-sequence"), Some("1"));
    assert_eq!(message.json(), json!({"n": 0}));
}

async fn an_endpoint_is_sent_no_more_than_its_grant(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    let partner = Partner::taking();
    works.endpoint_with(spec(&partner.url()), "jobs:read:all").await;
    works.publish("note.created", 2).await;
    works.enqueue().await;
    partner.has_taken(&[3]);
    assert_eq!(partner.messages()[0].json()["type"], "job.queued");
}

async fn a_hundred_endpoints_read_the_log_once(on: On) {
    let works =
        Works::open(on, DispatcherConfig { rate_per_tenant: None, ..DispatcherConfig::default() }).await;
    let partner = Partner::taking();
    // Published before anybody listens, so that it must be read and is in no ring.
    works.publish("note.created", 40).await;
    for _ in 0..100 {
        works.endpoint_from(spec(&partner.url()), 0).await;
    }
    assert_eq!(partner.wait(4_000).len(), 4_000);
    let stats = works.hub.stats();
    assert!(stats.pages_read <= 4, "the log was read {} times", stats.pages_read);
}
