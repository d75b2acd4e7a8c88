//! A process that dies or stops with deliveries under way.

use std::{collections::HashSet, time::Duration};

use tidings_webhooks::dispatcher::DispatcherConfig;

use super::{
    partner::{Does, Partner},
    works::{On, Works, on_both_stores, spec},
};

on_both_stores! {
    a_killed_process_loses_nothing_and_repeats_under_the_same_ids,
    who_stops_in_order_repeats_nothing,
    what_a_receiver_asked_for_outlives_the_process,
}

async fn a_killed_process_loses_nothing_and_repeats_under_the_same_ids(on: On) {
    let config = DispatcherConfig { rate_per_tenant: None, ..DispatcherConfig::default() };
    let works = Works::open(on, config.clone()).await;
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

async fn who_stops_in_order_repeats_nothing(on: On) {
    let config = DispatcherConfig { rate_per_tenant: None, ..DispatcherConfig::default() };
    let works = Works::open(on, config.clone()).await;
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

async fn what_a_receiver_asked_for_outlives_the_process(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    let partner =
        Partner::doing(
            |_, before| {
                if before == 0 { Does::Say("429 Slow Down\r\nRetry-After: 8") } else { Does::Take }
            },
        );
    let mut wanted = spec(&partner.url());
    wanted.concurrency = 1;
    let id = works.endpoint(wanted).await;
    works.publish("note.created", 3).await;
    works.until("the first is told", async || works.attempts(id).await.len() == 1).await;
    let until = works.stored(id).await.quiet_until.expect("it is told in the same report");
    let works = works.killed(DispatcherConfig::default()).await;
    works.until("it is throttled", async || works.dispatcher.stats().throttled == 1).await;
    partner.has_taken(&[1, 2, 3]);
    works.until("all is told", async || works.attempts(id).await.len() == 4).await;
    let attempts = works.attempts(id).await;
    assert!(attempts[1..].iter().all(|attempt| attempt.at >= until), "{attempts:?} before {until}");
}
