use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Job, KeyId, NewEvent, Pattern, Scope, ScopeSet, Subject, TenantId, Timestamp, UserId, job::JobSpec,
};

/// Who a credential stands for. Every request becomes one, in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub grant: Grant,
    /// When the credential ends, and every connection that it opened with it.
    pub expires_at: Option<Timestamp>,
    pub credential: CredentialId,
}

/// What a credential may do: stored with a key or a ticket, and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub tenants: Tenants,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    pub scopes: ScopeSet,
    /// Narrows what may be seen or published to events and jobs about these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subjects: Option<Arc<[Pattern]>>,
}

impl Grant {
    /// Which events may be seen with it.
    pub fn audience(&self) -> Audience {
        let has = |scope| self.scopes.contains(scope);
        Audience {
            jobs: has(Scope::JobsReadOwn) || has(Scope::JobsReadAll),
            published: has(Scope::EventsRead),
            owner: self.owner_limit(),
            subjects: self.subjects.clone(),
        }
    }

    fn owner_limit(&self) -> OwnerLimit {
        let has = |scope| self.scopes.contains(scope);
        if !has(Scope::JobsReadOwn) || has(Scope::JobsReadAll) {
            return OwnerLimit::None;
        }
        match &self.user {
            Some(user) => OwnerLimit::Only(user.clone()),
            None => OwnerLimit::Nobody,
        }
    }
}

/// Where a grant holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tenants {
    One(TenantId),
    /// A worker's: only claiming takes a set, each lease then fixes its tenant.
    Set(Arc<[TenantId]>),
    All,
}

impl Tenants {
    pub fn contains(&self, tenant: &TenantId) -> bool {
        match self {
            Self::One(one) => one == tenant,
            Self::Set(set) => set.contains(tenant),
            Self::All => true,
        }
    }

    /// The tenant that needs no naming.
    pub fn single(&self) -> Option<&TenantId> {
        match self {
            Self::One(one) => Some(one),
            Self::Set(set) if set.len() == 1 => set.first(),
            Self::Set(_) | Self::All => None,
        }
    }

    /// Whether a tenant is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Set(set), other) | (other, Self::Set(set)) => set.iter().any(|t| other.contains(t)),
            (Self::One(one), other) | (other, Self::One(one)) => other.contains(one),
            (Self::All, Self::All) => true,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (_, Self::All) => false,
            (_, Self::One(one)) => self.contains(one),
            (_, Self::Set(set)) => set.iter().all(|t| self.contains(t)),
        }
    }
}

/// What a revocation names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CredentialId {
    /// An API key, or anything that was minted with it.
    Key(KeyId),
    /// A token: its issuer and its `jti` (or, without one, a digest of it). No secret.
    Token { issuer: Arc<str>, id: Arc<str> },
}

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum GrantError {
    #[error("your credential does not carry the scope {0}, so it cannot give it")]
    Scope(Scope),
    #[error("your credential is narrowed to subjects that do not cover {0}")]
    Subject(Pattern),
    #[error("your credential stands for a user and may act for that user alone")]
    User,
    #[error(
        "your credential sees its own user's events alone, so what it gives must carry jobs:read:own too"
    )]
    Owner,
    #[error("your credential does not reach that tenant")]
    Tenant,
}

impl Principal {
    pub const fn has(&self, scope: Scope) -> bool {
        self.grant.scopes.contains(scope)
    }

    pub const fn is_operator(&self) -> bool {
        self.has(Scope::SystemAdmin)
    }

    pub fn user(&self) -> Option<&UserId> {
        self.grant.user.as_ref()
    }

    /// Whether it may read jobs at all, its own or all.
    pub const fn reads_jobs(&self) -> bool {
        self.has(Scope::JobsReadOwn) || self.has(Scope::JobsReadAll)
    }

    /// Whether it may open a stream or read the log.
    pub const fn reads_events(&self) -> bool {
        self.reads_jobs() || self.has(Scope::EventsRead)
    }

    /// Which events it may see.
    pub fn audience(&self) -> Audience {
        self.grant.audience()
    }

    /// Which jobs it may read.
    pub fn job_access(&self) -> JobAccess {
        JobAccess { owner: self.owner_limit(), subjects: self.grant.subjects.clone() }
    }

    fn owner_limit(&self) -> OwnerLimit {
        self.grant.owner_limit()
    }

    /// Whether it may name `user` as an owner or mint credentials for it: one that stands for a user
    /// and does not read all jobs may name only itself.
    pub fn may_act_for(&self, user: Option<&UserId>) -> bool {
        match &self.grant.user {
            Some(own) if !self.has(Scope::JobsReadAll) => user == Some(own),
            _ => true,
        }
    }

    /// Whether it may publish or enqueue about `subject`.
    pub fn may_write_about(&self, subject: Option<&Subject>) -> bool {
        within(self.grant.subjects.as_deref(), subject)
    }

    /// Whether a credential made by this one may carry `wanted`: never more than its creator.
    pub fn may_grant(&self, wanted: &Grant) -> Result<(), GrantError> {
        if self.is_operator() {
            return Ok(());
        }
        // Who reads all jobs may give one user the reading of that user's own.
        let holds = |s| self.has(s) || (s == Scope::JobsReadOwn && self.has(Scope::JobsReadAll));
        if let Some(scope) = wanted.scopes.iter().find(|s| !holds(*s)) {
            return Err(GrantError::Scope(scope));
        }
        if !self.grant.tenants.covers(&wanted.tenants) {
            return Err(GrantError::Tenant);
        }
        if !self.may_act_for(wanted.user.as_ref()) {
            return Err(GrantError::User);
        }
        // Without a user, `:own` narrows to nobody; a user of the creator's choice would widen it.
        if matches!(self.owner_limit(), OwnerLimit::Nobody) && wanted.user.is_some() {
            return Err(GrantError::User);
        }
        // The owner limit comes with the scope: without it, published events would be seen unlimited.
        let limited = self.owner_limit() != OwnerLimit::None;
        if limited && wanted.scopes.contains(Scope::EventsRead) && !wanted.scopes.contains(Scope::JobsReadOwn)
        {
            return Err(GrantError::Owner);
        }
        let Some(mine) = self.grant.subjects.as_deref() else { return Ok(()) };
        let Some(theirs) = wanted.subjects.as_deref() else {
            return Err(GrantError::Subject(Pattern::Prefix("".into())));
        };
        match theirs.iter().find(|p| !mine.iter().any(|m| m.covers(p))) {
            Some(uncovered) => Err(GrantError::Subject(uncovered.clone())),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum OwnerLimit {
    None,
    Only(UserId),
    /// `:own` for a credential without a user.
    Nobody,
}

impl OwnerLimit {
    fn admits(&self, owner: Option<&UserId>) -> bool {
        match self {
            Self::None => true,
            Self::Only(user) => owner == Some(user),
            Self::Nobody => false,
        }
    }
}

fn within(patterns: Option<&[Pattern]>, subject: Option<&Subject>) -> bool {
    patterns.is_none_or(|p| subject.is_some_and(|s| p.iter().any(|p| p.matches(s.as_str()))))
}

/// Which events a principal may see, whatever it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Audience {
    jobs: bool,
    published: bool,
    owner: OwnerLimit,
    subjects: Option<Arc<[Pattern]>>,
}

impl Audience {
    /// Sees every event of the tenant.
    pub const fn unlimited() -> Self {
        Self { jobs: true, published: true, owner: OwnerLimit::None, subjects: None }
    }

    pub fn is_unlimited(&self) -> bool {
        *self == Self::unlimited()
    }

    pub fn admits(&self, event: &NewEvent) -> bool {
        let kind = if event.event_type.is_job() { self.jobs } else { self.published };
        kind && self.owner.admits(event.owner.as_ref())
            && within(self.subjects.as_deref(), event.subject.as_ref())
    }
}

/// Which jobs a principal may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobAccess {
    owner: OwnerLimit,
    subjects: Option<Arc<[Pattern]>>,
}

impl JobAccess {
    pub fn admits(&self, job: &Job) -> bool {
        self.admits_spec(&job.spec)
    }

    /// The same of a job that is yet to be: a schedule's.
    pub fn admits_spec(&self, job: &JobSpec) -> bool {
        self.owner.admits(job.owner.as_ref()) && within(self.subjects.as_deref(), job.subject.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventBody, EventId, EventType, RawJson};

    fn principal(user: Option<&str>, scopes: &str) -> Principal {
        Principal {
            grant: Grant {
                tenants: Tenants::One(TenantId::new("acme").expect("valid")),
                user: user.map(|u| UserId::new(u).expect("valid")),
                scopes: scopes.parse().expect("valid"),
                subjects: None,
            },
            expires_at: None,
            credential: CredentialId::Key(KeyId::from_bytes([0; 16])),
        }
    }

    fn event(event_type: &str, owner: Option<&str>, subject: Option<&str>) -> NewEvent {
        NewEvent {
            id: EventId::from_bytes([0; 16]),
            event_type: EventType::parse(event_type).expect("valid"),
            job: None,
            owner: owner.map(|o| UserId::new(o).expect("valid")),
            subject: subject.map(|s| Subject::new(s).expect("valid")),
            body: EventBody::same_for_all(RawJson::null()),
        }
    }

    #[test]
    fn own_sees_its_users_events_and_none_without_an_owner() {
        let own = principal(Some("ana"), "jobs:read:own").audience();
        assert!(own.admits(&event("job.queued", Some("ana"), None)));
        assert!(!own.admits(&event("job.queued", Some("ben"), None)));
        assert!(!own.admits(&event("job.queued", None, None)));
        assert!(!own.admits(&event("note.created", Some("ana"), None)), "events:read is another scope");
        let nobody = principal(None, "jobs:read:own").audience();
        assert!(!nobody.admits(&event("job.queued", None, None)));
    }

    #[test]
    fn tenants_overlap_where_one_is_in_both() {
        let all: Vec<TenantId> =
            ["acme", "rival", "other"].iter().map(|t| t.parse().expect("valid")).collect();
        let mut kinds: Vec<_> = all.iter().cloned().map(Tenants::One).collect();
        kinds.extend([0..0, 0..1, 0..2, 1..3].map(|range| Tenants::Set(all[range].into())));
        kinds.push(Tenants::All);
        for a in &kinds {
            for b in &kinds {
                let shared = all.iter().any(|t| a.contains(t) && b.contains(t));
                assert_eq!(a.overlaps(b), shared, "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn subjects_narrow_what_is_seen() {
        let mut p = principal(None, "events:read jobs:read:all");
        assert!(p.audience().is_unlimited());
        p.grant.subjects = Some([Pattern::Prefix("note/".into())].into());
        assert!(p.audience().admits(&event("x.y", None, Some("note/1"))));
        assert!(!p.audience().admits(&event("x.y", None, Some("page/1"))));
        assert!(!p.audience().admits(&event("x.y", None, None)));
    }

    #[test]
    fn a_grant_is_never_wider_than_its_creator() {
        let creator = principal(Some("ana"), "jobs:read:own keys:manage");
        let ok = creator.grant.clone();
        assert_eq!(creator.may_grant(&ok), Ok(()));
        let wider = Grant { scopes: "jobs:read:all".parse().expect("valid"), ..ok.clone() };
        assert_eq!(creator.may_grant(&wider), Err(GrantError::Scope(Scope::JobsReadAll)));
        let other = Grant { user: Some(UserId::new("ben").expect("valid")), ..ok.clone() };
        assert_eq!(creator.may_grant(&other), Err(GrantError::User));
        let userless = Grant { user: None, ..ok.clone() };
        assert_eq!(creator.may_grant(&userless), Err(GrantError::User));
        let elsewhere = Grant { tenants: Tenants::All, ..ok };
        assert_eq!(creator.may_grant(&elsewhere), Err(GrantError::Tenant));
    }

    #[test]
    fn who_reads_all_jobs_may_give_the_reading_of_ones_own() {
        let backend = principal(None, "jobs:read:all events:read");
        let ana = Some(UserId::new("ana").expect("valid"));
        let own = Grant {
            user: ana,
            scopes: "jobs:read:own events:read".parse().expect("valid"),
            ..backend.grant.clone()
        };
        assert_eq!(backend.may_grant(&own), Ok(()));
    }

    #[test]
    fn an_owner_limit_is_not_shed_with_its_scope() {
        let creator = principal(Some("ana"), "jobs:read:own events:read");
        let shed = Grant { scopes: "events:read".parse().expect("valid"), ..creator.grant.clone() };
        assert_eq!(creator.may_grant(&shed), Err(GrantError::Owner));
        assert_eq!(creator.may_grant(&creator.grant), Ok(()));
    }

    #[test]
    fn narrowed_subjects_stay_narrowed() {
        let mut creator = principal(None, "events:read");
        creator.grant.subjects = Some([Pattern::Prefix("note/".into())].into());
        let with = |subjects: Option<&str>| Grant {
            subjects: subjects.map(|s| [s.parse().expect("valid")].into()),
            ..creator.grant.clone()
        };
        assert_eq!(creator.may_grant(&with(Some("note/4*"))), Ok(()));
        assert!(creator.may_grant(&with(Some("*"))).is_err());
        assert!(creator.may_grant(&with(None)).is_err());
    }
}
