use std::{io, pin::pin, sync::Arc, time::Duration};

use tokio::net::{TcpListener, TcpStream};

use super::{Owner, Shared, connection, places::Place, socket};
use crate::metrics::Metrics;

/// How long to wait after an error that will be there again at once, such as no free descriptor.
const BACKOFF: Duration = Duration::from_millis(50);

/// How long a handshake under way has to end when a shared port is left: a round trip, for nearly every client. Less than the
/// second after which those that were turned away come again, which must find the other process alone.
const HANDSHAKES: Duration = Duration::from_millis(300);

/// Accepts until it is time to leave the port, and then what nobody else would.
pub(super) async fn run(tcp: TcpListener, owner: Owner, shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    match owner {
        Owner::Process => {
            accept_until(&tcp, &shared, stop.closing.cancelled()).await;
            take_queued(tcp, &shared).await;
        }
        Owner::Processes => {
            accept_until(&tcp, &shared, stop.draining.cancelled()).await;
            leave(tcp, &shared).await;
        }
        Owner::Parent => accept_until(&tcp, &shared, stop.closing.cancelled()).await,
    }
}

async fn accept_until(tcp: &TcpListener, shared: &Arc<Shared>, end: impl Future<Output = ()>) {
    let mut end = pin!(end);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut end => return,
            accepted = accept(tcp, shared) => accepted,
        };
        serve(accepted, shared);
    }
}

fn serve((stream, peer, place): Accepted, shared: &Arc<Shared>) {
    let task = connection::serve(stream, peer, shared.clone());
    let counted = shared.metrics.listener.connected(shared.config.name);
    shared.tracker.spawn(async move {
        let _held = (place, counted);
        task.await;
    });
}

/// Leaves a port on which another process may listen. Closing the socket resets what is in its queue, also what comes there while
/// it is being closed: so nothing may come any more, and handshakes under way are awaited.
async fn leave(tcp: TcpListener, shared: &Arc<Shared>) {
    match socket::turn_away(&tcp) {
        Ok(()) => accept_until(&tcp, shared, tokio::time::sleep(HANDSHAKES)).await,
        Err(error) => tracing::warn!(%error, "connections that come while the port is left may be reset"),
    }
    take_queued(tcp, shared).await;
}

/// Accepts what is in the queue, and closes it.
async fn take_queued(tcp: TcpListener, shared: &Arc<Shared>) {
    // Tokio's own would wait for the kernel to say that there is something. Where this fails there is nothing to ask.
    let Ok(tcp) = tcp.into_std() else { return };
    // Under a flood it would not end.
    for _ in 0..socket::BACKLOG {
        let place = tokio::time::timeout(HANDSHAKES, shared.places.next(|| shared.places_max())).await;
        let Ok(place) = place else { break };
        let accepted = match tcp.accept() {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                tracing::warn!(%error, "connections that waited were reset");
                return;
            }
        };
        let (stream, peer) = accepted;
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            serve((stream, peer, place), shared);
        }
    }
    tracing::warn!("connections that waited were reset: there were too many");
}

type Accepted = (TcpStream, std::net::SocketAddr, Place);

/// The next connection, when there is a place for it.
async fn accept(tcp: &TcpListener, shared: &Shared) -> Accepted {
    let place = if let Some(place) = shared.places.take(shared.places_max()) {
        place
    } else {
        shared.metrics.listener.is_full(shared.config.name);
        shared.places.next(|| shared.places_max()).await
    };
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
