//! The accept loop: HTTP/1 by hyper around sockets that stay ours.
//!
//! A handler that begins a stream puts a [`Takeover`] into its response. Once hyper has written the
//! response's head, the socket is taken out of hyper and handed to a shard, which serves it from then on:
//! hyper's buffers and this connection's task are gone.
//!
//! What is HTTP of more than one meaning is refused: the stream shows its bytes to a scanner before hyper has them,
//! and a request that does not pass goes to the router as [`Unfit`]. What hyper itself refuses is answered in the same way, in
//! the place of its empty answer.
//!
//! Where the listener is told to, a connection of a trusted proxy begins with a PROXY protocol header, and is closed without a word
//! where it does not; a peer that nobody trusts speaks HTTP, in which such a header does not read.
//!
//! Requests that come this way carry the extension [`NativeSocket`]. A router that is mounted in
//! another application gets none, and its streams go the generic way.

mod accept;
mod answering;
mod connection;
mod framing;
mod handoff;
mod places;
mod proxy_protocol;
mod scanner;
mod socket;
mod tap;
mod unfit;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tidings_delivery::{Delivery, NewConnection};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{addresses::Connections, metrics::Metrics, settings::Settings};

pub(crate) use handoff::Takeover;
use places::Places;
pub(crate) use socket::{BoundSocket, Owner};
pub(crate) use unfit::Unfit;

/// What one listener is; the bounds of its connections are the settings'.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListenerConfig {
    /// Its name in the metrics: `http`, or `ops`.
    pub(crate) name: &'static str,
    /// Trusted proxies say in front of each connection for whom they speak.
    pub(crate) proxy_protocol: bool,
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self { name: "http", proxy_protocol: false }
    }
}

/// Marks a request whose socket can be taken over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NativeSocket;

/// Marks a request of a connection for which a trusted proxy named no client in front. What the request says of addresses is the
/// client's own word, which that proxy has only carried: the peer counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unnamed;

/// For whom a connection speaks.
#[derive(Debug, Clone, Copy)]
struct Client {
    address: SocketAddr,
    unnamed: Option<Unnamed>,
}

/// A socket that takes connections; they wait in the backlog until [`run`](Self::run).
#[derive(Debug)]
pub(crate) struct Listener {
    tcp: TcpListener,
    owner: Owner,
    config: ListenerConfig,
}

/// When to stop what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// The server drains: a port that other processes share is theirs from now on.
    pub(crate) draining: CancellationToken,
    /// Nothing more is accepted, requests that have begun are finished.
    pub(crate) closing: CancellationToken,
}

impl Stop {
    /// Returns this long after `closing`.
    async fn closed_for(&self, time: Duration) {
        self.closing.cancelled().await;
        tokio::time::sleep(time).await;
    }
}

impl Listener {
    /// Serves until `stop.closing`: then nothing more is accepted but what has connected already, requests that have begun are finished, and
    /// connections that are idle, or do not complete a request's head at once, are closed. From `stop.draining` on a connection is closed after its next
    /// answer, and a port that other processes share is left. Returns when hyper has no connection any more; streams are `delivery`'s.
    /// Its metrics are there at once, before anybody polls.
    pub(crate) fn run(
        self,
        router: Router,
        delivery: Delivery,
        settings: Settings,
        metrics: Metrics,
        stop: Stop,
    ) -> impl Future<Output = ()> + Send {
        let tracker = TaskTracker::new();
        metrics.listener.begins(self.config.name, settings.get().limits.listener_connections);
        let shared = Arc::new(Shared {
            router,
            delivery,
            connections: Connections::new(settings.clone()),
            settings,
            metrics,
            places: Arc::default(),
            config: self.config,
            stop,
            tracker: tracker.clone(),
        });
        async move {
            accept::run(self.tcp, self.owner, shared).await;
            tracker.close();
            tracker.wait().await;
        }
    }
}

/// What every connection uses.
struct Shared {
    router: Router,
    delivery: Delivery,
    connections: Connections,
    settings: Settings,
    metrics: Metrics,
    places: Arc<Places>,
    config: ListenerConfig,
    stop: Stop,
    tracker: TaskTracker,
}

impl Shared {
    /// The client behind `peer`, where that is a proxy which says so in front of the connection. `None`: it should have.
    async fn client(&self, stream: &mut TcpStream, peer: SocketAddr) -> Option<Client> {
        if !self.config.proxy_protocol || !self.settings.get().server.trusts(peer.ip()) {
            return Some(Client { address: peer, unnamed: None });
        }
        let time = self.settings.get().limits.header_timeout.0;
        let read = tokio::select! {
            () = self.stop.closed_for(connection::HEAD_GRACE) => return None,
            read = tokio::time::timeout(time, proxy_protocol::read(stream)) => read,
        };
        let why = match read {
            Ok(Ok(Some(source))) => return Some(Client { address: source, unnamed: None }),
            Ok(Ok(None)) => return Some(Client { address: peer, unnamed: Some(Unnamed) }),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "its header did not come in time".to_owned(),
        };
        self.metrics.listener.proxies_refused.inc();
        tracing::debug!(%peer, why, "a trusted proxy's connection has no PROXY protocol header (server.proxy_protocol)");
        None
    }

    /// How many connections there may be.
    fn places_max(&self) -> usize {
        self.settings.get().limits.listener_connections
    }

    /// A stream begins: from here on the socket belongs to a shard.
    fn hand_over(&self, socket: std::net::TcpStream, new: NewConnection) {
        self.delivery.attach(socket, new);
    }
}
