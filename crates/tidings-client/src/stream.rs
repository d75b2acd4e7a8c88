//! Following the log live.
//!
//! A task owns the connection: it dials, reads, keeps the cursor, fills gaps by replay, renews the
//! credential, waits and dials again. What it yields goes through a bounded channel: a consumer that
//! falls behind stops the task from reading, the server notices the lag, and the stream goes on from
//! its cursor.

mod control;
mod dial;
mod position;
mod session;
mod sse;
mod websocket;

use std::{pin::Pin, task};

use futures_util::Stream;
use tidings_core::{Cursor, Epoch, Seq, Timestamp, Verbosity};
use tokio::sync::mpsc;

use crate::{Backoff, Client, ClientError, Envelope, Problem};

/// Items that wait for the consumer; then the task stops reading.
const ITEMS_MAX: usize = 256;

/// What to follow, from where, and how.
#[derive(Debug, Clone, Default)]
pub struct StreamRequest {
    pub selection: Selection,
    pub start: Start,
    pub transport: Transport,
    pub backoff: Backoff,
}

/// Which events, and how much of each. Values of one field are alternatives, fields are combined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    filter: Vec<(&'static str, String)>,
    verbosity: Option<Verbosity>,
}

impl Selection {
    /// Adds alternatives: `field` is one of [`tidings_core::Filter::FIELDS`]. The server judges the values.
    #[must_use]
    pub fn with(mut self, field: &'static str, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        debug_assert!(tidings_core::Filter::FIELDS.contains(&field), "a filter has no field {field}");
        self.filter.extend(values.into_iter().map(|v| (field, v.into())));
        self
    }

    #[must_use]
    pub const fn at(mut self, verbosity: Option<Verbosity>) -> Self {
        self.verbosity = verbosity;
        self
    }

    /// Whether everything that the credential may see passes.
    pub fn is_unfiltered(&self) -> bool {
        self.filter.is_empty()
    }

    pub(crate) fn pairs(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let filter = self.filter.iter().map(|(field, value)| ((*field).to_owned(), value.clone()));
        filter.chain(verbosity_pair(self.verbosity))
    }
}

pub(crate) fn verbosity_pair(verbosity: Option<Verbosity>) -> Option<(String, String)> {
    let name = match verbosity? {
        Verbosity::Minimal => "minimal",
        Verbosity::Detail => "detail",
        Verbosity::Debug => "debug",
    };
    Some(("verbosity".into(), name.into()))
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Start {
    /// What happens from the first connection on.
    #[default]
    Now,
    /// What follows this cursor; `Cursor::bare(Seq::ZERO)` is everything that is kept.
    After(Cursor),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    #[default]
    WebSocket,
    Sse,
}

/// What a stream tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// Once per event, in the order of seqs.
    Event(Envelope),
    /// Connected, for the first time or again.
    Open { connection_id: String, epoch: Epoch, head: Seq, oldest: Seq },
    /// Everything that matches up to [`EventStream::cursor`] has been yielded.
    Heartbeat { head: Seq },
    /// The cursor had no place in the log (`reason`: `expired`, `epoch` or `ahead`): it goes on from the
    /// oldest kept event. What was between is lost, or never was.
    Reset { reason: String, epoch: Epoch, oldest: Seq },
    /// Too far behind: the connection ends and the stream goes on from its cursor. Nothing is lost.
    Lagged { resume_from: Cursor },
    /// The server has not been able to confirm the head since then.
    Stale { as_of: Option<Timestamp> },
    /// The server did not take something; the stream goes on.
    Problem(Problem),
    /// The connection ended; the next try comes after `delay`.
    Reconnecting { attempt: u32, delay: std::time::Duration, cause: String },
}

/// Why a stream ended. It is the last thing it yields; its cursor stays good.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The server does not take this stream: trying again would not help.
    #[error(transparent)]
    Refused(ClientError),
    /// The server closed for a reason that trying again does not mend.
    #[error("the server closed the stream with {code}: {reason}")]
    Closed { code: u16, reason: String },
    #[error("gave up after {tries} tries; the last one: {last}")]
    GaveUp { tries: u32, last: String },
}

impl StreamError {
    /// The server's refusal, where that ended it.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(error) => error.problem(),
            _ => None,
        }
    }
}

/// A reconnecting stream. Dropping it closes the connection.
#[derive(Debug)]
pub struct EventStream {
    items: mpsc::Receiver<Yielded>,
    cursor: Option<Cursor>,
    task: tokio::task::JoinHandle<()>,
}

/// An item with the cursor that holds once it is consumed.
#[derive(Debug)]
struct Yielded {
    item: Result<Item, StreamError>,
    cursor: Option<Cursor>,
}

impl EventStream {
    pub(crate) fn start(client: Client, request: &StreamRequest) -> Self {
        let dial = dial::Server::new(client, request);
        Self::over(dial, request)
    }

    fn over(dial: impl dial::Dial, request: &StreamRequest) -> Self {
        let (sender, items) = mpsc::channel(ITEMS_MAX);
        let cursor = match &request.start {
            Start::Now => None,
            Start::After(cursor) => Some(cursor.clone()),
        };
        let session = session::Session::new(dial, request, sender);
        Self { items, cursor, task: tokio::spawn(session.run()) }
    }

    /// The next item; `None` after an error. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<Result<Item, StreamError>> {
        let yielded = self.items.recv().await?;
        Some(self.took(yielded))
    }

    /// Where to go on from after what has been taken so far: to be stored by a consumer that wants to
    /// survive its own restart.
    pub fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    fn took(&mut self, yielded: Yielded) -> Result<Item, StreamError> {
        if yielded.cursor.is_some() {
            self.cursor = yielded.cursor;
        }
        yielded.item
    }
}

impl Stream for EventStream {
    type Item = Result<Item, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> task::Poll<Option<Self::Item>> {
        self.items.poll_recv(cx).map(|yielded| yielded.map(|y| self.took(y)))
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.task.abort();
    }
}
