//! What a client that listens gets.

use std::time::Duration;

use tidings_delivery::{ConnectionKind, DeliveryConfig, Protocol};
use tidings_live::LiveConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::kit::{PATIENCE, World, until};

#[tokio::test]
async fn a_stream_opens_and_carries_every_event_in_order() {
    let world = World::start();
    world.publish(3, 10);
    let mut client = world.web_socket(None).await;
    let open = client.expect("stream.open").await;
    assert_eq!(
        (&open["epoch"], &open["head"], &open["oldest"], &open["heartbeat_s"]),
        (&"abcd2345".into(), &3.into(), &1.into(), &15.into())
    );
    assert_eq!(open["connection_id"].as_str().map(str::len), Some(32));
    world.publish(500, 300);
    client.expect_events(4, 503).await;
    until("the count", || (*world.log.messages.lock() == 500).then_some(())).await;
}

#[tokio::test]
async fn what_is_committed_before_and_after_the_connection_meets_without_a_seam() {
    let world = World::start();
    world.publish(5_000, 50);
    let mut early = world.web_socket(Some(0)).await;
    world.publish(100, 50);
    let mut late = world.web_socket(Some(4_990)).await;
    early.expect("stream.open").await;
    late.expect("stream.open").await;
    early.expect_events(1, 5_100).await;
    late.expect_events(4_991, 5_100).await;
    world.publish(1, 50);
    early.expect_events(5_101, 5_101).await;
    late.expect_events(5_101, 5_101).await;
}

#[tokio::test]
async fn a_cursor_that_does_not_fit_is_told_and_the_stream_goes_on_from_the_oldest() {
    let world = World::start();
    world.publish(2, 10);
    let mut client = world.web_socket(Some(900)).await;
    client.expect("stream.open").await;
    let reset = client.expect("stream.reset").await;
    assert_eq!((&reset["reason"], &reset["oldest"]), (&"ahead".into(), &1.into()));
    client.expect_events(1, 2).await;
}

#[tokio::test]
async fn many_clients_on_two_shards_get_the_same() {
    let config = DeliveryConfig { shards: 2, ..DeliveryConfig::default() };
    let world = World::with(config, LiveConfig::default());
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(world.web_socket(None).await);
    }
    for client in &mut clients {
        client.expect("stream.open").await;
    }
    for _ in 0..20 {
        world.publish(25, 200);
    }
    for client in &mut clients {
        client.expect_events(1, 500).await;
    }
    // Clients that leave take nobody else with them.
    clients.truncate(7);
    until("33 endings", || (world.log.endings.lock().len() == 33).then_some(())).await;
    world.publish(10, 200);
    for client in &mut clients {
        client.expect_events(501, 510).await;
    }
}

#[tokio::test]
async fn a_heartbeat_carries_how_far_the_filter_has_judged() {
    let config =
        DeliveryConfig { shards: 1, heartbeat: Duration::from_millis(60), ..DeliveryConfig::default() };
    let world = World::with(config, LiveConfig::default());
    let mut client = world.web_socket(None).await;
    client.expect("stream.open").await;
    client.say(r#"{"op":"filter","types":"page.*"}"#).await;
    loop {
        let message = client.message().await;
        if message["type"] == "stream.filter" {
            assert_eq!(message["filter"], serde_json::json!({"types": ["page.*"]}));
            assert_eq!(message["cursor"], "abcd2345:0");
            break;
        }
    }
    world.publish(7, 10);
    world.publish_as("page.turned", 1, 10);
    world.publish(5, 10);
    let mut seen = 0;
    loop {
        let message = client.message().await;
        match message["type"].as_str() {
            Some("page.turned") => {
                assert_eq!(message["seq"], 8);
                seen = 8;
            }
            Some("stream.heartbeat") => {
                let cursor: u64 = message["cursor"].as_str().expect("text")[9..].parse().expect("a seq");
                assert!(cursor < 8 || seen == 8, "a heartbeat passed an event that had not come");
                if cursor == 13 {
                    assert_eq!(message["head"], 13);
                    break;
                }
            }
            _ => panic!("{message}"),
        }
    }
}

#[tokio::test]
async fn sse_carries_records_with_their_cursors_in_chunks_and_ends_them() {
    let world = World::start();
    world.publish(1, 10);
    let stream = world.spec(Some(0)).await;
    let mut client = world.attach(World::new_connection(Protocol::ChunkedSse(stream)), None).await;
    // An SSE client has nothing to say; what it sends is thrown away.
    client.io.write_all(b"GET /next HTTP/1.1\r\n\r\n").await.expect("sends");
    let mut text = String::new();
    let mut buffer = [0; 4_096];
    while !text.contains("event: note.created") {
        let n = client.io.read(&mut buffer).await.expect("reads");
        text.push_str(std::str::from_utf8(&buffer[..n]).expect("UTF-8"));
    }
    world
        .delivery
        .close_where(|info| info.kind == ConnectionKind::Sse, tidings_delivery::CloseReason::revoked());
    tokio::time::timeout(PATIENCE, client.io.read_to_string(&mut text))
        .await
        .expect("in time")
        .expect("reads");
    let body = unchunk(&text);
    let records: Vec<&str> = body.split_terminator("\n\n").collect();
    assert!(
        records[0]
            .starts_with("retry: 2000\nid: abcd2345:0\nevent: stream.open\ndata: {\"type\":\"stream.open\""),
        "{}",
        records[0]
    );
    assert!(
        records[1].starts_with("id: abcd2345:1\nevent: note.created\ndata: {\"seq\":1,"),
        "{}",
        records[1]
    );
    assert!(
        records[2].starts_with("event: stream.closing\ndata: {\"type\":\"stream.closing\",\"code\":4401"),
        "{}",
        records[2]
    );
    assert_eq!(records.len(), 3);
}

/// The body of a whole chunked coding; its end must be there.
fn unchunk(mut text: &str) -> String {
    let mut body = String::new();
    loop {
        let (size, rest) = text.split_once("\r\n").expect("a chunk's size");
        let size = usize::from_str_radix(size, 16).expect("hexadecimal");
        body.push_str(&rest[..size]);
        text = rest[size..].strip_prefix("\r\n").expect("a chunk's end");
        if size == 0 {
            assert_eq!(text, "", "nothing follows the last chunk");
            return body;
        }
    }
}

#[tokio::test]
async fn a_cursor_ahead_of_the_log_is_not_given_back_as_a_place_in_it() {
    let world = World::start();
    world.publish(2, 10);
    let stream = world.spec(Some(99)).await;
    let mut client = world.attach(World::new_connection(Protocol::ChunkedSse(stream)), None).await;
    let mut text = String::new();
    let mut buffer = [0; 4_096];
    while !text.contains("\"seq\":1,") {
        let read = tokio::time::timeout(PATIENCE, client.io.read(&mut buffer)).await.expect("in time");
        text.push_str(std::str::from_utf8(&buffer[..read.expect("reads")]).expect("UTF-8"));
    }
    let open = text.split("\n\n").next().expect("a record");
    assert!(open.contains("event: stream.open") && !open.contains("id: "), "{text}");
    assert!(text.contains("id: abcd2345:0\nevent: stream.reset"), "{text}");
}
