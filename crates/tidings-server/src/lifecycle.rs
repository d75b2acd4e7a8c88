//! From configuration to a server that listens, and to its orderly end.

mod ops;
mod signals;
mod sockets;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidings_core::{SystemClock, SystemEntropy};
use tidings_delivery::Delivery;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::{
    app::{App, StartError},
    config::{Config, Loaded},
    listener::{BoundSocket, Listener, ListenerConfig, Stop},
};

pub use signals::Ended;
pub use sockets::Sockets;

/// What requests in flight get at least, after streams have ended.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// A server that listens. Dropping it without [`Server::stop`] leaves the folder as a killed process
/// would.
#[derive(Debug)]
pub struct Server {
    app: App,
    loaded: Mutex<Loaded>,
    addresses: Addresses,
    stop: Stop,
    listeners: TaskTracker,
}

#[derive(Debug, Clone, Copy)]
struct Addresses {
    api: SocketAddr,
    ops: Option<SocketAddr>,
}

impl Server {
    /// As [`Server::start_on`], on ports that it binds itself.
    pub async fn start(loaded: Loaded) -> Result<Self, StartError> {
        Self::start_on(loaded, Sockets::default()).await
    }

    /// Binds both listeners before the store is opened, so that an address in use changes nothing;
    /// then starts everything on the current tokio runtime. `sockets` take the place of what it would bind.
    pub async fn start_on(loaded: Loaded, sockets: Sockets) -> Result<Self, StartError> {
        let config = &loaded.config;
        let public = ListenerConfig { name: "http", proxy_protocol: config.server.proxy_protocol };
        let private = ListenerConfig { name: "ops", proxy_protocol: false };
        let (api, ops) = sockets.bind(&config.server, public, private)?;
        let addresses = Addresses { api: address(&api), ops: ops.as_ref().map(address) };
        // Under the ports that they were given: webhooks are kept from our own listeners.
        let mut config = config.clone();
        config.server.listen = addresses.api;
        config.server.ops_listen.0 = addresses.ops;
        let app = Box::pin(App::start(config, Arc::new(SystemClock), Arc::new(SystemEntropy))).await?;
        let server = Self {
            loaded: Mutex::new(loaded),
            addresses,
            stop: Stop::default(),
            listeners: TaskTracker::new(),
            app,
        };
        server.serve(listen(api)?, server.app.router());
        if let Some(ops) = ops {
            server.serve(listen(ops)?, ops::router(&server.app));
        }
        Ok(server)
    }

    pub const fn address(&self) -> SocketAddr {
        self.addresses.api
    }

    /// Where `/metrics` is, unless it is off.
    pub const fn ops_address(&self) -> Option<SocketAddr> {
        self.addresses.ops
    }

    pub fn app(&self) -> &App {
        &self.app
    }

    /// The file that holds the administrator's key, where this start has made it.
    pub fn new_admin_key(&self) -> Option<PathBuf> {
        let key = self.app.admin_key();
        key.created.then(|| key.path.clone())
    }

    /// Reads the configuration again and takes over limits, allow-lists and issuers. Returns what is in force now: the log filter is the
    /// caller's to set. Whatever is wrong leaves everything as it was.
    pub fn reload(&self) -> Result<Config, StartError> {
        let mut loaded = self.loaded.lock();
        let next = loaded.reload()?;
        self.app.reload(&next)?;
        *loaded = next;
        Ok(Config::clone(&self.app.settings().get()))
    }

    /// Stops in order. New streams are refused and `/health/ready` is 503 from the first moment; connections are accepted and
    /// requests answered for `drain.notice` at least, also where nobody is connected; clients get `drain.timeout`.
    pub async fn stop(&self) {
        let window = self.app.settings().get().drain.timeout.0;
        // Streams are told first, while requests are still answered: who comes now is told to go
        // elsewhere, and a load balancer that looks at readiness sees it turn.
        let deadline = Instant::now() + window;
        self.stop.draining.cancel();
        self.app.stop_clients(window).await;
        self.stop.closing.cancel();
        self.listeners.close();
        // Even where streams took the whole window, answers that are ready may still be written.
        let deadline = deadline.max(Instant::now() + LAST_ANSWERS);
        if tokio::time::timeout_at(deadline, self.listeners.wait()).await.is_err() {
            tracing::warn!("requests were still in flight when the drain's window was over");
        }
        self.app.stop_rest().await;
    }

    fn serve(&self, listener: Listener, router: axum::Router) {
        let delivery: Delivery = self.app.delivery().clone();
        let (settings, metrics) = (self.app.settings().clone(), self.app.metrics().clone());
        self.listeners.spawn(listener.run(router, delivery, settings, metrics, self.stop.clone()));
    }
}

fn listen(socket: BoundSocket) -> Result<Listener, StartError> {
    let address = address(&socket);
    socket.listen().map_err(|source| StartError::Listen { address, source })
}

fn address(socket: &BoundSocket) -> SocketAddr {
    socket.local_addr().expect("a bound socket has an address")
}
