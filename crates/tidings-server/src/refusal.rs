//! What the store's refusals are to a client: the one place that decides status and retryability.

use std::time::Duration;

use tidings_core::{Endpoint, job::Refused, webhook::EndpointRefused};
use tidings_store::{CommandError, ReadError, SCHEDULES_MAX};

use crate::{
    access,
    problem::{Kind, Problem},
};

const SOON: Duration = Duration::from_secs(1);

pub(crate) fn of_command(error: CommandError) -> Problem {
    match error {
        CommandError::NotFound | CommandError::UnknownTenant => Problem::not_found(),
        CommandError::TenantSuspended => access::suspended(),
        CommandError::Refused(refused) => of_transition(refused),
        CommandError::IdempotencyMismatch => Problem::new(
            Kind::IdempotencyMismatch,
            "This Idempotency-Key was used within 24 h with another body. Use a new key for a new request.",
        ),
        CommandError::AlreadyUsed => access::unauthorized(),
        CommandError::NameTaken => Problem::new(Kind::NameTaken, "A schedule of this name is there already."),
        // Those of webhooks are told by their routes, which know the number.
        CommandError::TooMany => Problem::new(
            Kind::LimitReached,
            format!("The tenant has {SCHEDULES_MAX} schedules, as many as it may have. Delete one first."),
        ),
        CommandError::Endpoint(refused) => of_endpoint(refused),
        CommandError::Changed => Problem::new(
            Kind::WrongState,
            "Somebody else has changed it meanwhile. Read it again, and decide anew.",
        ),
        CommandError::Busy => {
            Problem::new(Kind::Busy, "Too many changes are waiting to be committed. Nothing was done.")
                .retry_after(SOON)
        }
        CommandError::Unavailable => unavailable(),
        CommandError::OutcomeUnknown => Problem::new(
            Kind::OutcomeUnknown,
            "The store did not say whether it committed. Repeat the request under the same Idempotency-Key.",
        )
        .retry_after(SOON),
        CommandError::Rejected(cause) => {
            tracing::error!(%cause, "the store rejected a change that had passed every check");
            internal()
        }
    }
}

fn of_transition(refused: Refused) -> Problem {
    match refused {
        Refused::LeaseLost => Problem::new(
            Kind::LeaseLost,
            "The lease expired, was given back, or another one has followed it. Stop this work: nothing has changed.",
        ),
        Refused::Finished => Problem::new(Kind::WrongState, "The job is finished."),
        Refused::NotFinished => {
            Problem::new(Kind::WrongState, "The job is not finished: only a finished job is retried.")
        }
        Refused::NotDue => Problem::new(Kind::WrongState, "The job is not due."),
        Refused::Limited => Problem::new(
            Kind::JobsLimited,
            "As many jobs of this type run in the tenant as jobs.concurrency lets: one must end first. Nothing was done.",
        )
        .with("limit", "jobs.concurrency")
        .retry_after(SOON),
    }
}

fn of_endpoint(refused: EndpointRefused) -> Problem {
    match refused {
        EndpointRefused::State(state) => Problem::new(Kind::WrongState, format!("The endpoint is {state}.")),
        EndpointRefused::Secrets => {
            let most = Endpoint::SECRETS_MAX;
            let detail = format!(
                "The endpoint has {most} secrets at once, as many as it may have: one must end first."
            );
            Problem::new(Kind::LimitReached, detail)
        }
    }
}

pub(crate) fn of_read(error: &ReadError) -> Problem {
    match error {
        ReadError::Unavailable(cause) => {
            tracing::warn!(%cause, "a read found the store unavailable");
            unavailable()
        }
        ReadError::Corrupt(cause) => {
            tracing::error!(%cause, "a read found what cannot be read");
            internal()
        }
    }
}

fn unavailable() -> Problem {
    Problem::new(Kind::Unavailable, "The store cannot be reached just now. Nothing was done.")
        .retry_after(SOON)
}

pub(crate) fn internal() -> Problem {
    Problem::new(Kind::Internal, "The server failed. Its log has the cause under this request id.")
}
