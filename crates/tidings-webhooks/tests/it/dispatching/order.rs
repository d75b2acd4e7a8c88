//! Ordered endpoints.

use std::sync::atomic::{AtomicU64, Ordering};

use tidings_store::EndpointChange;
use tidings_webhooks::dispatcher::DispatcherConfig;

use super::{
    partner::{Does, Partner},
    works::{On, Works, on_both_stores, spec},
};

on_both_stores! {
    an_ordered_endpoint_goes_on_only_when_an_event_is_done_with,
    a_restart_counts_the_tries_of_the_event_that_an_ordered_endpoint_stands_before,
    an_event_that_a_new_filter_excludes_is_still_tried_again,
}

async fn an_ordered_endpoint_goes_on_only_when_an_event_is_done_with(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    // The second is taken at the second try, the fourth never.
    let tries = AtomicU64::new(0);
    let partner = Partner::doing(move |message, _| match message.seq() {
        2 if tries.fetch_add(1, Ordering::SeqCst) == 0 => Does::Say("503 Later"),
        4 => Does::Say("500 No"),
        _ => Does::Take,
    });
    let mut wanted = spec(&partner.url());
    wanted.ordered = true;
    let id = works.endpoint(wanted).await;
    works.publish("note.created", 6).await;
    partner.has_taken(&[1, 2, 3, 5, 6]);
    assert_eq!(partner.taken(), [1, 2, 3, 5, 6]);
    let came: Vec<_> = partner.messages().iter().map(super::super::receiver::Message::seq).collect();
    assert_eq!(came, [1, 2, 2, 3, 4, 4, 4, 5, 6]);
    works.cursor_reaches(id, 6).await;
    works.until("rows are settled", async || works.deliveries(id, false).await.is_empty()).await;
    assert_eq!(works.deliveries(id, true).await.len(), 1);
}

async fn a_restart_counts_the_tries_of_the_event_that_an_ordered_endpoint_stands_before(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    let partner =
        Partner::doing(|message, _| if message.seq() == 1 { Does::Say("500 No") } else { Does::Take });
    let mut wanted = spec(&partner.url());
    wanted.ordered = true;
    wanted.retries =
        tidings_core::webhook::RetrySchedule::custom(vec![std::time::Duration::from_secs(2)]).unwrap();
    let id = works.endpoint(wanted).await;
    works.publish("note.created", 2).await;
    works.until("its try is told", async || works.deliveries(id, false).await.len() == 1).await;
    let works = works.killed(DispatcherConfig::default()).await;
    partner.has_taken(&[2]);
    let came: Vec<_> = partner.messages().iter().map(super::super::receiver::Message::seq).collect();
    assert_eq!(came, [1, 1, 2]);
    works.until("it is dead", async || works.deliveries(id, true).await.len() == 1).await;
}

async fn an_event_that_a_new_filter_excludes_is_still_tried_again(on: On) {
    let works = Works::open(on, DispatcherConfig::default()).await;
    let partner = Partner::doing(|_, before| if before == 0 { Does::Say("503 Later") } else { Does::Take });
    let mut wanted = spec(&partner.url());
    wanted.ordered = true;
    let id = works.endpoint(wanted.clone()).await;
    works.publish("note.created", 1).await;
    works.until("its try is told", async || works.deliveries(id, false).await.len() == 1).await;
    wanted.filter = tidings_core::Filter::from_pairs([("types", "order.*")], None).unwrap();
    let seen = works.stored(id).await.change;
    works.change(id, EndpointChange::Spec { spec: Box::new(wanted), seen }).await;
    works.publish("note.created", 2).await;
    partner.has_taken(&[1]);
    works.until("the row goes", async || works.deliveries(id, false).await.is_empty()).await;
}
