//! How a session reaches the server: behind traits, so that a test scripts every fault.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tidings_core::{Cursor, Entropy, Timestamp};

use super::{Selection, StreamRequest, Transport, sse, websocket};
use crate::{Client, ClientError, Credential, EventsPage, ReplayRequest, Token};

pub(super) trait Dial: Send + Sync + 'static {
    type Wire: Wire;

    /// Opens a connection that goes on after `from`.
    fn dial(&self, from: Option<Cursor>, token: &Token) -> BoxFuture<'_, Result<Self::Wire, ClientError>>;

    /// One page of the log with the stream's own filter.
    fn replay(&self, after: Cursor) -> BoxFuture<'_, Result<EventsPage, ClientError>>;

    fn credential(&self) -> &Credential;

    fn now(&self) -> Timestamp;

    fn entropy(&self) -> &dyn Entropy;
}

/// An open connection. Cancelling `next` loses nothing.
pub(super) trait Wire: Send + 'static {
    fn next(&mut self) -> impl Future<Output = Result<Incoming, Ended>> + Send;

    /// Hands over a fresh token; `false` where this transport cannot.
    fn authenticate(&mut self, token: &Token) -> impl Future<Output = bool> + Send;
}

#[derive(Debug)]
pub(super) enum Incoming {
    /// The JSON text of one message.
    Message(Bytes),
    /// The server's hint for how long to wait before coming back.
    Retry(Duration),
    /// Some sign of life.
    Alive,
}

/// The connection is over.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    /// A WebSocket close code.
    pub(super) code: Option<u16>,
    pub(super) reason: String,
}

/// The real server.
pub(super) struct Server {
    client: Client,
    selection: Arc<Selection>,
    transport: Transport,
}

impl Server {
    pub(super) fn new(client: Client, request: &StreamRequest) -> Self {
        Self { client, selection: Arc::new(request.selection.clone()), transport: request.transport }
    }
}

pub(super) enum AnyWire {
    WebSocket(Box<websocket::Socket>),
    Sse(Box<sse::Records>),
}

impl Dial for Server {
    type Wire = AnyWire;

    fn dial(&self, from: Option<Cursor>, token: &Token) -> BoxFuture<'_, Result<AnyWire, ClientError>> {
        let token = token.clone();
        Box::pin(async move {
            Ok(match self.transport {
                Transport::WebSocket => {
                    let socket = websocket::open(&self.client, &self.selection, from, &token).await?;
                    AnyWire::WebSocket(Box::new(socket))
                }
                Transport::Sse => {
                    AnyWire::Sse(Box::new(sse::open(&self.client, &self.selection, from, &token).await?))
                }
            })
        })
    }

    fn replay(&self, after: Cursor) -> BoxFuture<'_, Result<EventsPage, ClientError>> {
        let selection = (*self.selection).clone();
        Box::pin(async move {
            let request = ReplayRequest { since: Some(after), limit: Some(1_000), wait: None, selection };
            self.client.replay(&request).await
        })
    }

    fn credential(&self) -> &Credential {
        &self.client.shared.credential
    }

    fn now(&self) -> Timestamp {
        self.client.now()
    }

    fn entropy(&self) -> &dyn Entropy {
        self.client.entropy()
    }
}

impl Wire for AnyWire {
    async fn next(&mut self) -> Result<Incoming, Ended> {
        match self {
            Self::WebSocket(socket) => socket.next().await,
            Self::Sse(records) => records.next().await,
        }
    }

    async fn authenticate(&mut self, token: &Token) -> bool {
        match self {
            Self::WebSocket(socket) => socket.authenticate(token).await,
            Self::Sse(_) => false,
        }
    }
}
