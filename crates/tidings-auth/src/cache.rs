use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tidings_core::{Principal, Timestamp};

/// Verdicts by the SHA-256 of the whole credential, so that a reconnect storm costs look-ups and not
/// signatures.
///
/// Bounded: two generations of at most half the capacity each. When the young one is full it becomes
/// the old one and the old one is forgotten; a verdict that is asked for moves to the young one. So
/// what is in use stays, at a constant cost.
#[derive(Debug)]
pub(crate) struct VerdictCache {
    half: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    young: Generation,
    old: Generation,
    /// Rises with every eviction, so that a verdict reached before one is not put in after it.
    turn: Turn,
}

type Generation = HashMap<[u8; 32], Verdict, foldhash::fast::RandomState>;

#[derive(Debug, Clone)]
struct Verdict {
    principal: Arc<Principal>,
    until: Timestamp,
}

/// Which evictions a verdict takes account of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Turn(u64);

impl VerdictCache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { half: (capacity / 2).max(1), state: Mutex::default() }
    }

    pub(crate) fn get(&self, digest: &[u8; 32], now: Timestamp) -> Option<Arc<Principal>> {
        let mut state = self.state.lock();
        if let Some(verdict) = state.young.get(digest) {
            return (now < verdict.until).then(|| verdict.principal.clone());
        }
        let verdict = state.old.remove(digest)?;
        if verdict.until <= now {
            return None;
        }
        let principal = verdict.principal.clone();
        state.put(*digest, verdict, self.half);
        Some(principal)
    }

    /// To be asked before a credential is judged, for [`put`](Self::put).
    pub(crate) fn turn(&self) -> Turn {
        self.state.lock().turn
    }

    /// Keeps a verdict until `until`, unless anything was evicted since `turn`.
    pub(crate) fn put(&self, turn: Turn, digest: [u8; 32], principal: Arc<Principal>, until: Timestamp) {
        let mut state = self.state.lock();
        if state.turn == turn {
            state.put(digest, Verdict { principal, until }, self.half);
        }
    }

    pub(crate) fn evict(&self, which: impl Fn(&Principal) -> bool) {
        let mut state = self.state.lock();
        state.turn.0 += 1;
        state.young.retain(|_, v| !which(&v.principal));
        state.old.retain(|_, v| !which(&v.principal));
    }
}

impl State {
    fn put(&mut self, digest: [u8; 32], verdict: Verdict, half: usize) {
        if self.young.len() >= half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, verdict);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::{CredentialId, Grant, KeyId, ScopeSet, Tenants};

    fn principal(n: u8) -> Arc<Principal> {
        let grant = Grant { tenants: Tenants::All, user: None, scopes: ScopeSet::EMPTY, subjects: None };
        let credential = CredentialId::Key(KeyId::from_bytes([n; 16]));
        Arc::new(Principal { grant, expires_at: None, credential })
    }

    const NOW: Timestamp = Timestamp::from_secs(100);
    const LATER: Timestamp = Timestamp::from_secs(160);

    #[test]
    fn it_is_bounded_and_keeps_what_is_in_use() {
        let cache = VerdictCache::new(8);
        cache.put(cache.turn(), [255; 32], principal(255), LATER);
        for n in 0..200 {
            cache.put(cache.turn(), [n; 32], principal(n), LATER);
            assert!(cache.get(&[255; 32], NOW).is_some(), "after {n}");
        }
        let state = cache.state.lock();
        assert!(state.young.len() + state.old.len() <= 8);
    }

    #[test]
    fn a_verdict_ends_at_its_time() {
        let cache = VerdictCache::new(8);
        cache.put(cache.turn(), [1; 32], principal(1), LATER);
        assert!(cache.get(&[1; 32], Timestamp::from_micros(LATER.as_micros() - 1)).is_some());
        assert!(cache.get(&[1; 32], LATER).is_none());
    }

    #[test]
    fn a_verdict_from_before_an_eviction_is_not_put_in_after_it() {
        let cache = VerdictCache::new(8);
        let before = cache.turn();
        cache.evict(|_| true);
        cache.put(before, [1; 32], principal(1), LATER);
        assert!(cache.get(&[1; 32], NOW).is_none());
        cache.put(cache.turn(), [1; 32], principal(1), LATER);
        assert!(cache.get(&[1; 32], NOW).is_some());
        cache.evict(|p| p.credential == CredentialId::Key(KeyId::from_bytes([1; 16])));
        assert!(cache.get(&[1; 32], NOW).is_none());
    }
}
