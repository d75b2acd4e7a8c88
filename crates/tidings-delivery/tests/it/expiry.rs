//! What time does to a connection.

use std::time::Duration;

use tidings_core::{Clock as _, CredentialId, KeyId};
use tidings_delivery::{CloseReason, DeliveryConfig, Ending, Protocol};
use tidings_live::LiveConfig;

use crate::kit::{Client, Frame, HELD_ASKED, HELD_GO, World, principal};

async fn expiring(world: &World, after: Duration) -> Client {
    let stream = world.spec(None).await;
    let mut new = World::new_connection(Protocol::WebSocket(stream));
    new.principal = principal("ana", Some(world.clock.now() + after));
    let mut client = world.attach(new, None).await;
    client.expect("stream.open").await;
    client
}

#[tokio::test]
async fn a_connection_ends_with_its_credential() {
    let world = World::start();
    let mut client = expiring(&world, Duration::from_millis(200)).await;
    let mut other = expiring(&world, Duration::from_hours(1)).await;
    client.expect_close(4401).await;
    world.publish(1, 10);
    other.expect_events(1, 1).await;
}

#[tokio::test]
async fn a_refresh_in_band_prolongs_it() {
    let world = World::start();
    let mut client = expiring(&world, Duration::from_millis(300)).await;
    client.say(r#"{"op":"auth","token":"good:ana"}"#).await;
    assert!(client.expect("stream.auth").await["expires_at"].is_string());
    let mut witness = expiring(&world, Duration::from_millis(400)).await;
    witness.expect_close(4401).await;
    world.publish(1, 10);
    client.expect_events(1, 1).await;
}

#[tokio::test]
async fn a_new_credential_that_is_revoked_while_it_is_judged_ends_it() {
    let world = World::start();
    let mut client = expiring(&world, Duration::from_hours(1)).await;
    client.say(r#"{"op":"auth","token":"held"}"#).await;
    HELD_ASKED.notified().await;
    let new = CredentialId::Key(KeyId::from_bytes([8; 16]));
    world.delivery.close_where(move |info| info.principal.credential == new, CloseReason::revoked());
    HELD_GO.notify_one();
    client.expect("stream.auth").await;
    client.expect_close(4401).await;
}

#[tokio::test]
async fn a_refresh_that_does_not_count_leaves_the_old_credential() {
    let world = World::start();
    let mut client = expiring(&world, Duration::from_millis(500)).await;
    for (token, status) in [("forged", 401), ("down", 503)] {
        client.say(&format!(r#"{{"op":"auth","token":"{token}"}}"#)).await;
        assert_eq!(client.expect("stream.error").await["problem"]["status"], status);
    }
    client.expect_close(4401).await;
}

#[tokio::test]
async fn a_refresh_that_changes_the_user_is_forbidden() {
    let world = World::start();
    let mut client = expiring(&world, Duration::from_mins(1)).await;
    client.say(r#"{"op":"auth","token":"good:ben"}"#).await;
    client.expect_close(4403).await;
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed_and_one_that_answers_lives_on() {
    let config = DeliveryConfig {
        shards: 1,
        ping_interval: Some(Duration::from_millis(50)),
        pong_deadline: Duration::from_millis(150),
        ..DeliveryConfig::default()
    };
    let world = World::with(config, LiveConfig::default());
    let mut silent = world.web_socket(None).await;
    silent.expect("stream.open").await;
    let mut lively = world.web_socket(None).await;
    lively.expect("stream.open").await;
    for _ in 0..6 {
        assert_eq!(lively.next().await, Frame::Ping);
        lively.send_frame(0x8A, b"").await;
    }
    silent.expect_close(1001).await;
    drop(silent);
    assert_eq!(world.ending().await, Ending::Silent);
    assert_eq!(lively.next().await, Frame::Ping);
}

#[tokio::test]
async fn an_idle_client_is_closed_where_pings_are_off() {
    let config = DeliveryConfig {
        shards: 1,
        ping_interval: None,
        idle_timeout: Some(Duration::from_millis(150)),
        ..DeliveryConfig::default()
    };
    let world = World::with(config, LiveConfig::default());
    let mut idle = world.web_socket(None).await;
    idle.expect("stream.open").await;
    let stream = world.spec(None).await;
    let mut sse = world.attach(World::new_connection(Protocol::Sse(stream)), None).await;
    idle.expect_close(1001).await;
    world.publish(1, 10);
    // An SSE client never sends anything, and is not idle for that.
    let mut text = String::new();
    while !text.contains("event: note.created") {
        let mut buffer = [0; 1_024];
        let n = tokio::io::AsyncReadExt::read(&mut sse.io, &mut buffer).await.expect("reads");
        assert!(n > 0, "it was closed: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
}
