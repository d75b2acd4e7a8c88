//! Webhooks as they are kept: what may be asked to change, and what can be read.
//!
//! Changes are [operations](crate::Operation) of the journal: [`NewEndpoint`], [`EndpointChange`], [`ReplayWhat`]
//! and, from the dispatcher, one [`Report`] for each endpoint and flush. Reads are [`Webhooks`].

mod change;
mod report;
pub(crate) mod stored;

use async_trait::async_trait;
use bytes::Bytes;
use tidings_core::{
    Endpoint, EndpointId, Seq, TenantId, Timestamp,
    webhook::{Attempt, Delivery, Partition, Replay},
};

use crate::ReadError;
pub(crate) use change::applied;
pub use change::{EndpointChange, NewEndpoint, ReplayWhat};
pub use report::Report;

/// What is read of webhooks. Every read but [`dispatchable`](Webhooks::dispatchable) takes its tenant, and finds
/// another tenant's endpoints exactly as it finds those that never were.
#[async_trait]
pub trait Webhooks: Send + Sync {
    async fn endpoint(&self, tenant: &TenantId, id: EndpointId) -> Result<Option<Endpoint>, ReadError>;

    /// Sorted by id, after `after`; at most `limit`.
    async fn endpoints(
        &self,
        tenant: &TenantId,
        after: Option<EndpointId>,
        limit: usize,
    ) -> Result<Vec<Endpoint>, ReadError>;

    /// Endpoints of all tenants, or of one partition, that were changed after the change `after`, in order of their
    /// change; at most `limit`. From 0 on: every endpoint there is. Cursors that deliveries moved are no change.
    async fn dispatchable(
        &self,
        partition: Option<Partition>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Dispatchable>, ReadError>;

    /// What is retried, the earliest due first, also what is due later; at most `limit`.
    async fn retrying(
        &self,
        tenant: &TenantId,
        endpoint: EndpointId,
        limit: usize,
    ) -> Result<Vec<Delivery>, ReadError>;

    /// Deliveries that are dead or retried, by seq after `after`; at most `limit`, and no more than `bytes` asks for.
    async fn deliveries(
        &self,
        tenant: &TenantId,
        endpoint: EndpointId,
        query: DeliveryQuery,
    ) -> Result<Vec<Delivery>, ReadError>;

    /// At most [`Replay::MAX`], the oldest first.
    async fn replays(&self, tenant: &TenantId, endpoint: EndpointId) -> Result<Vec<Replay>, ReadError>;

    /// The delivery log, newest first; at most `limit`, and no more than `bytes` asks for.
    async fn attempts(&self, tenant: &TenantId, query: AttemptQuery)
    -> Result<Vec<LoggedAttempt>, ReadError>;

    /// How far behind an endpoint is; `None` where there is none.
    async fn backlog(
        &self,
        tenant: &TenantId,
        endpoint: EndpointId,
    ) -> Result<Option<EndpointBacklog>, ReadError>;

    /// The first seq that is kept whose event is not older than `time`; the one after the head where all are.
    async fn seq_at(&self, tenant: &TenantId, time: Timestamp) -> Result<Option<Seq>, ReadError>;
}

/// What a dispatcher hears of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatchable {
    pub change: u64,
    pub tenant: TenantId,
    pub id: EndpointId,
    /// `None`: it was deleted, or its tenant may not be served.
    pub endpoint: Option<Box<Endpoint>>,
}

#[derive(Debug, Clone, Copy)]
pub struct DeliveryQuery {
    /// Dead letters, or what is retried.
    pub dead: bool,
    pub after: Seq,
    /// At most 1,000.
    pub limit: usize,
    /// Bodies: a page ends with the one that reaches this. So it has one at least, where there is one.
    pub bytes: usize,
}

impl DeliveryQuery {
    /// Where the next page begins; `None`: this one was the last.
    pub fn next_after(&self, page: &[Delivery]) -> Option<Seq> {
        let full = page.len() >= self.limit || bytes(page) >= self.bytes;
        page.last().filter(|_| full).map(|last| last.seq)
    }
}

fn bytes(page: &[Delivery]) -> usize {
    page.iter().map(|delivery| delivery.body.as_ref().map_or(0, Bytes::len)).sum()
}

/// Of an endpoint, of an event, or of both; of neither it finds nothing.
#[derive(Debug, Clone, Copy)]
pub struct AttemptQuery {
    pub endpoint: Option<EndpointId>,
    pub seq: Option<Seq>,
    /// Only what is before this attempt.
    pub before: Option<AttemptPlace>,
    /// At most 1,000.
    pub limit: usize,
    /// Answers of receivers: a page ends with the one that reaches this. So it has one attempt at least, where there is one.
    pub bytes: usize,
}

impl Default for AttemptQuery {
    /// As many as there are.
    fn default() -> Self {
        Self { endpoint: None, seq: None, before: None, limit: 1_000, bytes: usize::MAX }
    }
}

impl AttemptQuery {
    /// Where the next page ends; `None`: this one was the last.
    pub fn next_before(&self, page: &[LoggedAttempt]) -> Option<AttemptPlace> {
        let bytes: usize = page.iter().map(|logged| logged.attempt.answer.len()).sum();
        let full = page.len() >= self.limit || bytes >= self.bytes;
        page.last().filter(|_| full).map(|last| last.place)
    }
}

/// A page that fills.
#[derive(Debug)]
pub(crate) struct AttemptPage {
    query: AttemptQuery,
    rows: Vec<LoggedAttempt>,
    bytes: usize,
}

impl AttemptPage {
    pub(crate) const fn new(query: AttemptQuery) -> Self {
        Self { query, rows: Vec::new(), bytes: 0 }
    }

    /// Whether it is full with that.
    pub(crate) fn push(&mut self, logged: LoggedAttempt) -> bool {
        self.bytes += logged.attempt.answer.len();
        self.rows.push(logged);
        self.rows.len() >= self.query.limit || self.bytes >= self.query.bytes
    }

    pub(crate) fn into_rows(self) -> Vec<LoggedAttempt> {
        self.rows
    }
}

/// An attempt's place in the delivery log of its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptPlace {
    pub endpoint: EndpointId,
    /// Counts an endpoint's attempts.
    pub n: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedAttempt {
    pub place: AttemptPlace,
    pub attempt: Attempt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointBacklog {
    pub cursor: Seq,
    pub head: Seq,
    /// The time of the oldest event that is not done with: after the cursor, whether it matches or not, or retried.
    pub oldest: Option<Timestamp>,
    pub retrying: u64,
    pub dead: u64,
}
