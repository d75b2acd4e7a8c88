//! A store, a journal, a hub and a dispatcher.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tidings_core::{
    Endpoint, EndpointId, EndpointSpec, EventBody, EventId, EventType, Grant, JobType, NewEvent, NewJob,
    RawJson, ReplayId, SecretId, Seq, SystemClock, SystemEntropy, TenantId, Tenants, Timestamp,
    job::JobSpec,
    webhook::{Attempt, Delivery, Secret, SecretKind},
};
use tidings_live::{Hub, LiveConfig};
use tidings_store::{
    AttemptQuery, Command, DeliveryQuery, EndpointChange, Journal, JournalConfig, NewEndpoint, Operation,
    Outcome, PostgresConfig, PostgresStore, ReplayWhat, SqliteConfig, SqliteStore, Store, Webhooks,
};
use tidings_testkit::Postgres;
use tidings_webhooks::dispatcher::{Dispatcher, DispatcherConfig, DispatcherParts, OpenSecrets};
use tokio::sync::OnceCell;
use tokio_util::task::AbortOnDropHandle;
use zeroize::Zeroizing;

use crate::site::Site;

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PATIENCE: Duration = Duration::from_mins(1);

/// One server for all tests of this process, each with a database of its own.
static SERVER: LazyLock<Postgres> = LazyLock::new(Postgres::start);

/// Which store a test is on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

/// Makes each of these cases a test on either store.
macro_rules! on_both_stores {
    ($($case:ident),+ $(,)?) => {
        $(mod $case {
            use crate::dispatching::works::On;

            #[tokio::test(flavor = "multi_thread")]
            async fn on_sqlite() {
                super::$case(On::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_postgres() {
                super::$case(On::Postgres).await;
            }
        })+
    };
}
pub(crate) use on_both_stores;

/// Where a store keeps what outlives its process.
enum Disk {
    Folder(tempfile::TempDir),
    Database(String),
}

pub(crate) struct Works {
    disk: Disk,
    store: Arc<dyn Store>,
    journal: Journal,
    pub(crate) hub: Hub,
    pub(crate) dispatcher: Dispatcher,
    running: AbortOnDropHandle<()>,
}

/// One tenant of it.
pub(crate) struct Acting<'w> {
    works: &'w Works,
    tenant: TenantId,
}

/// As tests keep secrets: open.
struct Open;

impl OpenSecrets for Open {
    fn open(&self, _: &Endpoint, secret: &Secret) -> Option<Zeroizing<String>> {
        String::from_utf8(secret.sealed.to_vec()).ok().map(Zeroizing::new)
    }
}

/// One that is tried again after a second, twice.
pub(crate) fn spec(url: &str) -> EndpointSpec {
    serde_json::from_value(json!({ "url": url, "retries": ["1s", "1s"], "jitter": 0, "timeout": "2s" }))
        .unwrap()
}

pub(crate) fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

impl Works {
    pub(crate) async fn open(on: On, config: DispatcherConfig) -> Self {
        Self::start(Disk::new(on).await, config).await
    }

    async fn start(disk: Disk, config: DispatcherConfig) -> Self {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let store = disk.open().await;
        let hub = Hub::start(store.clone(), LiveConfig::default());
        let journal = Journal::start(store.clone(), Arc::new(hub.clone()), JournalConfig::default());
        let site = Site::open();
        let parts = DispatcherParts {
            store: store.clone(),
            journal: journal.clone(),
            hub: hub.clone(),
            connector: site.connector.clone(),
            sender: site.sender.clone(),
            secrets: Arc::new(Open),
            clock,
            entropy,
        };
        let dispatcher = Dispatcher::new(parts, config);
        let delivering = dispatcher.clone();
        let running = AbortOnDropHandle::new(tokio::spawn(async move { delivering.run(None).await }));
        Self { disk, store, journal, hub, dispatcher, running }
    }

    /// Ends as a killed process would, and starts anew on what is on the disk.
    pub(crate) async fn killed(self, config: DispatcherConfig) -> Self {
        let Self { disk, store, journal, running, hub, dispatcher } = self;
        running.abort();
        assert!(running.await.is_err_and(|error| error.is_cancelled()));
        drop((dispatcher, hub));
        journal.close().await;
        store.close().await;
        Self::start(disk, config).await
    }

    /// In another tenant than that of all the tests' own.
    pub(crate) fn in_tenant(&self, name: &str) -> Acting<'_> {
        Acting { works: self, tenant: TenantId::new(name).unwrap() }
    }

    fn own(&self) -> Acting<'_> {
        Acting { works: self, tenant: tenant() }
    }

    async fn operate(&self, operation: Operation) -> Outcome {
        self.own().operate(operation).await
    }

    pub(crate) async fn publish(&self, event_type: &str, count: usize) {
        self.own().publish(event_type, count).await;
    }

    pub(crate) async fn enqueue(&self) {
        let id = tidings_core::JobId::generate(Timestamp::from_secs(1_800_000_000), &SystemEntropy);
        let job = NewJob {
            id,
            spec: JobSpec::new(JobType::new("embedding").unwrap(), RawJson::null()),
            run_at: None,
        };
        self.operate(Operation::Enqueue { jobs: vec![job], idempotency: None }).await;
    }

    pub(crate) async fn endpoint(&self, spec: EndpointSpec) -> EndpointId {
        self.endpoint_with(spec, "events:read jobs:read:all").await
    }

    pub(crate) async fn endpoint_with(&self, spec: EndpointSpec, scopes: &str) -> EndpointId {
        self.own().put(spec, scopes, None).await
    }

    /// Which is sent what comes after `seq`.
    pub(crate) async fn endpoint_from(&self, spec: EndpointSpec, seq: u64) -> EndpointId {
        self.own().put(spec, "events:read", Some(Seq::new(seq))).await
    }

    pub(crate) async fn change(&self, id: EndpointId, change: EndpointChange) {
        self.operate(Operation::ChangeEndpoint { id, change }).await;
        self.dispatcher.look();
    }

    pub(crate) async fn replay(&self, endpoint: EndpointId, what: ReplayWhat) {
        self.operate(Operation::Replay { endpoint, what }).await;
        self.dispatcher.look();
    }

    pub(crate) async fn replay_range(&self, endpoint: EndpointId, from: u64, to: u64) {
        let id = ReplayId::generate(Timestamp::from_secs(1_800_000_000), &SystemEntropy);
        self.replay(endpoint, ReplayWhat::Range { id, from: Seq::new(from), to: Seq::new(to) }).await;
    }

    fn webhooks(&self) -> &dyn Webhooks {
        self.store.webhooks().unwrap()
    }

    pub(crate) async fn stored(&self, id: EndpointId) -> Endpoint {
        self.webhooks().endpoint(&tenant(), id).await.unwrap().unwrap()
    }

    pub(crate) async fn cursor_reaches(&self, id: EndpointId, seq: u64) {
        self.until("the cursor", async || self.stored(id).await.cursor.get() == seq).await;
    }

    pub(crate) async fn attempts(&self, id: EndpointId) -> Vec<Attempt> {
        let query = AttemptQuery { endpoint: Some(id), limit: 1_000, ..AttemptQuery::default() };
        let found = self.webhooks().attempts(&tenant(), query).await.unwrap();
        found.into_iter().rev().map(|logged| logged.attempt).collect()
    }

    pub(crate) async fn deliveries(&self, id: EndpointId, dead: bool) -> Vec<Delivery> {
        let query = DeliveryQuery { dead, after: Seq::ZERO, limit: 1_000, bytes: usize::MAX };
        self.webhooks().deliveries(&tenant(), id, query).await.unwrap()
    }

    pub(crate) async fn replays(&self, id: EndpointId) -> usize {
        self.webhooks().replays(&tenant(), id).await.unwrap().len()
    }

    /// The types and data of the tenant's events after `after`.
    pub(crate) async fn events(&self, after: u64) -> Vec<(String, serde_json::Value)> {
        let limit = tidings_store::PageLimit { events: 1_000, bytes: 1 << 20 };
        let page = self.store.events(&tenant(), Seq::new(after), limit).await.unwrap().unwrap();
        let event = |event: tidings_core::Event| {
            (event.fact.event_type.to_string(), event.fact.body.minimal.to_value())
        };
        page.events.into_iter().map(event).collect()
    }

    /// Looks until it is so.
    pub(crate) async fn until(&self, what: &str, mut look: impl AsyncFnMut() -> bool) {
        let looking = async {
            while !look().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, looking).await;
        assert!(waited.is_ok(), "{what}: not within {PATIENCE:?}");
    }
}

impl Disk {
    async fn new(on: On) -> Self {
        match on {
            On::Sqlite => Self::Folder(tempfile::tempdir().unwrap()),
            On::Postgres => Self::Database(copy_of_model().await),
        }
    }

    async fn open(&self) -> Arc<dyn Store> {
        let entropy = Arc::new(SystemEntropy);
        match self {
            Self::Folder(folder) => {
                let config = SqliteConfig::new(folder.path());
                Arc::new(SqliteStore::open(config, Arc::new(SystemClock), entropy).unwrap())
            }
            Self::Database(url) => {
                let config = PostgresConfig { connections: 8, ..PostgresConfig::new(url.as_str()) };
                Arc::new(PostgresStore::open(config, entropy).await.unwrap())
            }
        }
    }
}

/// A database that was migrated: copied in a fraction of the time that migrating takes.
async fn copy_of_model() -> String {
    static MODEL: OnceCell<String> = OnceCell::const_new();
    static COPIES: AtomicU32 = AtomicU32::new(0);
    let model = MODEL.get_or_init(|| async {
        let url = SERVER.fresh_database();
        PostgresStore::migrate(&PostgresConfig::new(url.as_str())).await.unwrap();
        url.rsplit_once('/').unwrap().1.to_owned()
    });
    let (model, name) = (model.await, format!("copy_{}", COPIES.fetch_add(1, Ordering::Relaxed)));
    SERVER.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE \"{model}\""));
    SERVER.url_at(SERVER.addr(), &name)
}

impl Acting<'_> {
    async fn operate(&self, operation: Operation) -> Outcome {
        let command = Command::Tenant { tenant: self.tenant.clone(), create: true, operation };
        self.works.journal.submit(command).await.unwrap()
    }

    pub(crate) async fn publish(&self, event_type: &str, count: usize) {
        let event = |n| NewEvent {
            id: EventId::generate(Timestamp::from_secs(1_800_000_000), &SystemEntropy),
            event_type: EventType::parse(event_type).unwrap(),
            job: None,
            owner: None,
            subject: None,
            body: EventBody::same_for_all(RawJson::from_value(&json!({ "n": n }))),
        };
        let events = (0..count).map(event).collect();
        self.operate(Operation::Publish { events, idempotency: None }).await;
    }

    pub(crate) async fn endpoint(&self, spec: EndpointSpec) -> EndpointId {
        self.put(spec, "events:read", None).await
    }

    async fn put(&self, spec: EndpointSpec, scopes: &str, cursor: Option<Seq>) -> EndpointId {
        let now = Timestamp::from_secs(1_800_000_000);
        let secret = Secret {
            id: SecretId::generate(now, &SystemEntropy),
            kind: SecretKind::V1,
            sealed: SECRET.into(),
            created_at: now,
            expires_at: None,
        };
        let new = NewEndpoint {
            id: EndpointId::generate(now, &SystemEntropy),
            spec,
            grant: Grant {
                tenants: Tenants::One(self.tenant.clone()),
                user: None,
                scopes: scopes.parse().unwrap(),
                subjects: None,
            },
            secrets: vec![secret],
            cursor,
            limit: 1_000,
        };
        let id = new.id;
        self.operate(Operation::PutEndpoint(Box::new(new))).await;
        self.works.dispatcher.look();
        id
    }
}
