//! What clients send, well-formed and not.

use std::time::Duration;

use serde_json::json;
use tidings_delivery::{CloseCode, DeliveryConfig, Ending, MessageLimit, Protocol};
use tidings_live::LiveConfig;

use crate::kit::{Frame, World};

#[tokio::test]
async fn pings_of_both_kinds_are_answered() {
    let world = World::start();
    let mut client = world.web_socket(None).await;
    client.expect("stream.open").await;
    client.send_frame(0x89, b"are you there").await;
    assert_eq!(client.next().await, Frame::Pong(b"are you there".to_vec()));
    client.say(r#"{"op":"ping"}"#).await;
    client.expect("stream.pong").await;
}

#[tokio::test]
async fn what_came_with_the_handshake_counts() {
    let world = World::start();
    let stream = world.spec(None).await;
    let mut new = World::new_connection(Protocol::WebSocket(stream));
    new.received = bytes::Bytes::from_static(&[0x89, 0x80, 1, 2, 3, 4]);
    let mut client = world.attach(new, None).await;
    client.expect("stream.open").await;
    assert_eq!(client.next().await, Frame::Pong(Vec::new()));
}

#[tokio::test]
async fn a_filter_change_keeps_the_cursor() {
    let world = World::start();
    let mut client = world.web_socket(None).await;
    client.expect("stream.open").await;
    world.publish(2, 10);
    client.expect_events(1, 2).await;
    client.say(r#"{"op":"filter","filter":{"types":["page.*"]}}"#).await;
    assert_eq!(client.expect("stream.filter").await["cursor"], "abcd2345:2");
    world.publish(2, 10);
    world.publish_as("page.turned", 1, 10);
    client.expect_events(5, 5).await;
    client.say(r#"{"op":"filter"}"#).await;
    assert_eq!(client.expect("stream.filter").await["filter"], json!({}));
    world.publish(1, 10);
    client.expect_events(6, 6).await;
}

#[tokio::test]
async fn what_is_not_understood_is_told_and_the_tenth_time_ends_it() {
    let world = World::start();
    let mut client = world.web_socket(None).await;
    client.expect("stream.open").await;
    let cases = [
        (0x81, &b"{"[..], "malformed-json", 400),
        (0x81, br#"{"op":"shout"}"#, "invalid-body", 422),
        (0x81, br#"{"op":"filter","colour":"red"}"#, "bad-filter", 400),
        (0x81, br#"{"op":"auth","token":"forged"}"#, "unauthorized", 401),
        (0x82, &[1, 2, 3], "unsupported-media-type", 415),
    ];
    for (first, payload, slug, status) in cases {
        client.send_frame(first, payload).await;
        let error = client.expect("stream.error").await;
        assert_eq!(error["problem"]["type"], format!("urn:tidings:problem:{slug}"));
        assert_eq!(error["problem"]["status"], status);
        assert!(error["problem"]["detail"].is_string() && error["problem"]["title"].is_string());
    }
    world.publish(1, 10);
    client.expect_events(1, 1).await;
    for _ in 0..5 {
        client.say("nonsense").await;
        client.expect("stream.error").await;
    }
    client.expect_close(1008).await;
}

#[tokio::test]
async fn a_broken_protocol_gets_its_code() {
    let world = World::start();
    let cases: [(&str, Vec<u8>, u16); 4] = [
        ("unmasked", vec![0x81, 2, b'h', b'i'], 1002),
        ("reserved bits", vec![0xC1, 0x80, 0, 0, 0, 0], 1002),
        ("not UTF-8", vec![0x81, 0x81, 0, 0, 0, 0, 0xFF], 1007),
        ("2 MiB by header", [&[0x82, 0xFF, 0, 0, 0, 0, 0, 0x20, 0, 0][..], &[0; 4]].concat(), 1009),
    ];
    let mut canary = world.web_socket(None).await;
    canary.expect("stream.open").await;
    for (name, bytes, code) in cases {
        let mut client = world.web_socket(None).await;
        client.expect("stream.open").await;
        client.send_raw(&bytes).await;
        let closing = client.expect_close(code).await;
        assert!(closing["reason"].is_string(), "{name}");
    }
    world.publish(1, 10);
    canary.expect_events(1, 1).await;
}

#[tokio::test]
async fn too_many_messages_are_told_once_and_then_end_it() {
    let limit = MessageLimit { rate: "1/h".parse().expect("a rate"), burst: 5 };
    let config = DeliveryConfig { shards: 1, messages: Some(limit), ..DeliveryConfig::default() };
    let world = World::with(config, LiveConfig::default());
    let mut client = world.web_socket(None).await;
    client.expect("stream.open").await;
    for _ in 0..11 {
        client.say(r#"{"op":"ping"}"#).await;
    }
    for _ in 0..5 {
        client.expect("stream.pong").await;
    }
    assert_eq!(client.expect("stream.error").await["problem"]["status"], 429);
    client.expect_close(4429).await;
    drop(client);
    assert_eq!(world.ending().await, Ending::Closed(CloseCode::RateLimited));
}

#[tokio::test]
async fn a_message_that_is_not_finished_in_time_ends_the_connection() {
    let config = DeliveryConfig {
        shards: 1,
        message_timeout: Duration::from_millis(200),
        ..DeliveryConfig::default()
    };
    let world = World::with(config, LiveConfig::default());
    let mut fragment = world.web_socket(None).await;
    let mut header = world.web_socket(None).await;
    let mut whole = world.web_socket(None).await;
    for client in [&mut fragment, &mut header, &mut whole] {
        client.expect("stream.open").await;
    }
    fragment.send_frame(0x01, b"{\"op\":").await;
    // A ping between fragments is answered, and gives no more time.
    fragment.send_frame(0x89, b"x").await;
    assert_eq!(fragment.next().await, Frame::Pong(b"x".to_vec()));
    header.send_raw(&[0x81, 0xFE, 1]).await;
    let closings = tokio::spawn(async move {
        for mut client in [fragment, header] {
            let closing = client.expect_close(1008).await;
            assert_eq!(closing["reason"], "a message was not finished in time");
        }
    });
    // One that finishes its messages goes on beyond that time.
    while !closings.is_finished() {
        whole.send_frame(0x01, b"{\"op\":").await;
        whole.send_frame(0x80, b"\"ping\"}").await;
        whole.expect("stream.pong").await;
    }
    closings.await.expect("both were closed");
    whole.send_frame(0x89, b"").await;
    assert_eq!(whole.next().await, Frame::Pong(Vec::new()));
}

#[tokio::test]
async fn a_clients_close_is_echoed() {
    let world = World::start();
    for (payload, code) in
        [(&1000_u16.to_be_bytes()[..], Some(1000)), (&[], None), (&4999_u16.to_be_bytes(), Some(4999))]
    {
        let mut client = world.web_socket(None).await;
        client.expect("stream.open").await;
        client.send_frame(0x88, payload).await;
        assert_eq!(client.next().await, Frame::Close(code));
        assert_eq!(client.next().await, Frame::End);
        drop(client);
        assert_eq!(world.ending().await, Ending::Client);
    }
}

#[tokio::test]
async fn an_echo_sends_back_what_it_gets_and_nothing_else() {
    let config = DeliveryConfig {
        shards: 1,
        heartbeat: Duration::from_millis(5),
        ping_interval: Some(Duration::from_millis(5)),
        ..DeliveryConfig::default()
    };
    let world = World::with(config, LiveConfig::default());
    let mut client = world.attach(World::new_connection(Protocol::Echo), None).await;
    let large = "€".repeat(200_000);
    for _ in 0..100 {
        client.say("\"hello\"").await;
        assert_eq!(client.next().await, Frame::Text(json!("hello")));
    }
    client.send_frame(0x82, &[0, 1, 2]).await;
    assert_eq!(client.next().await, Frame::Binary(vec![0, 1, 2]));
    client.send_frame(0x01, &large.as_bytes()[..100_001]).await;
    client.send_frame(0x80, &large.as_bytes()[100_001..]).await;
    assert_eq!(client.next().await, Frame::Raw(large));
    client.send_frame(0x83, b"").await;
    assert_eq!(client.next().await, Frame::Close(Some(1002)), "no stream.closing before it");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_read_no_more() {
    let config =
        DeliveryConfig { shards: 1, messages: None, send_buffer_bytes: 4_096, ..DeliveryConfig::default() };
    let world = World::with(config, LiveConfig::default());
    let stream = world.spec(None).await;
    let mut client = world.attach(World::new_connection(Protocol::WebSocket(stream)), Some(4_096)).await;
    let ping = crate::kit::masked_ping();
    let flood = ping.repeat(10_000);
    let mut sent = 0;
    // The server stops reading, so that sending blocks: what it holds is bounded.
    loop {
        let write = tokio::io::AsyncWriteExt::write(&mut client.io, &flood);
        match tokio::time::timeout(Duration::from_millis(300), write).await {
            Ok(n) => sent += n.expect("sends"),
            Err(_) => break,
        }
        assert!(sent < 512 << 20, "the server goes on reading");
    }
    client.expect("stream.open").await;
    for _ in 0..sent / ping.len() {
        assert_eq!(client.next().await, Frame::Pong(vec![7; 100]), "every one is answered in the end");
    }
}

#[tokio::test]
async fn a_live_connection_goes_on_under_new_bounds_and_keeps_its_heartbeat() {
    let config = DeliveryConfig {
        shards: 1,
        heartbeat: Duration::from_hours(1),
        ping_interval: None,
        ..DeliveryConfig::default()
    };
    let world = World::with(config.clone(), LiveConfig::default());
    let mut old = world.web_socket(None).await;
    assert_eq!(old.expect("stream.open").await["heartbeat_s"], 3_600);
    old.say(&format!(r#"{{"op":"ping"}}{}"#, " ".repeat(2_000))).await;
    old.expect("stream.pong").await;
    let (heartbeat, ping) = (Duration::from_millis(15), Duration::from_millis(10));
    world.delivery.configure(DeliveryConfig {
        heartbeat,
        ping_interval: Some(ping),
        frame_bytes: 1_024,
        ..config
    });
    for _ in 0..4 {
        assert_eq!(old.next().await, Frame::Ping, "no heartbeat was promised so soon");
        old.send_frame(0x8A, b"").await;
    }
    let mut new = world.web_socket(None).await;
    assert_eq!(new.expect("stream.open").await["heartbeat_s"], 0.015);
    new.expect("stream.heartbeat").await;
    old.say(&format!(r#"{{"op":"ping"}}{}"#, " ".repeat(2_000))).await;
    loop {
        match old.next().await {
            Frame::Ping => {}
            Frame::Text(closing) => {
                assert_eq!(closing["code"], 1009, "{closing}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}
