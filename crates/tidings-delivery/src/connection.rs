use std::{fmt, sync::Arc, time::Instant};

use bytes::Bytes;
use serde::{Serialize, Serializer};
use tidings_core::{Entropy, Principal, TenantId};
use tidings_live::{FeedHandle, SubscriptionSpec};

/// Names a live connection: in `stream.open`, in logs. No secret, and no key to anything.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(u128);

impl ConnectionId {
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        Self(u128::from_le_bytes(bytes))
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionId({self})")
    }
}

impl Serialize for ConnectionId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// A connection whose response head is written, ready to be served.
pub struct NewConnection {
    pub id: ConnectionId,
    pub principal: Arc<Principal>,
    /// Before its credential was judged. What was closed since then closes it too.
    pub judged_at: Instant,
    pub protocol: Protocol,
    /// What the client sent behind its request.
    pub received: Bytes,
    /// Dropped when the connection is gone: its place under a limit.
    pub slot: Box<dyn Send>,
}

impl fmt::Debug for NewConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewConnection").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What is spoken on a connection. The `encoding.transport` of the stream's spec is set to fit.
#[derive(Debug)]
pub enum Protocol {
    WebSocket(Stream),
    /// Records on a body that ends with the connection, or that somebody else frames.
    Sse(Stream),
    /// Records as chunks of HTTP/1.1's chunked coding.
    ChunkedSse(Stream),
    /// WebSocket; sends back what it gets and nothing else. For conformance suites.
    Echo,
}

/// What a connection is to deliver.
#[derive(Debug)]
pub struct Stream {
    pub feed: FeedHandle,
    pub spec: SubscriptionSpec,
}

/// For metrics, which count the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectionKind {
    WebSocket,
    Sse,
}

/// What may be asked of a live connection.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    pub id: ConnectionId,
    pub kind: ConnectionKind,
    pub principal: Arc<Principal>,
    /// Absent for an echo.
    pub tenant: Option<TenantId>,
    pub since: Instant,
}
