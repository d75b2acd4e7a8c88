use std::{io, sync::Arc, time::Duration};

use tokio::net::TcpListener;

use super::{Shared, connection};
use crate::metrics::Metrics;

/// How long to wait after an error that will be there again at once, such as no free descriptor.
const BACKOFF: Duration = Duration::from_millis(50);

pub(super) async fn run(tcp: TcpListener, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return,
            accepted = accept(&tcp, &shared) => accepted,
        };
        let (stream, peer, place) = accepted;
        let task = connection::serve(stream, peer, shared.clone());
        shared.tracker.spawn(async move {
            let _place = place;
            task.await;
        });
    }
}

type Accepted = (tokio::net::TcpStream, std::net::SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// The next connection, when there is a place for it.
async fn accept(tcp: &TcpListener, shared: &Shared) -> Accepted {
    let place = shared.places.clone().acquire_owned().await.expect("the semaphore is never closed");
    let mut paused = None;
    loop {
        match tcp.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                paused.get_or_insert_with(|| Paused::begin(&shared.metrics, &error));
                shared.metrics.listener.accept_failures.inc();
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }
}

/// Connections wait in the kernel's backlog until one can be taken; those that are there live on.
struct Paused<'a>(&'a Metrics);

impl<'a> Paused<'a> {
    fn begin(metrics: &'a Metrics, error: &io::Error) -> Self {
        tracing::warn!(%error, "connections cannot be accepted at present; they wait");
        metrics.listener.accept_paused.inc();
        Self(metrics)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.listener.accept_paused.dec();
        tracing::info!("connections are accepted again");
    }
}

/// The client was gone before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
