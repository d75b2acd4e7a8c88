//! One authenticator with its own clock, data folder and store.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidings_auth::{
    AuthConfig, AuthError, Authenticator, Cause, Credential, ExposeSecret as _, KeyRequest, ServerKeys,
};
use tidings_core::{
    Clock, CredentialId, Entropy, Epoch, Event, Grant, KeyId, Principal, ScopeSet, SystemEntropy, TenantId,
    Tenants, Timestamp, UserId,
};
use tidings_store::{
    Cluster, Command, CommitSink, Journal, JournalConfig, KeyRecord, Operation, ReadError, SqliteConfig,
    SqliteStore, Store, stand_in::StandIn,
};

use crate::cluster::Secrets;

pub(crate) const START: i64 = 1_790_000_000;

#[derive(Debug, Clone)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
    }

    pub(crate) fn secs(&self) -> i64 {
        self.now().as_secs()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) struct World {
    pub(crate) auth: Authenticator,
    pub(crate) keys: ServerKeys,
    pub(crate) clock: TestClock,
    pub(crate) store: Arc<Reach>,
    pub(crate) journal: Journal,
    pub(crate) folder: tempfile::TempDir,
}

struct NoSink;

impl CommitSink for NoSink {
    fn committed(&self, _: &[Arc<Event>], _: &[(TenantId, Epoch)]) {}
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(AuthConfig::default()).await
    }

    pub(crate) async fn with(config: AuthConfig) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = TestClock(Arc::new(AtomicI64::new(START * 1_000_000)));
        let keys = keys_in(&folder.path().join("keys"), &clock);
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let sqlite = SqliteStore::open(
            SqliteConfig::new(folder.path().join("data")),
            Arc::new(clock.clone()),
            Arc::clone(&entropy),
        )
        .expect("the store opens");
        let store = Arc::new(Reach {
            store: Arc::new(sqlite),
            secrets: Secrets::default(),
            lost: AtomicBool::new(false),
            key_reads: AtomicUsize::new(0),
        });
        let journal = Journal::start(store.clone(), Arc::new(NoSink), JournalConfig::default());
        let auth = Authenticator::open(
            config,
            keys.clone(),
            store.clone(),
            journal.clone(),
            Arc::new(clock.clone()),
            entropy,
        )
        .await
        .expect("the authenticator opens");
        let world = Self { auth, keys, clock, store, journal, folder };
        world.tenant_command("acme", Operation::Create).await;
        world
    }

    pub(crate) async fn tenant_command(&self, tenant: &str, operation: Operation) {
        let command = Command::Tenant { tenant: tenant_id(tenant), create: true, operation };
        self.journal.submit(command).await.expect("the store takes it");
    }

    pub(crate) async fn bearer(&self, text: &str) -> Result<Arc<Principal>, AuthError> {
        self.auth.authenticate(Credential::Bearer(text)).await
    }

    pub(crate) async fn ticket(&self, text: &str, origin: Option<&str>) -> Result<Arc<Principal>, AuthError> {
        self.auth.authenticate(Credential::Ticket { text, origin }).await
    }

    /// Stores a key with these scopes in the tenant `acme`; answers its id and text.
    pub(crate) async fn key(&self, scopes: &str, expires_in: Option<Duration>) -> (KeyId, String) {
        let request = KeyRequest {
            name: "test".into(),
            grant: grant("acme", None, scopes),
            expires_at: expires_in.map(|d| self.clock.now() + d),
        };
        let (new, text) = self.auth.new_key(&operator(), request).expect("the operator may");
        let id = new.id;
        self.tenant_command("acme", Operation::PutKey(new)).await;
        (id, text.expose_secret().to_owned())
    }
}

pub(crate) fn keys_in(folder: &Path, clock: &TestClock) -> ServerKeys {
    ServerKeys::open_or_create(folder, Arc::new(SystemEntropy), Arc::new(clock.clone()))
        .expect("keys are made")
}

/// The cause of a refusal, which every refusal words alike.
pub(crate) fn cause<T: std::fmt::Debug>(result: Result<T, AuthError>) -> Cause {
    match result {
        Err(error @ AuthError::Invalid { cause }) => {
            assert_eq!(error.to_string(), "the credential is missing, malformed, expired or not known here");
            assert!(std::error::Error::source(&error).is_none());
            cause
        }
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) fn tenant_id(text: &str) -> TenantId {
    TenantId::new(text).expect("valid")
}

pub(crate) fn user(text: &str) -> UserId {
    UserId::new(text).expect("valid")
}

pub(crate) fn scopes(text: &str) -> ScopeSet {
    text.parse().expect("valid")
}

pub(crate) fn grant(tenant: &str, name: Option<&str>, scope: &str) -> Grant {
    Grant {
        tenants: Tenants::One(tenant_id(tenant)),
        user: name.map(user),
        scopes: scopes(scope),
        subjects: None,
    }
}

pub(crate) fn operator() -> Principal {
    Principal {
        grant: Grant { tenants: Tenants::All, user: None, scopes: ScopeSet::all(), subjects: None },
        expires_at: None,
        credential: CredentialId::Key(KeyId::from_bytes([9; 16])),
    }
}

/// A store that a test may put out of reach.
pub(crate) struct Reach {
    store: Arc<dyn Store>,
    pub(crate) secrets: Secrets,
    lost: AtomicBool,
    key_reads: AtomicUsize,
}

impl Reach {
    pub(crate) fn lose(&self, lost: bool) {
        self.lost.store(lost, Ordering::SeqCst);
    }

    /// How often a key was looked up.
    pub(crate) fn key_reads(&self) -> usize {
        self.key_reads.load(Ordering::SeqCst)
    }
}

#[async_trait::async_trait]
impl StandIn for Reach {
    fn rest(&self) -> Result<&dyn Store, ReadError> {
        if self.lost.load(Ordering::SeqCst) {
            Err(ReadError::Unavailable("lost".into()))
        } else {
            Ok(&*self.store)
        }
    }

    fn cluster(&self) -> Option<&dyn Cluster> {
        Some(&self.secrets)
    }

    async fn key(&self, id: KeyId) -> Result<Option<KeyRecord>, ReadError> {
        self.key_reads.fetch_add(1, Ordering::SeqCst);
        self.rest()?.key(id).await
    }
}
