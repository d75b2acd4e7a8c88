use std::{sync::Arc, time::Duration};

use parking_lot::RwLock;
use secrecy::SecretString;
use tidings_core::{Clock, CredentialId, Entropy, GrantError, Principal, Tenants};
use tidings_store::{Command, CommandError, Journal, NewKey, Operation, ReadError, Revocation, Store};
use tokio::sync::broadcast;

use crate::{
    api_key::{self, KeyRequest},
    cache::VerdictCache,
    config::AuthConfig,
    error::{AuthError, Cause, ConfigError, MintError, Outage},
    jwt::{Issuer, Issuers},
    revocations::{POLL, Revocations},
    server_keys::ServerKeys,
    ticket::{self, Ticket, TicketRequest},
};

/// Bytes of a token or key: more than any issuer's token needs, and little enough to be judged fast.
const TOKEN_MAX: usize = 8_192;

/// Verdicts that are remembered.
const VERDICTS: usize = 10_000;

/// How long a key's record is trusted without another look at it.
const KEY_TRUSTED: Duration = Duration::from_mins(1);

/// How long a used ticket's id is kept beyond its time, so that no difference between clocks lets it
/// count again.
const TICKET_KEPT: Duration = Duration::from_mins(1);

/// What was presented.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// An API key or a token, as in `Authorization: Bearer`.
    Bearer(&'a str),
    /// A ticket, with the request's `Origin`.
    Ticket { text: &'a str, origin: Option<&'a str> },
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer",
            Self::Ticket { .. } => "Ticket",
        })
    }
}

/// Makes principals of credentials: the one place where that happens. Clones share everything.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    issuers: RwLock<Arc<Issuers>>,
    keys: ServerKeys,
    store: Arc<dyn Store>,
    journal: Journal,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    verdicts: VerdictCache,
    revocations: Revocations,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").field("keys", &self.0.keys).finish_non_exhaustive()
    }
}

/// What keeps an authenticator from starting.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the configuration of an issuer")]
    Config(#[from] ConfigError),
    #[error("reading what was revoked")]
    Revocations(#[from] ReadError),
}

impl Authenticator {
    /// Reads the issuers' keys and everything that was revoked so far. [`run`](Self::run) must be
    /// running from then on: a minute without it, and nothing is believed any more.
    pub async fn open(
        config: AuthConfig,
        keys: ServerKeys,
        store: Arc<dyn Store>,
        journal: Journal,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, OpenError> {
        let issuers = Issuers::load(Issuer::server(keys.verification_key()), &config.issuers)?;
        let authenticator = Self(Arc::new(Inner {
            issuers: RwLock::new(Arc::new(issuers)),
            keys,
            store,
            journal,
            clock,
            entropy,
            verdicts: VerdictCache::new(VERDICTS),
            revocations: Revocations::new(),
        }));
        authenticator.step().await?;
        Ok(authenticator)
    }

    /// Whom a credential stands for. The principal may be a remembered one: look at
    /// [`is_revoked`](Self::is_revoked) once more after a connection that it opened can be found and
    /// closed, or a revocation in between is missed.
    pub async fn authenticate(&self, credential: Credential<'_>) -> Result<Arc<Principal>, AuthError> {
        if !self.0.revocations.is_fresh(self.0.clock.now()) {
            return Err(AuthError::Unavailable(Outage::Stale));
        }
        match credential {
            Credential::Bearer(text) => self.bearer(text).await,
            Credential::Ticket { text, origin } => self.redeem(text, origin).await.map(Arc::new),
        }
    }

    async fn bearer(&self, text: &str) -> Result<Arc<Principal>, AuthError> {
        if text.len() > TOKEN_MAX {
            return Err(Cause::TooLong.into());
        }
        let now = self.0.clock.now();
        let digest = api_key::digest(text);
        if let Some(principal) = self.0.verdicts.get(&digest, now) {
            self.check_revoked(&principal.credential)?;
            return Ok(principal);
        }
        let turn = self.0.verdicts.turn();
        let principal = if text.starts_with(api_key::PREFIX) {
            let id = api_key::parse_id(text)?;
            let record = self.0.store.key(id).await.map_err(Outage::Read).map_err(AuthError::Unavailable)?;
            api_key::judge(record, &digest, now)?
        } else {
            let issuers = self.0.issuers.read().clone();
            issuers.verify(text, now)?
        };
        self.check_revoked(&principal.credential)?;
        let principal = Arc::new(principal);
        let until = match (&principal.credential, principal.expires_at) {
            (CredentialId::Token { .. }, Some(end)) => end,
            (_, end) => end.map_or(now + KEY_TRUSTED, |end| end.min(now + KEY_TRUSTED)),
        };
        self.0.verdicts.put(turn, digest, principal.clone(), until);
        Ok(principal)
    }

    async fn redeem(&self, text: &str, origin: Option<&str>) -> Result<Principal, AuthError> {
        let now = self.0.clock.now();
        let payload = ticket::open(text, origin, self.0.keys.ticket_key(), now)?;
        let credential = payload.credential();
        self.check_revoked(&credential)?;
        if let CredentialId::Key(id) = credential {
            let parent = self.0.store.key(id).await.map_err(Outage::Read).map_err(AuthError::Unavailable)?;
            api_key::live(&parent.ok_or(Cause::UnknownKey)?, now)?;
        }
        let operation =
            Operation::RedeemTicket { id: payload.id, expires_at: payload.use_by() + TICKET_KEPT };
        let command = Command::Tenant { tenant: payload.tenant()?.clone(), create: false, operation };
        match self.0.journal.submit(command).await {
            Ok(_) => Ok(payload.into_principal()),
            Err(CommandError::AlreadyUsed) => Err(Cause::TicketUsed.into()),
            Err(CommandError::UnknownTenant | CommandError::TenantSuspended | CommandError::NotFound) => {
                Err(Cause::TicketTenant.into())
            }
            Err(other) => Err(AuthError::Unavailable(Outage::Redeem(other))),
        }
    }

    fn check_revoked(&self, credential: &CredentialId) -> Result<(), Cause> {
        if self.is_revoked(credential) { Err(Cause::Revoked) } else { Ok(()) }
    }

    /// A single-use ticket that carries at most what its minter does. Nothing is stored: the tenant
    /// must exist by the time the ticket is used.
    pub fn mint_ticket(&self, minter: &Principal, request: TicketRequest) -> Result<Ticket, MintError> {
        ticket::mint(minter, request, self.0.keys.ticket_key(), self.0.clock.now(), &*self.0.entropy)
    }

    /// A new API key that carries at most what its creator does: what is to be stored of it
    /// ([`Operation::PutKey`], [`Command::PutOperatorKey`]) and its text, to be shown once.
    pub fn new_key(
        &self,
        creator: &Principal,
        request: KeyRequest,
    ) -> Result<(NewKey, SecretString), GrantError> {
        creator.may_grant(&request.grant)?;
        Ok(api_key::generate(request, self.0.clock.now(), &*self.0.entropy))
    }

    /// Puts other issuers in place. What was remembered of tokens is forgotten, so that a key that was
    /// taken out counts no longer; the present state stays where the new one cannot be loaded.
    pub fn reload(&self, config: &AuthConfig) -> Result<(), ConfigError> {
        let issuers = Issuers::load(Issuer::server(self.0.keys.verification_key()), &config.issuers)?;
        *self.0.issuers.write() = Arc::new(issuers);
        self.0.verdicts.evict(|p| matches!(p.credential, CredentialId::Token { .. }));
        Ok(())
    }

    /// Whether the store is known to have revoked it; at most a second or so behind while
    /// [`run`](Self::run) runs.
    pub fn is_revoked(&self, credential: &CredentialId) -> bool {
        self.0.revocations.contains(credential)
    }

    /// Every revocation from now on, in order, each after it counts here. A receiver that lags (1,024
    /// of them) has missed some: it then asks [`is_revoked`](Self::is_revoked) for every connection.
    pub fn revocations(&self) -> broadcast::Receiver<Revocation> {
        self.0.revocations.subscribe()
    }

    /// Reads what was revoked every second, until `shutdown` completes.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                _ = ticks.tick() => {}
            }
            let step = tokio::select! {
                () = &mut shutdown => return,
                step = self.step() => step,
            };
            match step {
                Ok(_) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(%error, "revocations cannot be read; credentials count for another minute");
                }
                Err(_) => {}
            }
        }
    }

    /// Reads once what was revoked; returns how many revocations were new.
    pub async fn step(&self) -> Result<usize, ReadError> {
        let now = self.0.clock.now();
        self.0.revocations.step(&*self.0.store, now, |row| self.forget(row)).await
    }

    fn forget(&self, row: &Revocation) {
        self.0.verdicts.evict(|principal| match (row, &principal.credential) {
            (Revocation::Key { id, .. }, CredentialId::Key(key)) => id == key,
            // A deleted tenant's keys went with it: their records must be looked at again.
            (Revocation::Tenant { id, .. }, CredentialId::Key(_)) => match &principal.grant.tenants {
                Tenants::All => false,
                some => some.contains(id),
            },
            (_, CredentialId::Token { .. }) => false,
        });
    }
}
