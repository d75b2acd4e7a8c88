mod client;
mod store;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use tidings_core::{
    Clock, CredentialId, Cursor, Event, EventBody, EventId, EventType, Filter, Grant, KeyId, NewEvent,
    Principal, RawJson, Seq, SystemClock, SystemEntropy, TenantId, Tenants, Timestamp, UserId, Verbosity,
};
use tidings_delivery::{
    ConnectionId, ConnectionKind, Control, Delivery, DeliveryConfig, Denied, Ending, NewConnection, Observer,
    Protocol, Stream, Written,
};
use tidings_live::{Encoding, Hub, LiveConfig, Start, SubscriptionSpec, Transport};
use tidings_store::CommitSink as _;
use tokio::net::{TcpListener, TcpSocket};

pub(crate) use client::{Client, Frame};
use store::MemoryStore;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What was observed.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) endings: Mutex<Vec<Ending>>,
    pub(crate) messages: Mutex<u64>,
    pub(crate) lagged: Mutex<u64>,
}

impl Observer for Log {
    fn closed(&self, _: ConnectionKind, ending: Ending, _: Duration) {
        self.endings.lock().push(ending);
    }

    fn written(&self, _: ConnectionKind, written: &Written) {
        *self.messages.lock() += written.messages;
    }

    fn lagged(&self, _: ConnectionKind) {
        *self.lagged.lock() += 1;
    }
}

/// Judging of the token `held` has begun, and may end.
pub(crate) static HELD_ASKED: tokio::sync::Notify = tokio::sync::Notify::const_new();
pub(crate) static HELD_GO: tokio::sync::Notify = tokio::sync::Notify::const_new();

/// Takes the token `good:<user>` for an hour, `held` for ana with another key once the test says so, `down` for an outage; panics at `panic`.
struct Tokens;

impl Control for Tokens {
    fn reauthenticate(
        &self,
        token: String,
        _: Arc<Principal>,
        _: TenantId,
    ) -> BoxFuture<'static, Result<Arc<Principal>, Denied>> {
        assert_ne!(token, "panic", "as the test asked");
        async move {
            if token == "held" {
                HELD_ASKED.notify_one();
                HELD_GO.notified().await;
                let mut held = Principal::clone(&principal("ana", None));
                held.credential = CredentialId::Key(KeyId::from_bytes([8; 16]));
                return Ok(Arc::new(held));
            }
            match token.strip_prefix("good:") {
                Some(user) => Ok(principal(user, Some(SystemClock.now() + Duration::from_hours(1)))),
                None if token == "down" => Err(Denied::Unavailable),
                None => Err(Denied::Invalid),
            }
        }
        .boxed()
    }
}

pub(crate) fn principal(user: &str, expires_at: Option<Timestamp>) -> Arc<Principal> {
    Arc::new(Principal {
        grant: Grant {
            tenants: Tenants::One(tenant()),
            user: Some(UserId::new(user).expect("valid")),
            scopes: "events:read jobs:read:all".parse().expect("valid"),
            subjects: None,
        },
        expires_at,
        credential: CredentialId::Key(KeyId::from_bytes([7; 16])),
    })
}

pub(crate) fn tenant() -> TenantId {
    TenantId::new("acme").expect("valid")
}

/// A delivery above a log in memory.
pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) delivery: Delivery,
    pub(crate) log: Arc<Log>,
    pub(crate) clock: SystemClock,
    pub(crate) store: Arc<MemoryStore>,
}

impl World {
    pub(crate) fn start() -> Self {
        Self::with(DeliveryConfig { shards: 1, ..DeliveryConfig::default() }, LiveConfig::default())
    }

    pub(crate) fn with(config: DeliveryConfig, live: LiveConfig) -> Self {
        Self::above(MemoryStore::default(), config, live)
    }

    /// Above a log that other servers could write to.
    pub(crate) fn shared(config: DeliveryConfig, live: LiveConfig) -> Self {
        let store = MemoryStore::default();
        store.shared.store(true, Relaxed);
        Self::above(store, config, live)
    }

    /// The store is out of reach, or within it again.
    pub(crate) fn set_down(&self, down: bool) {
        self.store.down.store(down, Relaxed);
    }

    fn above(store: MemoryStore, config: DeliveryConfig, live: LiveConfig) -> Self {
        let store = Arc::new(store);
        let hub = Hub::start(store.clone(), live);
        let (log, clock) = (Arc::new(Log::default()), SystemClock);
        let delivery = Delivery::start(
            config,
            hub.clone(),
            Arc::new(Tokens),
            log.clone(),
            Arc::new(clock),
            Arc::new(SystemEntropy),
        )
        .expect("starts");
        Self { hub, delivery, log, clock, store }
    }

    /// Commits `count` events of `bytes` bytes of data each.
    pub(crate) fn publish(&self, count: u64, bytes: usize) {
        self.publish_as("note.created", count, bytes);
    }

    pub(crate) fn publish_as(&self, event_type: &str, count: u64, bytes: usize) {
        let first = self.store.head() + 1;
        let events: Vec<_> = (first..first + count)
            .map(|seq| Arc::new(event(seq, event_type, bytes, self.clock.now())))
            .collect();
        self.store.append(&events);
        self.hub.committed(&events, &[]);
    }

    pub(crate) async fn spec(&self, since: Option<u64>) -> Stream {
        let feed = self.hub.open(&tenant()).await.expect("reads").expect("the tenant is there");
        let spec = SubscriptionSpec {
            filter: Filter::default(),
            audience: principal("ana", None).audience(),
            encoding: Encoding { transport: Transport::WebSocket, verbosity: Verbosity::Minimal },
            start: since.map_or(Start::Now, |seq| Start::After(Cursor::bare(Seq::new(seq)))),
        };
        Stream { feed, spec }
    }

    pub(crate) fn new_connection(protocol: Protocol) -> NewConnection {
        NewConnection {
            id: ConnectionId::generate(&SystemEntropy),
            principal: principal("ana", None),
            judged_at: Instant::now(),
            protocol,
            received: bytes::Bytes::new(),
            slot: Box::new(()),
        }
    }

    /// A WebSocket client of a shard.
    pub(crate) async fn web_socket(&self, since: Option<u64>) -> Client {
        let stream = self.spec(since).await;
        self.attach(Self::new_connection(Protocol::WebSocket(stream)), None).await
    }

    /// A client whose connection a shard serves; `receive_buffer` makes it a slow one.
    pub(crate) async fn attach(&self, new: NewConnection, receive_buffer: Option<u32>) -> Client {
        let (ours, theirs) = pair(receive_buffer).await;
        self.delivery.attach(ours.into_std().expect("a socket"), new);
        Client::new(theirs)
    }

    /// Waits until the observer has heard of an ending.
    pub(crate) async fn ending(&self) -> Ending {
        until("an ending", || self.log.endings.lock().last().copied()).await
    }
}

/// Two ends of a connection; the second has the small buffer.
pub(crate) async fn pair(receive_buffer: Option<u32>) -> (tokio::net::TcpStream, tokio::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let socket = TcpSocket::new_v4().expect("a socket");
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes).expect("sets");
    }
    let connect = socket.connect(listener.local_addr().expect("bound"));
    let (accepted, connected) = tokio::join!(listener.accept(), connect);
    (accepted.expect("accepts").0, connected.expect("connects"))
}

/// Polls until `look` finds something.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn event(seq: u64, event_type: &str, bytes: usize, time: Timestamp) -> Event {
    let data = format!("\"{}\"", "x".repeat(bytes));
    Event {
        seq: Seq::new(seq),
        time,
        tenant: tenant(),
        fact: NewEvent {
            id: EventId::from_bytes([0; 16]),
            event_type: EventType::parse(event_type).expect("valid"),
            job: None,
            owner: None,
            subject: None,
            body: EventBody::same_for_all(RawJson::parse(&data).expect("valid")),
        },
    }
}

pub(crate) fn masked_ping() -> Vec<u8> {
    client::masked(0x89, &[7; 100])
}
