//! What a route needs, as types: an extractor checks it before anything is read or looked up.

use tidings_core::{Principal, Scope};

use crate::{problem::Problem, quotas::Metered};

/// A requirement on the principal.
pub(crate) trait Need: Send + Sync {
    /// What such a request brings at least one of: where none is left, its body is not read.
    const METERED: Option<Metered> = None;

    fn check(principal: &Principal) -> Result<(), Problem>;
}

macro_rules! needs_scope {
    ($($name:ident = $scope:ident $(bringing $metered:ident)?),+ $(,)?) => {$(
        #[derive(Debug)]
        pub(crate) struct $name;

        impl Need for $name {
            $(const METERED: Option<Metered> = Some(Metered::$metered);)?

            fn check(principal: &Principal) -> Result<(), Problem> {
                if principal.has(Scope::$scope) { Ok(()) } else { Err(super::lacks(Scope::$scope)) }
            }
        }
    )+};
}

needs_scope! {
    WriteJobs = JobsWrite,
    EnqueueJobs = JobsWrite bringing Enqueues,
    PublishEvents = EventsPublish bringing Publishes,
    ManageWebhooks = WebhooksManage,
}

/// Jobs, its own or all.
#[derive(Debug)]
pub(crate) struct ReadJobs;

impl Need for ReadJobs {
    fn check(principal: &Principal) -> Result<(), Problem> {
        if principal.reads_jobs() {
            return Ok(());
        }
        Err(super::forbidden("Your credential lacks the scope jobs:read:own or jobs:read:all."))
    }
}

/// Events of any kind.
#[derive(Debug)]
pub(crate) struct ReadEvents;

impl Need for ReadEvents {
    fn check(principal: &Principal) -> Result<(), Problem> {
        if principal.reads_events() {
            return Ok(());
        }
        Err(super::forbidden("Your credential lacks the scope events:read, jobs:read:own or jobs:read:all."))
    }
}

/// How much waits and runs, whosever it is.
#[derive(Debug)]
pub(crate) struct SeeQueues;

impl Need for SeeQueues {
    fn check(principal: &Principal) -> Result<(), Problem> {
        if principal.has(Scope::JobsReadAll) || principal.has(Scope::JobsWork) {
            return Ok(());
        }
        Err(super::forbidden("Your credential lacks the scope jobs:read:all or jobs:work."))
    }
}
