//! What several servers on one database share beside the log.

use std::time::Duration;

use async_trait::async_trait;
use tidings_core::{Epoch, Seq, TenantId, Timestamp, webhook::Partition};

use crate::{PlacesAsked, PlacesGiven};

/// A database that several servers share. The embedded store has none of this: it leads alone.
///
/// None of it goes through the journal: nothing here is a fact of any tenant's log.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// Says that this node is alive; to be called every second. Where no node could say so for longer
    /// than that, workers could not extend their leases either: the store then extends every running
    /// lease by the length of the outage, before any is judged lost.
    async fn beat(&self) -> Result<(), ClusterError>;

    /// The last time at which another node than this one said that it is alive, where that is at most ten seconds
    /// ago.
    async fn last_beat_elsewhere(&self) -> Result<Option<Beat>, ClusterError>;

    /// What any node, this one included, has committed since `seen`, and moves `seen` on. Nothing is
    /// ever left out without a word: see [`Moves::complete`].
    async fn moves(&self, seen: &mut Seen) -> Result<Moves, ClusterError>;

    /// Takes a duty that nobody leads, or keeps it; to be called every three seconds. `None`: another
    /// node leads. A term ends ten seconds after its last renewal, by the store's clock.
    async fn lead(&self, duty: Duty) -> Result<Option<Term>, ClusterError>;

    /// Gives a duty back at once, where this node leads it.
    async fn resign(&self, duty: Duty) -> Result<(), ClusterError>;

    /// Says that this node delivers webhooks, and returns how many do, itself included; to be called every three seconds. One
    /// that has not said so for ten is counted no more.
    async fn delivering(&self) -> Result<usize, ClusterError>;

    /// Says how many live connections of some holders this node has, and takes places for more: one answer
    /// for each, in their order. However many nodes ask at once, no more are given than `limit` leaves. What a
    /// node has counts while it is alive: until ten seconds after its last [`beat`](Self::beat).
    ///
    /// Each holder may be named once. One call at a time: what the node says last is what counts.
    async fn places(&self, asked: &[PlacesAsked]) -> Result<Vec<PlacesGiven>, ClusterError>;

    /// A secret that the nodes share, sealed by its user: the store never sees it open.
    async fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, ClusterError>;

    /// Keeps `sealed` where there is no secret of that name, and returns the one that is kept: nodes
    /// that start at once end with the same.
    async fn offer_secret(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, ClusterError>;

    /// Puts `to` where `from` is. `false`: something else was there, and nothing changed.
    async fn replace_secret(&self, name: &str, from: &[u8], to: &[u8]) -> Result<bool, ClusterError>;
}

/// A sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// By the store's clock.
    pub at: Timestamp,
    pub ago: Duration,
}

/// Work that one node at a time does for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Duty {
    /// Taking lost leases away.
    Rescue,
    /// Removing what has expired.
    Retention,
    /// Enqueueing what schedules ask for.
    Schedules,
    /// Delivering to the endpoints of a partition.
    Webhooks(Partition),
}

/// Of each partition, as duties are stored.
const WEBHOOKS: [&str; Partition::COUNT as usize] = [
    "webhooks-0",
    "webhooks-1",
    "webhooks-2",
    "webhooks-3",
    "webhooks-4",
    "webhooks-5",
    "webhooks-6",
    "webhooks-7",
    "webhooks-8",
    "webhooks-9",
    "webhooks-10",
    "webhooks-11",
    "webhooks-12",
    "webhooks-13",
    "webhooks-14",
    "webhooks-15",
];

impl Duty {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rescue => "rescue",
            Self::Retention => "retention",
            Self::Schedules => "schedules",
            Self::Webhooks(partition) => WEBHOOKS[partition.number() as usize],
        }
    }
}

/// The number of a node's time in a duty: it rises with every change of leader and is never reset.
pub type Term = u64;

/// How far a node has looked at what each writer committed. Starts empty: the first look finds no moves
/// and is not complete.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The last batch of each writer.
    pub(crate) writers: std::collections::HashMap<[u8; 16], i64>,
    /// How many writers the first look found, where there was one.
    pub(crate) found: Option<usize>,
}

/// The heads that moved.
#[derive(Debug, Clone, Default)]
pub struct Moves {
    /// Each history once, with its newest head: a tenant whose history was renewed meanwhile has two, of which the
    /// later comes last where their heads tell.
    pub heads: Vec<(TenantId, Epoch, Seq)>,
    /// `false`: the last look was too long ago, and tenants that are not here may have moved as well.
    pub complete: bool,
}

/// Why something shared was not done. It may be tried again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClusterError {
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    #[error("the store holds what cannot be read: {0}")]
    Corrupt(String),
}
