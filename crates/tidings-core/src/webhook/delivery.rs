use bytes::Bytes;

use super::{AttemptFailure, Format};
use crate::{EventId, EventType, ReplayId, Seq, Timestamp};

/// An event that an endpoint did not take at the first try, or that is being sent again. A delivered one is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub seq: Seq,
    pub event: EventId,
    pub event_type: EventType,
    pub state: DeliveryState,
    /// What was sent, as it was sent: the log may forget the event before the delivery is done with. Always there
    /// once it is dead.
    pub body: Option<Bytes>,
    /// What the body is.
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    Retrying {
        /// How many tries there were.
        attempts: u32,
        next_at: Timestamp,
    },
    /// It is not tried again before somebody asks for it.
    Dead { attempts: u32, at: Timestamp, failure: AttemptFailure },
}

impl DeliveryState {
    pub const fn attempts(self) -> u32 {
        match self {
            Self::Retrying { attempts, .. } | Self::Dead { attempts, .. } => attempts,
        }
    }

    /// Sent again by hand: all its tries are ahead of it.
    pub const fn again(now: Timestamp) -> Self {
        Self::Retrying { attempts: 0, next_at: now }
    }
}

/// A range of the log that an endpoint is sent again, beside what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    pub id: ReplayId,
    pub from: Seq,
    pub to: Seq,
    /// The last seq that is done with; before `from` at first.
    pub position: Seq,
    pub created_at: Timestamp,
}

impl Replay {
    /// How many an endpoint may have at once.
    pub const MAX: usize = 16;
    /// How many dead letters one command sends again.
    pub const DEAD_MAX: usize = 10_000;
}
