use std::{path::PathBuf, sync::Arc, time::Instant};

use tidings_auth::{AuthConfig, ServerKeys};
use tidings_core::{
    Clock, Entropy, Filter, Grant, Principal, SystemClock, SystemEntropy, Tenants, Verbosity,
};
use tidings_delivery::{ConnectionId, DeliveryConfig, NewConnection, Protocol, Return, Stream};
use tidings_live::{Encoding, LiveConfig, Start, SubscriptionSpec, Transport};
use tidings_store::{
    Command, Journal, JournalConfig, Operation, SqliteConfig, SqliteStore, Store, TenantState,
};
use tokio::{
    io::{AsyncReadExt as _, DuplexStream},
    sync::broadcast,
};

use super::*;
use crate::{config::Config, metrics::Metrics, settings::Settings, streams::InBand};

const PATIENCE: Duration = Duration::from_secs(20);

/// What a closer works on, with nobody who reads revocations on his own.
struct World {
    folder: PathBuf,
    sqlite: Arc<SqliteStore>,
    journal: Journal,
    hub: Hub,
    directory: Directory,
    authenticator: Authenticator,
    delivery: Delivery,
}

impl World {
    async fn start() -> Self {
        let mut name = [0; 8];
        SystemEntropy.fill(&mut name);
        let folder =
            std::env::temp_dir().join(format!("tidings-revocation-{:016x}", u64::from_le_bytes(name)));
        let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
            (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let opened = SqliteStore::open(SqliteConfig::new(&folder), clock.clone(), entropy.clone());
        let sqlite = Arc::new(opened.expect("opens"));
        let store: Arc<dyn Store> = sqlite.clone();
        let hub = Hub::start(store.clone(), LiveConfig::default());
        let journal = Journal::start(store.clone(), Arc::new(hub.clone()), JournalConfig::default());
        let keys = ServerKeys::open_or_create(&folder, entropy.clone(), clock.clone()).expect("keys");
        let authenticator = Authenticator::open(
            AuthConfig::default(),
            keys,
            store.clone(),
            journal.clone(),
            clock.clone(),
            entropy.clone(),
        );
        let authenticator = authenticator.await.expect("opens");
        let in_band = Arc::new(InBand(authenticator.clone()));
        let config = DeliveryConfig { shards: 1, ..DeliveryConfig::default() };
        let delivery =
            Delivery::start(config, hub.clone(), in_band, Arc::new(Metrics::new()), clock, entropy)
                .expect("starts");
        let directory = Directory::new(store, Settings::new(Config::default()), Arc::new(SystemClock));
        Self { folder, sqlite, journal, hub, directory, authenticator, delivery }
    }

    async fn operate(&self, tenant: &TenantId, operation: Operation) {
        let command = Command::Tenant { tenant: tenant.clone(), create: true, operation };
        self.journal.submit(command).await.expect("done");
    }

    /// A live WebSocket of a tenant that is made for it; the far end sees its bytes.
    async fn connect(&self, tenant: &TenantId) -> DuplexStream {
        self.operate(tenant, Operation::Create).await;
        let principal = Principal {
            grant: Grant {
                tenants: Tenants::One(tenant.clone()),
                user: None,
                scopes: "events:read jobs:read:all".parse().expect("valid"),
                subjects: None,
            },
            expires_at: None,
            credential: CredentialId::Key(KeyId::from_bytes([7; 16])),
        };
        let spec = SubscriptionSpec {
            filter: Filter::default(),
            audience: principal.audience(),
            encoding: Encoding { transport: Transport::WebSocket, verbosity: Verbosity::Minimal },
            start: Start::Now,
        };
        let feed = self.hub.open(tenant).await.expect("reads").expect("it was made");
        let new = NewConnection {
            id: ConnectionId::generate(&SystemEntropy),
            principal: Arc::new(principal),
            judged_at: Instant::now(),
            protocol: Protocol::WebSocket(Stream { feed, spec }),
            received: bytes::Bytes::new(),
            slot: Box::new(()),
        };
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let delivery = self.delivery.clone();
        tokio::spawn(async move { delivery.serve(ours, new).await });
        theirs
    }

    /// A closer that has missed what was revoked, with what it hears of others by.
    fn lagging(&self) -> (Closer, broadcast::Sender<Revocation>) {
        let (announce, revocations) = broadcast::channel(1);
        for n in 0..3 {
            let id = KeyId::from_bytes([9; 16]);
            announce.send(Revocation::Key { n, id }).expect("it is heard");
        }
        let Self { authenticator, delivery, directory, hub, .. } = self;
        let closer = Closer::new(authenticator.clone(), delivery.clone(), directory.clone(), hub.clone());
        (Closer { revocations, ..closer }, announce)
    }

    async fn end(self) {
        self.delivery.drain(Duration::ZERO, Return::Elsewhere).await;
        self.journal.close().await;
        self.sqlite.close().await;
        std::fs::remove_dir_all(&self.folder).expect("the folder can go");
    }
}

async fn until(stream: &mut DuplexStream, part: &str) {
    let mut seen = Vec::new();
    let read = async {
        while !seen.windows(part.len()).any(|w| w == part.as_bytes()) {
            let n = stream.read_buf(&mut seen).await.expect("reads");
            assert!(n > 0, "the end came before {part:?}: {}", String::from_utf8_lossy(&seen));
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("{part:?} did not come"));
}

#[tokio::test]
async fn after_too_many_revocations_suspended_and_deleted_tenants_are_closed_all_the_same() {
    let world = World::start().await;
    let tenant = |text: &str| TenantId::new(text).expect("valid");
    let (suspended, deleted, active) = (tenant("suspended"), tenant("deleted"), tenant("active"));
    let mut of_suspended = world.connect(&suspended).await;
    let mut of_deleted = world.connect(&deleted).await;
    let mut of_active = world.connect(&active).await;
    assert_eq!(world.directory.standing(&suspended).await.expect("reads"), Standing::Active);
    world.operate(&suspended, Operation::SetState(TenantState::Suspended)).await;
    world.operate(&deleted, Operation::Delete).await;
    let (closer, announce) = world.lagging();
    let closing = tokio::spawn(closer.run());
    until(&mut of_suspended, "stream.closing").await;
    until(&mut of_deleted, "stream.closing").await;
    assert_eq!(world.directory.standing(&suspended).await.expect("reads"), Standing::Suspended);
    world.delivery.close_where(|c| c.tenant.is_some(), CloseReason::expired());
    until(&mut of_active, "\"code\":4401,\"reason\":\"the credential has expired\"").await;
    drop(announce);
    closing.await.expect("it ends with what it listens to");
    drop((of_suspended, of_deleted, of_active));
    world.end().await;
}
