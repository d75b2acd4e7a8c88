//! A process that dies or stops with deliveries under way.

use std::{collections::HashSet, time::Duration};

use tidings_webhooks::dispatcher::DispatcherConfig;

use super::{
    partner::{Does, Partner},
    works::{Works, spec},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing_and_repeats_under_the_same_ids() {
    let config = DispatcherConfig { rate_per_tenant: None, ..DispatcherConfig::default() };
    let works = Works::open(config.clone()).await;
    let partner = Partner::doing(|_, _| Does::TakeAfter(Duration::from_millis(5)));
    let id = works.endpoint(spec(&partner.url())).await;
    works.publish("note.created", 300).await;
    partner.wait(100);
    let works = works.killed(config).await;
    partner.has_taken(&(1..=300).collect::<Vec<_>>());
    works.cursor_reaches(id, 300).await;
    let messages = partner.messages();
    let ids: HashSet<_> =
        messages.iter().map(|message| message.header("webhook-id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 300);
    // What was under way, and what the last reports had not told.
    assert!(messages.len() < 500, "{} messages for 300 events", messages.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_in_order_repeats_nothing() {
    let config = DispatcherConfig { rate_per_tenant: None, ..DispatcherConfig::default() };
    let works = Works::open(config.clone()).await;
    let partner = Partner::doing(|_, _| Does::TakeAfter(Duration::from_millis(20)));
    let id = works.endpoint(spec(&partner.url())).await;
    works.publish("note.created", 100).await;
    partner.wait(20);
    works.dispatcher.stop(Duration::from_secs(30)).await;
    let (came, cursor) = (partner.messages().len(), works.stored(id).await.cursor.get());
    assert_eq!(came as u64, cursor, "what went out was told");
    assert!(came < 100);
    let works = works.killed(config).await;
    partner.has_taken(&(1..=100).collect::<Vec<_>>());
    works.cursor_reaches(id, 100).await;
    assert_eq!(partner.messages().len(), 100);
}
