use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::{CredentialId, KeyId, Timestamp};
use tidings_store::{ReadError, Revocation, Store};
use tokio::sync::broadcast;

/// How often the store is asked for new revocations.
pub(crate) const POLL: Duration = Duration::from_secs(1);

/// How old the last look at the revocations may be before no verdict is trusted.
const TRUSTED: Duration = Duration::from_mins(1);

/// Keys kept in memory; the oldest are forgotten first. No verdict on a key outlives a minute, so a
/// forgotten one is refused by its row in the store.
const KEYS_MAX: usize = 100_000;

/// Revocations that a receiver may be behind before it is told that it missed some.
const BACKLOG: usize = 1_024;

/// What was revoked, as far as the store has been read.
#[derive(Debug)]
pub(crate) struct Revocations {
    state: Mutex<State>,
    /// The number of the last row read. Held across the read: two readers at once would announce the
    /// same rows twice.
    read_to: tokio::sync::Mutex<u64>,
    announce: broadcast::Sender<Revocation>,
}

#[derive(Debug, Default)]
struct State {
    keys: HashSet<KeyId, foldhash::fast::RandomState>,
    order: VecDeque<KeyId>,
    /// When the last complete look at the store began.
    looked_at: Option<Timestamp>,
}

impl Revocations {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            read_to: tokio::sync::Mutex::default(),
            announce: broadcast::Sender::new(BACKLOG),
        }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Revocation> {
        self.announce.subscribe()
    }

    pub(crate) fn contains(&self, credential: &CredentialId) -> bool {
        match credential {
            CredentialId::Key(id) => self.state.lock().keys.contains(id),
            // Tokens have no rows yet: they end by their expiry.
            CredentialId::Token { .. } => false,
        }
    }

    /// Whether what is known is recent enough to trust a verdict by.
    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        self.state.lock().looked_at.is_some_and(|at| now.since(at) <= TRUSTED)
    }

    /// Reads what is new, remembers it, hands each to `apply` and then announces it. Returns how many.
    pub(crate) async fn step(
        &self,
        store: &dyn Store,
        now: Timestamp,
        apply: impl Fn(&Revocation),
    ) -> Result<usize, ReadError> {
        let mut read_to = self.read_to.lock().await;
        let mut count = 0;
        loop {
            let rows = store.revocations(*read_to).await?;
            let Some(last) = rows.last() else { break };
            *read_to = number(last);
            count += rows.len();
            for row in rows {
                if let Revocation::Key { id, .. } = row {
                    self.state.lock().add(id);
                }
                apply(&row);
                // Nobody may be listening.
                let _ = self.announce.send(row);
            }
        }
        self.state.lock().looked_at = Some(now);
        Ok(count)
    }
}

impl State {
    fn add(&mut self, id: KeyId) {
        if !self.keys.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > KEYS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}

const fn number(row: &Revocation) -> u64 {
    match row {
        Revocation::Key { n, .. } | Revocation::Tenant { n, .. } => *n,
    }
}
