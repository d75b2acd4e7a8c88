use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{HeaderValue, Request, Response, header},
    response::IntoResponse as _,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};
use tower::ServiceExt as _;

use crate::problem::Problem;

use super::{
    Client, NativeSocket, Shared, Takeover,
    answering::Answering,
    framing::Framing,
    handoff::Handoff,
    tap::Tap,
    unfit::{self, HeadLimits, Unfit},
};

/// What a request's head may take that is half sent when the server stops; hyper alone would wait as long
/// as for any. Less than what answers in flight get, so that stopping waits for answers alone.
pub(super) const HEAD_GRACE: Duration = Duration::from_millis(500);

/// Serves one connection, where its address may have one more.
pub(super) async fn serve(mut stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    let Some(client) = shared.client(&mut stream, peer).await else { return };
    match shared.connections.admit(client.address.ip()) {
        Ok(_connected) => serve_requests(stream, client, shared).await,
        Err(problem) => turn_away(stream, problem, &shared).await,
    }
}

/// Until it ends or becomes a stream.
async fn serve_requests(stream: TcpStream, client: Client, shared: Arc<Shared>) {
    // Without it small answers wait for acknowledgements; a socket that refuses it still works.
    let _ = stream.set_nodelay(true);
    let handoff = Arc::new(Handoff::default());
    let answering = Arc::new(Answering::default());
    let framing = Arc::new(Framing::default());
    let service = service_fn({
        let (shared, handoff) = (shared.clone(), handoff.clone());
        let (answering, framing) = (answering.clone(), framing.clone());
        move |request| {
            let url_bytes = shared.settings.get().limits.url_bytes;
            let request = unfit::judged(request, &framing, url_bytes);
            respond(request, client, shared.clone(), handoff.clone(), answering.clone())
        }
    });
    let settings = shared.settings.get();
    let (header_timeout, stall) = (settings.limits.header_timeout.0, settings.live.stall.0);
    let head = HeadLimits { bytes: settings.limits.head_bytes, fields: settings.limits.head_fields };
    drop(settings);
    let tap = Tap::new(stream, &handoff, &answering, &framing, stall);
    let mut hyper =
        builder(head).header_read_timeout(header_timeout).serve_connection(TokioIo::new(tap), service);
    let (mut stopping, mut look_at, mut late) = (false, None, false);
    let taken = loop {
        let poll_hyper = poll_fn(|cx| {
            let over = hyper.poll_without_shutdown(cx);
            match handoff.take() {
                Some(new) => Poll::Ready(Some(new)),
                None => over.map(|ended| {
                    late = ended.is_err_and(|error| error.is_timeout());
                    None
                }),
            }
        });
        tokio::select! {
            taken = poll_hyper => break taken,
            () = shared.stop.closing.cancelled(), if !stopping => {
                stopping = true;
                // Hyper would close one that has just been made, though its first request may be on its way. It is answered, and
                // the answer closes it.
                if !answering.is_fresh() {
                    Pin::new(&mut hyper).graceful_shutdown();
                }
                look_at = Some(Instant::now() + HEAD_GRACE);
            }
            () = tokio::time::sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => {
                look_at = None;
                if answering.is_over() {
                    break None;
                }
            }
        }
    };
    let parts = hyper.into_parts();
    let mut stream = parts.io.into_inner().stream;
    let Some(mut new) = taken else {
        // A connection that was only kept for another request was not late with one.
        if late && (answering.is_fresh() || !parts.read_buf.is_empty()) {
            shared.metrics.http.limited("limits.header_timeout");
        }
        if let Some(status) = answering.refused() {
            let unfit = Unfit::unreadable(status, &framing, head, &shared.settings.get().limits);
            refuse(&mut stream, client.address, unfit, &shared).await;
        }
        return close(stream).await;
    };
    new.received = parts.read_buf;
    match stream.into_std() {
        Ok(socket) => shared.hand_over(socket, new),
        Err(error) => tracing::debug!(%error, "a socket could not be taken over"),
    }
}

fn builder(head: HeadLimits) -> http1::Builder {
    /// Hyper's own number of fields, for which it needs no memory at each request.
    const FIELDS: usize = 100;
    let mut hyper = http1::Builder::new();
    hyper.timer(TokioTimer::new()).max_header_size(head.bytes).max_buf_size(head.bytes.max(8_192));
    if head.fields != FIELDS {
        hyper.max_headers(head.fields);
    }
    hyper
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

fn respond(
    mut request: Request<Incoming>,
    client: Client,
    shared: Arc<Shared>,
    handoff: Arc<Handoff>,
    answering: Arc<Answering>,
) -> Answer {
    answering.begun();
    request.extensions_mut().insert(ConnectInfo(client.address));
    request.extensions_mut().insert(NativeSocket);
    if let Some(unnamed) = client.unnamed {
        request.extensions_mut().insert(unnamed);
    }
    Box::pin(async move {
        let mut response = shared.router.clone().oneshot(request.map(Body::new)).await?;
        let takeover = response.extensions_mut().remove::<Takeover>();
        if let Some(new) = takeover.and_then(|takeover| takeover.take()) {
            handoff.ask(new);
        } else if shared.stop.draining.is_cancelled() {
            // Its next request is for a server that stays.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answering.made();
        Ok(response)
    })
}

/// Answers what hyper could not read, as the router answers everything else.
async fn refuse(stream: &mut TcpStream, peer: SocketAddr, unfit: Unfit, shared: &Shared) {
    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(ConnectInfo(peer));
    request.extensions_mut().insert(unfit);
    let Ok(response) = shared.router.clone().oneshot(request).await;
    // It is small: a socket that does not take it at once has a client that reads nothing.
    let answer = unfit::written(response).await;
    let _ = tokio::time::timeout(HEAD_GRACE, stream.write_all(&answer)).await;
}

/// Answers a connection before anything of it was read, and ends it at once: it may take no time of the server's. Who has sent
/// a request already may see a reset in the place of the answer.
async fn turn_away(stream: TcpStream, problem: Problem, shared: &Shared) {
    shared.metrics.http.problem(&problem);
    let closing = problem.header(header::CONNECTION, HeaderValue::from_static("close"));
    let _ = stream.try_write(&unfit::written(closing.into_response()).await);
}

/// Shuts down, then reads on for a moment: closing with unread input would reset the connection, and
/// the client might never see the answer.
async fn close(mut stream: TcpStream) {
    const TIME_MAX: Duration = Duration::from_secs(1);
    const BYTES_MAX: usize = 256 << 10;
    if stream.shutdown().await.is_err() {
        return;
    }
    let drain = async {
        let (mut buffer, mut seen) = ([0; 4_096], 0);
        while seen < BYTES_MAX {
            match stream.read(&mut buffer).await {
                Ok(n) if n > 0 => seen += n,
                _ => return,
            }
        }
    };
    let _ = tokio::time::timeout(TIME_MAX, drain).await;
}
