//! What clients are told while the store is out of reach.

use std::time::Duration;

use serde_json::Value;
use tidings_core::{Clock as _, Timestamp};
use tidings_delivery::{CloseCode, DeliveryConfig, Ending, Protocol};
use tidings_live::LiveConfig;
use tokio::io::AsyncReadExt as _;

use crate::kit::{Client, PATIENCE, World, pair};

fn world(close: Duration) -> World {
    let live = LiveConfig { stale: Duration::from_millis(200), stale_close: close, ..LiveConfig::default() };
    let heartbeat = Duration::from_millis(100);
    World::shared(DeliveryConfig { shards: 1, heartbeat, ..DeliveryConfig::default() }, live)
}

const LONG: Duration = Duration::from_mins(10);

/// Passes over messages of other types, which must be of `passed`.
async fn skip_to(client: &mut Client, message_type: &str, passed: &str) -> Value {
    loop {
        let message = client.message().await;
        if message["type"] == message_type {
            return message;
        }
        assert_eq!(message["type"], passed, "{message}");
    }
}

fn as_of(message: &Value) -> Timestamp {
    Timestamp::parse(message["as_of"].as_str().expect("a time")).expect("a time")
}

#[tokio::test]
async fn a_stale_stream_says_so_in_place_of_heartbeats_until_it_is_confirmed() {
    let world = world(LONG);
    world.publish(2, 10);
    let mut client = world.web_socket(None).await;
    client.expect("stream.open").await;
    client.expect("stream.heartbeat").await;
    world.set_down(true);
    let before = world.clock.now();
    let first = skip_to(&mut client, "stream.stale", "stream.heartbeat").await;
    assert!(as_of(&first) <= world.clock.now() && before.since(as_of(&first)) < PATIENCE, "{first}");
    for _ in 0..3 {
        let next = client.expect("stream.stale").await;
        assert!(
            as_of(&next).since(as_of(&first)) < Duration::from_millis(20),
            "nothing new is known: {next}"
        );
    }
    world.publish(1, 10);
    skip_to(&mut client, "note.created", "stream.stale").await;
    world.set_down(false);
    let beat = skip_to(&mut client, "stream.heartbeat", "stream.stale").await;
    assert_eq!(beat["cursor"], "abcd2345:3");
    client.expect("stream.heartbeat").await;
}

#[tokio::test]
async fn who_comes_to_a_stale_feed_is_told_at_once() {
    let world = world(LONG);
    let mut first = world.web_socket(None).await;
    first.expect("stream.open").await;
    world.set_down(true);
    skip_to(&mut first, "stream.stale", "stream.heartbeat").await;
    let mut second = world.web_socket(None).await;
    second.expect("stream.open").await;
    second.expect("stream.stale").await;
}

#[tokio::test]
async fn what_stays_stale_is_closed_with_1013_and_different_hints() {
    let world = world(Duration::from_millis(600));
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(world.web_socket(None).await);
    }
    for client in &mut clients {
        client.expect("stream.open").await;
    }
    world.set_down(true);
    let mut hints = Vec::new();
    for mut client in clients {
        skip_to(&mut client, "stream.stale", "stream.heartbeat").await;
        let closing = skip_to(&mut client, "stream.closing", "stream.stale").await;
        assert_eq!(closing["code"], 1013, "{closing}");
        hints.push(closing["reconnect_after_ms"].as_u64().expect("a hint"));
    }
    assert!(hints.iter().all(|ms| (500..=1_500).contains(ms)), "{hints:?}");
    hints.sort_unstable();
    hints.dedup();
    assert!(hints.len() > 10, "the hints are jittered: {hints:?}");
    assert_eq!(world.ending().await, Ending::Closed(CloseCode::TryLater));
    world.set_down(false);
    world.publish(1, 10);
    let mut back = world.web_socket(Some(0)).await;
    back.expect("stream.open").await;
    back.expect_events(1, 1).await;
}

#[tokio::test]
async fn on_sse_a_stale_record_does_not_move_the_id() {
    let world = world(Duration::from_millis(600));
    world.publish(1, 10);
    let (ours, mut theirs) = pair(None).await;
    let new = World::new_connection(Protocol::Sse(world.spec(None).await));
    world.delivery.attach(ours.into_std().expect("a socket"), new);
    world.set_down(true);
    let mut text = String::new();
    let read = tokio::time::timeout(PATIENCE, theirs.read_to_string(&mut text)).await;
    read.expect("it is closed").expect("it is text");
    let records: Vec<&str> = text.split("\n\n").filter(|r| r.contains("stream.stale")).collect();
    assert!(!records.is_empty(), "{text}");
    for record in records {
        let lines: Vec<_> = record.lines().collect();
        assert_eq!((lines.len(), lines[0]), (2, "event: stream.stale"), "{record}");
        assert!(lines[1].starts_with(r#"data: {"type":"stream.stale","as_of":""#), "{record}");
    }
    let closing = text.split("\n\n").find(|r| r.contains("stream.closing")).expect("a reason");
    assert!(closing.contains("retry: ") && closing.contains("\"code\":1013"), "{closing}");
}

#[tokio::test]
async fn where_one_server_alone_writes_a_store_that_does_not_answer_is_no_reason() {
    let heartbeat = Duration::from_millis(50);
    let live = LiveConfig {
        stale: Duration::from_millis(50),
        stale_close: Duration::from_millis(100),
        ..LiveConfig::default()
    };
    let world = World::with(DeliveryConfig { shards: 1, heartbeat, ..DeliveryConfig::default() }, live);
    let mut client = world.web_socket(None).await;
    client.expect("stream.open").await;
    world.set_down(true);
    for _ in 0..8 {
        client.expect("stream.heartbeat").await;
    }
}
