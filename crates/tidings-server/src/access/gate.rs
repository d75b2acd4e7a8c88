use std::{sync::Arc, time::Duration};

use http::{HeaderMap, header, request::Parts};
use tidings_auth::{AuthError, Authenticator, Credential};
use tidings_core::{Clock, Principal, Scope, TenantId};
use tidings_store::{Command, Operation};

use crate::{
    config::Create,
    metrics::Metrics,
    problem::{Kind, Problem},
    quotas::{Account, Quotas},
    settings::Settings,
    tenants::{Directory, Standing},
};

use super::{
    acting,
    credential::{self, Presented},
    lacks, unauthorized,
};

/// What makes a principal of a request, and looks at its tenant.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) authenticator: Authenticator,
    pub(crate) directory: Directory,
    pub(super) settings: Settings,
    metrics: Metrics,
    quotas: Quotas,
}

/// Who asks, and who pays for it.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) principal: Arc<Principal>,
    pub(super) account: Account,
}

impl Gate {
    pub(crate) fn new(
        authenticator: Authenticator,
        directory: Directory,
        settings: &Settings,
        metrics: &Metrics,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let quotas = Quotas::new(settings.clone(), clock);
        Self { authenticator, directory, settings: settings.clone(), metrics: metrics.clone(), quotas }
    }

    pub(super) async fn by_header(&self, parts: &mut Parts) -> Result<Asker, Problem> {
        let presented = credential::from_header(&parts.headers).inspect_err(|_| self.metrics.auth.missing());
        let principal = self.verify(&presented?, &parts.headers).await?;
        self.charge(principal, parts)
    }

    /// The same for what needs `scope`.
    pub(super) async fn with_scope(&self, scope: Scope, parts: &mut Parts) -> Result<Asker, Problem> {
        let asker = self.by_header(parts).await?;
        if asker.principal.has(scope) { Ok(asker) } else { Err(lacks(scope)) }
    }

    pub(super) async fn for_stream(&self, parts: &mut Parts) -> Result<Asker, Problem> {
        let presented =
            credential::from_stream(&parts.headers, &parts.uri).inspect_err(|_| self.metrics.auth.missing());
        let principal = self.verify(&presented?, &parts.headers).await?;
        self.charge(principal, parts)
    }

    /// Counts the request before anything else of it is looked at.
    fn charge(&self, principal: Arc<Principal>, parts: &mut Parts) -> Result<Asker, Problem> {
        // Whoever may not name a tenant, or names none, is told so later.
        let named = acting::named(&principal, &parts.headers).ok().flatten();
        let tenant = named.as_ref().or_else(|| principal.grant.tenants.single());
        let body_max = self.settings.get().limits.body_bytes;
        let account = Account::open(&self.quotas, &principal, tenant, parts, body_max)?;
        Ok(Asker { principal, account })
    }

    async fn verify(&self, presented: &Presented, headers: &HeaderMap) -> Result<Arc<Principal>, Problem> {
        let credential = match presented {
            Presented::Bearer(token) => Credential::Bearer(token),
            Presented::Ticket(text) => {
                Credential::Ticket { text, origin: headers.get(header::ORIGIN).and_then(|v| v.to_str().ok()) }
            }
        };
        let verdict = self.authenticator.authenticate(credential).await;
        self.metrics.auth.verdict(verdict.as_ref().map(drop));
        verdict.map_err(|e| problem(&e))
    }

    /// Whether the tenant is there, or would be made by its first use; refuses where neither is so.
    pub(super) async fn look_up(&self, principal: &Principal, tenant: &TenantId) -> Result<bool, Problem> {
        match self.directory.standing(tenant).await? {
            Standing::Unknown if self.may_create(principal) => Ok(true),
            standing => refuse_unless_active(standing).map(|()| false),
        }
    }

    /// The command that does `operation` in a tenant that was looked up. Making a tenant by it is
    /// rate-limited.
    pub(super) fn command(
        &self,
        tenant: TenantId,
        may_create: bool,
        operation: Operation,
    ) -> Result<Command, Problem> {
        if may_create {
            self.directory.admit_new(&tenant)?;
        }
        Ok(Command::Tenant { tenant, create: may_create, operation })
    }

    /// Refuses a tenant that is not active now.
    pub(super) async fn look_again(&self, tenant: &TenantId) -> Result<(), Problem> {
        refuse_unless_active(self.directory.standing(tenant).await?)
    }

    /// Tenants come into being by the use of credentials that were made here, not of an issuer's.
    fn may_create(&self, principal: &Principal) -> bool {
        tidings_auth::is_made_here(&principal.credential)
            && self.settings.get().tenants.create == Create::Auto
    }
}

fn refuse_unless_active(standing: Standing) -> Result<(), Problem> {
    match standing {
        Standing::Active => Ok(()),
        Standing::Suspended => Err(suspended()),
        Standing::Unknown => Err(Problem::not_found()),
    }
}

pub(crate) fn suspended() -> Problem {
    Problem::new(Kind::TenantSuspended, "The tenant is suspended: ask the operator.")
}

/// What a failed authentication answers.
fn problem(error: &AuthError) -> Problem {
    match error {
        AuthError::Unavailable(_) => {
            Problem::new(Kind::Unavailable, "The credential cannot be checked just now. Try again.")
                .retry_after(Duration::from_secs(1))
        }
        AuthError::Invalid { .. } => unauthorized(),
    }
}
