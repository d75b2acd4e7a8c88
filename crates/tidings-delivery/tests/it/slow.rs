//! Clients that read slowly or not at all.

use std::time::{Duration, Instant};

use tidings_delivery::{CloseCode, DeliveryConfig, Ending, Protocol};
use tidings_live::{LiveConfig, SlowClients};

use crate::kit::{Client, Frame, World};

fn small_buffers() -> DeliveryConfig {
    DeliveryConfig { shards: 1, send_buffer_bytes: 4_096, ..DeliveryConfig::default() }
}

async fn slow_client(world: &World, since: Option<u64>) -> Client {
    let stream = world.spec(since).await;
    world.attach(World::new_connection(Protocol::WebSocket(stream)), Some(2_048)).await
}

#[tokio::test]
async fn a_frame_is_never_torn_whatever_the_socket_takes() {
    let live = LiveConfig { lag: None, ..LiveConfig::default() };
    let config = DeliveryConfig { heartbeat: Duration::from_millis(3), ..small_buffers() };
    let world = World::with(config, live);
    let mut client = slow_client(&world, None).await;
    client.expect("stream.open").await;
    for round in 0..40 {
        world.publish(10, 37 + round * 331);
    }
    let mut next = 1;
    while next <= 400 {
        let message = client.message().await;
        if let Some(seq) = message["seq"].as_u64() {
            assert_eq!(seq, next);
            next += 1;
        } else {
            assert_eq!(message["type"], "stream.heartbeat");
            let cursor: u64 = message["cursor"].as_str().expect("text")[9..].parse().expect("a seq");
            assert!(cursor < next, "a heartbeat at {cursor} came before {next}");
        }
    }
    // A message that is larger than every buffer, read byte by byte at first.
    world.publish(1, 300_000);
    loop {
        let message = client.message().await;
        if message["seq"] == 401 {
            break;
        }
    }
}

#[tokio::test]
async fn a_lagging_client_is_told_where_to_resume_and_misses_nothing_by_it() {
    let live = LiveConfig { lag: Some(100), ..LiveConfig::default() };
    let world = World::with(small_buffers(), live);
    let mut slow = slow_client(&world, None).await;
    let mut quick = world.web_socket(None).await;
    slow.expect("stream.open").await;
    quick.expect("stream.open").await;
    for _ in 0..40 {
        world.publish(25, 500);
        let first = quick.message().await["seq"].as_u64().expect("a seq");
        quick.expect_events(first + 1, first + 24).await;
    }
    let mut last = 0;
    let resume_from = loop {
        let message = slow.message().await;
        if let Some(seq) = message["seq"].as_u64() {
            assert_eq!(seq, last + 1);
            last = seq;
        } else {
            assert_eq!(message["type"], "stream.lagged", "{message}");
            break message["resume_from"].as_str().expect("text").to_owned();
        }
    };
    assert_eq!(resume_from, format!("abcd2345:{last}"), "everything up to it came, nothing after it");
    slow.expect_close(4408).await;
    drop(slow);
    assert_eq!(world.ending().await, Ending::Closed(CloseCode::Lagged));
    assert_eq!(*world.log.lagged.lock(), 1);
    let mut again = world.web_socket(Some(last)).await;
    again.expect("stream.open").await;
    again.expect_events(last + 1, 1_000).await;
}

#[tokio::test]
async fn with_catch_up_a_slow_client_gets_everything_on_one_connection() {
    let live = LiveConfig {
        lag: Some(50),
        slow_clients: SlowClients::CatchUp,
        ring_events: 64,
        ..LiveConfig::default()
    };
    let world = World::with(small_buffers(), live);
    let mut slow = slow_client(&world, None).await;
    slow.expect("stream.open").await;
    for _ in 0..100 {
        world.publish(20, 400);
    }
    slow.expect_events(1, 2_000).await;
}

#[tokio::test]
async fn a_socket_that_takes_nothing_is_cut() {
    let live = LiveConfig { lag: None, ..LiveConfig::default() };
    let config = DeliveryConfig { stall: Duration::from_millis(200), ..small_buffers() };
    let world = World::with(config, live);
    let mut stuck = slow_client(&world, None).await;
    let mut quick = world.web_socket(None).await;
    quick.expect("stream.open").await;
    let started = Instant::now();
    world.publish(200, 2_000);
    quick.expect_events(1, 200).await;
    assert_eq!(world.ending().await, Ending::Stalled);
    assert!(started.elapsed() >= Duration::from_millis(200));
    // What the kernels held is whole frames and then the beginning of one, and no close.
    stuck.expect("stream.open").await;
    let mut last = 0;
    loop {
        match stuck.next().await {
            Frame::Text(message) => {
                last += 1;
                assert_eq!(message["seq"], last);
            }
            Frame::End | Frame::Reset => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(last < 200);
}

#[tokio::test]
async fn a_client_far_behind_does_not_hold_up_a_live_one() {
    let world = World::start();
    world.publish(50_000, 200);
    let mut behind = world.web_socket(Some(0)).await;
    let mut live = world.web_socket(None).await;
    behind.expect("stream.open").await;
    live.expect("stream.open").await;
    world.publish(1, 10);
    live.expect_events(50_001, 50_001).await;
    behind.expect_events(1, 50_001).await;
}

#[tokio::test]
async fn a_client_that_wants_no_more_of_what_its_socket_refused_is_not_stalled() {
    let live = LiveConfig { lag: None, ..LiveConfig::default() };
    let (stall, heartbeat) = (Duration::from_millis(400), Duration::from_millis(50));
    let world = World::with(DeliveryConfig { stall, heartbeat, ..small_buffers() }, live);
    let mut client = slow_client(&world, None).await;
    client.expect("stream.open").await;
    world.publish(200, 2_000);
    client.say(r#"{"op":"filter","types":["no.such"]}"#).await;
    while client.message().await["type"] != "stream.filter" {}
    // From here on nothing is due but heartbeats: it lives through more of them than a stall takes.
    for _ in 0..16 {
        client.expect("stream.heartbeat").await;
    }
    assert!(world.log.endings.lock().is_empty());
}

#[tokio::test]
async fn a_blocked_socket_is_cut_by_a_stall_that_is_set_later() {
    let live = LiveConfig { lag: None, ..LiveConfig::default() };
    let patient = DeliveryConfig { stall: Duration::from_hours(1), ..small_buffers() };
    let world = World::with(patient.clone(), live);
    let mut stuck = slow_client(&world, None).await;
    let mut quick = world.web_socket(None).await;
    stuck.expect("stream.open").await;
    quick.expect("stream.open").await;
    world.publish(200, 2_000);
    quick.expect_events(1, 200).await;
    world.delivery.configure(DeliveryConfig { stall: Duration::from_millis(1), ..patient });
    assert_eq!(world.ending().await, Ending::Stalled);
}
