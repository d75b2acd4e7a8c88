use std::str::FromStr;

use bytes::Bytes;

use super::{DisabledReason, EndpointSpec, EndpointState, Partition, Secret, StateName};
use crate::{Audience, EndpointId, Grant, SecretId, Seq, TenantId, Timestamp};

/// A place where a tenant's events are sent, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub id: EndpointId,
    pub tenant: TenantId,
    pub spec: EndpointSpec,
    /// Its creator's: it sees no more than that.
    pub grant: Grant,
    pub state: EndpointState,
    /// Every event up to here was delivered, or is a [`Delivery`](super::Delivery), or does not match.
    pub cursor: Seq,
    /// Rises with every change of state, and of the cursor by anything but delivering.
    pub generation: u64,
    /// Since when nothing was delivered, where something should have been.
    pub failing_since: Option<Timestamp>,
    /// Until when its receiver asked to be left alone; another URL's was not asked for.
    pub quiet_until: Option<Timestamp>,
    /// Newest last; only that one does not expire.
    pub secrets: Vec<Secret>,
    pub created_at: Timestamp,
    /// Rises with every change that a dispatcher has to hear of, over all tenants. 0 before it is stored.
    pub change: u64,
}

/// Where an endpoint goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resume {
    /// From its cursor: nothing is lost.
    #[default]
    Cursor,
    /// From what comes next: what has gathered is passed over.
    Now,
}

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("an endpoint goes on from cursor or from now")]
pub struct ResumeError;

/// Why a transition may not happen.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum EndpointRefused {
    #[error("the endpoint is {0}")]
    State(StateName),
    #[error("an endpoint has at most {max} secrets at once", max = Endpoint::SECRETS_MAX)]
    Secrets,
}

impl Endpoint {
    pub const SECRETS_MAX: usize = 8;

    /// A new one, which is sent what comes after `cursor`.
    pub fn new(
        id: EndpointId,
        tenant: TenantId,
        (spec, grant): (EndpointSpec, Grant),
        secrets: Vec<Secret>,
        cursor: Seq,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            tenant,
            spec,
            grant,
            state: EndpointState::Active,
            cursor,
            generation: 1,
            failing_since: None,
            quiet_until: None,
            secrets,
            created_at: now,
            change: 0,
        }
    }

    pub fn partition(&self) -> Partition {
        Partition::of(&self.tenant, self.id)
    }

    /// Which events it may be sent, whatever its filter asks for.
    pub fn audience(&self) -> Audience {
        self.grant.audience()
    }

    #[must_use]
    pub fn changed(mut self, spec: EndpointSpec) -> Self {
        if spec.url != self.spec.url {
            self.quiet_until = None;
        }
        self.spec = spec;
        self
    }

    /// Stops by a person's wish, also where it has stopped by itself: then it does not heal by itself. One that is paused
    /// already stays so.
    #[must_use]
    pub fn paused(mut self, now: Timestamp) -> Self {
        if self.state.name() != StateName::Paused {
            self.state = EndpointState::Paused { at: now };
            self.generation += 1;
        }
        self
    }

    /// Delivers again. `head` is the end of the log.
    #[must_use]
    pub fn enabled(mut self, from: Resume, head: Seq) -> Self {
        let moved = from == Resume::Now && self.cursor != head;
        if moved {
            self.cursor = head;
        }
        if moved || self.state != EndpointState::Active {
            self.state = EndpointState::Active;
            self.failing_since = None;
            self.generation += 1;
        }
        self
    }

    /// Stops by itself.
    pub fn disabled(mut self, reason: DisabledReason, now: Timestamp) -> Result<Self, EndpointRefused> {
        if self.state != EndpointState::Active {
            return Err(EndpointRefused::State(self.state.name()));
        }
        self.state = EndpointState::Disabled { reason, at: now };
        self.generation += 1;
        Ok(self)
    }

    /// Has lost what expired before `oldest`.
    #[must_use]
    pub fn cut(mut self, oldest: Seq) -> Self {
        if self.cursor < oldest.prev() {
            self.cursor = oldest.prev();
            self.generation += 1;
        }
        self
    }

    /// Signs with `secret` too; those before it, of whichever kind, sign until `overlap_until`, or until they expire.
    pub fn rotated(mut self, secret: Secret, overlap_until: Timestamp) -> Result<Self, EndpointRefused> {
        let now = secret.created_at;
        self.secrets.retain(|old| old.signs_at(now));
        for old in &mut self.secrets {
            old.expires_at = Some(old.expires_at.map_or(overlap_until, |end| end.min(overlap_until)));
        }
        // Without an overlap it ends at once.
        self.secrets.retain(|old| old.signs_at(now));
        self.secrets.push(secret);
        if self.secrets.len() > Self::SECRETS_MAX { Err(EndpointRefused::Secrets) } else { Ok(self) }
    }

    /// With the same secrets, sealed under another key.
    #[must_use]
    pub fn resealed(mut self, sealed: &[(SecretId, Bytes)]) -> Self {
        for secret in &mut self.secrets {
            if let Some((_, anew)) = sealed.iter().find(|(id, _)| *id == secret.id) {
                secret.sealed = anew.clone();
            }
        }
        self
    }
}

impl FromStr for Resume {
    type Err = ResumeError;
    fn from_str(text: &str) -> Result<Self, ResumeError> {
        match text {
            "cursor" => Ok(Self::Cursor),
            "now" => Ok(Self::Now),
            _ => Err(ResumeError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SecretId, Tenants, webhook::SecretKind};
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn secret(n: u8, at: i64) -> Secret {
        Secret {
            id: SecretId::from_bytes([n; 16]),
            kind: SecretKind::V1,
            sealed: vec![n].into(),
            created_at: Timestamp::from_secs(at),
            expires_at: None,
        }
    }

    fn endpoint() -> Endpoint {
        let grant = Grant {
            tenants: Tenants::All,
            user: None,
            scopes: "events:read".parse().expect("valid"),
            subjects: None,
        };
        Endpoint::new(
            EndpointId::from_bytes([1; 16]),
            TenantId::new("acme").expect("valid"),
            (EndpointSpec::of("https://example.com"), grant),
            vec![secret(1, 0)],
            Seq::new(5),
            NOW,
        )
    }

    #[test]
    fn a_generation_ends_with_a_state() {
        let paused = endpoint().paused(NOW);
        assert_eq!((paused.state, paused.generation), (EndpointState::Paused { at: NOW }, 2));
        let still = paused.clone().paused(NOW + Duration::from_secs(1));
        assert_eq!(still, paused);
        let again = paused.clone().enabled(Resume::Cursor, Seq::new(9));
        assert_eq!((again.state, again.cursor, again.generation), (EndpointState::Active, Seq::new(5), 3));
        assert_eq!(again.clone().enabled(Resume::Cursor, Seq::new(9)), again, "it goes on anyway");
        let from_now = again.enabled(Resume::Now, Seq::new(9));
        assert_eq!((from_now.cursor, from_now.generation), (Seq::new(9), 4));
        let refused = paused.disabled(DisabledReason::Gone, NOW);
        assert_eq!(refused, Err(EndpointRefused::State(StateName::Paused)));
    }

    #[test]
    fn a_disabled_endpoint_is_enabled_or_paused() {
        let mut failing = endpoint();
        failing.failing_since = Some(Timestamp::from_secs(1));
        let disabled = failing.disabled(DisabledReason::Failing, NOW).expect("it is active");
        assert_eq!(disabled.generation, 2);
        let paused = disabled.clone().paused(NOW);
        assert_eq!((paused.state, paused.generation), (EndpointState::Paused { at: NOW }, 3));
        let enabled = disabled.enabled(Resume::Cursor, Seq::new(9));
        assert_eq!((enabled.failing_since, enabled.generation), (None, 3));
    }

    #[test]
    fn what_expired_is_a_gap() {
        let gap = endpoint().gap_before(Seq::new(8)).expect("6 and 7 are lost");
        assert_eq!((gap.from, gap.to), (Seq::new(6), Seq::new(7)));
        assert_eq!(endpoint().gap_before(Seq::new(6)), None);
        let cut = endpoint().cut(Seq::new(8));
        assert_eq!((cut.cursor, cut.generation), (Seq::new(7), 2));
        assert_eq!(endpoint().cut(Seq::new(6)), endpoint());
    }

    #[test]
    fn secrets_overlap() {
        let rotated = endpoint().rotated(secret(2, 1_000), NOW + Duration::from_hours(1)).expect("few");
        let signing = |endpoint: &Endpoint, at: i64| -> Vec<u8> {
            let at = Timestamp::from_secs(at);
            endpoint.secrets.iter().filter(|s| s.signs_at(at)).map(|s| s.id.as_bytes()[0]).collect()
        };
        assert_eq!((signing(&rotated, 4_599), signing(&rotated, 4_600)), (vec![1, 2], vec![2]));
        let at_once = rotated.clone().rotated(secret(3, 1_001), Timestamp::from_secs(1_001)).expect("few");
        assert_eq!(signing(&at_once, 1_001), [3]);
        let later = rotated.rotated(secret(4, 4_600), Timestamp::from_secs(9_000)).expect("few");
        let ids: Vec<_> = later.secrets.iter().map(|secret| secret.id.as_bytes()[0]).collect();
        assert_eq!(ids, [2, 4], "what has expired goes with the next rotation");
        let other = Secret { kind: SecretKind::V1a { public: "whpk_x".into() }, ..secret(4, 1_000) };
        let changed = endpoint().rotated(other, NOW + Duration::from_hours(1)).expect("few");
        assert_eq!(
            (signing(&changed, 4_599), signing(&changed, 4_600)),
            (vec![1, 4], vec![4]),
            "of any kind"
        );
        let many =
            (2..9).try_fold(endpoint(), |e, n| e.rotated(secret(n, 1_000), NOW + Duration::from_hours(1)));
        let many = many.expect("eight");
        assert_eq!(
            many.rotated(secret(9, 1_000), NOW + Duration::from_hours(1)),
            Err(EndpointRefused::Secrets)
        );
    }
}
