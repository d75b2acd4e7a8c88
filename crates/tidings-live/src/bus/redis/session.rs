//! The task that keeps the connection: one session after the other.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use redis::{PushInfo, PushKind, RedisError, Value, aio::SendError};
use tidings_core::{Entropy, TenantId};
use tokio::sync::Notify;

use super::{Shared, interest::Changes, link::Link, outgoing::Run};
use crate::bus::{BusKind, message};

/// Between two tries to connect: doubled from the first to the last, each shortened by chance so that
/// nodes do not all come at once.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long opening a connection may take, all steps together.
const OPEN_MAX: Duration = Duration::from_secs(4);
/// How often the server is asked whether it is there.
const PING_EVERY: Duration = Duration::from_millis(500);
/// Channels that one command joins.
const JOIN_AT_ONCE: usize = 500;

/// Why a session has ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("connecting took too long")]
    TooLong,
    #[error("the connection was closed")]
    Closed,
}

/// Until its task is aborted.
pub(super) async fn run(shared: Arc<Shared>, entropy: Arc<dyn Entropy>) {
    let mut pause = PAUSE_MIN;
    let mut reported = false;
    loop {
        let before = shared.counts.connections.load(Relaxed);
        let broken = session(&shared).await;
        let was_connected = shared.counts.connections.load(Relaxed) > before;
        shared.connected.send_replace(false);
        *shared.link.lock() = None;
        shared.interest.forget();
        if was_connected || !reported {
            tracing::warn!(error = %broken, "the bus is out of reach: other nodes' commits come from the store");
            reported = true;
        }
        pause = if was_connected { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
        tokio::time::sleep(pause.mul_f64(0.5 + entropy.unit() / 2.0)).await;
    }
}

/// From connecting until the connection breaks.
async fn session(shared: &Arc<Shared>) -> Broken {
    let lost = Arc::new(Notify::new());
    let pushes = {
        let (shared, lost) = (shared.clone(), lost.clone());
        move |push: PushInfo| {
            take(&shared, &lost, push);
            Ok::<(), SendError>(())
        }
    };
    let begun = async {
        let link = Link::open(&shared.config, pushes).await?;
        try_channels(shared, &link).await?;
        shared.try_counting(&link).await?;
        shared.interest.forget();
        tell_all(shared, &link).await?;
        Ok::<_, RedisError>(link)
    };
    let link = match tokio::time::timeout(OPEN_MAX, begun).await {
        Ok(Ok(link)) => link,
        Ok(Err(error)) => return error.into(),
        Err(_) => return Broken::TooLong,
    };
    let kind = if link.is_cluster() { BusKind::RedisCluster } else { BusKind::Redis };
    shared.kind.store(kind as u8, Relaxed);
    shared.counts.connections.fetch_add(1, Relaxed);
    *shared.link.lock() = Some(link.clone());
    shared.connected.send_replace(true);
    tracing::info!(bus = kind.as_str(), "the bus is connected");
    tokio::select! {
        error = publish(shared, &link) => error.into(),
        error = follow(shared, &link) => error.into(),
        error = ping(shared, &link) => error.into(),
        () = lost.notified() => Broken::Closed,
    }
}

/// Whether this user may do what a bus does: without that it would count as connected until the first event or
/// subscriber.
async fn try_channels(shared: &Shared, link: &Link) -> Result<(), RedisError> {
    link.join(vec![shared.check()]).await?;
    link.publish(vec![(shared.check(), Vec::new())]).await?;
    link.leave(vec![shared.check()]).await
}

/// What the server sends unasked.
fn take(shared: &Shared, lost: &Notify, push: PushInfo) {
    match (push.kind, &push.data[..]) {
        (
            PushKind::Message | PushKind::SMessage,
            [Value::BulkString(channel), Value::BulkString(payload)],
        ) => shared.receive(channel, payload),
        (PushKind::Disconnection, _) => lost.notify_one(),
        // A channel moves to another shard with its slot.
        (PushKind::SUnsubscribe, [Value::BulkString(channel), ..]) => {
            if let Some(tenant) = tenant_of(channel) {
                shared.interest.lost(&tenant);
            }
        }
        _ => {}
    }
}

fn tenant_of(channel: &[u8]) -> Option<TenantId> {
    let name = std::str::from_utf8(channel).ok()?.rsplit_once('{')?.1.strip_suffix('}')?;
    TenantId::new(name).ok()
}

/// Publishes what waits; while one write is on its way, the next gathers.
async fn publish(shared: &Shared, link: &Link) -> RedisError {
    loop {
        let runs = shared.outgoing.take();
        if runs.is_empty() {
            shared.outgoing.filled().await;
            continue;
        }
        let mut messages = Vec::new();
        let mut events = 0;
        for Run { tenant, epoch, events: of_tenant } in runs {
            let channel = shared.channel(&tenant);
            for message in message::write(&shared.node, &tenant, &epoch, &of_tenant) {
                events += message.events;
                messages.push((channel.clone(), message.payload));
            }
        }
        if let Err(error) = link.publish(messages).await {
            return error;
        }
        shared.counts.published.fetch_add(events, Relaxed);
    }
}

/// Joins and leaves channels as feeds open and close.
async fn follow(shared: &Shared, link: &Link) -> RedisError {
    loop {
        shared.interest.changed().await;
        if let Err(error) = tell_all(shared, link).await {
            return error;
        }
    }
}

async fn tell_all(shared: &Shared, link: &Link) -> Result<(), RedisError> {
    loop {
        let changes = shared.interest.take(JOIN_AT_ONCE);
        if changes == Changes::default() {
            return Ok(());
        }
        let channels = |tenants: &[TenantId]| tenants.iter().map(|tenant| shared.channel(tenant)).collect();
        link.leave(channels(&changes.leave)).await?;
        link.join(channels(&changes.join)).await?;
        shared.interest.told(&changes);
    }
}

async fn ping(shared: &Shared, link: &Link) -> RedisError {
    loop {
        tokio::time::sleep(PING_EVERY).await;
        if let Err(error) = link.ping().await {
            return error;
        }
        // Rights may be given while nobody is counted.
        if shared.counts.refused.load(Relaxed)
            && let Err(error) = shared.try_counting(link).await
        {
            return error;
        }
    }
}
