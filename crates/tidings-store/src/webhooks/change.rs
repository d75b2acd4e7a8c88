use std::time::Duration;

use bytes::Bytes;
use tidings_core::{
    EndpointId, EndpointSpec, Grant, ReplayId, SecretId, Seq, Timestamp,
    webhook::{Endpoint, Resume, Secret, StateName},
};

use crate::CommandError;

/// An endpoint to be made. Its values were [checked](EndpointSpec::check) and its address judged.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    pub id: EndpointId,
    pub spec: EndpointSpec,
    pub grant: Grant,
    pub secrets: Vec<Secret>,
    /// What comes after it is sent; `None`: what comes from now on.
    pub cursor: Option<Seq>,
    /// How many its tenant may have: one more is [`CommandError::TooMany`].
    pub limit: usize,
}

#[derive(Debug, Clone)]
pub enum EndpointChange {
    /// Something else to do. [`CommandError::Changed`] where it is no longer the one of this change number.
    Spec {
        spec: Box<EndpointSpec>,
        seen: u64,
    },
    Pause,
    Enable(Resume),
    /// A receiver is back: enables from the cursor. [`CommandError::Changed`] where the endpoint is no longer disabled or no
    /// longer the one of this change number.
    Recover {
        seen: u64,
    },
    /// Signs with this one too, and with its predecessors for `overlap` more. Those that have expired go.
    Rotate {
        secret: Secret,
        overlap: Duration,
    },
    /// The same secrets under another master key; also of a suspended tenant's endpoint.
    Reseal(Vec<(SecretId, Bytes)>),
}

impl EndpointChange {
    /// Whether a suspended tenant is no hindrance.
    pub(crate) const fn any_state(&self) -> bool {
        matches!(self, Self::Reseal(_))
    }
}

/// What an endpoint is sent again.
#[derive(Debug, Clone, Copy)]
pub enum ReplayWhat {
    /// What it may see of the log from one seq to another, both included, as far as the log is kept.
    Range { id: ReplayId, from: Seq, to: Seq },
    /// One event: its dead letter where there is one, else from the log.
    Event { id: ReplayId, seq: Seq },
    /// Its dead letters, at most [`Replay::DEAD_MAX`](tidings_core::webhook::Replay::DEAD_MAX) of them.
    Failures,
}

/// What a change makes of an endpoint: the same in every store.
pub(crate) fn applied(
    change: &EndpointChange,
    endpoint: Endpoint,
    head: Seq,
    now: Timestamp,
) -> Result<Endpoint, CommandError> {
    Ok(match change {
        EndpointChange::Spec { seen, .. } if *seen != endpoint.change => return Err(CommandError::Changed),
        EndpointChange::Spec { spec, .. } => endpoint.changed((**spec).clone()),
        EndpointChange::Recover { seen }
            if *seen != endpoint.change || endpoint.state.name() != StateName::Disabled =>
        {
            return Err(CommandError::Changed);
        }
        EndpointChange::Recover { .. } => endpoint.enabled(Resume::Cursor, head),
        EndpointChange::Pause => endpoint.paused(now),
        EndpointChange::Enable(from) => endpoint.enabled(*from, head),
        EndpointChange::Rotate { secret, overlap } => {
            endpoint.rotated(Secret { created_at: now, ..secret.clone() }, now + *overlap)?
        }
        EndpointChange::Reseal(sealed) => endpoint.resealed(sealed),
    })
}
