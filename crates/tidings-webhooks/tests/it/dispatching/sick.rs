//! Sick receivers beside healthy ones.

use std::time::Duration;

use tidings_core::Rate;
use tidings_webhooks::dispatcher::DispatcherConfig;

use super::{
    partner::{Does, Partner},
    works::{On, Works, on_both_stores, spec},
};

on_both_stores! {
    whatever_receivers_do_each_has_every_event_in_the_end,
    hanging_receivers_of_one_tenant_delay_nobody,
    first_attempts_flow_while_others_hold_every_slot_for_repeats,
}

async fn whatever_receivers_do_each_has_every_event_in_the_end(on: On) {
    const EVENTS: u64 = 60;
    let works =
        Works::open(on, DispatcherConfig { rate_per_tenant: None, ..DispatcherConfig::default() }).await;
    // Scaled: a timeout of 2 s, a receiver that takes 1.8 s, and each kind of failure for one event in three at its first tries.
    let flaky = |sick: Does| {
        move |message: &crate::receiver::Message, before: usize| {
            if before < EVENTS as usize && message.seq().is_multiple_of(3) { sick } else { Does::Take }
        }
    };
    let kinds = [
        Does::Take,
        Does::TakeAfter(Duration::from_millis(1_800)),
        Does::TakeAfter(Duration::from_millis(2_200)),
        Does::Say("500 No"),
        Does::Say("302 Found\r\nLocation: http://127.0.0.1:1/"),
        Does::Hang,
        Does::Close,
        Does::Reset,
    ];
    let partners: Vec<_> = kinds.into_iter().map(|kind| (kind, Partner::doing(flaky(kind)))).collect();
    let ordered =
        Partner::doing(
            |message, before| {
                if before < 6 && message.seq().is_multiple_of(2) { Does::Close } else { Does::Take }
            },
        );
    for (_, partner) in &partners {
        let mut wanted = spec(&partner.url());
        wanted.retries =
            tidings_core::webhook::RetrySchedule::custom(vec![Duration::from_secs(1); 20]).unwrap();
        works.endpoint(wanted).await;
    }
    let mut wanted = spec(&ordered.url());
    wanted.ordered = true;
    wanted.retries = tidings_core::webhook::RetrySchedule::custom(vec![Duration::from_secs(1); 20]).unwrap();
    works.endpoint(wanted).await;
    for _ in 0..EVENTS / 10 {
        works.publish("note.created", 10).await;
    }
    let all: Vec<u64> = (1..=EVENTS).collect();
    for (_, partner) in &partners {
        partner.has_taken(&all);
    }
    ordered.has_taken(&all);
    assert_eq!(ordered.taken(), all, "strictly in order, each once");
}

async fn hanging_receivers_of_one_tenant_delay_nobody(on: On) {
    let config = DispatcherConfig {
        rate_per_tenant: Some(Rate { count: 100_000, per: Duration::from_secs(1) }),
        in_flight_max: 16,
        ..DispatcherConfig::default()
    };
    let works = Works::open(on, config).await;
    let hanging = Partner::doing(|_, _| Does::Hang);
    for _ in 0..6 {
        let mut wanted = spec(&hanging.url());
        wanted.timeout = Some(Duration::from_secs(30));
        works.endpoint(wanted).await;
    }
    works.until("they are there", async || works.dispatcher.stats().active == 6).await;
    works.publish("note.created", 20).await;
    hanging.wait(8);
    assert_eq!(works.dispatcher.stats().in_flight, 8, "a tenant has at most half of the slots");
    // Another tenant's whole log goes while nothing of the first's has been answered.
    let healthy = Partner::taking();
    works.in_tenant("other").endpoint(spec(&healthy.url())).await;
    works.in_tenant("other").publish("note.created", 30).await;
    healthy.has_taken(&(1..=30).collect::<Vec<_>>());
    assert_eq!(hanging.messages().len(), 8);
    assert_eq!(works.dispatcher.stats().attempts[0], ("delivered", 30));
}

async fn first_attempts_flow_while_others_hold_every_slot_for_repeats(on: On) {
    // One slot is for repeats.
    let config = DispatcherConfig { in_flight_max: 4, rate_per_tenant: None, ..DispatcherConfig::default() };
    let works = Works::open(on, config).await;
    let hanging = Partner::doing(|_, before| if before == 0 { Does::Say("500 No") } else { Does::Hang });
    let mut wanted = spec(&hanging.url());
    wanted.timeout = Some(Duration::from_secs(30));
    let other = works.in_tenant("other");
    other.endpoint(wanted).await;
    other.publish("note.created", 1).await;
    hanging.wait(2);
    let healthy = Partner::doing(|_, before| if before == 0 { Does::Say("500 No") } else { Does::Take });
    let id = works.endpoint(spec(&healthy.url())).await;
    works.publish("note.created", 1).await;
    let due = async || {
        let now = tidings_core::Clock::now(&tidings_core::SystemClock);
        works.deliveries(id, false).await.iter().any(|row| {
            matches!(row.state, tidings_core::webhook::DeliveryState::Retrying { next_at, .. } if next_at <= now)
        })
    };
    works.until("its retry is due", due).await;
    for _ in 0..20 {
        works.publish("note.created", 1).await;
    }
    let all = || (2..=21).all(|seq| healthy.taken().contains(&seq));
    assert!(tidings_testkit::wait::is_true_within(Duration::from_secs(15), all), "{:?}", healthy.taken());
    assert_eq!(hanging.messages().len(), 2, "the slot for repeats is still taken");
}
