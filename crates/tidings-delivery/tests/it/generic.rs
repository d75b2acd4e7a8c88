//! The same connections where there is no socket to give to a shard.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tidings_delivery::{CloseReason, DeliveryConfig, Ending, Protocol, Return};
use tidings_live::LiveConfig;

use crate::kit::{Client, Frame, PATIENCE, World, principal, until};
use tidings_core::Clock as _;

async fn served(world: &World, since: Option<u64>) -> Client<tokio::io::DuplexStream> {
    let stream = world.spec(since).await;
    serve(world, World::new_connection(Protocol::WebSocket(stream)))
}

fn serve(world: &World, new: tidings_delivery::NewConnection) -> Client<tokio::io::DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(3_000);
    let delivery = world.delivery.clone();
    tokio::spawn(async move { delivery.serve(ours, new).await });
    Client::new(theirs)
}

#[tokio::test]
async fn a_web_socket_over_any_stream_behaves_the_same() {
    let world = World::start();
    world.publish(2_000, 100);
    let mut client = served(&world, Some(0)).await;
    client.expect("stream.open").await;
    client.expect_events(1, 2_000).await;
    world.publish(3, 9_000);
    client.expect_events(2_001, 2_003).await;
    client.say(r#"{"op":"auth","token":"good:ana"}"#).await;
    client.expect("stream.auth").await;
    client.send_frame(0x89, b"hi").await;
    assert_eq!(client.next().await, Frame::Pong(b"hi".to_vec()));
    client.send_frame(0x88, &1000_u16.to_be_bytes()).await;
    assert_eq!(client.next().await, Frame::Close(Some(1000)));
    assert_eq!(client.next().await, Frame::End);
    drop(client);
    assert_eq!(world.ending().await, Ending::Client);
}

#[tokio::test]
async fn it_is_closed_by_expiry_by_order_and_by_a_drain() {
    let world = World::start();
    let stream = world.spec(None).await;
    let mut new = World::new_connection(Protocol::WebSocket(stream));
    new.principal = principal("ana", Some(world.clock.now() + Duration::from_millis(100)));
    let mut expiring = serve(&world, new);
    expiring.expect("stream.open").await;
    expiring.expect_close(4401).await;
    let mut revoked = served(&world, None).await;
    revoked.expect("stream.open").await;
    world.delivery.close_where(|_| true, CloseReason::revoked());
    revoked.expect_close(4401).await;
    let mut drained = served(&world, None).await;
    drained.expect("stream.open").await;
    drop((expiring, revoked));
    let delivery = world.delivery.clone();
    let drain = tokio::spawn(async move { delivery.drain(Duration::from_secs(10), Return::Elsewhere).await });
    drained.expect_close(1012).await;
    drop(drained);
    drain.await.expect("drains");
}

#[tokio::test]
async fn one_that_stalls_is_cut() {
    let config = DeliveryConfig { shards: 1, stall: Duration::from_millis(150), ..DeliveryConfig::default() };
    let world = World::with(config, LiveConfig { lag: None, ..LiveConfig::default() });
    let client = served(&world, None).await;
    until("the connection", || (world.delivery.connections() == 1).then_some(())).await;
    world.publish(100, 1_000);
    assert_eq!(world.ending().await, Ending::Stalled);
    drop(client);
}

#[tokio::test]
async fn an_sse_body_yields_records_and_ends() {
    let world = World::start();
    world.publish(2, 10);
    let stream = world.spec(Some(0)).await;
    let mut body = Box::pin(world.delivery.sse_stream(World::new_connection(Protocol::Sse(stream))));
    let mut text = String::new();
    while !text.contains("\"seq\":2,") {
        let chunk = tokio::time::timeout(PATIENCE, body.next())
            .await
            .expect("in time")
            .expect("more")
            .expect("bytes");
        text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
    }
    assert!(
        text.contains("event: stream.open\n") && text.contains("\nid: abcd2345:2\nevent: note.created\n"),
        "{text}"
    );
    world.delivery.close_where(|_| true, CloseReason::revoked());
    while let Some(Ok(chunk)) = tokio::time::timeout(PATIENCE, body.next()).await.expect("in time") {
        text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
    }
    assert!(text.trim_end().lines().last().is_some_and(|l| l.contains("stream.closing")), "{text}");
    drop(body);
    until("the end", || (world.delivery.connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn dropping_an_sse_body_ends_its_connection() {
    let world = World::start();
    let stream = world.spec(None).await;
    let body = world.delivery.sse_stream(World::new_connection(Protocol::Sse(stream)));
    assert_eq!(world.delivery.connections(), 1);
    drop(body);
    until("the end", || (world.delivery.connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_reset_is_told_before_a_heartbeat_that_is_due_with_it() {
    const HEARTBEAT: Duration = Duration::from_millis(20);
    let config = DeliveryConfig { shards: 1, heartbeat: HEARTBEAT, ..DeliveryConfig::default() };
    let world = World::with(config, LiveConfig { ring_events: 4, ..LiveConfig::default() });
    world.publish(20, 10);
    let stream = world.spec(Some(2)).await;
    // The feed does not know: what was asked for is gone by the time it is read.
    world.store.retain(11);
    world.store.hold();
    let mut client = serve(&world, World::new_connection(Protocol::WebSocket(stream)));
    client.expect("stream.open").await;
    world.store.is_read().await;
    world.store.let_go();
    // The runtime is this thread: while it waits here, page and heartbeat become due together.
    let due = Instant::now() + HEARTBEAT * 3;
    while Instant::now() < due {
        std::hint::spin_loop();
    }
    let reset = loop {
        let message = client.message().await;
        if message["type"] != "stream.heartbeat" {
            break message;
        }
        assert_eq!(message["cursor"], "abcd2345:2", "nothing else was told yet");
    };
    assert_eq!((&reset["type"], &reset["oldest"]), (&"stream.reset".into(), &11.into()), "{reset}");
}
