//! How connections end.

use std::time::Duration;

use tidings_delivery::{CloseCode, CloseReason, DeliveryConfig, Ending, Protocol, Return};
use tidings_live::LiveConfig;

use crate::kit::{Frame, World, pair, tenant, until};

#[tokio::test]
async fn a_drain_sends_everyone_away_with_1012_and_different_hints() {
    let world = World::start();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = world.web_socket(None).await;
        client.expect("stream.open").await;
        clients.push(client);
    }
    let delivery = world.delivery.clone();
    let drained =
        tokio::spawn(async move { delivery.drain(Duration::from_secs(15), Return::Elsewhere).await });
    let mut hints = Vec::new();
    for mut client in clients {
        let closing = client.expect_close(1012).await;
        hints.push(closing["reconnect_after_ms"].as_u64().expect("a hint"));
    }
    drained.await.expect("drains");
    assert_eq!(world.delivery.connections(), 0);
    assert!(hints.iter().all(|ms| (500..=1_500).contains(ms)), "{hints:?}");
    hints.sort_unstable();
    hints.dedup();
    assert!(hints.len() > 10, "the hints are jittered: {hints:?}");
    let endings = world.log.endings.lock();
    assert!(endings.iter().all(|e| *e == Ending::Closed(CloseCode::Restart)), "{endings:?}");
}

#[tokio::test]
async fn who_comes_while_it_drains_is_sent_away() {
    let world = World::start();
    world.delivery.drain(Duration::from_secs(1), Return::Elsewhere).await;
    let mut client = world.web_socket(None).await;
    client.expect("stream.open").await;
    client.expect_close(1012).await;
}

#[tokio::test]
async fn a_drain_cuts_who_does_not_go() {
    let config =
        DeliveryConfig { shards: 1, close_drain: Duration::from_mins(10), ..DeliveryConfig::default() };
    let world = World::with(config, LiveConfig::default());
    let mut client = world.web_socket(None).await;
    client.expect("stream.open").await;
    // It gets the close but never closes its side.
    world.delivery.drain(Duration::from_millis(300), Return::Elsewhere).await;
    assert_eq!(world.delivery.connections(), 0);
    client.expect_close(1012).await;
}

#[tokio::test]
async fn after_its_close_a_client_is_read_on_so_that_the_reason_arrives() {
    let world = World::start();
    let mut client = world.web_socket(None).await;
    client.expect("stream.open").await;
    world.delivery.close_where(|_| true, CloseReason::revoked());
    // Unread input would make the kernel reset the connection and take the reason with it.
    client.send_frame(0x81, &vec![b'x'; 60_000]).await;
    client.expect_close(4401).await;
}

#[tokio::test]
async fn a_connection_that_was_revoked_while_it_opened_is_closed() {
    let world = World::start();
    let stream = world.spec(None).await;
    let new = World::new_connection(Protocol::WebSocket(stream));
    world.delivery.close_where(|info| info.tenant == Some(tenant()), CloseReason::revoked());
    let mut early = world.attach(new, None).await;
    early.expect("stream.open").await;
    early.expect_close(4401).await;
    let mut later = world.web_socket(None).await;
    later.expect("stream.open").await;
    world.publish(1, 10);
    later.expect_events(1, 1).await;
}

#[tokio::test]
async fn one_that_opens_while_too_much_is_closed_to_remember_is_to_come_again() {
    let world = World::start();
    let stream = world.spec(None).await;
    let new = World::new_connection(Protocol::WebSocket(stream));
    for _ in 0..=1_024 {
        world.delivery.close_where(|_| false, CloseReason::revoked());
    }
    let mut early = world.attach(new, None).await;
    early.expect("stream.open").await;
    early.expect_close(1013).await;
    let mut later = world.web_socket(None).await;
    later.expect("stream.open").await;
    world.publish(1, 10);
    later.expect_events(1, 1).await;
}

#[tokio::test]
async fn a_tenant_that_is_closed_ends_its_streams() {
    let world = World::start();
    let mut client = world.web_socket(None).await;
    client.expect("stream.open").await;
    world.hub.close_feed(&tenant());
    client.expect_close(4403).await;
}

#[tokio::test]
async fn a_tenant_with_another_epoch_sends_its_clients_to_connect_again() {
    let world = World::start();
    let mut client = world.web_socket(None).await;
    client.expect("stream.open").await;
    world.hub.renew_feed(&tenant());
    client.expect_close(1012).await;
}

#[tokio::test]
async fn a_client_that_goes_away_frees_its_place() {
    struct Dropped(std::sync::Arc<std::sync::atomic::AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let world = World::start();
    let dropped = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stream = world.spec(None).await;
    let mut new = World::new_connection(Protocol::WebSocket(stream));
    new.slot = Box::new(Dropped(dropped.clone()));
    let mut client = world.attach(new, None).await;
    client.expect("stream.open").await;
    assert!(!dropped.load(std::sync::atomic::Ordering::SeqCst));
    drop(client);
    until("the place", || dropped.load(std::sync::atomic::Ordering::SeqCst).then_some(())).await;
    assert_eq!(world.ending().await, Ending::Client);
}

#[tokio::test]
async fn dropping_the_delivery_ends_everything() {
    let world = World::start();
    let mut client = world.web_socket(None).await;
    client.expect("stream.open").await;
    let (ours, theirs) = pair(None).await;
    let stream = world.spec(None).await;
    let new = World::new_connection(Protocol::WebSocket(stream));
    let delivery = world.delivery.clone();
    let task = tokio::spawn(async move { delivery.serve(ours, new).await });
    let mut generic = crate::kit::Client::new(theirs);
    generic.expect("stream.open").await;
    task.abort();
    drop(world);
    assert!(matches!(client.next().await, Frame::End | Frame::Reset));
    assert!(matches!(generic.next().await, Frame::End | Frame::Reset));
}

#[tokio::test]
async fn a_panic_in_one_connection_costs_that_one_alone() {
    let world = World::start();
    let mut unlucky = world.web_socket(None).await;
    let mut other = world.web_socket(None).await;
    unlucky.expect("stream.open").await;
    other.expect("stream.open").await;
    unlucky.say(r#"{"op":"auth","token":"panic"}"#).await;
    assert!(matches!(unlucky.next().await, Frame::End | Frame::Reset));
    assert_eq!(world.ending().await, Ending::Panicked);
    world.publish(3, 10);
    other.expect_events(1, 3).await;
    let mut next = world.web_socket(Some(0)).await;
    next.expect("stream.open").await;
    next.expect_events(1, 3).await;
}
